"""Difficulty of questions, measured by how often one solution is correct."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tts_sim.bins import NUM_BINS, by_quantiles
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


def difficulty_levels(values: Mapping[str, float], num_bins: int = NUM_BINS) -> dict[str, int]:
    """Difficulty of each question, 1 (easiest) to `num_bins`, by quantiles of the given pass@1."""
    if not values:
        return {}
    shares = np.array(list(values.values()))
    levels = by_quantiles(shares, num_bins).levels(shares)  # also for a handful of questions
    return dict(zip(values, levels.tolist(), strict=True))
