"""A process verifier from a cache's own Monte Carlo values: no human label, no other model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cache import Cache
from generate.recorder import Progress
from generate.training.fit import Fit
from generate.training.material import Material, read_material, step_values
from generate.training.verifier_fit import Labelled, as_read, fit_verifier
from generate.verifiers.registry import AUTO


def train_process_verifier(
    cache: Cache,
    base: str,
    out: str | Path,
    *,
    run_id: str | None = None,
    min_solutions: int = 1,
    format: str = AUTO,
    fit: Fit,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Trains a token classifier to predict each step's value, saves it in `out`, and returns its report.

    A step's target is the share of right solutions below it (view `node_values`), a soft label; at the end of a
    solution, whether it is right. A node that several solutions share is a target once. Values that rest on fewer than
    `min_solutions` solutions are left out: a flat sample gives one solution a step, and so the outcome alone; trees
    that branch give more. What a solution cut off by length scores at its end is no target: it is 0 by rule.
    Raises ValueError for a run of revisions, one without right or wrong solutions, or fewer than 3 questions.
    Source: Wang et al. 2024 (Math-Shepherd, arXiv:2312.08935) §3.3, soft estimation, with the recorded trees in place
    of rollouts made for the purpose.
    """
    if min_solutions < 1:
        raise ValueError(f"min_solutions {min_solutions}: expected a whole number from 1.")
    material = read_material(cache, run_id)
    if material.revisions is not None:
        raise ValueError(
            f"run '{material.run_id}' is of kind revisions: its attempts have no steps. "
            "Train an outcome verifier on it (`generate train orm`)."
        )
    values = step_values(cache, material.run_id, min_solutions=min_solutions)
    labelled = label_steps(material, values)
    correct = [solution.correct for solution in material.solutions]
    return fit_verifier(material, labelled, correct, base, out, stage="prm", format=format, fit=fit, progress=progress)


def label_steps(material: Material, values: dict[int, float]) -> list[Labelled]:
    """Each solution with the values of those of its steps that no earlier solution has shown."""
    seen: set[int] = set()
    labelled = []
    for solution in material.solutions:
        targets = []
        for place, node_id in enumerate(solution.node_ids):
            cut = solution.stop == "length" and place + 1 == len(solution.node_ids)
            targets.append(None if node_id in seen or cut else values.get(node_id))
            seen.add(node_id)
        labelled.append(Labelled(solution.question_id, as_read(material, solution), tuple(targets)))
    return labelled
