"""Difficulty of questions, measured by how often one solution is correct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tts_sim.arrays import Float64s, Int64s
from tts_sim.forest import Forest


def pass_at_1(forest: Forest) -> dict[str, float]:
    """Share of correct ones among the cached solutions of each question (first attempts, in a run of revisions).

    Questions without a solution are left out.
    """
    trees = forest.trees
    correct = np.append(trees.answer_correct, False)
    if forest.kind == "revisions":
        prompts = trees.question_start[:-1]
        start, stop = trees.child_start[prompts], trees.child_stop[prompts]
        rows = np.concatenate([np.arange(a, b) for a, b in zip(start, stop, strict=True)] or [np.zeros(0, np.int64)])
        counts = stop - start
        complete = np.ones(len(rows), np.bool_)
    else:
        found = forest.solutions()
        rows, counts, complete = found.row, np.diff(found.start), found.state == 0
    question = np.repeat(np.arange(forest.num_questions), counts)
    answer = trees.answer[rows]
    solved = complete & (answer >= 0) & correct[np.maximum(answer, -1)]
    totals = np.bincount(question[complete], minlength=forest.num_questions)
    rights = np.bincount(question[solved], minlength=forest.num_questions)
    return {name: float(rights[q] / totals[q]) for q, name in enumerate(forest.question_ids) if totals[q]}


def quantile_edges(values: Sequence[float] | Float64s, num_bins: int = 5) -> Float64s:
    """The inner quantiles that cut the values into bins of about equal size (linear interpolation)."""
    return np.quantile(np.asarray(values, np.float64), np.arange(1, num_bins) / num_bins)


def levels_by_value(values: Sequence[float] | Float64s, edges: Sequence[float] | Float64s) -> Int64s:
    """Level of each value, 1 (easiest: the highest values) to len(edges) + 1; a value on an edge is above it.

    Tied values share a level, so that sizes may differ. Source: Snell et al. 2024 (arXiv:2408.03314) §3.2, whose bins
    of 100 to 105 questions show the same rule.
    """
    above = np.searchsorted(np.sort(np.asarray(edges, np.float64)), np.asarray(values, np.float64), side="right")
    return (len(edges) + 1 - above).astype(np.int64)


def difficulty_levels(values: Mapping[str, float], num_bins: int = 5) -> dict[str, int]:
    """Difficulty of each question, 1 (easiest) to `num_bins`, by quantiles of the given pass@1."""
    if not values:
        return {}
    shares = np.array(list(values.values()))
    return dict(
        zip(values, (int(level) for level in levels_by_value(shares, quantile_edges(shares, num_bins))), strict=True)
    )
