"""Beam search: our kernel and the readable specification."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.workloads import SEED, VERIFIER, Workload
from tests import naive
from tts_sim.arrays import Float64s


def naive_beam(workload: Workload, spec: str) -> Float64s:
    """Accuracy, shape (Q, B), by node objects and lists."""
    run = naive.read(_questions(workload), None, None, VERIFIER)
    figures = naive.replay(run, spec, workload.budgets, trials=workload.trials, seed=SEED)
    rows = [[figures[name, budget]["accuracy"] for budget in workload.budgets] for name in run.prompts]
    return np.array(rows, np.float64)


def _questions(workload: Workload) -> list[dict[str, Any]]:
    """The workload as native JSONL would have it; answers are their numbers, 1 is right."""
    nodes = workload.nodes
    listed: list[list[dict[str, Any]]] = [[] for _ in range(workload.forest.num_questions)]
    for i in range(len(nodes.question)):
        parent = int(nodes.parent_id[i])
        entry: dict[str, Any] = {
            "id": int(nodes.node_id[i]),
            "parent": None if parent < 0 else parent,
            "draw": int(nodes.draw[i]),
            "tokens": int(nodes.tokens[i]),
            "scores": {VERIFIER: float(workload.score[i])},
        }
        if nodes.answer_id[i] >= 0:
            entry["answer"] = str(nodes.answer_id[i])
        listed[nodes.question[i]].append(entry)
    return [{"question_id": f"q{q}", "gold": "1", "nodes": entries} for q, entries in enumerate(listed)]
