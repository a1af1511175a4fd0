"""Votes beyond the cache: from the distribution of answers that the samples show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tts_sim.arrays import Bools, Float64s, Int64s
from tts_sim.extrapolation.gate import COVERAGE_HORIZON, MOST_HELD_OUT, held_out_reason, ratio
from tts_sim.forest import Forest
from tts_sim.intervals import t_quantile
from tts_sim.selections import Majority, Weighted
from tts_sim.strategies.plan import Plan, score_columns, score_missing

TRIALS = 64
NORMAL = 1.96
CERTAIN = 1e-6  # chance of another winner below which none is drawn


class Ballots(NamedTuple):
    """The complete solutions of one question: answers 0 to A - 1 (-1: none was read), what their votes count for."""

    answer: Int64s  # (K,)
    weight: Float64s  # (K,)
    correct: Bools  # (A,)
    key: int


class Votes(NamedTuple):
    """What the votes of Q questions come to; the first two have shape (Q, budgets), the others (Q,)."""

    values: Float64s
    limit: Float64s  # what any number of samples leads to, by the shares that were seen
    open: Bools  # whether an answer that would change it is within 1.96 SE of the winner


class Extrapolated(NamedTuple):
    """Means over questions: of the values, their interval, the bounds, and what qualifies them."""

    value: Float64s  # this and the next four of shape (budgets,)
    ci_low: Float64s
    ci_high: Float64s
    bound_low: Float64s
    bound_high: Float64s
    limit: float
    near_ties: float  # share of questions that are open
    held_out_z: float
    reasons: list[str]


def votes_beyond(
    forest: Forest, selection: Majority | Weighted, verifier: str | None, budgets: Sequence[int], *, seed: int
) -> Extrapolated:
    """Accuracy of the vote at each budget, as if the samples of a question were all that its model can say.

    A vote of k samples that are drawn with replacement; the limit is 1 where the answer with the largest share (of
    scores, if weighted) is correct, and is approached exponentially. Bounds: questions that are `open` count as 0, or
    as 1, within 1.96 SE over questions. Refused if a quarter of the samples, so used, misses the vote of all of them.
    Beyond the horizon of coverage, which holds here as well, the limit stands for the value. A vote that Hoeffding's
    inequality settles is not drawn. Source: Wu et al. 2024 (arXiv:2408.00724), theorems 1 and 2; statistics §6.
    """
    ballots = ballots_of(forest, selection, verifier, seed)
    horizon = COVERAGE_HORIZON * min(len(ballot.answer) for ballot in ballots)
    near = [budget for budget in budgets if budget <= horizon]
    drawn, limit, is_open = polled(ballots, near or [horizon], seed)
    values = np.column_stack([drawn[:, : len(near)], *[limit] * (len(budgets) - len(near))])
    low, high = (mean_reach(np.where(is_open[:, None], end, values)) for end in (0.0, 1.0))
    mean, reach = mean_reach(values)
    degrees = t_quantile(0.975, len(ballots) - 1) / NORMAL
    z, reasons = _held_out(ballots, seed)
    return Extrapolated(
        mean,
        mean - degrees * reach,
        mean + degrees * reach,
        np.clip(low[0] - low[1], 0.0, 1.0),
        np.clip(high[0] + high[1], 0.0, 1.0),
        float(limit.mean()),
        float(is_open.mean()),
        z,
        reasons,
    )


def ballots_of(forest: Forest, selection: Majority | Weighted, verifier: str | None, seed: int) -> list[Ballots]:
    """The votes of every question. Raises ScoreMissing, and ValueError for negative scores."""
    found, trees = forest.solutions(), forest.trees
    answer = trees.answer[found.row].astype(np.int64)
    weight = np.ones(len(answer))
    if isinstance(selection, Weighted):
        plan = Plan(forest, [selection], [1], verifier, 1, seed)
        scores, columns = score_columns(plan, step_scores=False)
        weight = scores[columns[0]][found.row].astype(np.float64)
        lacking = np.flatnonzero((found.state == 0) & (answer >= 0) & np.isnan(weight))
        if len(lacking):
            raise score_missing(plan, int(np.searchsorted(found.start, lacking[0], side="right")) - 1)
    ballots = []
    for q in range(forest.num_questions):
        rows = np.arange(found.start[q], found.start[q + 1])
        rows = rows[found.state[rows] == 0]
        first, last = trees.answer_start[q], trees.answer_start[q + 1]
        codes = np.where(answer[rows] >= 0, answer[rows] - first, -1)
        worth = np.where(codes >= 0, weight[rows], 0.0)
        ballots.append(Ballots(codes, worth, trees.answer_correct[first:last], int(trees.question_key[q])))
    return ballots


def polled(ballots: Sequence[Ballots], budgets: Sequence[int], seed: int, trials: int = TRIALS) -> Votes:
    """The vote of every question at each budget (ascending). A question's draws depend on its id and the seed alone."""
    values = np.zeros((len(ballots), len(budgets)))
    limit, is_open = np.zeros(len(ballots)), np.zeros(len(ballots), np.bool_)
    for q, ballot in enumerate(ballots):
        shares = _tally(ballot.answer, ballot.weight, len(ballot.correct))
        limit[q] = _winners_right(shares[None, :], ballot.correct)[0]
        is_open[q] = _is_open(ballot, shares)
        if _settled(ballot, shares, min(budgets)):
            values[q] = limit[q]
        else:
            values[q] = _drawn(ballot, budgets, trials, np.random.default_rng([seed, ballot.key]))
    return Votes(values, limit, is_open)


def mean_reach(values: Float64s) -> tuple[Float64s, Float64s]:
    """Mean over questions of each column, and 1.96 standard errors of it."""
    return values.mean(axis=0), NORMAL * values.std(axis=0, ddof=1) / np.sqrt(len(values))


def _held_out(ballots: Sequence[Ballots], seed: int) -> tuple[float, list[str]]:
    """z at K of the votes that a random quarter of the samples predicts, and the reason to refuse, if there is one."""
    num_samples = min(len(ballot.answer) for ballot in ballots)
    if num_samples < 4:
        return math.nan, []
    parts, truth = [], np.empty(len(ballots))
    for q, ballot in enumerate(ballots):
        order = np.random.default_rng([seed, ballot.key, 1]).permutation(len(ballot.answer))[:num_samples]
        truth[q] = _winners_right(
            _tally(ballot.answer[order], ballot.weight[order], len(ballot.correct))[None, :], ballot.correct
        )[0]
        few = order[: num_samples // 4]
        parts.append(ballot._replace(answer=ballot.answer[few], weight=ballot.weight[few]))
    predicted = polled(parts, [num_samples], seed).values[:, 0]
    difference, reach = mean_reach(predicted - truth)
    z = ratio(float(difference), float(reach) / NORMAL)
    if abs(z) <= MOST_HELD_OUT:
        return z, []
    return z, [held_out_reason(num_samples, float(predicted.mean()), float(truth.mean()), z)]


def _tally(answer: Int64s, weight: Float64s, num_answers: int) -> Float64s:
    """Sum of the weights of each answer, -inf for one that has no vote: an empty vote wins nothing."""
    voted = answer >= 0
    sums = np.bincount(answer[voted], weight[voted], minlength=num_answers).astype(np.float64)
    sums[np.bincount(answer[voted], minlength=num_answers) == 0] = -np.inf
    return sums


def _winners_right(sums: Float64s, correct: Bools) -> Float64s:
    """Share of correct ones among the answers with the largest sum, by row; 0 if none has a vote."""
    if not len(correct):
        return np.zeros(len(sums))
    best = sums.max(axis=1, keepdims=True)
    tied = (sums >= best - 1e-12 * np.abs(best)) & (sums > -np.inf)
    return np.asarray((tied & correct).sum(axis=1) / np.maximum(tied.sum(axis=1), 1), np.float64)


def _is_open(ballot: Ballots, sums: Float64s) -> bool:
    """Whether a right and a wrong answer are both within 1.96 SE of the winner, one that was never drawn being both."""
    if not len(sums) or not np.isfinite(sums.max()):
        return True
    top, num_samples = int(np.argmax(sums)), len(ballot.answer)
    total = np.append(np.where(np.isfinite(sums), sums, 0.0), 0.0)
    squares = np.append(
        np.bincount(
            ballot.answer[ballot.answer >= 0], weights=ballot.weight[ballot.answer >= 0] ** 2, minlength=len(sums)
        ),
        0.0,
    )
    margin = (total[top] - total) / num_samples
    variance = (squares[top] + squares) / num_samples - margin**2
    contends = margin <= NORMAL * np.sqrt(np.maximum(variance, 0.0) / num_samples)
    contends[top] = True
    right, wrong = contends[:-1] & ballot.correct, contends[:-1] & ~ballot.correct
    return bool(contends[-1] or (right.any() and wrong.any()))


def _settled(ballot: Ballots, sums: Float64s, fewest: int) -> bool:
    """Whether `fewest` draws or more give what the limit gives, but for a chance of CERTAIN. Source: Hoeffding 1963."""
    if not len(sums) or not np.isfinite(sums.max()):
        return True
    best = sums.max()
    right = ballot.correct[sums == best]
    if best == 0 or (right.any() and not right.all()):
        return False
    rivals = sums[(sums > -np.inf) & (ballot.correct != right[0])]
    margins = np.append((best - rivals), best) / len(ballot.answer) / ballot.weight.max()
    return bool(np.exp(-fewest * margins**2 / 2).sum() < CERTAIN)


def _drawn(ballot: Ballots, budgets: Sequence[int], trials: int, random: np.random.Generator) -> Float64s:
    """Mean value of the vote at each budget, ascending, over `trials` sequences of draws with replacement."""
    num_answers, num_samples = len(ballot.correct), len(ballot.answer)
    lines = np.arange(trials)[:, None] * (num_answers + 1)  # the last column takes those that have no answer
    codes = np.where(ballot.answer >= 0, ballot.answer, num_answers)
    counts = np.zeros((trials, num_answers + 1))
    sums = counts if (ballot.weight[ballot.answer >= 0] == 1).all() else counts.copy()
    values = np.empty(len(budgets))
    for place, (start, stop) in enumerate(pairwise([0, *budgets])):
        picks = random.integers(0, num_samples, (trials, stop - start), np.int32)
        cells = (codes[picks] + lines).ravel()
        counts += np.bincount(cells, minlength=counts.size).reshape(counts.shape)
        if sums is not counts:
            sums += np.bincount(cells, ballot.weight[picks].ravel(), counts.size).reshape(counts.shape)
        standing = np.where(counts > 0, sums, -np.inf)[:, :num_answers]
        values[place] = _winners_right(standing, ballot.correct).mean()
    return values
