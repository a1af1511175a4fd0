"""Blocks: what a selection makes of the disjoint blocks into which permutations of a pool are cut.

LANES permutations are worked on side by side. Budgets form chains, in which each divides the next; draws are laid out
so that at every budget of a chain the i-th draws of all blocks stand in adjacent columns (block by block, LANES columns
each), and so do the blocks that make up one part of the next budget's. Every loop below runs over such columns: it has
no branches and becomes vector instructions.

Which block stands where: a block of one budget is part k of block J of the next one, and has the place
k · (blocks of the next budget) + place of J; a block that is not whole at the next budget keeps its number.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tts_sim.arrays import Bools, Float64s, Int, Int64s
from tts_sim.kernels._jit import kernel, kernel_inlined
from tts_sim.kernels.select import BEST, MAJORITY, ORACLE

LANES = 8  # long enough loops where blocks are few, and scratch that still fits the first cache


class Layout(NamedTuple):
    """How D draws are cut at each of B budgets."""

    budgets: Int64s  # (B,) ascending
    first: Int64s  # (B,) where the chain of each budget begins
    blocks: Int64s  # (B,) D // budget
    place: Int64s  # (B, D) of each block
    row: Int64s  # (B, D) of each draw: its place as a block of one draw; where a chain begins


class Votes(NamedTuple):
    """A question's answers, numbered 0 : num, the correct ones first; `num` stands for none."""

    num: Int
    num_correct: Int
    answer: Int64s  # (K,) of each solution


class Desk(NamedTuple):
    """Scratch for one question; columns are blocks times LANES."""

    order: Int64s  # (LANES, D) solutions in the order in which they are drawn
    answer: Int64s  # (D * LANES,) as laid out
    weight: Float64s  # (D * LANES,)
    sums: Float64s  # a row of columns per answer, or per draw of a block
    highest: Float64s  # (D * LANES,)
    tied: Float64s  # (D * LANES,)
    right: Float64s  # (D * LANES,)
    share: Float64s  # (D * LANES,) what each block is worth


@kernel
def lay_out(budgets: Int64s, num_draws: Int) -> Layout:
    """Chains of budgets, none above `num_draws`, and the places of their blocks."""
    num = len(budgets)
    layout = Layout(
        budgets, np.zeros(num, np.int64), num_draws // budgets, np.zeros((num, num_draws), np.int64),
        np.zeros((num, num_draws), np.int64),
    )  # fmt: skip
    for b in range(num):
        continues = b > 0 and budgets[b] % budgets[b - 1] == 0
        layout.first[b] = layout.first[b - 1] if continues else b
    for b in range(num - 1, -1, -1):
        if b == num - 1 or layout.first[b + 1] == b + 1:
            for j in range(layout.blocks[b]):
                layout.place[b, j] = j
        else:
            _place_parts(budgets[b + 1] // budgets[b], layout.blocks[b + 1], layout.place[b + 1], layout.place[b])
        if layout.first[b] == b:
            _place_parts(budgets[b], layout.blocks[b], layout.place[b], layout.row[b])
    return layout


@kernel
def _place_parts(parts: Int, num_whole: Int, whole: Int64s, place: Int64s) -> None:
    for j in range(num_whole):
        for k in range(parts):
            place[j * parts + k] = k * num_whole + whole[j]
    for j in range(num_whole * parts, len(place)):
        place[j] = j


@kernel
def is_small(num_answers: Int, n: Int) -> bool:
    """Whether blocks of n draws are voted on by comparing all pairs of draws, not by summing up every answer."""
    small: bool = n <= 2 or n == 4 or n * n < 2 * num_answers
    return small


@kernel
def new_desk(layout: Layout, num_answers: Int) -> Desk:
    """Scratch that is large enough for every budget of the layout."""
    num_draws = layout.place.shape[1]
    size = 0
    for b in range(len(layout.budgets)):
        columns = layout.blocks[b] * LANES
        few = is_small(num_answers, layout.budgets[b])
        size = max(size, layout.budgets[b] * columns if few else (num_answers + 1) * (columns + LANES))
    wide = num_draws * LANES
    return Desk(
        np.zeros((LANES, num_draws), np.int64), np.zeros(wide, np.int64), np.zeros(wide, np.float64),
        np.zeros(size, np.float64), np.zeros(wide, np.float64), np.zeros(wide, np.float64),
        np.zeros(wide, np.float64), np.zeros(wide, np.float64),
    )  # fmt: skip


@kernel
def spread(desk: Desk, row: Int64s, answer: Int64s, weight: Float64s) -> None:
    """Lay out the answers and weights of the draws."""
    for d in range(desk.order.shape[1]):
        at = row[d] * LANES
        for t in range(LANES):
            solution, to = np.uint64(desk.order[t, d]), np.uint64(at + t)  # unsigned: not looked at for a sign
            desk.answer[to] = answer[solution]
            desk.weight[to] = weight[solution]


@kernel
def adds_exactly(weight: Float64s, most: Int) -> bool:
    """Whether sums of up to `most` of these weights (none negative) are exact in float64, in any order."""
    highest = 0.0
    for w in weight:
        highest = max(highest, w)
    unit = math.ldexp(1.0, math.frexp(highest * most)[1] - 53)
    exact = True
    for w in weight:
        exact &= w / unit == math.floor(w / unit)
    return exact


@kernel_inlined
def _worth(tied: Float64s, right: Float64s, share: Float64s) -> Int:
    """Write the share of correct ones among the tied; return how many blocks are neither right nor wrong."""
    mixed = 0
    for c in range(len(share)):
        share[c] = 1.0 if right[c] > 0.0 else 0.0
        mixed += 1 if 0.0 < right[c] < tied[c] else 0
    if mixed:
        for c in range(len(share)):
            share[c] = right[c] / max(tied[c], 1.0)
    return mixed


@kernel
def vote_of_one(desk: Desk, votes: Votes, columns: Int) -> Int:
    """Votes of one draw each; this and the others below return how many blocks are neither right nor wrong."""
    answer, share = desk.answer[:columns], desk.share[:columns]
    for c in range(columns):
        share[c] = 1.0 if answer[c] < votes.num_correct else 0.0
    return 0


@kernel
def vote_of_two(desk: Desk, votes: Votes, second: Int, columns: Int) -> Int:
    """Votes of two draws each: the heavier one wins unless they agree. Row `second` holds the second draws."""
    one, other = desk.answer[:columns], desk.answer[second * LANES : second * LANES + columns]
    weight, other_weight = desk.weight[:columns], desk.weight[second * LANES : second * LANES + columns]
    share = desk.share[:columns]
    mixed = 0
    for c in range(columns):
        lead = (weight[c] if one[c] < votes.num else -1.0) - (other_weight[c] if other[c] < votes.num else -1.0)
        first_right = 1.0 if one[c] < votes.num_correct else 0.0
        second_right = 1.0 if other[c] < votes.num_correct else 0.0
        tie = 0.5 * (first_right + second_right)
        worth = first_right if lead > 0.0 else (second_right if lead < 0.0 else tie)
        share[c] = first_right if one[c] == other[c] else worth
        mixed += 1 if share[c] == 0.5 else 0
    return mixed


@kernel
def vote_of_four(desk: Desk, votes: Votes, row: Int64s, columns: Int) -> Int:
    """Votes of four draws each: as `vote_of_few`, in registers and three times as fast."""
    start_0, start_1, start_2, start_3 = row[0] * LANES, row[1] * LANES, row[2] * LANES, row[3] * LANES
    answer_0, weight_0 = desk.answer[start_0 : start_0 + columns], desk.weight[start_0 : start_0 + columns]
    answer_1, weight_1 = desk.answer[start_1 : start_1 + columns], desk.weight[start_1 : start_1 + columns]
    answer_2, weight_2 = desk.answer[start_2 : start_2 + columns], desk.weight[start_2 : start_2 + columns]
    answer_3, weight_3 = desk.answer[start_3 : start_3 + columns], desk.weight[start_3 : start_3 + columns]
    share = desk.share[:columns]
    num, num_correct = votes.num, votes.num_correct
    mixed = 0
    for c in range(columns):
        a, b, e, f = answer_0[c], answer_1[c], answer_2[c], answer_3[c]
        v, w, x, y = weight_0[c], weight_1[c], weight_2[c], weight_3[c]
        ab, ae, af, be, bf, ef = a == b, a == e, a == f, b == e, b == f, e == f
        # sums in the order of the draws, each at the first draw of its answer
        sum_a = v + (w if ab else 0.0) + (x if ae else 0.0) + (y if af else 0.0)
        sum_b = w + (x if be else 0.0) + (y if bf else 0.0)
        sum_e = x + (y if ef else 0.0)
        sum_a = sum_a if a < num else -1.0
        sum_b = sum_b if (b < num) & (not ab) else -1.0
        sum_e = sum_e if (e < num) & (not ae) & (not be) else -1.0
        sum_f = y if (f < num) & (not af) & (not bf) & (not ef) else -1.0
        ahead, behind = (sum_a if sum_a > sum_b else sum_b), (sum_e if sum_e > sum_f else sum_f)
        top = ahead if ahead > behind else behind
        lead_a, lead_b, lead_e, lead_f = sum_a == top, sum_b == top, sum_e == top, sum_f == top
        tied = (1.0 if lead_a else 0.0) + (1.0 if lead_b else 0.0) + (1.0 if lead_e else 0.0) + (1.0 if lead_f else 0.0)
        right = (
            (1.0 if lead_a & (a < num_correct) else 0.0)
            + (1.0 if lead_b & (b < num_correct) else 0.0)
            + (1.0 if lead_e & (e < num_correct) else 0.0)
            + (1.0 if lead_f & (f < num_correct) else 0.0)
        )
        share[c] = right / tied
        mixed += 1 if (right > 0.0) & (right < tied) else 0
    return mixed


@kernel
def vote_of_few(desk: Desk, votes: Votes, row: Int64s, n: Int, columns: Int, counted: bool) -> Int:
    """Votes of n draws each, every draw compared with every other: n² steps, however many answers there are."""
    highest, tied, right = desk.highest[:columns], desk.tied[:columns], desk.right[:columns]
    highest[:], tied[:], right[:] = -1.0, 0.0, 0.0
    for i in range(n):
        total, own = desk.sums[i * columns : (i + 1) * columns], desk.answer[row[i] * LANES : row[i] * LANES + columns]
        total[:] = 0.0
        for k in range(n):
            start = row[k] * LANES
            other, weight = desk.answer[start : start + columns], desk.weight[start : start + columns]
            for c in range(columns):
                total[c] += weight[c] if other[c] == own[c] else 0.0
        for c in range(columns):
            total[c] = total[c] if own[c] < votes.num else -1.0
            highest[c] = total[c] if total[c] > highest[c] else highest[c]
    for i in range(n):
        total, own = desk.sums[i * columns : (i + 1) * columns], desk.answer[row[i] * LANES : row[i] * LANES + columns]
        for c in range(columns):
            leads = 1.0 if total[c] == highest[c] else 0.0
            tied[c] += leads
            right[c] += leads if own[c] < votes.num_correct else 0.0
    mixed = _worth(tied, right, desk.share[:columns])
    if mixed and not counted:  # an answer was counted once per draw: alike for all in a majority only
        for c in range(columns):
            if 0.0 < right[c] < tied[c]:
                desk.share[c] = _share_of_tied(desk, votes, row, n, columns, c)
    return mixed


@kernel
def _share_of_tied(desk: Desk, votes: Votes, row: Int64s, n: Int, columns: Int, c: Int) -> float:
    tied, right = 0, 0
    for i in range(n):
        own = desk.answer[row[i] * LANES + c]
        again = False
        for k in range(i):
            again |= desk.answer[row[k] * LANES + c] == own
        if desk.sums[i * columns + c] == desk.highest[c] and not again:
            tied += 1
            right += own < votes.num_correct
    return right / tied


@kernel
def add_up(desk: Desk, votes: Votes, row: Int64s, place: Int64s, n: Int, blocks: Int, stride: Int) -> None:
    """Sum the weights of every answer in every block, in the order of the draws; -1 where nobody voted for it.

    Answer a has the cells desk.sums[a * stride :]; those after the last answer take in what has none.
    """
    desk.sums[: (votes.num + 1) * stride] = -1.0
    d = 0
    for j in range(blocks):
        column = place[j] * LANES
        for _ in range(n):
            at = row[d] * LANES
            for t in range(LANES):
                cell = np.uint64(desk.answer[at + t] * stride + column + t)
                before = desk.sums[cell]
                desk.sums[cell] = (before if before > 0.0 else 0.0) + desk.weight[at + t]
            d += 1


@kernel
def merge(desk: Desk, votes: Votes, parts: Int, columns: Int, stride: Int) -> None:
    """Add the sums of the parts of every block; exact only where sums are exact in any order."""
    for a in range(votes.num):
        start = a * stride
        total = desk.sums[start : start + columns]
        for k in range(1, parts):
            more = desk.sums[start + k * columns : start + (k + 1) * columns]
            for c in range(columns):
                larger = total[c] if total[c] > more[c] else more[c]
                both = total[c] + more[c]
                total[c] = both if both > larger else larger  # -1 is nothing: it leaves the other as it is


@kernel
def vote_of_many(desk: Desk, votes: Votes, columns: Int, stride: Int) -> Int:
    """Votes by the sums of every answer in every block."""
    right, wrong, share = desk.highest[:columns], desk.tied[:columns], desk.share[:columns]
    right[:], wrong[:] = -1.0, -1.0
    for a in range(votes.num):
        total, top = desk.sums[a * stride : a * stride + columns], right if a < votes.num_correct else wrong
        for c in range(columns):
            top[c] = total[c] if total[c] > top[c] else top[c]
    mixed = 0
    for c in range(columns):
        share[c] = 1.0 if right[c] > wrong[c] else 0.0
        mixed += 1 if (right[c] == wrong[c]) & (right[c] >= 0.0) else 0
    if mixed:
        for c in range(columns):
            if right[c] == wrong[c] and right[c] >= 0.0:
                leaders, correct = 0, 0
                for a in range(votes.num):
                    leads = desk.sums[a * stride + c] == right[c]
                    leaders += leads
                    correct += leads and a < votes.num_correct
                share[c] = correct / leaders
    return mixed


@kernel
def lead(desk: Desk, parts: Int, columns: Int) -> Int:
    """The highest-scored draws of every block, out of those of its parts; tied ones share."""
    for k in range(1, parts):
        highest, tied, right = desk.highest[:columns], desk.tied[:columns], desk.right[:columns]
        start, stop = k * columns, (k + 1) * columns
        other, other_tied, other_right = desk.highest[start:stop], desk.tied[start:stop], desk.right[start:stop]
        for c in range(columns):
            top = other[c] if other[c] > highest[c] else highest[c]
            kept, joined = 1.0 if highest[c] == top else 0.0, 1.0 if other[c] == top else 0.0
            tied[c] = kept * tied[c] + joined * other_tied[c]
            right[c] = kept * right[c] + joined * other_right[c]
            highest[c] = top
    return _worth(desk.tied[:columns], desk.right[:columns], desk.share[:columns])


@kernel
def average(
    desk: Desk, place: Int64s, blocks: Int, whole: bool, mixed: Int, total: Float64s, squares: Float64s
) -> None:
    """Sums over the blocks of each lane of what they are worth, and of its square; of the first only unless `whole`."""
    if whole and mixed == 0:  # ones and zeros: sums are exact in any order
        width = blocks
        while width > 1:
            half = width // 2
            low, high = desk.share[: half * LANES], desk.share[(width - half) * LANES : width * LANES]
            for c in range(half * LANES):
                low[c] += high[c]
            width -= half
    counted = blocks if whole and mixed else 1
    for t in range(LANES):
        total[t], squares[t] = 0.0, 0.0
        for j in range(counted):
            share = desk.share[place[j] * LANES + t]
            total[t] += share
            squares[t] += share * share if mixed or not whole else share


@kernel
def _enter(desk: Desk, votes: Votes) -> None:
    """Every draw leads a block of its own."""
    for c in range(len(desk.answer)):
        desk.highest[c] = desk.weight[c]
        desk.tied[c] = 1.0
        desk.right[c] = 1.0 if desk.answer[c] < votes.num_correct else 0.0


@kernel
def block_values(
    layout: Layout, desk: Desk, votes: Votes, weight: Float64s, kinds: Int64s, additive: Bools, whole: bool,
    value: Float64s, product: Float64s,
) -> None:  # fmt: skip
    """Write what the draws in desk.order are worth, per budget, selection and lane.

    `value` is the mean over a lane's blocks (the first block alone unless `whole`), `product` the mean product of two
    different ones. `additive` says which selections' weights add up exactly in any order; `weight` has shape (S, K).
    """
    total, squares = np.empty(LANES, np.float64), np.empty(LANES, np.float64)
    for s in range(len(kinds)):
        leads = kinds[s] == BEST or kinds[s] == ORACLE
        summed, stride = False, 0
        for b in range(len(layout.budgets)):
            if votes.num_correct == 0:
                break  # nothing is ever right, and all values stay 0
            n, blocks = layout.budgets[b], layout.blocks[b]
            columns = blocks * LANES
            row, parts = layout.row[layout.first[b]], n
            if layout.first[b] == b:
                spread(desk, row, votes.answer, weight[s])
                summed = False
                if leads:
                    _enter(desk, votes)
            else:
                parts = n // layout.budgets[b - 1]
            if leads:
                mixed = lead(desk, parts, columns)
            elif n == 1:
                mixed = vote_of_one(desk, votes, columns)
            elif n == 2:
                mixed = vote_of_two(desk, votes, row[1], columns)
            elif n == 4:
                mixed = vote_of_four(desk, votes, row, columns)
            elif is_small(votes.num, n):
                mixed = vote_of_few(desk, votes, row, n, columns, kinds[s] == MAJORITY)
            else:
                if summed and additive[s]:
                    merge(desk, votes, parts, columns, stride)
                else:
                    stride = columns + LANES
                    add_up(desk, votes, row, layout.place[b], n, blocks, stride)
                    summed = True
                mixed = vote_of_many(desk, votes, columns, stride)
            average(desk, layout.place[b], blocks, whole, mixed, total, squares)
            for t in range(LANES):
                value[b, s, t] = total[t] / blocks if whole else total[t]
                if blocks > 1:
                    product[b, s, t] = (total[t] * total[t] - squares[t]) / (blocks * (blocks - 1))
