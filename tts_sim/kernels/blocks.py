"""Blocks: what a selection makes of the disjoint blocks into which permutations of a pool are cut.

LANES permutations are worked on side by side. Budgets form chains, in which each divides the next; draws are laid out
so that at every budget of a chain the i-th draws of all blocks stand in adjacent columns (block by block, LANES columns
each), and so do the blocks that make up one part of the next budget's.

Which block stands where: a block of one budget is part k of block J of the next one, and has the place
k · (blocks of the next budget) + place of J; a block that is not whole at the next budget keeps its number.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tts_sim.arrays import Bools, Float64s, Int, Int64s
from tts_sim.kernels._jit import kernel_called, kernel_part
from tts_sim.kernels.select import BEST, MAJORITY, ORACLE
from tts_sim.kernels.votes import (
    LANES,
    Desk,
    Votes,
    add_up,
    is_small,
    lead,
    merge,
    vote_of_few,
    vote_of_four,
    vote_of_many,
    vote_of_one,
    vote_of_two,
)


class Layout(NamedTuple):
    """How D draws are cut at each of B budgets."""

    budgets: Int64s  # (B,) ascending
    first: Int64s  # (B,) where the chain of each budget begins
    blocks: Int64s  # (B,) D // budget
    place: Int64s  # (B, D) of each block
    row: Int64s  # (B, D) of each draw: its place as a block of one draw; where a chain begins


@kernel_part
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


@kernel_part
def _place_parts(parts: Int, num_whole: Int, whole: Int64s, place: Int64s) -> None:
    for j in range(num_whole):
        for k in range(parts):
            place[j * parts + k] = k * num_whole + whole[j]
    for j in range(num_whole * parts, len(place)):
        place[j] = j


@kernel_part
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
        np.zeros(wide, np.float64), np.zeros(wide, np.float64), np.zeros(LANES, np.float64),
        np.zeros(LANES, np.float64),
    )  # fmt: skip


@kernel_called
def spread(desk: Desk, row: Int64s, answer: Int64s, weight: Float64s) -> None:
    """Lay out the answers and weights of the draws."""
    for d in range(desk.order.shape[1]):
        at = row[d] * LANES
        for t in range(LANES):
            solution, to = np.uint64(desk.order[t, d]), np.uint64(at + t)  # unsigned: not looked at for a sign
            desk.answer[to] = answer[solution]
            desk.weight[to] = weight[solution]


@kernel_part
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


@kernel_called
def average(desk: Desk, place: Int64s, blocks: Int, whole: bool, mixed: Int) -> None:
    """Sums over the blocks of each lane of what they are worth, and of its square; of the first only unless `whole`."""
    total, squares = desk.total, desk.squares
    if whole and mixed == 0:  # ones and zeros: sums are exact in any order
        width = blocks
        while width > 1:
            half = width // 2
            low, high = desk.share[: half * LANES], desk.share[(width - half) * LANES : width * LANES]
            for c in range(half * LANES):
                low[c] += high[c]
            width -= half
    total[:], squares[:] = 0.0, 0.0
    for j in range(blocks if whole and mixed else 1):
        share = desk.share[place[j] * LANES : (place[j] + 1) * LANES]
        for t in range(LANES):
            total[t] += share[t]
            squares[t] += share[t] * share[t] if mixed or not whole else share[t]


@kernel_called
def _enter(desk: Desk, votes: Votes) -> None:
    """Every draw leads a block of its own."""
    for c in range(len(desk.answer)):
        desk.highest[c] = desk.weight[c]
        desk.tied[c] = 1.0
        desk.right[c] = 1.0 if desk.answer[c] < votes.num_correct else 0.0


@kernel_called
def block_values(
    layout: Layout, desk: Desk, votes: Votes, weight: Float64s, kinds: Int64s, additive: Bools, whole: bool,
    value: Float64s, product: Float64s,
) -> None:  # fmt: skip
    """Write what the draws in desk.order are worth, per budget, selection and lane.

    `value` is the mean over a lane's blocks (the first block alone unless `whole`: all draws of a pool, each once),
    `product` the mean product of two different ones. `additive` says which selections' weights add up exactly in any
    order; `weight` has shape (S, K).
    """
    total, squares = desk.total, desk.squares
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
            if n == 1 and whole:  # the same in every permutation
                total[:], squares[:] = votes.num_right, votes.num_right
            else:
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
                        add_up(desk, votes, row, n, columns, stride)
                        summed = True
                    mixed = vote_of_many(desk, votes, columns, stride)
                average(desk, layout.place[b], blocks, whole, mixed)
            for t in range(LANES):
                value[b, s, t] = total[t] / blocks if whole else total[t]
                if blocks > 1:
                    product[b, s, t] = (total[t] * total[t] - squares[t]) / (blocks * (blocks - 1))
