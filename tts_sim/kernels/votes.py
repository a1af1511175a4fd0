"""Votes in many blocks at once: one column per block and permutation, in loops without branches.

Every loop runs over columns that stand side by side and becomes vector instructions. `row` says where the first, second
… draws of all blocks stand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tts_sim.arrays import Float64s, Int, Int64s
from tts_sim.kernels._jit import kernel_called, kernel_inlined

LANES = 8  # long enough loops where blocks are few, and scratch that still fits the first cache


class Votes(NamedTuple):
    """A question's answers, numbered 0 : num, the correct ones first; `num` stands for none."""

    num: Int
    num_correct: Int
    answer: Int64s  # (K,) of each solution
    num_right: Int  # solutions with a correct answer


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
    total: Float64s  # (LANES,) sum of the shares
    squares: Float64s  # (LANES,) and of their squares


@kernel_called
def is_small(num_answers: Int, n: Int) -> bool:
    """Whether blocks of n draws are voted on by comparing all pairs of draws, not by summing up every answer."""
    small: bool = n <= 2 or n == 4 or n * n < 2 * num_answers
    return small


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


@kernel_called
def vote_of_one(desk: Desk, votes: Votes, columns: Int) -> Int:
    """Votes of one draw each; this and the others below return how many blocks are neither right nor wrong."""
    answer, share = desk.answer[:columns], desk.share[:columns]
    for c in range(columns):
        share[c] = 1.0 if answer[c] < votes.num_correct else 0.0
    return 0


@kernel_called
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


@kernel_called
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


@kernel_called
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


@kernel_called
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


@kernel_called
def add_up(desk: Desk, votes: Votes, row: Int64s, n: Int, columns: Int, stride: Int) -> None:
    """Sum the weights of every answer in every block, in the order of the draws; -1 where nobody voted for it.

    Answer a has the cells desk.sums[a * stride :]; those after the last answer take in what has none. Draws that
    follow each other are of different blocks, so that no addition waits for the one before.
    """
    sums = desk.sums
    sums[: (votes.num + 1) * stride] = -1.0
    for i in range(n):
        answer = desk.answer[row[i] * LANES : row[i] * LANES + columns]
        weight = desk.weight[row[i] * LANES : row[i] * LANES + columns]
        for c in range(columns):
            cell = np.uint64(answer[c] * stride + c)  # unsigned: not looked at for a sign
            before = sums[cell]
            sums[cell] = (before if before > 0.0 else 0.0) + weight[c]


@kernel_called
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


@kernel_called
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
        leaders = desk.right[:columns]
        leaders[:], share[:] = 0.0, 0.0
        for a in range(votes.num):
            total, counts = desk.sums[a * stride : a * stride + columns], 1.0 if a < votes.num_correct else 0.0
            for c in range(columns):
                leads = 1.0 if total[c] == max(right[c], wrong[c]) else 0.0
                leaders[c] += leads
                share[c] += leads * counts
        for c in range(columns):
            share[c] = share[c] / leaders[c] if max(right[c], wrong[c]) >= 0.0 else 0.0
    return mixed


@kernel_called
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
