"""Exports a run as native JSONL, which `import native` reads back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cache.store import Cache

_COLUMNS = ("dataset", "split", "prompt", "gold", "level", "subject")
_QUESTIONS = """
SELECT question_id, dataset, split, prompt, gold, level, subject, extra::VARCHAR AS extra FROM questions
SEMI JOIN (SELECT question_id FROM nodes WHERE run_id = $run) USING (question_id)
"""
_NODES = """
SELECT node.question_id, node_id, parent_id, draw, greedy, node.text, tokens, logprob, min_logprob, stop,
       answer.text AS answer, answer.correct
FROM nodes AS node
LEFT JOIN answers AS answer ON answer.question_id = node.question_id AND answer.answer_id = node.answer_id
WHERE run_id = $run ORDER BY node_id
"""
_SCORES = "SELECT node_id, verifier_id, score FROM scores WHERE run_id = $run ORDER BY verifier_id"


def export_native(cache: Cache, run_id: str, file: str | Path) -> int:
    """Writes the questions of which the run holds nodes, one a line, with all nodes and scores; how many.

    What the format does not carry (models, settings, pools, kinds of verifiers) stays behind: an imported run is
    replayed as far as it holds draws. The file replaces its predecessor whole. Raises ValueError for an unknown run.
    """
    runs = cache.frame("SELECT run_id FROM runs ORDER BY run_id")["run_id"].to_list()
    if run_id not in runs:
        raise ValueError(f"run '{run_id}' is not in {cache.path}; its runs: {', '.join(runs) or 'none'}.")
    scores: dict[int, dict[str, float]] = {}
    for node_id, verifier, score in cache.frame(_SCORES, {"run": run_id}).iter_rows():
        scores.setdefault(node_id, {})[verifier] = _short(score)
    nodes = cache.frame(_NODES, {"run": run_id})
    trees: dict[str, pl.DataFrame] = {
        str(key[0]): part for key, part in nodes.partition_by("question_id", as_dict=True).items()
    }
    path = Path(file)
    part = path.with_name(f".{path.name}.part")
    questions = cache.frame(_QUESTIONS, {"run": run_id})
    with part.open("w", encoding="utf-8") as out:
        for question in questions.iter_rows(named=True):
            line: dict[str, Any] = {"question_id": question["question_id"]}
            line |= {key: question[key] for key in _COLUMNS if question[key] is not None}
            line |= json.loads(question["extra"]) if question["extra"] else {}
            tree = trees[question["question_id"]]
            line["nodes"] = [_node(node, scores.get(node["node_id"], {})) for node in tree.iter_rows(named=True)]
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
    os.replace(part, path)
    return len(questions)


def _node(row: dict[str, Any], scores: dict[str, float]) -> dict[str, Any]:
    node: dict[str, Any] = {"id": row["node_id"], "parent": row["parent_id"], "draw": row["draw"]}
    if row["greedy"]:
        node["greedy"] = True
    if row["text"] is not None:
        node["text"] = row["text"]
    node["tokens"] = row["tokens"]
    node |= {key: _short(row[key]) for key in ("logprob", "min_logprob") if row[key] is not None}
    if row["stop"] != "step":
        node |= {"stop": row["stop"], "answer": row["answer"]}
        if row["answer"] is not None:
            node["correct"] = row["correct"]
    if scores:
        node["scores"] = scores
    return node


def _short(value: float) -> float:
    """The shortest number that is the same in the cache's single precision."""
    return float(str(np.float32(value)))
