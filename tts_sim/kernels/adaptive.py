"""Adaptive consistency: independent samples, one by one, until the first two answers are far enough apart."""

from __future__ import annotations

import numpy as np
from numba import prange

from tts_sim.arrays import Float32s, Int, Int32s, Int64s, Key, Solutions, Tally, Trees
from tts_sim.kernels._jit import kernel, kernel_inlined, kernel_parallel
from tts_sim.kernels.draws import draw_prefix, mix
from tts_sim.kernels.levels import COMPLETE, EXHAUSTED, MISSING
from tts_sim.kernels.sample import draw_again, pool_of
from tts_sim.kernels.select import note, spend, want, worth


@kernel_inlined
def draw_until_settled(
    trees: Trees, q: Int, most: Int, leads: Int64s, places: Int64s, order: Int64s, found: Solutions, rows: Int32s,
    spent: Int64s, counts: Int64s,
) -> tuple[Int, Int, Int, Int]:  # fmt: skip
    """Draw up to `most` solutions: how many, what ended it, and the counts of the first two answers.

    It ends COMPLETE if it was settled or came to `most`, or with the state of the solution that was not there. Their
    rows and the tokens up to each are written to `rows` and `spent`.
    """
    counts[:] = 0
    origin = trees.answer_start[q]
    leader, first, second, tokens = np.int64(-1), np.int64(0), np.int64(0), np.int64(0)
    for i in range(most):
        if i == len(order):
            return np.int64(i), np.int64(EXHAUSTED), first, second
        place = places[order[i]]
        if found.state[place] != COMPLETE:
            return np.int64(i), np.int64(found.state[place]), first, second
        rows[i] = found.row[place]
        tokens += found.tokens[place]
        spent[i] = tokens
        if trees.answer[rows[i]] >= 0:
            a = trees.answer[rows[i]] - origin
            counts[a] += 1
            if a == leader:
                first = counts[a]
            elif counts[a] > first:
                leader, first, second = np.int64(a), counts[a], first
            elif counts[a] > second:
                second = counts[a]
        if first >= leads[second]:
            return np.int64(i + 1), np.int64(COMPLETE), first, second
    return np.int64(most), np.int64(COMPLETE), first, second


@kernel
def adaptive_question(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, q: Int, budgets: Int64s, leads: Int64s,
    trials: Int, seed: Key, found: Solutions, reuse: bool, tally: Tally,
) -> None:  # fmt: skip
    """Replay question q `trials` times at every budget; `budgets` ascend, and leads[b] settles it against b."""
    most, solutions = budgets[-1], pool_of(found, q, reuse)
    pool = len(solutions)
    drawable = most if reuse and pool > 0 else min(most, pool)
    places, swapped, order = np.arange(pool), np.empty(drawable, np.int64), np.empty(drawable, np.int64)
    rows, spent = np.empty(most, np.int32), np.empty(most, np.int64)
    counts = np.zeros(trees.answer_start[q + 1] - trees.answer_start[q], np.int64)
    sums = np.empty(len(counts), np.float64)
    values = np.empty(len(kinds), np.float64)
    listed = np.zeros(pool, np.bool_)
    key = mix(seed, trees.question_key[q])
    for t in range(trials):
        if reuse:
            draw_again(mix(key, np.uint64(t)), pool, order)
        else:
            draw_prefix(mix(key, np.uint64(t)), pool, drawable, places, swapped, order)
        drawn, end, first, second = draw_until_settled(
            trees, q, most, leads, solutions, order, found, rows, spent, counts
        )
        if end == MISSING:  # whatever they are, this one and the next few will be needed
            for i in range(drawn, min(drawable, drawn + leads[second] - first)):
                place = solutions[order[i]]
                if found.state[place] == MISSING and not listed[order[i]]:
                    listed[order[i]] = True
                    want(tally, q, found.row[place], found.draw[place])
        before = np.int64(-1)
        for b in range(len(budgets)):
            num = min(drawn, budgets[b])
            if end != COMPLETE and budgets[b] > drawn:
                tally.missing[q, b] += end == MISSING
                tally.exhausted[q, b] += end == EXHAUSTED
                continue
            for s in range(len(kinds)):
                if num != before:
                    values[s] = worth(trees, scores, kinds[s], columns[s], q, rows, num, sums)
                    if values[s] != values[s]:
                        tally.status[q] = 1
                        return
                note(tally, q, b, s, values[s])
            before = num
            spend(tally, q, b, num, spent[num - 1], spent[num - 1], num, 0)


@kernel_parallel
def adaptive(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, budgets: Int64s, leads: Int64s, trials: Int,
    seed: Key, found: Solutions, reuse: bool, tally: Tally,
) -> None:  # fmt: skip
    """Replay `adaptive` on every question."""
    for q in prange(len(trees.question_start) - 1):
        adaptive_question(trees, scores, kinds, columns, np.int64(q), budgets, leads, trials, seed, found, reuse, tally)
