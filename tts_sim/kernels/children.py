"""Drawing children of a node: fresh ones, and what stands in for them where the cache ends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tts_sim.arrays import Float32s, Int, Int32s, Int64s, Key, Trees
from tts_sim.kernels._jit import kernel_called, kernel_inlined
from tts_sim.kernels.draws import PERMUTE, cached_child, draw_prefix, mix, pool_size

REUSE, BORROW = 1, 2
BORROWING = np.uint64(1 << 34)  # counter of the key that permutes a donor's children


class Draws(NamedTuple):
    """Scratch for draws of up to the largest pool and budget."""

    places: Int64s  # 0, 1, 2, …
    swapped: Int64s
    picked: Int64s


class Substitutes(NamedTuple):
    """What stands in for draws that are not cached, and scratch for it."""

    policy: Int  # REUSE or BORROW
    score: Float32s  # (N,) step scores: the nearest lends
    borrowed: Int64s  # (1,) draws of this trial that were borrowed
    level: Int64s  # first row of each depth of the question, and of the next question
    sought: Int32s  # by row of the question: how many children were last sought for it, and in which row they are
    donor: Int32s


def new_draws(largest: int, most: int) -> Draws:
    """Scratch for up to `most` draws at a node, and pools of up to `largest`."""
    size = max(largest, most)
    return Draws(np.arange(largest, dtype=np.int64), np.empty(size, np.int64), np.empty(size, np.int64))


def new_substitutes(policy: int, score: Float32s, num_rows: int) -> Substitutes:
    """Scratch for questions of up to so many rows."""
    return Substitutes(
        policy, score, np.zeros(1, np.int64), np.empty(num_rows + 2, np.int64), np.empty(num_rows, np.int32),
        np.empty(num_rows, np.int32),
    )  # fmt: skip


@kernel_inlined
def open_question(trees: Trees, q: Int, instead: Substitutes | None) -> None:
    """Make ready for question q."""
    if instead is not None:
        first, last = trees.question_start[q], trees.question_start[q + 1]
        depth = 0
        instead.level[0] = first
        for v in range(first, last):
            if trees.parent[v] >= instead.level[depth]:
                depth += 1
                instead.level[depth] = v
            instead.sought[v - first] = -1
        instead.level[depth + 1] = last


@kernel_inlined
def reuses(instead: Substitutes | None) -> Int:
    """Whether draws are made with replacement."""
    if instead is not None:
        return instead.policy == REUSE
    return False


@kernel_inlined
def count_borrowed(instead: Substitutes | None) -> Int:
    """Draws that were borrowed since this was last asked."""
    count = np.int64(0)
    if instead is not None:
        count = instead.borrowed[0]
        instead.borrowed[0] = 0
    return count


@kernel_inlined
def draw_children(
    trees: Trees, q: Int, v: Int, depth: Int, key: Key, count: Int, shuffled: Int, pool: Int, listing: Int,
    draws: Draws, instead: Substitutes | None, rows: Int32s, numbers: Int32s, at: Int,
) -> Int:  # fmt: skip
    """Write `count` children of v, which has this key, to `rows` and the numbers that key them to `numbers`, from `at`.

    The number of children before the first that is missing: `count` if none is; -1 if v can never have so many.
    When listing, a missing draw is row -1 and the rest follow; otherwise nothing is written from there on.
    The draws are the first of the keyed permutation of v's pool; all of a pool comes in order unless `shuffled`.
    """
    if instead is not None:
        if instead.policy == REUSE:
            return reuse_children(trees, v, key, count, pool, rows, numbers, at)
        if depth > 0:  # a prompt has no sibling
            return borrow_children(trees, q, v, depth, key, count, pool, draws, instead, rows, numbers, at)
    size = pool_size(trees, v, pool)
    if size < count:
        return np.int64(-1)
    start = np.int64(trees.child_start[v])
    whole = start + size <= trees.child_stop[v] and (pool < 0 or trees.draw[start + size - 1] == size - 1)
    permuted = count < size or shuffled
    if permuted:
        draw_prefix(key, size, count, draws.places, draws.swapped, draws.picked)
    found = np.int64(count)
    for i in range(count):
        draw = draws.picked[i] if permuted else np.int64(i)
        child = start + draw if whole else cached_child(trees, v, draw, pool)
        rows[at + i] = child
        numbers[at + i] = draw
        if child < 0:
            if not listing:
                return np.int64(i)
            found = min(found, np.int64(i))
    return found


@kernel_called
def reuse_children(
    trees: Trees, v: Int, key: Key, count: Int, pool: Int, rows: Int32s, numbers: Int32s, at: Int
) -> Int:
    """The same with replacement: each slot holds one of the cached children, whatever the others hold.

    A slot is keyed by its own number, so a child that is drawn twice is searched twice, independently.
    """
    start = np.int64(trees.child_start[v])
    cached = np.uint64(trees.child_stop[v] - start)
    if cached == 0:
        return np.int64(0 if pool > 0 else -1)
    for i in range(count):
        bits = mix(key, PERMUTE + np.uint64(i)) >> np.uint64(32)
        rows[at + i] = start + np.int64((bits * cached) >> np.uint64(32))
        numbers[at + i] = i
    return np.int64(count)


@kernel_called
def borrow_children(
    trees: Trees, q: Int, v: Int, depth: Int, key: Key, count: Int, pool: Int, draws: Draws,
    instead: Substitutes, rows: Int32s, numbers: Int32s, at: Int,
) -> Int:  # fmt: skip
    """The same, where draws that v lacks are filled by children of its donor, without replacement.

    The donor of v is the node of its question and depth with the nearest score that has as many cached children as v
    lacks; of two as near the earlier row.
    """
    size = pool_size(trees, v, pool)
    if size > count:
        draw_prefix(key, size, count, draws.places, draws.swapped, draws.picked)
    lacking = np.int64(0)
    for i in range(count):
        draw = draws.picked[i] if size > count else np.int64(i)
        child = cached_child(trees, v, draw, pool) if draw < size else np.int64(-1)
        rows[at + i] = child
        numbers[at + i] = draw
        lacking += np.int64(child < 0)
    if lacking == 0:
        return np.int64(count)
    place = v - trees.question_start[q]
    if instead.sought[place] != lacking:
        instead.sought[place] = lacking
        instead.donor[place] = nearest(trees, instead.score, v, lacking, instead.level[depth], instead.level[depth + 1])
    donor = np.int64(instead.donor[place])
    if donor < 0:
        return np.int64(0 if size >= count else -1)
    cached = np.int64(trees.child_stop[donor] - trees.child_start[donor])
    draw_prefix(mix(key, BORROWING), cached, lacking, draws.places, draws.swapped, draws.picked)
    taken = 0
    for i in range(count):
        if rows[at + i] < 0:
            rows[at + i] = trees.child_start[donor] + draws.picked[taken]
            taken += 1
    instead.borrowed[0] += lacking
    return np.int64(count)


@kernel_inlined
def nearest(trees: Trees, score: Float32s, v: Int, needed: Int, start: Int, stop: Int) -> Int:
    """The row of start:stop with the score nearest to v's that has so many children, -1 if there is none."""
    donor, least = np.int64(-1), np.inf
    for u in range(start, stop):
        if u != v and trees.child_stop[u] - trees.child_start[u] >= needed:
            distance = abs(np.float64(score[u]) - np.float64(score[v]))
            if distance < least:
                donor, least = np.int64(u), distance
    return donor
