"""Revision chains without chance: expected values and costs over all choices of the chains that are long enough."""

from __future__ import annotations

import numpy as np

from tts_sim.arrays import Float32s, Float64s, Int, Int8s, Int64s, Trees
from tts_sim.kernels._jit import kernel
from tts_sim.kernels.chains import Chains, cast_ballots, eligible_chains
from tts_sim.kernels.select import BEST, ORACLE
from tts_sim.kernels.subsets import enumerated, ever_right, highest_wins, shares_below, stands_for


@kernel
def exact(
    start: Int, stop: Int, room: Float64s, trees: Trees, chains: Chains, scores: Float32s, kinds: Int64s,
    columns: Int64s, across: Int, groups: Int64s, parallel: Int64s, sequential: Int64s, pool: Int, context: Int,
    value: Float64s, product: Float64s, costs: Float64s, status: Int8s,
) -> None:  # fmt: skip
    """Fill in the mean value and the mean product of disjoint pairs [q, b, s], and the costs [q, b], as `revise` does.

    All come in as NaN, and stay so where a question holds too few chains or nothing short of chance is known. Costs
    are tokens, critical tokens and tokens read again.
    """
    num_groups = len(groups) - 1
    for pair in range(start, stop):
        q, g = np.int64(pair // num_groups), np.int64(pair % num_groups)
        b_start, b_stop, length = groups[g], groups[g + 1], sequential[groups[g]]
        found = eligible_chains(trees, chains, q, length, pool, context)
        num = len(found.chains)
        if num == 0:
            continue
        sums = room[: trees.answer_start[q + 1] - trees.answer_start[q] + 1]
        key, right, tied = np.empty(num, np.float64), np.empty(num, np.float64), np.empty(num, np.int64)
        shares, others = np.empty(num + 1, np.float64), np.empty(num + 1, np.float64)
        tokens = found.tokens.astype(np.float64)
        longest = tokens[np.argsort(tokens, kind="mergesort")]  # the sort that `best` compiles too
        total, above = np.int64(0), np.int64(0)
        for i in range(num):
            total += found.tokens[i]
            above += found.above[i]
        for b in range(b_start, b_stop):
            if parallel[b] > num:
                continue
            shares_below(num, parallel[b], 0, shares)
            costs[q, b, 0] = parallel[b] * (total / num)
            costs[q, b, 1] = 0.0
            for i in range(num):
                costs[q, b, 1] += (shares[i + 1] - shares[i]) * longest[i]
            costs[q, b, 2] = parallel[b] * (above / num)
        for s in range(len(kinds)):
            scored, cast = cast_ballots(trees, chains, scores[columns[s]], kinds[s], across, q, length, found, sums)
            if not scored:
                status[q] = 1
                return
            alone = kinds[s] in (BEST, ORACLE) and stands_for(kinds[s], cast, key, right, tied)
            order = np.argsort(key, kind="mergesort") if kinds[s] == BEST and alone else np.empty(0, np.int64)
            for b in range(b_start, b_stop):
                size = parallel[b]
                if size > num:
                    continue
                paired = 2 * size <= num
                if alone and kinds[s] == ORACLE:
                    value[q, b, s], product[q, b, s] = ever_right(right, size, paired)
                elif alone:
                    shares_below(num, size, 0, shares)
                    if paired:
                        shares_below(num - size, size, size, others)
                    value[q, b, s], product[q, b, s] = highest_wins(key, right, tied, order, shares, others, paired)
                if np.isnan(value[q, b, s]):
                    value[q, b, s], product[q, b, s] = enumerated(kinds[s], cast, size, paired, sums)
