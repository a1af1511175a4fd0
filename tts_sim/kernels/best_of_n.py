"""Best of n and coverage without chance: expected values over all n-subsets of a pool."""

from __future__ import annotations

import numpy as np

from tts_sim.arrays import Float32s, Float64s, Int, Int64s, Solutions, Trees
from tts_sim.kernels._jit import kernel, kernel_part
from tts_sim.kernels.sample import pool_of, votes_of, weights_of


@kernel_part
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


@kernel_part
def best_question(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, q: Int, budgets: Int64s, found: Solutions,
    value: Float64s, within: Float64s, critical: Float64s,
) -> None:  # fmt: skip
    """Write the closed forms of question q, where all its solutions are complete and n does not exceed the pool."""
    solutions = pool_of(found, q, True)
    pool, num = len(solutions), len(kinds)
    if pool == 0 or pool < found.start[q + 1] - found.start[q]:
        return
    votes = votes_of(trees, found, q, solutions)
    weight = weights_of(scores, kinds, columns, found, solutions, votes)
    right, length = np.empty(pool, np.float64), np.empty(pool, np.float64)
    for i in range(pool):
        right[i] = 1.0 if votes.answer[i] < votes.num_correct else 0.0
        length[i] = found.tokens[solutions[i]]
    one, two = np.empty(pool + 1, np.float64), np.empty(pool + 1, np.float64)
    for s in range(-1, num):
        key = weight[s] if s >= 0 else length
        order = np.argsort(key)
        for b in range(len(budgets)):
            if budgets[b] <= pool:
                write_chances(pool, budgets[b], one, two)
                if s < 0:
                    critical[b], _ = expected_best(length, length, order, one, two)
                else:
                    value[b, s], product = expected_best(key, right, order, one, two)
                    if 2 * budgets[b] <= pool:
                        within[b, s] = value[b, s] * value[b, s] - product


@kernel
def best_of_n(
    start: Int, stop: Int, room: None, trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, budgets: Int64s,
    found: Solutions, value: Float64s, within: Float64s, critical: Float64s,
) -> None:  # fmt: skip
    """Write value[q, b, s] of `best` and `oracle`, its variance over new pools, and the expected longest solution.

    For questions start:stop; nothing is written where they are not known. `within` is U² less the expected product over
    disjoint subsets, unbiased for 2n <= K; for the oracle that is g_n² - g_2n, g_n the chance that n are wrong
    (statistics 2.1).
    """
    for q in range(start, stop):
        best_question(trees, scores, kinds, columns, q, budgets, found, value[q], within[q], critical[q])
