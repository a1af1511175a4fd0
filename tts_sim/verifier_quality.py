"""How well verifiers tell right solutions from wrong ones: accuracy, AUC and calibration, by level or difficulty.

The solutions are those of the root draws (`Forest.solutions`), and every sampled attempt in a run of revisions. A
solution without an answer is wrong; one that the verifier has not scored is left out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from tts_sim.arrays import NO_ANSWER, Bools, Float64s, Int64s
from tts_sim.difficulty import difficulty_levels, pass_at_1
from tts_sim.forest import Forest
from tts_sim.selections import Aggregate, checked_aggregate

NUM_BINS = 10
By = Literal["level", "difficulty"] | None


class Judged(NamedTuple):
    """Scored solutions of a run."""

    question: Int64s  # (L,)
    score: Float64s  # (L,)
    correct: Bools  # (L,)


def verifier_quality(
    forest: Forest, verifiers: Sequence[str] | None = None, *, by: By = None, agg: Aggregate = "last"
) -> pl.DataFrame:
    """One row per verifier and group, verifiers in the order given (None: all that scored the run).

    `agg` makes a solution's score out of its steps' scores; an attempt of a revision run is one step.

    num_solutions, num_unscored, num_questions   solutions with a score, without one; questions with a scored solution
    num_mixed             questions with both a right and a wrong solution
    pass_at_1             mean over questions, of all solutions (of first attempts, in a run of revisions)
    mean_correct          share of the scored solutions that are right
    mean_score            equal to mean_correct if the verifier is calibrated in the large
    accuracy              share of scored solutions on the right side of .5 (above: held to be right)
    auc                   chance that a right solution outscores a wrong one, ties half: all pairs of the group
    auc_within, auc_within_se   the same among the solutions of a question: mean over mixed questions, and its error
    auc_within_pairs      the same, every pair of solutions of one question with the same weight
    brier                 mean of (score − right)²
    calibration_error     mean gap between score and share right, over ten bins of width .1, weighted by solutions

    `auc` rewards a verifier that merely sees which questions are hard; a choice among the solutions of one question
    can only use what auc_within measures. accuracy, brier and calibration_error read scores as probabilities: null for
    a verifier with a score outside [0, 1]. Null is also what cannot be had: an AUC without pairs, an error of one
    question.
    Raises ValueError for an unknown verifier, `by` or `agg`.
    """
    groups, group_of = _groups(forest, by)
    rates = pass_at_1(forest)
    rate = np.array([rates.get(name, np.nan) for name in forest.question_ids])
    pass_rates = _mean_by(group_of[~np.isnan(rate)], rate[~np.isnan(rate)], len(groups))
    frames = []
    for verifier in _chosen(forest, verifiers):
        judged, unscored = _judged(forest, verifier, agg)
        figures = _figures(judged, group_of, len(groups))
        counted = {"num_unscored": np.bincount(group_of[unscored], minlength=len(groups)), "pass_at_1": pass_rates}
        frames.append(_labelled(forest, verifier, by, groups, {**figures, **counted}))
    order = ["num_solutions", "num_unscored", "num_questions", "num_mixed", "pass_at_1"]
    table = pl.concat(frames)
    keys = [column for column in ("run", "verifier", by) if column is not None]
    return table.select(*keys, *order, pl.exclude(*keys, *order))


def calibration(
    forest: Forest, verifiers: Sequence[str] | None = None, *, by: By = None, agg: Aggregate = "last"
) -> pl.DataFrame:
    """One row per verifier, group and tenth of the scores' range that holds a solution.

    The range is [0, 1] if all scores of the verifier lie in it, else from the smallest to the largest; decile 10 holds
    its upper end. `se` is the standard error of mean_correct over questions (solutions of one question go together):
    of a ratio of sums, null for a single question. A calibrated verifier has mean_correct = mean_score.
    Raises ValueError as `verifier_quality` does.
    """
    groups, group_of = _groups(forest, by)
    frames = []
    for verifier in _chosen(forest, verifiers):
        judged, _ = _judged(forest, verifier, agg)
        low, high = _range(judged.score)
        decile = _binned(judged.score, low, high)
        cell = group_of[judged.question] * NUM_BINS + decile
        num_cells = len(groups) * NUM_BINS
        filled = np.flatnonzero(np.bincount(cell, minlength=num_cells))
        share, error, num_questions = _clustered(cell, judged, num_cells)
        tenth = filled % NUM_BINS
        figures = {
            "decile": tenth + 1,
            "score_from": low + tenth * (high - low) / NUM_BINS,
            "score_to": low + (tenth + 1) * (high - low) / NUM_BINS,
            "num_solutions": np.bincount(cell, minlength=num_cells)[filled],
            "num_questions": num_questions[filled],
            "mean_score": _mean_by(cell, judged.score, num_cells)[filled],
            "mean_correct": share[filled],
            "se": error[filled],
        }
        frames.append(_labelled(forest, verifier, by, [groups[g] for g in filled // NUM_BINS], figures))
    return pl.concat(frames)


def _chosen(forest: Forest, verifiers: Sequence[str] | None) -> list[str]:
    chosen = list(forest.scores if verifiers is None else verifiers)
    if not chosen:
        raise ValueError(f"verifier: no verifier has scored run {forest.run_id!r}. Run `tts-sim generate score`.")
    return chosen


def _groups(forest: Forest, by: By) -> tuple[list[Any], Int64s]:
    """The groups in order, null last, and the place of each question's group; one group without `by`."""
    if by not in (None, "level", "difficulty"):
        raise ValueError(f"by={by!r}: expected level or difficulty.")
    if by is None:
        return [None], np.zeros(forest.num_questions, np.int64)
    difficulty = difficulty_levels(pass_at_1(forest)) if by == "difficulty" else {}
    given = [difficulty.get(name) for name in forest.question_ids] if by == "difficulty" else forest.levels
    column = pl.Series(by, given, strict=False)
    groups = column.unique().sort(nulls_last=True).to_list()
    place = {group: index for index, group in enumerate(groups)}
    return groups, np.array([place[group] for group in column.to_list()], np.int64)


def _judged(forest: Forest, verifier: str, agg: Aggregate) -> tuple[Judged, Int64s]:
    """The solutions that the verifier scored, and the questions of those that it did not."""
    checked_aggregate(agg)
    trees = forest.trees
    if forest.kind == "revisions":
        rows, agg = _sampled_attempts(forest), "last"  # an attempt is a solution of one step
        question = np.searchsorted(trees.question_start, rows, side="right") - 1
    else:
        found = forest.solutions()
        finished = found.state == 0
        rows = found.row[finished].astype(np.int64)
        question = np.repeat(np.arange(forest.num_questions), np.diff(found.start))[finished]
    score = forest.path_score(verifier, agg)[rows].astype(np.float64)
    answer = trees.answer[rows]
    correct = (answer >= 0) & np.append(trees.answer_correct, False)[np.maximum(answer, -1)]
    scored = ~np.isnan(score)
    return Judged(question[scored], score[scored], correct[scored]), question[~scored]


def _sampled_attempts(forest: Forest) -> Int64s:
    """Rows of the finished attempts with no greedy one on the way to them."""
    trees = forest.trees
    rows = np.arange(len(trees.parent))
    above = np.maximum(trees.parent, 0)
    greedy = (trees.parent >= 0) & (rows >= trees.child_stop[above])
    sampled = trees.parent >= 0
    while greedy.any():  # and what hangs below
        sampled &= ~greedy
        greedy = sampled & ~sampled[above] & (trees.parent[above] >= 0)
    return np.flatnonzero(sampled & (trees.answer != NO_ANSWER))


def _figures(judged: Judged, group_of: Int64s, num_groups: int) -> dict[str, Any]:
    """Figures of every group, shape (num_groups,); NaN for what cannot be had."""
    question, score, correct = judged
    num_questions = len(group_of)
    group = group_of[question]
    wins, right, wrong = _pair_wins(question, score, correct, num_questions)
    all_wins, all_right, all_wrong = _pair_wins(group, score, correct, num_groups)
    mixed = right * wrong > 0
    within, area = group_of[mixed], wins[mixed] / (right * wrong)[mixed]
    mean_area = _mean_by(within, area, num_groups)
    num_mixed = np.bincount(within, minlength=num_groups)
    squares = np.bincount(within, (area - mean_area[within]) ** 2, num_groups)
    figures: dict[str, Any] = {
        "num_solutions": np.bincount(group, minlength=num_groups),
        "num_questions": np.bincount(group_of[right + wrong > 0], minlength=num_groups),
        "num_mixed": num_mixed,
        "mean_correct": _mean_by(group, correct, num_groups),
        "mean_score": _mean_by(group, score, num_groups),
        "accuracy": _mean_by(group, (score > 0.5) == correct, num_groups),
        "auc": _ratio(all_wins, all_right * all_wrong),
        "auc_within": mean_area,
        "auc_within_se": np.sqrt(_ratio(squares, np.where(num_mixed > 1, num_mixed * (num_mixed - 1.0), 0))),
        "auc_within_pairs": _ratio(
            np.bincount(within, wins[mixed], num_groups), np.bincount(within, (right * wrong)[mixed], num_groups)
        ),
        "brier": _mean_by(group, (score - correct) ** 2, num_groups),
        "calibration_error": _calibration_error(judged, group, num_groups),
    }
    if _range(score) != (0, 1):
        figures |= {name: np.full(num_groups, np.nan) for name in ("accuracy", "brier", "calibration_error")}
    return figures


def _pair_wins(key: Int64s, score: Float64s, correct: Bools, num_keys: int) -> tuple[Float64s, Float64s, Float64s]:
    """Pairs of a right and a wrong solution of one key that the right one wins (ties half), and counts of both.

    By ranks: the ranks of the right ones sum to the pairs they win, and those among themselves. Mann & Whitney 1947.
    """
    order = np.lexsort((score, key))
    key, score, correct = key[order], score[order], correct[order]
    right, wrong = (np.bincount(key[side], minlength=num_keys).astype(np.float64) for side in (correct, ~correct))
    fresh = np.append(True, (key[1:] != key[:-1]) | (score[1:] != score[:-1]))[: len(key)]
    tie = np.cumsum(fresh) - 1
    first = np.flatnonzero(fresh)
    middle = (first + np.append(first[1:], len(key)) + 1) / 2 if len(first) else np.zeros(0)  # mean rank, from 1
    before = np.cumsum(right + wrong) - (right + wrong)
    rank = middle[tie] - before[key]
    return np.bincount(key, rank * correct, num_keys) - right * (right + 1) / 2, right, wrong


def _calibration_error(judged: Judged, group: Int64s, num_groups: int) -> Float64s:
    cell = group * NUM_BINS + _binned(judged.score, 0, 1)
    gap = np.bincount(cell, judged.score - judged.correct, num_groups * NUM_BINS)
    return _ratio(np.abs(gap).reshape(num_groups, NUM_BINS).sum(axis=1), np.bincount(group, minlength=num_groups))


def _clustered(cell: Int64s, judged: Judged, num_cells: int) -> tuple[Float64s, Float64s, Int64s]:
    """Share right of each cell, its standard error over questions, and how many questions it holds.

    The share is a ratio of sums over G questions, and its error √(G / (G − 1) Σ (right − share · size)²) / Σ size.
    Source: Cochran, Sampling Techniques (1977), ch. 9A: clusters of unequal size.
    """
    pair, at = np.unique(judged.question * num_cells + cell, return_inverse=True)
    cell_of = pair % num_cells
    size, right = np.bincount(at, minlength=len(pair)), np.bincount(at, judged.correct, len(pair))
    total, num_questions = np.bincount(cell_of, size, num_cells), np.bincount(cell_of, minlength=num_cells)
    share = _ratio(np.bincount(cell_of, right, num_cells), total)
    squares = np.bincount(cell_of, (right - share[cell_of] * size) ** 2, num_cells)
    return share, np.sqrt(squares * _ratio(num_questions, num_questions - 1)) / np.maximum(total, 1), num_questions


def _range(score: Float64s) -> tuple[float, float]:
    """[0, 1], or the scores' own range if one lies outside."""
    if not len(score) or (score.min() >= 0 and score.max() <= 1):
        return 0, 1
    return float(score.min()), float(score.max())


def _binned(score: Float64s, low: float, high: float) -> Int64s:
    """Tenth of the range in which each score lies, 0 to 9; all in the first if the range is a point."""
    place = (score - low) * (NUM_BINS / (high - low)) if high > low else np.zeros(len(score))
    return np.clip(place, 0, NUM_BINS - 1).astype(np.int64)


def _mean_by(key: Int64s, value: Any, num_keys: int) -> Float64s:
    return _ratio(np.bincount(key, value, num_keys), np.bincount(key, minlength=num_keys))


def _ratio(above: Any, below: Any) -> Float64s:
    """above / below, NaN where below is not positive."""
    shares: Float64s = np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)
    return shares


def _labelled(forest: Forest, verifier: str, by: By, groups: list[Any], figures: dict[str, Any]) -> pl.DataFrame:
    """Columns run, verifier, the group if there is one, and the figures, NaN as null."""
    labels = {"run": pl.repeat(forest.run_id, len(groups), eager=True, dtype=pl.String)}
    labels["verifier"] = pl.repeat(verifier, len(groups), eager=True, dtype=pl.String)
    if by is not None:
        labels[by] = pl.Series(by, groups, strict=False)
    return pl.DataFrame({**labels, **figures}, nan_to_null=True)
