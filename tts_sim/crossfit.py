"""Cross-fitting by question: a policy is fitted on some questions and judged on the others, many times over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tts_sim.arms import Arms
from tts_sim.arrays import Bools, Float64s, Int64s
from tts_sim.choosing import NOTHING, Rules, choose_arms
from tts_sim.draws import mixed, question_key


class HeldOut(NamedTuple):
    """Figures of S splits, L limits, Q questions: what each question got from policies that had not seen it."""

    value: Float64s  # (S, L, Q) NaN where its arm has no value there, or where it was not held out
    cost: Float64s  # (S, L, Q)
    picks: Int64s  # (S, F, L, B) arm that each training set chose, or NOTHING


class Means(NamedTuple):
    """Per limit and question, over splits; NaN where no split gave a figure."""

    value: Float64s  # (L, Q)
    cost: Float64s  # (L, Q)


def crossfit(arms: Arms, difficulty: Float64s, folds: Int64s, rules: Rules, weights: Float64s | None = None) -> HeldOut:
    """What each question gets from the policy that the other folds of each split choose.

    `folds` has shape (S, Q): the fold in which a question is held out, one row a split. Bins are fitted on the training
    folds. `weights` (Q,) are how often a question counts, in training as in a bootstrap (1 without them).
    Where a training set has nothing within a limit, its cheapest arm is taken: the held-out cost shows it.
    Source: statistics §4 (evaluate).
    """
    counts = np.ones(len(difficulty)) if weights is None else weights
    num_splits, num_folds, num_limits = len(folds), int(folds.max()) + 1, len(rules.limits)
    value, cost = (np.full((num_splits, num_limits, len(difficulty)), np.nan) for _ in range(2))
    picks: Int64s | None = None
    for split, fold_of in enumerate(folds):
        for fold in range(num_folds):
            held = np.flatnonzero((fold_of == fold) & (counts > 0))
            train = (fold_of != fold) & (counts > 0)
            chosen, levels = _train(arms, difficulty, counts, train, held, rules)
            if picks is None:
                picks = np.full((num_splits, num_folds, *chosen.shape), NOTHING, np.int64)
            picks[split, fold] = chosen
            value[split][:, held], cost[split][:, held] = figures(arms, chosen, levels, held)
    assert picks is not None
    return HeldOut(value, cost, picks)


def _train(
    arms: Arms, difficulty: Float64s, counts: Float64s, train: Bools, held: Int64s, rules: Rules
) -> tuple[Int64s, Int64s]:
    """Arms that the training questions choose, shape (L, B), and the levels of those held out."""
    bins = rules.bins_for(np.repeat(difficulty[train], counts[train].astype(np.int64)))
    levels = np.zeros(len(difficulty), np.int64)
    levels[train] = bins.levels(difficulty[train])
    weights = np.where(train, counts, 0.0)
    chosen = choose_arms(arms, levels, weights, bins.num_bins, rules, at_least_the_cheapest=True)
    return chosen.arm, bins.levels(difficulty[held])


def figures(arms: Arms, chosen: Int64s, levels: Int64s, rows: Int64s) -> tuple[Float64s, Float64s]:
    """Accuracy and cost of the questions at `rows`, of these levels, under a policy; both of shape (L, rows)."""
    taken = chosen[:, levels - 1]
    nothing = taken == NOTHING
    return tuple(np.where(nothing, np.nan, grid[rows[None, :], taken]) for grid in (arms.value, arms.cost))  # type: ignore[return-value]


def over_splits(held_out: HeldOut) -> Means:
    """Means over the splits in which a question has a figure."""
    return Means(_mean(held_out.value), _mean(held_out.cost))


def _mean(figures_: Float64s) -> Float64s:
    there = ~np.isnan(figures_)
    count = there.sum(axis=0)
    return np.where(count > 0, np.where(there, figures_, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def split_folds(question_ids: Sequence[str], levels: Int64s, *, folds: int, splits: int, seed: int) -> Int64s:
    """The fold of each question in each split, shape (splits, Q): each level is spread evenly over the folds.

    A hash of seed, split and question's id orders the questions of a level: neither their order nor the number of
    threads changes a fold. Raises ValueError for fewer questions than folds, fewer than two folds, or no split.
    """
    if folds < 2 or folds > len(question_ids):
        raise ValueError(f"folds {folds}: expected from 2 to the number of questions ({len(question_ids)}).")
    if splits < 1:
        raise ValueError(f"splits {splits}: expected a whole number from 1.")
    keys = mixed(np.uint64(seed), np.array([question_key(question) for question in question_ids], np.uint64))
    found = np.empty((splits, len(keys)), np.int64)
    for split in range(splits):
        found[split, np.lexsort((mixed(keys, np.uint64(split)), levels))] = np.arange(len(keys)) % folds
    return found


def bootstrap_values(
    arms: Arms, difficulty: Float64s, levels: Int64s, rules: Rules, *, folds: int, draws: int, seed: int
) -> Float64s:
    """Cross-fitted accuracy of the whole pipeline on `draws` resamples of the questions, shape (draws, L).

    Weights of the questions are drawn first, folds on the distinct ones: copies of a question stay in one fold. Each
    draw is split once, which adds a little to its spread. Source: statistics §4.
    """
    random = np.random.default_rng(seed)
    count = len(difficulty)
    fold_of = split_folds(arms.question_ids, levels, folds=folds, splits=draws, seed=seed)
    values = np.empty((draws, len(rules.limits)))
    for draw in range(draws):
        weights = random.multinomial(count, np.full(count, 1 / count)).astype(np.float64)
        held_out = crossfit(arms, difficulty, fold_of[draw : draw + 1], rules, weights).value[0]
        there = ~np.isnan(held_out)
        total = (there * weights).sum(axis=1)
        with np.errstate(invalid="ignore"):
            values[draw] = (np.where(there, held_out, 0.0) * weights).sum(axis=1) / total
    return values
