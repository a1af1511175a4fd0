"""Candidates of a round, and how they rank: by score, ties by a uniform key."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tts_sim.arrays import Float32s, Int, Int32s, Key, UInt64s
from tts_sim.kernels._jit import kernel_inlined
from tts_sim.kernels.draws import TIE, child_key, mix

FEW = 256  # up to here counting is faster than a heap
LARGEST = np.int32(2**31 - 1)
LANES = 32  # counts run over a multiple of these, twice as fast as with a remainder
TIE_BITS = 23  # beside 8 bits that count the candidates above, in a positive int32


class Candidates(NamedTuple):
    """Candidates that may go on, and scratch for ranking them."""

    row: Int32s
    sender: Int32s  # rank of the parent among those that send children
    draw: Int32s
    score: Float32s
    tie: UInt64s  # uniform keys, filled in where they are known or needed
    above: Int32s  # number of candidates with a higher score
    short: Int32s  # places of those that are compared by key, and the keys in short
    brief: Int32s
    order: Int32s  # places of the best, in rank order


def new_candidates(most: int) -> Candidates:
    """Room for so many candidates."""
    size = most + LANES
    return Candidates(
        np.empty(size, np.int32), np.zeros(size, np.int32), np.empty(size, np.int32), np.empty(size, np.float32),
        np.empty(size, np.uint64), np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.int32),
        np.empty(size, np.int32),
    )  # fmt: skip


@kernel_inlined
def tie_key(of: Candidates, i: Int, sender_key: UInt64s) -> Key:
    """The uniform key of candidate i; `sender_key` holds the keys of the senders."""
    return mix(child_key(sender_key[of.sender[i]], of.draw[i]), TIE)


@kernel_inlined
def rank(of: Candidates, num: Int, kept: Int, sender_key: UInt64s, known: Int) -> None:
    """Write the places of the `kept` best of `num` candidates, in rank order, into `order`; ties are `known` or not."""
    if num > FEW or not rank_few(of, num, kept, sender_key, known):
        if not known:
            for i in range(num):
                of.tie[i] = tie_key(of, i, sender_key)
        rank_many(of, num, kept)


@kernel_inlined
def rank_few(of: Candidates, num: Int, kept: Int, sender_key: UInt64s, known: Int) -> Int:
    """The same for up to FEW candidates; False, once in thousands, if tie keys agree in the bits that are compared.

    Counts for each candidate those above it: num² comparisons, but without a branch and eight or more at a time.
    """
    total, stop = np.int64(0), (num + LANES - 1) & -LANES
    for j in range(num, stop):
        of.score[j] = -np.inf
    for i in range(num):
        score, above = of.score[i], np.int32(0)
        for j in range(stop):
            above = np.int32(above + np.int32(of.score[j] > score))
        of.above[i] = above
        total += above
    if total == num * (num - 1) // 2:  # none tie
        for i in range(num):
            of.order[of.above[i]] = i
        return True
    near = np.int64(0)
    for i in range(num):
        if of.above[i] < kept:
            if not known:
                of.tie[i] = tie_key(of, i, sender_key)
            of.brief[near] = np.int32(of.above[i] << TIE_BITS) | np.int32(of.tie[i] >> np.uint64(64 - TIE_BITS))
            of.short[near] = i
            near += 1
    total, stop = np.int64(0), (near + LANES - 1) & -LANES
    for j in range(near, stop):
        of.brief[j] = LARGEST
    for i in range(near):
        brief, above = of.brief[i], np.int32(0)
        for j in range(stop):
            above = np.int32(above + np.int32(of.brief[j] < brief))
        total += above
        of.order[above] = of.short[i]
    return total == near * (near - 1) // 2


@kernel_inlined
def goes_before(of: Candidates, i: Int, j: Int) -> Int:
    """Whether candidate i ranks before j."""
    if of.score[i] != of.score[j]:
        return of.score[i] > of.score[j]
    return of.tie[i] < of.tie[j]


@kernel_inlined
def rank_many(of: Candidates, num: Int, kept: Int) -> None:
    """The same by a heap with the best on top; tops gather behind the heap and are turned round."""
    order = of.order
    for i in range(num):
        order[i] = i
    for step in range(num // 2 + kept):
        size = num
        place = num // 2 - 1 - step
        if place < 0:  # the heap stands: its top leaves
            size = num - 1 - (step - num // 2)
            place = 0
            order[0], order[size] = order[size], order[0]
        while 2 * place + 1 < size:
            child = 2 * place + 1
            if child + 1 < size and goes_before(of, order[child + 1], order[child]):
                child += 1
            if not goes_before(of, order[child], order[place]):
                break
            order[place], order[child] = order[child], order[place]
            place = child
    for i in range(num // 2):
        order[i], order[num - 1 - i] = order[num - 1 - i], order[i]
