"""An outcome verifier from which solutions of a cache are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cache import Cache
from generate.recorder import Progress
from generate.training.fit import Fit
from generate.training.material import read_material
from generate.training.verifier_fit import Labelled, as_read, fit_verifier
from generate.verifiers.registry import AUTO


def train_outcome_verifier(
    cache: Cache,
    base: str,
    out: str | Path,
    *,
    run_id: str | None = None,
    format: str = AUTO,
    fit: Fit,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Trains a token classifier to tell right solutions from wrong ones, saves it in `out`, and returns its report.

    The target is whether the answer is right, at the last token of a solution only; the steps before it get scores too,
    but none that was learned: use `agg=last`. Of a run of revisions every attempt is read after those before it, as
    `generate score` reads it. Solutions cut off by length are no target: they score 0 by rule.
    Raises ValueError as `train_process_verifier` does.
    Source: Cobbe et al. 2021 (arXiv:2110.14168) §4.2, without the language-modelling loss.
    """
    material = read_material(cache, run_id)
    labelled = []
    for solution in material.solutions:
        read = as_read(material, solution)
        end = None if solution.stop == "length" else float(solution.correct)
        labelled.append(Labelled(solution.question_id, read, (*(None,) * (len(read.steps) - 1), end)))
    correct = [solution.correct for solution in material.solutions]
    return fit_verifier(material, labelled, correct, base, out, stage="orm", format=format, fit=fit, progress=progress)
