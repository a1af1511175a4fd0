"""Beam search whose finished candidates are frozen: they join the answers, the rest of the budget goes on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange

from tts_sim.arrays import Float32s, Float64s, Int, Int32s, Int64s, Key, Tally, Trees, UInt64s
from tts_sim.kernels._jit import kernel, kernel_inlined, kernel_parallel
from tts_sim.kernels.draws import TIE, cached_child, child_key, draw_prefix, mix, pool_size
from tts_sim.kernels.select import note, want, worth

MAX_ROUNDS = 40
SUPPORTED, MISSING, EXHAUSTED, UNSCORED = 0, 1, 2, 3


class Room(NamedTuple):
    """Scratch of one question, for candidates of the largest budget and draws of the largest pool."""

    finished: Int32s  # rows of candidates that have ended
    row: Int32s  # active candidates: row, key in this trial, step score
    key: UInt64s
    score: Float32s
    heap: Int32s
    kept_row: Int32s
    kept_key: UInt64s
    places: Int64s
    swapped: Int64s
    picked: Int64s
    sums: Float64s
    cost: Int64s  # (2,) tokens, critical tokens


@kernel_inlined
def goes_before(score: Float32s, key: UInt64s, i: Int, j: Int) -> Int:
    """Whether active candidate i ranks before j: by score, then by a uniform key."""
    if score[i] != score[j]:
        return score[i] > score[j]
    return mix(key[i], TIE) < mix(key[j], TIE)


@kernel_inlined
def sift_down(score: Float32s, key: UInt64s, heap: Int32s, place: Int, size: Int) -> None:
    """Restore the heap whose best candidate is on top, after the one at `place` was replaced."""
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and goes_before(score, key, heap[child + 1], heap[child]):
            child += 1
        if not goes_before(score, key, heap[child], heap[place]):
            return
        heap[place], heap[child] = heap[child], heap[place]
        place = child


@kernel_inlined
def keep_best(room: Room, num: Int, kept: Int) -> None:
    """Write the `kept` best of `num` active candidates, in rank order, into kept_row and kept_key."""
    score, key, heap = room.score, room.key, room.heap
    for i in range(num):
        heap[i] = i
    for place in range(num // 2 - 1, -1, -1):
        sift_down(score, key, heap, place, num)
    for rank in range(kept):
        room.kept_row[rank] = room.row[heap[0]]
        room.kept_key[rank] = key[heap[0]]
        heap[0] = heap[num - 1 - rank]
        sift_down(score, key, heap, 0, num - 1 - rank)


@kernel
def beam_trial(
    trees: Trees, step_score: Float32s, q: Int, budget: Int, width: Int, key: Key, root_pool: Int,
    step_pool: Int, room: Room, tally: Tally,
) -> Int:  # fmt: skip
    """Run one search; its candidates are then finished[:budget], its cost stands in room.cost.

    Returns SUPPORTED, or why the search stopped. All missing draws of a round are listed: a round's draws are known
    before any of its nodes is looked at.
    """
    room.kept_row[0], room.kept_key[0] = trees.question_start[q], key
    num_kept, share, pool = 1, budget, root_pool
    finished, active = 0, budget
    room.cost[:] = 0
    for _ in range(MAX_ROUNDS):
        rest = active
        for p in range(num_kept):
            if pool_size(trees, np.int64(room.kept_row[p]), pool) < min(share, rest):
                return EXHAUSTED
            rest -= share
        rest, active, missing = active, 0, False
        longest: Int = 0
        for p in range(num_kept):
            v = np.int64(room.kept_row[p])
            count = min(share, rest)
            rest -= count
            size = pool_size(trees, v, pool)
            draw_prefix(room.kept_key[p], size, count, room.places, room.swapped, room.picked)
            for i in range(count):
                child = cached_child(trees, v, room.picked[i], pool)
                if child < 0:
                    missing = True
                    want(tally, q, v, room.picked[i])
                elif trees.answer[child] != -1:
                    room.finished[finished] = child
                    finished += 1
                    room.cost[0] += trees.tokens[child]
                    longest = max(longest, np.int64(trees.tokens[child]))
                else:
                    room.row[active] = child
                    room.key[active] = child_key(room.kept_key[p], room.picked[i])
                    active += 1
                    room.cost[0] += trees.tokens[child]
                    longest = max(longest, np.int64(trees.tokens[child]))
        if missing:
            return MISSING
        room.cost[1] += longest
        if active == 0:
            break
        for i in range(active):
            room.score[i] = step_score[room.row[i]]
            if room.score[i] != room.score[i]:
                return UNSCORED
        num_kept = (active + width - 1) // width
        keep_best(room, active, num_kept)
        share, pool = width, step_pool
    for i in range(active):  # unfinished after the last round: candidates without an answer
        room.finished[finished + i] = room.row[i]
    return SUPPORTED


@kernel
def beam_question(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, q: Int, budgets: Int64s, widths: Int64s,
    trials: Int, seed: Key, root_pool: Int, step_pool: Int, tally: Tally,
) -> None:  # fmt: skip
    """Replay question q `trials` times at every budget; row 0 of `scores` are the step scores."""
    most = max(budgets)
    largest = np.int64(max(root_pool, step_pool))
    for v in range(trees.question_start[q], trees.question_start[q + 1]):
        largest = max(largest, np.int64(trees.child_stop[v] - trees.child_start[v]))
    room = Room(
        np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.uint64), np.empty(most, np.float32),
        np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.uint64), np.arange(largest),
        np.empty(most, np.int64), np.empty(most, np.int64),
        np.empty(trees.answer_start[q + 1] - trees.answer_start[q], np.float64), np.zeros(2, np.int64),
    )  # fmt: skip
    key = mix(seed, trees.question_key[q])
    for t in range(trials):
        trial_key = mix(key, np.uint64(t))
        for b in range(len(budgets)):
            end = beam_trial(trees, scores[0], q, budgets[b], widths[b], trial_key, root_pool, step_pool, room, tally)
            if end == MISSING:
                tally.missing[q, b] += 1
            elif end == EXHAUSTED:
                tally.exhausted[q, b] += 1
            elif end == UNSCORED:
                tally.status[q] = 1
                return
            else:
                for s in range(len(kinds)):
                    value = worth(trees, scores, kinds[s], columns[s], q, room.finished, budgets[b], room.sums)
                    if value != value:
                        tally.status[q] = 1
                        return
                    note(tally, q, b, s, value)
                tally.supported[q, b] += 1
                tally.tokens[q, b] += room.cost[0]
                tally.critical[q, b] += room.cost[1]


@kernel_parallel
def beam(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, budgets: Int64s, widths: Int64s, trials: Int,
    seed: Key, root_pool: Int, step_pool: Int, tally: Tally,
) -> None:  # fmt: skip
    """Replay `beam` on every question, each budget with its own width (at most the budget)."""
    for q in prange(len(trees.question_start) - 1):
        beam_question(trees, scores, kinds, columns, q, budgets, widths, trials, seed, root_pool, step_pool, tally)
