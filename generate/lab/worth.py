"""Whether a recorded lab cache is worth analysing: spread of difficulty, a verifier that sees, room above majority."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from cache import Cache
from tts_sim.load import load_forest
from tts_sim.replay import replay


def worth(cache: Cache) -> dict[str, Any]:
    """The figures that issue a verdict on a sample, measured on its own questions.

    AUC is that of the process verifier's last-step score among the finished flat samples of one question, averaged over
    the questions of mixed outcome (each with equal weight), and pooled over all pairs of a right and a wrong one.
    """
    forest = load_forest(cache, "base")
    most = int(forest.root_pools().min())
    budgets = [2**power for power in range(most.bit_length())]
    frame = replay(
        forest, ["sample+oracle", "sample+majority", "sample+weighted", "sample+best"], budgets, seed=0
    ).frame
    pass_at_1 = _values(frame, "sample+oracle", 1)
    coverage, majority = _values(frame, "sample+oracle", most), _values(frame, "sample+majority", most)
    gains = {}
    for budget in budgets:
        difference = _values(frame, "sample+weighted", budget) - _values(frame, "sample+majority", budget)
        error = float(difference.std(ddof=1)) / len(difference) ** 0.5
        gains[budget] = (float(difference.mean()), error)
    best = max(budgets, key=lambda budget: gains[budget][0] / gains[budget][1] if gains[budget][1] > 0 else 0.0)
    large = replay(load_forest(cache, "large"), ["sample+oracle"], [1], seed=0).frame["accuracy"].mean()
    greedy = cache.frame(
        "SELECT avg(coalesce(correct, false)::INTEGER) FROM nodes LEFT JOIN answers USING (question_id, answer_id) "
        "WHERE run_id = 'large' AND greedy AND stop <> 'step'"
    ).item()
    mean_auc, pooled_auc, mixed = within_question_auc(cache)
    return {
        "questions in each fifth of pass@1": np.histogram(pass_at_1, bins=5, range=(0, 1))[0].tolist(),
        "pass@1, lowest and highest": [float(pass_at_1.min()), float(pass_at_1.max())],
        "pass@1": float(pass_at_1.mean()),
        f"coverage at {most}": float(coverage.mean()),
        f"majority at {most}": float(majority.mean()),
        f"coverage minus majority at {most}": float((coverage - majority).mean()),
        "AUC of prm within questions of mixed outcome": mean_auc,
        "the same, pooled over pairs": pooled_auc,
        "questions of mixed outcome": mixed,
        f"weighted best-of-n minus majority at {best}": gains[best][0],
        "its paired standard error": gains[best][1],
        "large model: pass@1": large,
        "large model: greedy": greedy,
    }


def within_question_auc(cache: Cache) -> tuple[float, float, int]:
    """(mean over questions, pooled over pairs, number of questions) of the base run's flat samples; ties count half."""
    rows = cache.frame(
        "SELECT question_id, coalesce(correct, false) AS correct, score FROM paths "
        "JOIN nodes USING (run_id, question_id, node_id) JOIN scores USING (run_id, node_id) "
        "LEFT JOIN answers USING (question_id, answer_id) "
        "WHERE run_id = 'base' AND verifier_id = 'prm' AND flat AND stop <> 'step'"
    )
    areas, pairs = [], []
    for (_,), group in rows.group_by("question_id", maintain_order=True):
        right = group.filter(pl.col("correct"))["score"].to_numpy()
        wrong = group.filter(~pl.col("correct"))["score"].to_numpy()
        if len(right) and len(wrong):
            wins = np.searchsorted(np.sort(wrong), right, "left") + np.searchsorted(np.sort(wrong), right, "right")
            areas.append(wins.sum() / 2 / (len(right) * len(wrong)))
            pairs.append(len(right) * len(wrong))
    if not areas:
        return float("nan"), float("nan"), 0
    return float(np.mean(areas)), float(np.average(areas, weights=pairs)), len(areas)


def _values(frame: pl.DataFrame, strategy: str, budget: int) -> Any:
    """Accuracy per question, in question order."""
    chosen = frame.filter((pl.col("strategy") == strategy) & (pl.col("budget") == budget))
    return chosen.sort("question_id")["accuracy"].to_numpy()
