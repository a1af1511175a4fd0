"""Beam search whose finished candidates are frozen: they join the answers, the rest of the budget goes on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange

from tts_sim.arrays import Float32s, Float64s, Int, Int32s, Int64s, Key, Tally, Trees, UInt64s
from tts_sim.kernels._jit import kernel, kernel_inlined, kernel_parallel
from tts_sim.kernels.draws import TIE, cached_child, child_key, draw_prefix, mix, pool_size
from tts_sim.kernels.select import note, spend, want, worth

MAX_ROUNDS = 40
FEW = 256  # up to here counting is faster than a heap
SUPPORTED, MISSING, EXHAUSTED, UNSCORED = 0, 1, 2, 3


class Room(NamedTuple):
    """Scratch of one question, for candidates of the largest budget and draws of the largest pool."""

    finished: Int32s  # rows of candidates that have ended
    row: Int32s  # active candidates: row, rank of the sender, draw, step score
    sender: Int32s
    draw: Int32s
    score: Float32s
    tie: UInt64s  # uniform keys that break ties; filled in where there are some
    order: Int32s  # places of active candidates: those kept, in rank order, or a heap of all
    kept_row: Int32s  # candidates that send children in this round
    kept_key: UInt64s
    kept_tokens: Int64s  # tokens from the prompt down to each of them
    next_tokens: Int64s
    next_key: UInt64s
    places: Int64s
    swapped: Int64s
    picked: Int64s
    root_draws: Int64s  # this trial's draws at the prompt: each budget takes its first ones
    sums: Float64s


@kernel_inlined
def goes_before(room: Room, i: Int, j: Int) -> Int:
    """Whether active candidate i ranks before j: by score, then by a uniform key."""
    if room.score[i] != room.score[j]:
        return room.score[i] > room.score[j]
    return room.tie[i] < room.tie[j]


@kernel_inlined
def rank_distinct(room: Room, num: Int, kept: Int) -> Int:
    """Write the places of the `kept` best of `num` active candidates, in rank order, into `order`; False if some tie.

    Counts for each candidate those above it: num² comparisons, but without a branch and eight or more at a time.
    """
    total = np.int64(0)
    for i in range(num):
        score, above = room.score[i], np.int32(0)
        for j in range(num):
            above += np.int32(room.score[j] > score)
        total += above
        if above < kept:
            room.order[above] = i
    return total == num * (num - 1) // 2


@kernel_inlined
def rank_any(room: Room, num: Int, kept: Int) -> None:
    """The same by a heap with the best on top, ties broken by key; tops gather behind the heap and are turned round."""
    order = room.order
    for i in range(num):
        order[i] = i
        room.tie[i] = mix(child_key(room.kept_key[room.sender[i]], room.draw[i]), TIE)
    for step in range(num // 2 + kept):
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
    for i in range(num // 2):
        order[i], order[num - 1 - i] = order[num - 1 - i], order[i]


@kernel_inlined
def beam_trial(
    trees: Trees, step_score: Float32s, q: Int, budget: Int, width: Int, key: Key, root_pool: Int,
    step_pool: Int, room: Room, tally: Tally,
) -> tuple[Int, Int, Int, Int, Int]:  # fmt: skip
    """Run one search: how it ended, tokens, critical tokens, calls, prefix; candidates are then finished[:budget].

    It ends SUPPORTED, or with the reason why it stopped. Where missing draws are listed, all of the round are: its
    draws are known before any of its nodes is looked at. A replay that lists nothing stops at the first.
    """
    room.kept_row[0], room.kept_key[0], room.kept_tokens[0] = trees.question_start[q], key, 0
    listing = tally.wanted_row.shape[1] > 0
    num_kept, share, pool = 1, np.int64(budget), np.int64(root_pool)
    finished, active = np.int64(0), np.int64(budget)
    tokens, critical, calls, prefix = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for depth in range(MAX_ROUNDS):
        rest, active, missing, unscored = active, np.int64(0), False, False
        longest = np.int64(0)
        for p in range(num_kept):
            v = np.int64(room.kept_row[p])
            count = min(share, rest)
            rest -= count
            calls += count
            prefix += count * room.kept_tokens[p]
            size = pool_size(trees, v, pool)
            if size < count:
                return EXHAUSTED, tokens, critical, calls, prefix
            start = np.int64(trees.child_start[v])
            whole = start + size <= trees.child_stop[v] and (pool < 0 or trees.draw[start + size - 1] == size - 1)
            if depth > 0 and count < size:
                draw_prefix(room.kept_key[p], size, count, room.places, room.swapped, room.picked)
            for i in range(count):
                draw = i if count == size else room.root_draws[i] if depth == 0 else room.picked[i]
                child = start + draw if whole else cached_child(trees, v, draw, pool)
                if child < 0:
                    if not listing:
                        return MISSING, tokens, critical, calls, prefix
                    missing = True
                    want(tally, q, v, draw)
                    continue
                length = np.int64(trees.tokens[child])
                tokens += length
                longest = max(longest, length)
                if trees.answer[child] != -1:
                    room.finished[finished] = child
                    finished += 1
                else:
                    room.row[active] = child
                    room.sender[active] = p
                    room.draw[active] = draw
                    room.score[active] = step_score[child]
                    unscored |= step_score[child] != step_score[child]
                    active += 1
        if missing:
            return MISSING, tokens, critical, calls, prefix
        critical += longest
        if active == 0:
            break
        if unscored:
            return UNSCORED, tokens, critical, calls, prefix
        num_kept = (active + width - 1) // width
        if active > FEW or not rank_distinct(room, active, num_kept):
            rank_any(room, active, num_kept)
        for p in range(num_kept):
            i = room.order[p]
            room.kept_row[p] = room.row[i]
            room.next_key[p] = child_key(room.kept_key[room.sender[i]], room.draw[i])
            room.next_tokens[p] = room.kept_tokens[room.sender[i]] + trees.tokens[room.row[i]]
        for p in range(num_kept):
            room.kept_key[p], room.kept_tokens[p] = room.next_key[p], room.next_tokens[p]
        share, pool = np.int64(width), np.int64(step_pool)
    for i in range(active):  # unfinished after the last round: candidates without an answer
        room.finished[finished + i] = room.row[i]
    return SUPPORTED, tokens, critical, calls, prefix


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
        np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.int32),
        np.empty(most, np.float32), np.empty(most, np.uint64), np.empty(most, np.int32), np.empty(most, np.int32),
        np.empty(most, np.uint64), np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.uint64),
        np.arange(largest), np.empty(most, np.int64),
        np.empty(most, np.int64), np.empty(most, np.int64),
        np.empty(trees.answer_start[q + 1] - trees.answer_start[q], np.float64),
    )  # fmt: skip
    key = mix(seed, trees.question_key[q])
    root_size = pool_size(trees, trees.question_start[q], root_pool)
    for t in range(trials):
        trial_key = mix(key, np.uint64(t))
        draw_prefix(trial_key, root_size, min(most, root_size), room.places, room.swapped, room.root_draws)
        for b in range(len(budgets)):
            end, tokens, critical, calls, prefix = beam_trial(
                trees, scores[0], q, budgets[b], widths[b], trial_key, root_pool, step_pool, room, tally
            )
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
                spend(tally, q, b, budgets[b], tokens, critical, calls, prefix)


@kernel_parallel
def beam(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, budgets: Int64s, widths: Int64s, trials: Int,
    seed: Key, root_pool: Int, step_pool: Int, tally: Tally,
) -> None:  # fmt: skip
    """Replay `beam` on every question, each budget with its own width (at most the budget)."""
    for q in prange(len(trees.question_start) - 1):
        beam_question(
            trees, scores, kinds, columns, np.int64(q), budgets, widths, trials, seed, root_pool, step_pool, tally
        )
