"""Independent samples: one permutation of the pool per trial serves every budget by its prefixes."""

from __future__ import annotations

import numpy as np
from numba import prange

from tts_sim.arrays import Float32s, Float64s, Int, Int64s, Key, Solutions, Tally, Trees
from tts_sim.kernels._jit import kernel, kernel_parallel
from tts_sim.kernels.draws import draw_prefix, mix
from tts_sim.kernels.levels import COMPLETE, EXHAUSTED, MISSING
from tts_sim.kernels.select import BEST, MAJORITY, ORACLE, note, spend, want


@kernel
def _votes(
    trees: Trees, weights: Float32s, counted: bool, q: Int, b_stop: Int, budgets: Int64s, order: Int64s,
    found: Solutions, tally: Tally, s: Int, sums: Float64s,
) -> None:  # fmt: skip
    """Note the vote after each budget's prefix. Weights must not be negative: sums only grow, so the lead is O(1)."""
    origin = trees.answer_start[q]
    sums[:] = -1.0
    highest, tied, correct = -1.0, 0, 0
    i = 0
    for b in range(b_stop):
        while i < budgets[b]:
            row = found.row[found.start[q] + order[i]]
            i += 1
            if trees.answer[row] < 0:
                continue
            a = trees.answer[row] - origin
            before = sums[a]
            sums[a] = max(before, 0.0) + (1.0 if counted else np.float64(weights[row]))
            if sums[a] > highest:
                highest, tied, correct = sums[a], 1, int(trees.answer_correct[origin + a])
            elif sums[a] == highest and before != highest:
                tied += 1
                correct += trees.answer_correct[origin + a]
        note(tally, q, b, s, correct / tied if tied else 0.0)


@kernel
def _leaders(
    trees: Trees, scores: Float32s, q: Int, b_stop: Int, budgets: Int64s, order: Int64s, found: Solutions,
    tally: Tally, s: Int,
) -> None:  # fmt: skip
    """Note the highest-scored solution after each budget's prefix; tied ones share."""
    highest, tied, correct = -np.inf, 0, 0
    i = 0
    for b in range(b_stop):
        while i < budgets[b]:
            row = found.row[found.start[q] + order[i]]
            i += 1
            if trees.answer[row] < 0:
                continue
            score = np.float64(scores[row])
            if score > highest:
                highest, tied, correct = score, 0, 0
            if score == highest:
                tied += 1
                correct += trees.answer_correct[trees.answer[row]]
        note(tally, q, b, s, correct / tied if tied else 0.0)


@kernel
def _coverage(
    trees: Trees, q: Int, b_stop: Int, budgets: Int64s, order: Int64s, found: Solutions, tally: Tally, s: Int
) -> None:
    """Note after each budget's prefix whether it holds a correct solution."""
    solved = 0.0
    i = 0
    for b in range(b_stop):
        while i < budgets[b]:
            row = found.row[found.start[q] + order[i]]
            i += 1
            if trees.answer[row] >= 0 and trees.answer_correct[trees.answer[row]]:
                solved = 1.0
        note(tally, q, b, s, solved)


@kernel
def sample_question(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, q: Int, budgets: Int64s, trials: Int,
    seed: Key, found: Solutions, tally: Tally,
) -> None:  # fmt: skip
    """Replay question q `trials` times at every budget; `budgets` ascend and none exceeds the pool."""
    pool = found.start[q + 1] - found.start[q]
    most = budgets[-1]
    places, swapped, order = np.arange(pool), np.empty(most, np.int64), np.empty(most, np.int64)
    sums = np.empty(trees.answer_start[q + 1] - trees.answer_start[q], np.float64)
    spent, longest = np.empty(len(budgets), np.int64), np.empty(len(budgets), np.int64)
    listed = np.zeros(pool, np.bool_)
    key = mix(seed, trees.question_key[q])
    b_stop: Int = 0
    for t in range(trials):
        draw_prefix(mix(key, np.uint64(t)), pool, most, places, swapped, order)
        b_stop, tokens, critical = np.int64(0), np.int64(0), np.int64(0)
        missing, exhausted = False, False
        i = 0
        for b in range(len(budgets)):
            while i < budgets[b]:
                place = found.start[q] + order[i]
                tokens += found.tokens[place]
                critical = max(critical, found.tokens[place])
                if found.state[place] == MISSING:
                    missing = True
                    if not listed[order[i]]:
                        listed[order[i]] = True
                        want(tally, q, found.row[place], found.draw[place])
                elif found.state[place] == EXHAUSTED:
                    exhausted = True
                i += 1
            tally.missing[q, b] += missing
            tally.exhausted[q, b] += exhausted
            if not missing and not exhausted:
                b_stop = b + 1
                spent[b], longest[b] = tokens, critical
        for s in range(len(kinds)):
            if kinds[s] == ORACLE:
                _coverage(trees, q, b_stop, budgets, order, found, tally, s)
            elif kinds[s] == BEST:
                _leaders(trees, scores[columns[s]], q, b_stop, budgets, order, found, tally, s)
            else:
                counted = kinds[s] == MAJORITY
                _votes(trees, scores[columns[s]], counted, q, b_stop, budgets, order, found, tally, s, sums)
        for b in range(b_stop):
            spend(tally, q, b, budgets[b], spent[b], longest[b], budgets[b], 0)


@kernel_parallel
def sample(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, budgets: Int64s, trials: Int, seed: Key,
    found: Solutions, tally: Tally,
) -> None:  # fmt: skip
    """Replay `sample` on every question; the scores of complete solutions must be there."""
    for q in prange(len(trees.question_start) - 1):
        sample_question(trees, scores, kinds, columns, np.int64(q), budgets, trials, seed, found, tally)


@kernel
def closed_forms(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, budgets: Int64s, found: Solutions,
    value: Float64s, critical: Float64s,
) -> None:  # fmt: skip
    """Expected value of `oracle` and `best`, and expected longest solution, over all n-subsets of the pool.

    Written into value[q, b, s] and critical[q, b] of questions whose solutions are all complete; NaN elsewhere.
    With solutions in ascending order, a subset's last one stands at place i with probability F(i + 1) - F(i), where
    F(i) = C(i, n) / C(K, n). Source: Chen et al. 2021 (arXiv:2107.03374) for the oracle; `best` is the same argument.
    """
    for q in range(len(trees.question_start) - 1):
        start, stop = found.start[q], found.start[q + 1]
        pool = stop - start
        value[q] = np.nan
        critical[q] = np.nan
        complete = pool > 0
        for place in range(start, stop):
            complete &= found.state[place] == COMPLETE
        if not complete:
            continue
        share = np.empty(pool + 1, np.float64)
        correct = np.zeros(pool, np.float64)
        keys = np.empty((len(kinds) + 1, pool), np.float64)
        for i in range(pool):
            answer = trees.answer[found.row[start + i]]
            correct[i] = 1.0 if answer >= 0 and trees.answer_correct[answer] else 0.0
            for s in range(len(kinds)):
                if kinds[s] == ORACLE:
                    keys[s, i] = correct[i]
                else:
                    keys[s, i] = np.float64(scores[columns[s], found.row[start + i]]) if answer >= 0 else -np.inf
            keys[len(kinds), i] = found.tokens[start + i]
        orders = np.empty((len(kinds) + 1, pool), np.int64)
        for s in range(len(kinds) + 1):
            orders[s] = np.argsort(keys[s], kind="mergesort")
        for b in range(len(budgets)):
            n = budgets[b]
            if n > pool:
                continue
            share[pool] = 1.0
            for i in range(pool, 0, -1):
                share[i - 1] = share[i] * (i - n) / i if i > n else 0.0
            longest = 0.0
            for i in range(pool):
                longest += (share[i + 1] - share[i]) * keys[len(kinds), orders[len(kinds), i]]
            critical[q, b] = longest
            for s in range(len(kinds)):
                total = 0.0
                low = 0
                while low < pool:
                    high, right = low, 0.0
                    while high < pool and keys[s, orders[s, high]] == keys[s, orders[s, low]]:
                        right += correct[orders[s, high]]
                        high += 1
                    total += (share[high] - share[low]) * right / (high - low)
                    low = high
                value[q, b, s] = total
