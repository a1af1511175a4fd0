"""Best of n and coverage without chance: expected values over all n-subsets of a pool."""

from __future__ import annotations

import numpy as np
from numba import prange

from tts_sim.arrays import Float32s, Float64s, Int, Int64s, Solutions, Trees
from tts_sim.kernels._jit import kernel, kernel_parallel
from tts_sim.kernels.sample import pool_of, votes_of, weights_of


@kernel
def write_chances(num: Int, n: Int, one: Float64s, two: Float64s) -> None:
    """Write one[i], the chance that n of `num` are all among the first i, and two[i], that the next n are as well.

    one[i] = C(i, n) / C(num, n); two[i] = C(i - n, n) / C(num - n, n), given that the first n are there; 0 if 2n > num.
    """
    one[num], two[num] = 1.0, 1.0 if 2 * n <= num else 0.0
    for i in range(num, 0, -1):
        one[i - 1] = one[i] * (i - n) / i if i > n else 0.0
        two[i - 1] = two[i] * (i - 2 * n) / (i - n) if i > 2 * n else 0.0


@kernel
def expected_best(key: Float64s, right: Float64s, order: Int64s, one: Float64s, two: Float64s) -> tuple[float, float]:
    """Expected `right` of the highest-keyed of n, tied ones sharing; and of its product for two disjoint subsets.

    `order` sorts the keys. The highest of a subset stands in a group of equal keys with the chance by which `one`
    grows along it (Chen et al. 2021, arXiv:2107.03374, for the oracle). Of two subsets, the lower one is in group g
    and the upper one in a higher group h with chance (one along g) x (two along h), and then they are independent; if
    both are in g, their winners are a pair of different members.
    """
    value, product, below = 0.0, 0.0, 0.0
    low = 0
    while low < len(order):
        high, total = low, 0.0
        while high < len(order) and key[order[high]] == key[order[low]]:
            total += right[order[high]]
            high += 1
        size = high - low
        here = (one[high] - one[low]) * total / size
        value += here
        product += 2.0 * below * (two[high] - two[low]) * total / size
        if size > 1:
            both = one[high] * two[high] - 2.0 * one[low] * two[high] + one[low] * two[low]
            product += both * total * (total - 1.0) / (size * (size - 1))
        below += here
        low = high
    return value, product


@kernel
def best_question(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, q: Int, budgets: Int64s, found: Solutions,
    value: Float64s, within: Float64s, critical: Float64s,
) -> None:  # fmt: skip
    """Write the closed forms of question q; NaN where a solution is not complete or n exceeds the pool."""
    value[:], within[:], critical[:] = np.nan, np.nan, np.nan
    solutions = pool_of(found, q, True)
    pool = len(solutions)
    if pool == 0 or pool < found.start[q + 1] - found.start[q]:
        return
    votes = votes_of(trees, found, q, solutions)
    right = (votes.answer < votes.num_correct).astype(np.float64)
    num = len(kinds)
    key, order = np.empty((num + 1, pool), np.float64), np.empty((num + 1, pool), np.int64)
    key[:num] = weights_of(scores, kinds, columns, found, solutions, votes)
    key[num] = found.tokens[solutions]
    for s in range(num + 1):
        order[s] = np.argsort(key[s], kind="mergesort")
    one, two = np.empty(pool + 1, np.float64), np.empty(pool + 1, np.float64)
    for b in range(len(budgets)):
        if budgets[b] <= pool:
            write_chances(pool, budgets[b], one, two)
            critical[b], _ = expected_best(key[num], key[num], order[num], one, two)
            for s in range(num):
                value[b, s], product = expected_best(key[s], right, order[s], one, two)
                if 2 * budgets[b] <= pool:
                    within[b, s] = value[b, s] * value[b, s] - product


@kernel_parallel
def best_of_n(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, budgets: Int64s, found: Solutions,
    value: Float64s, within: Float64s, critical: Float64s,
) -> None:  # fmt: skip
    """Write value[q, b, s] of `best` and `oracle`, its variance over new pools, and the expected longest solution.

    `within` is U² less the expected product over disjoint subsets, unbiased for 2n <= K; for the oracle that is
    g_n² - g_2n, g_n the chance that n are wrong (statistics 2.1).
    """
    for q in prange(len(trees.question_start) - 1):
        best_question(trees, scores, kinds, columns, np.int64(q), budgets, found, value[q], within[q], critical[q])
