"""Expected values over all subsets of chains: order statistics where they say all, enumeration where it is cheap.

Beside its mean over all P-subsets a value has its mean product over all pairs of disjoint ones, where there are any:
the squared mean less that product estimates the variance over new generations without bias (statistics 3).
"""

from __future__ import annotations

import numpy as np

from tts_sim.arrays import Float64s, Int, Int64s
from tts_sim.kernels._jit import kernel_called, kernel_part
from tts_sim.kernels.chains import Ballots
from tts_sim.kernels.select import BEST, ORACLE

MOST_SUBSETS = 4096  # (with alternatives counted) that are enumerated
MOST_WORK = 1 << 17  # subsets × chains, and subsets × their own subsets


@kernel_called
def shares_below(pool: Int, size: Int, shift: Int, shares: Float64s) -> None:
    """shares[i + shift] = C(i, size) / C(pool, size), the chance that a subset lies among the i lowest; 0 before."""
    shares[:] = 0.0
    shares[pool + shift] = 1.0
    for i in range(pool, size, -1):
        shares[i + shift - 1] = shares[i + shift] * (i - size) / i


@kernel_part
def ever_right(right: Float64s, size: Int, paired: bool) -> tuple[float, float]:
    """Mean, and mean product, of the chance that one of a subset is right; chain i is so with chance right[i].

    Source: Chen et al. 2021 (arXiv:2107.03374) §2.1 where chances are 0 or 1; else the mean product over subsets.
    """
    num = len(right)
    most = 2 * size if paired else size
    wrong, certain = 0, True
    for i in range(num):
        wrong += right[i] == 0.0
        certain &= right[i] in (0.0, 1.0)
    missed = np.zeros(most + 1, np.float64)  # by number of chains: chance that none of a random subset is right
    missed[0] = 1.0
    if certain:
        for j in range(most):
            missed[j + 1] = missed[j] * max(wrong - j, 0) / (num - j)
    else:
        for i in range(num):
            for j in range(min(i + 1, most), 0, -1):
                missed[j] = missed[j] * (i + 1 - j) / (i + 1) + missed[j - 1] * (1.0 - right[i]) * j / (i + 1)
    never = float(missed[size])
    return 1.0 - never, 1.0 - 2.0 * never + float(missed[most]) if paired else np.nan


@kernel_called
def stands_for(kind: Int, cast: Ballots, key: Float64s, right: Float64s, tied: Int64s) -> bool:
    """Write the one ballot that stands for each chain: its score, its mean share of right ones, its tied attempts.

    The chance of a right one in place of the share, for `oracle`. False where alternatives differ in score.
    """
    alternative, ballot, weight, correct, sharing = cast.alternative, cast.ballot, cast.weight, cast.right, cast.tied
    for i in range(len(key)):
        first, stop = alternative[i], alternative[i + 1]
        right[i] = 0.0
        for m in range(first, stop):
            k = ballot[m]
            if m > first and weight[k] != key[i] and kind != ORACLE:
                return False
            key[i], tied[i] = weight[k], sharing[k]
            right[i] += 1.0 * (correct[k] > 0) if kind == ORACLE else correct[k] / sharing[k]
        right[i] /= stop - first
    return True


@kernel_called
def highest_wins(
    key: Float64s, right: Float64s, tied: Int64s, order: Int64s, shares: Float64s, others: Float64s, paired: bool
) -> tuple[float, float]:
    """Mean, and mean product, of the share of right ones among those that tie for the highest key of a subset.

    `order` sorts the keys. `shares` are those of a subset among all chains, `others` of a second one beside it, shifted
    by its size. Chains of equal key count equally: NaN if their numbers of tied attempts differ. Of two disjoint
    subsets whose winners stand in different groups of equal keys, the lower winner's lies altogether below the other's
    group, and the chances are a product; inside one group every pair of different members is as likely.
    Source: statistics 2.2, and its extension to pairs.
    """
    num = len(key)
    alike = True
    for i in range(num):
        alike &= right[i] == right[0]
    if alike:  # exactly so, whatever the rounding below
        return right[0], right[0] * right[0] if paired else np.nan
    mean, product, below = 0.0, 0.0, 0.0
    low = 0
    while low < num:
        high, total, squares = low, 0.0, 0.0
        while high < num and key[order[high]] == key[order[low]]:
            total += right[order[high]]
            squares += right[order[high]] * right[order[high]]
            if tied[order[high]] != tied[order[low]]:
                return np.nan, np.nan
            high += 1
        size = high - low
        won = (shares[high] - shares[low]) * total / size
        mean += won
        if paired:
            product += 2.0 * below * (others[high] - others[low]) * total / size
            if size > 1:
                both = shares[high] * others[high] - 2.0 * shares[low] * others[high] + shares[low] * others[low]
                product += both * (total * total - squares) / (size * (size - 1))
            below += won
        low = high
    return mean, product if paired else np.nan


@kernel_part
def number_of_ways(cast: Ballots, size: Int, most: Int) -> float:
    """Subsets of `size` chains times the alternatives that stand for them; no more than a bound if above `most`."""
    num = len(cast.alternative) - 1
    subsets = 1.0
    for j in range(min(size, num - size)):
        subsets *= (num - j) / (j + 1)
        if subsets > 2.0 * most:  # they grow from here on
            return subsets
    if cast.alternative[num] == num:
        return subsets
    ways = np.zeros(size + 1, np.float64)
    ways[0] = 1.0
    for i in range(num):
        several = cast.alternative[i + 1] - cast.alternative[i]
        for j in range(min(i + 1, size), 0, -1):
            ways[j] = min(ways[j] + ways[j - 1] * several, 1e300)
    return float(ways[size])


@kernel_part
def enumerated(kind: Int, cast: Ballots, size: Int, paired: bool, sums: Float64s) -> tuple[float, float]:
    """Mean, and mean product, of a selection over all subsets of `size` chains and all choices of alternatives.

    NaN if that is too much work. One walk through the tree of ascending subsets: a step adds one chain's ballots to
    those above it. Pairs of disjoint subsets by inclusion and exclusion: over all sets T of chains, the sum of
    (-1)^|T| times the square of the sum of values of the subsets that contain T.
    `sums` is scratch with a place per answer of the question, and one more.
    """
    alternative, ballot, answer, weight = cast.alternative, cast.ballot, cast.answer, cast.weight
    sharing, correct = cast.tied, cast.right
    num = len(alternative) - 1
    ways = number_of_ways(cast, size, MOST_SUBSETS)
    if ways > MOST_SUBSETS or ways * size > MOST_WORK or (paired and (size > 16 or ways * 2.0**size > MOST_WORK)):
        return np.nan, np.nan
    above = size if paired else 0  # the largest T
    choose = np.zeros((num + 1, above + 1), np.float64)
    choose[:, 0] = 1.0
    for i in range(1, num + 1):
        for j in range(1, above + 1):
            choose[i, j] = choose[i - 1, j - 1] + choose[i - 1, j]
    offset = np.zeros(above + 2, np.int64)  # sets T by size, then by their rank in colexicographic order
    for j in range(above + 1):
        offset[j + 1] = offset[j] + np.int64(choose[num, j])
    containing = np.zeros(offset[above + 1], np.float64)
    rank, members = np.zeros(1 << above, np.int64), np.zeros(1 << above, np.int64)

    chain, chosen = np.zeros(size, np.int64), np.zeros(size, np.int64)
    chance = np.ones(size + 1, np.float64)
    highest, tied, right = np.full(size + 1, -np.inf), np.zeros(size + 1, np.int64), np.zeros(size + 1, np.int64)
    kept, filled = np.empty(ballot[alternative[num]], np.float64), np.zeros(size + 1, np.int64)
    sums[:] = -1.0
    total, subsets = 0.0, 0.0
    d = 0
    while True:
        if chain[d] <= num - (size - d):
            i, m = chain[d], chosen[d]
            chance[d + 1] = chance[d] / (alternative[i + 1] - alternative[i])
            top, level, good, last = highest[d], tied[d], right[d], filled[d]
            for k in range(ballot[m], ballot[m + 1]):
                if kind == BEST:
                    if weight[k] > top:
                        top, level, good = weight[k], 0, 0
                    if weight[k] == top:
                        level += sharing[k]
                        good += correct[k]
                else:
                    before = sums[answer[k]]
                    kept[last] = before
                    last += 1
                    after = max(before, 0.0) + weight[k]
                    sums[answer[k]] = after
                    if after > top:
                        top, level, good = after, 1, correct[k]
                    elif after == top and before != top:
                        level += 1
                        good += correct[k]
            highest[d + 1], tied[d + 1], right[d + 1], filled[d + 1] = top, level, good, last
            if d + 1 < size:
                chain[d + 1], chosen[d + 1] = i + 1, alternative[i + 1]
                d += 1
                continue
            subsets += chance[d + 1]
            if good > 0:
                value = chance[d + 1] * good / level
                total += value
                for bit in range(above):
                    for part in range(1 << bit):
                        whole = part | 1 << bit
                        members[whole] = members[part] + 1
                        rank[whole] = rank[part] + np.int64(choose[chain[bit], members[whole]])
                        containing[offset[members[whole]] + rank[whole]] += value
        else:
            if d == 0:
                break
            d -= 1
        # take chain[d]'s ballots back and go on to its next alternative, or to the next chain
        if kind != BEST:
            m = chosen[d]
            for k in range(ballot[m + 1] - 1, ballot[m] - 1, -1):
                sums[answer[k]] = kept[filled[d] + k - ballot[m]]
        chosen[d] += 1
        if chosen[d] == alternative[chain[d] + 1]:
            chain[d] += 1
    if not paired:
        return total / subsets, np.nan
    containing[0] = total
    product, pairs = 0.0, subsets
    for j in range(above + 1):
        sign = 1.0 if j % 2 == 0 else -1.0
        for place in range(offset[j], offset[j + 1]):
            product += sign * containing[place] * containing[place]
    for j in range(size):
        pairs *= (num - size - j) / (j + 1)
    return total / subsets, product / pairs
