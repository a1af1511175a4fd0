"""Selections over a list of finished candidates, and the bookkeeping of what they are worth."""

from __future__ import annotations

import numpy as np

from tts_sim.arrays import Float32s, Float64s, Int, Int32s, Tally, Trees
from tts_sim.kernels._jit import kernel_inlined

MAJORITY, BEST, WEIGHTED, ORACLE = 0, 1, 2, 3


@kernel_inlined
def vote(trees: Trees, weights: Float32s, counted: bool, q: Int, rows: Int32s, num: Int, sums: Float64s) -> float:
    """Share of correct ones among the answers with the largest sum of weights (of counts, if `counted`).

    Candidates without an answer abstain; an empty vote is worth 0. NaN if a weight that is needed is not there.
    Weights must not be negative: sums only grow, so the lead is known at once.
    `sums` is scratch with a place per answer of the question.
    """
    origin = trees.answer_start[q]
    for i in range(num):
        answer = trees.answer[np.uint64(rows[i])]  # unsigned: not looked at for a sign
        if answer >= 0:
            sums[np.uint64(answer - origin)] = -1.0
    highest, tied, correct = -1.0, np.int64(0), np.int64(0)
    for i in range(num):
        row = np.uint64(rows[i])
        answer = trees.answer[row]
        if answer >= 0:
            place = np.uint64(answer - origin)
            weight = 1.0 if counted else np.float64(weights[row])
            if weight != weight:
                return np.nan
            before = sums[place]
            after = (before if before > 0.0 else 0.0) + weight
            right = np.int64(trees.answer_correct[np.uint64(answer)])
            sums[place] = after
            if after > highest:
                highest, tied, correct = after, np.int64(1), right
            elif after == highest and before != highest:
                tied += 1
                correct += right
    return correct / tied if tied else 0.0


@kernel_inlined
def best(trees: Trees, scores: Float32s, rows: Int32s, num: Int) -> float:
    """Share of correct ones among the candidates with the highest score; abstentions and NaN as in `vote`."""
    highest = -np.inf
    tied = 0
    correct = 0
    for i in range(num):
        if trees.answer[rows[i]] >= 0:
            score = scores[rows[i]]
            if score != score:
                return np.nan
            if score > highest:
                highest = score
                tied = 0
                correct = 0
            if score == highest:
                tied += 1
                correct += trees.answer_correct[trees.answer[rows[i]]]
    return correct / tied if tied else 0.0


@kernel_inlined
def any_correct(trees: Trees, rows: Int32s, num: Int) -> float:
    """1 if a candidate is correct, else 0."""
    for i in range(num):
        if trees.answer[rows[i]] >= 0 and trees.answer_correct[trees.answer[rows[i]]]:
            return 1.0
    return 0.0


@kernel_inlined
def worth(
    trees: Trees, scores: Float32s, kind: Int, column: Int, q: Int, rows: Int32s, num: Int, sums: Float64s
) -> float:
    """What one selection makes of the candidates rows[:num], in [0, 1]; NaN if a score is missing."""
    if kind in (MAJORITY, WEIGHTED):
        return vote(trees, scores[column], kind == MAJORITY, q, rows, num, sums)
    if kind == BEST:
        return best(trees, scores[column], rows, num)
    return any_correct(trees, rows, num)


@kernel_inlined
def note(tally: Tally, q: Int, b: Int, s: Int, value: float) -> None:
    """Add the value of a supported trial; call before the trial is counted in `supported`.

    Without branches: numba counts references to every array of the tally that is used in one, and that costs 70 ns.
    """
    first = tally.first[q, b, s] if tally.supported[q, b] > 0 else value
    tally.first[q, b, s] = first
    tally.shift[q, b, s] += value - first
    tally.squares[q, b, s] += (value - first) * (value - first)


@kernel_inlined
def spend(tally: Tally, q: Int, b: Int, generations: Int, tokens: Int, critical: Int, calls: Int, prefix: Int) -> None:
    """Count a supported trial with what it cost; call after its values are noted."""
    tally.supported[q, b] += 1
    tally.generations[q, b] += generations
    tally.tokens[q, b] += tokens
    tally.critical[q, b] += critical
    tally.calls[q, b] += calls
    tally.prefix[q, b] += prefix


@kernel_inlined
def want(tally: Tally, q: Int, row: Int, draw: Int) -> None:
    """List a draw that is missing, as far as there is room; count it always."""
    place = tally.wanted[q]
    if place < tally.wanted_row.shape[1]:
        tally.wanted_row[q, place] = row
        tally.wanted_draw[q, place] = draw
    tally.wanted[q] = place + 1
