"""Reward-balanced search: each round's expansions are shared out by the softmax of step scores."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import prange

from tts_sim.arrays import Float32s, Float64s, Int, Int32s, Int64s, Key, Tally, Trees, UInt64s
from tts_sim.kernels._jit import kernel, kernel_inlined, kernel_parallel
from tts_sim.kernels.beam import EXHAUSTED, MAX_ROUNDS, MISSING, SUPPORTED, UNSCORED
from tts_sim.kernels.draws import TIE, cached_child, child_key, draw_prefix, mix, pool_size
from tts_sim.kernels.dvts import slot_draw
from tts_sim.kernels.select import note, spend, want, worth


class Room(NamedTuple):
    """Scratch of one question, for candidates of the largest budget and draws of the largest pool."""

    finished: Int32s  # rows of candidates that have ended
    row: Int32s  # candidates that send children in this round
    key: UInt64s
    above: Int64s  # tokens from the prompt down to each of them
    share: Int64s  # children that each of them sends
    next_row: Int32s  # their children that have not ended
    next_key: UInt64s
    next_above: Int64s
    score: Float32s
    part: Float64s  # softmax weight, then what is left of a share that is not whole
    order: Int64s  # places of candidates: a heap, the first in rank on top
    places: Int64s
    swapped: Int64s
    picked: Int64s
    root_draws: Int64s  # this trial's draws at the prompt: each budget takes its first ones
    sums: Float64s


@kernel_inlined
def goes_before(room: Room, i: Int, j: Int) -> bool:
    """Whether candidate i ranks before j: by part, then by score, then by a uniform key."""
    if room.part[i] != room.part[j]:
        return bool(room.part[i] > room.part[j])
    if room.score[i] != room.score[j]:
        return bool(room.score[i] > room.score[j])
    return bool(mix(room.next_key[i], TIE) < mix(room.next_key[j], TIE))


@kernel_inlined
def rank(room: Room, num: Int, first: Int) -> None:
    """Put the places of the first of `num` candidates in rank at the end of order[:num], the very first one last."""
    order = room.order
    for i in range(num):
        order[i] = i
    for step in range(num // 2 + first):
        size = num
        place = num // 2 - 1 - step
        if place < 0:  # the heap stands: its top leaves
            size = num - 1 - (step - num // 2)
            place = 0
            order[0], order[size] = order[size], order[0]
        while 2 * place + 1 < size:
            child = 2 * place + 1
            if child + 1 < size and goes_before(room, order[child + 1], order[child]):
                child += 1
            if not goes_before(room, order[child], order[place]):
                break
            order[place], order[child] = order[child], order[place]
            place = child


@kernel_inlined
def share_out(room: Room, num: Int, budget: Int, temperature: float, rounded: bool) -> None:
    """Write into `share` how many of `budget` expansions each of `num` candidates gets."""
    highest, total = np.float64(room.score[0]), 0.0
    for i in range(num):
        highest = max(highest, np.float64(room.score[i]))
    for i in range(num):
        room.part[i] = math.exp((np.float64(room.score[i]) - highest) / temperature)
        total += room.part[i]
    rest = np.int64(budget)
    for i in range(num):
        exact = budget * room.part[i] / total
        whole = math.floor(exact + 0.5) if rounded else math.floor(exact)
        room.share[i] = np.int64(whole)
        rest -= room.share[i]
        room.part[i] = 0.0 if rounded else exact - whole
    if rest > 0 and not rounded:
        rank(room, num, rest)
        for i in range(num - rest, num):
            room.share[room.order[i]] += 1
    elif rest < 0:  # rounded up too often: the last in rank go short
        rank(room, num, num)
        for i in range(num):
            less = min(-rest, room.share[room.order[i]])
            room.share[room.order[i]] -= less
            rest += less


@kernel_inlined
def rebase_trial(
    trees: Trees, step_score: Float32s, q: Int, budget: Int, temperature: float, rounded: bool, key: Key,
    root_pool: Int, step_pool: Int, reuse: bool, room: Room, tally: Tally,
) -> tuple[Int, Int, Int, Int, Int, Int]:  # fmt: skip
    """Run one search: how it ended, candidates, tokens, critical tokens, calls, prefix; they are in finished[:number].

    It ends SUPPORTED, or with the reason why it stopped. Where missing draws are listed, all of the round are: its
    draws are known before any of its nodes is looked at. A replay that lists nothing stops at the first.
    """
    listing = tally.wanted_row.shape[1] > 0
    room.row[0], room.key[0], room.above[0], room.share[0] = trees.question_start[q], key, 0, budget
    senders, pool = np.int64(1), np.int64(root_pool)
    finished, active = np.int64(0), np.int64(0)
    tokens, critical, calls, prefix = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for depth in range(MAX_ROUNDS):
        for p in range(senders):
            size = pool_size(trees, np.int64(room.row[p]), np.int64(-1) if reuse else pool)
            if room.share[p] > 0 and (size == 0 if reuse else size < room.share[p]):
                return EXHAUSTED, finished, tokens, critical, calls, prefix
        active, longest, missing, unscored = np.int64(0), np.int64(0), False, False
        for p in range(senders):
            v, count = np.int64(room.row[p]), room.share[p]
            calls += count
            prefix += count * room.above[p]
            size = pool_size(trees, v, np.int64(-1) if reuse else pool)
            if depth > 0 and not reuse and 0 < count < size:
                draw_prefix(room.key[p], size, count, room.places, room.swapped, room.picked)
            for i in range(count):
                slot = np.int64(i)
                if reuse:
                    child = trees.child_start[v] + slot_draw(room.key[p], slot, size)
                else:
                    slot = slot if count == size else room.root_draws[i] if depth == 0 else room.picked[i]
                    child = cached_child(trees, v, slot, pool)
                if child < 0:
                    if not listing:
                        return MISSING, finished, tokens, critical, calls, prefix
                    missing = True
                    want(tally, q, v, slot)
                    continue
                length = np.int64(trees.tokens[child])
                tokens += length
                longest = max(longest, length)
                if trees.answer[child] != -1:
                    room.finished[finished] = child
                    finished += 1
                else:
                    room.next_row[active] = child
                    room.next_key[active] = child_key(room.key[p], slot)
                    room.next_above[active] = room.above[p] + length
                    room.score[active] = step_score[child]
                    unscored |= step_score[child] != step_score[child]
                    active += 1
        if missing:
            return MISSING, finished, tokens, critical, calls, prefix
        critical += longest
        if active == 0:
            break
        if unscored:
            return UNSCORED, finished, tokens, critical, calls, prefix
        share_out(room, active, budget - finished, temperature, rounded)
        for i in range(active):
            room.row[i], room.key[i], room.above[i] = room.next_row[i], room.next_key[i], room.next_above[i]
        senders, pool = active, np.int64(step_pool)
    for i in range(active):  # unfinished after the last round: candidates without an answer
        room.finished[finished + i] = room.row[i]
    return SUPPORTED, finished + active, tokens, critical, calls, prefix


@kernel
def rebase_question(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, q: Int, budgets: Int64s, temperature: float,
    rounded: bool, trials: Int, seed: Key, root_pool: Int, step_pool: Int, reuse: bool, tally: Tally,
) -> None:  # fmt: skip
    """Replay question q `trials` times at every budget; row 0 of `scores` are the step scores."""
    most = max(budgets)
    largest = np.int64(max(root_pool, step_pool))
    for v in range(trees.question_start[q], trees.question_start[q + 1]):
        largest = max(largest, np.int64(trees.child_stop[v] - trees.child_start[v]))
    room = Room(
        np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.uint64), np.empty(most, np.int64),
        np.empty(most, np.int64), np.empty(most, np.int32), np.empty(most, np.uint64), np.empty(most, np.int64),
        np.empty(most, np.float32), np.empty(most, np.float64), np.empty(most, np.int64), np.arange(largest),
        np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64),
        np.empty(trees.answer_start[q + 1] - trees.answer_start[q], np.float64),
    )  # fmt: skip
    key = mix(seed, trees.question_key[q])
    root_size = pool_size(trees, trees.question_start[q], root_pool)
    for t in range(trials):
        trial_key = mix(key, np.uint64(t))
        if not reuse:
            draw_prefix(trial_key, root_size, min(most, root_size), room.places, room.swapped, room.root_draws)
        for b in range(len(budgets)):
            end, num, tokens, critical, calls, prefix = rebase_trial(
                trees, scores[0], q, budgets[b], temperature, rounded, trial_key, root_pool, step_pool, reuse, room,
                tally,
            )  # fmt: skip
            if end == MISSING:
                tally.missing[q, b] += 1
            elif end == EXHAUSTED:
                tally.exhausted[q, b] += 1
            elif end == UNSCORED:
                tally.status[q] = 1
                return
            else:
                for s in range(len(kinds)):
                    value = worth(trees, scores, kinds[s], columns[s], q, room.finished, num, room.sums)
                    if value != value:
                        tally.status[q] = 1
                        return
                    note(tally, q, b, s, value)
                spend(tally, q, b, num, tokens, critical, calls, prefix)


@kernel_parallel
def rebase(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, budgets: Int64s, temperature: float,
    rounded: bool, trials: Int, seed: Key, root_pool: Int, step_pool: Int, reuse: bool, tally: Tally,
) -> None:  # fmt: skip
    """Replay `rebase` on every question."""
    for q in prange(len(trees.question_start) - 1):
        rebase_question(
            trees, scores, kinds, columns, np.int64(q), budgets, temperature, rounded, trials, seed, root_pool,
            step_pool, reuse, tally,
        )  # fmt: skip
