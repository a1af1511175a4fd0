"""Reward-balanced search: each round's expansions are shared out by the softmax of step scores."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tts_sim.arrays import NO_ANSWER, Float32s, Float64s, Int, Int32s, Int64s, Key, Tally, Trees, UInt64s
from tts_sim.kernels._jit import kernel_called, kernel_inlined, kernel_lean
from tts_sim.kernels.beam import EXHAUSTED, MAX_ROUNDS, MISSING, SUPPORTED, UNSCORED
from tts_sim.kernels.children import Draws, Substitutes, count_borrowed, draw_children, open_question, reuses
from tts_sim.kernels.draws import TIE, child_key, mix, pool_size
from tts_sim.kernels.select import note, spend, want, worth


class Settings(NamedTuple):
    """What is the same for every trial of a replay."""

    temperature: float
    rounded: Int  # shares are rounded, not settled by largest remainder
    trials: Int
    seed: Key
    root_pool: Int
    step_pool: Int


class Room(NamedTuple):
    """Scratch of one thread, for candidates of the largest budget."""

    finished: Int32s  # rows of candidates that have ended
    row: Int32s  # candidates that send children in this round
    key: UInt64s
    above: Int64s  # tokens from the prompt down to each of them
    share: Int64s  # children that each of them sends
    next_row: Int32s  # their children; then those that have not ended
    number: Int32s  # that key them
    next_key: UInt64s
    next_above: Int64s
    score: Float32s
    part: Float64s  # softmax weight, then what is left of a share that is not whole
    order: Int64s  # places of candidates: a heap, the first in rank on top
    draws: Draws
    instead: Substitutes | None
    sums: Float64s


def new_room(most: int, draws: Draws, instead: Substitutes | None, sums: Float64s) -> Room:
    """Scratch for up to `most` candidates."""
    return Room(
        np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.uint64), np.empty(most, np.int64),
        np.empty(most, np.int64), np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.uint64),
        np.empty(most, np.int64), np.empty(most, np.float32), np.empty(most, np.float64), np.empty(most, np.int64),
        draws, instead, sums,
    )  # fmt: skip


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


@kernel_called
def rebase_trial(
    trees: Trees, score: Float32s, settings: Settings, q: Int, budget: Int, key: Key, room: Room, tally: Tally
) -> tuple[Int, Int, Int, Int, Int, Int]:
    """Run one search: how it ended, candidates, tokens, critical tokens, calls, prefix; they are in finished[:number].

    It ends SUPPORTED, or with the reason why it stopped. Where missing draws are listed, all of the round are: its
    draws are known before any of its nodes is looked at.
    """
    row, key_of, above, share = room.row, room.key, room.above, room.share
    children, numbers, listing = room.next_row, room.number, tally.wanted_row.shape[1] > 0
    nothing = np.int64(0)
    row[0], key_of[0], above[0], share[0] = trees.question_start[q], key, 0, budget
    senders, pool = np.int64(1), settings.root_pool
    finished, active = nothing, nothing
    tokens, critical, calls, prefix = nothing, nothing, nothing, nothing
    count_borrowed(room.instead)
    for depth in range(MAX_ROUNDS):
        num, missing = nothing, False
        for p in range(senders):
            count = share[p]
            if count > 0:
                drawn = draw_children(
                    trees, q, np.int64(row[p]), depth, key_of[p], count, nothing, pool, listing, room.draws,
                    room.instead, children, numbers, num,
                )  # fmt: skip
                if drawn < 0:
                    return np.int64(EXHAUSTED), nothing, nothing, nothing, nothing, nothing
                missing |= drawn < count
                num += count
        if missing:
            if listing:
                list_missing(q, row, share, senders, children, numbers, tally)
            return np.int64(MISSING), nothing, nothing, nothing, nothing, nothing
        num, active, longest, unscored = nothing, nothing, nothing, False
        for p in range(senders):
            calls += share[p]
            prefix += share[p] * above[p]
            for _ in range(share[p]):
                child, number = np.int64(children[num]), numbers[num]
                num += 1
                length = np.int64(trees.tokens[child])
                tokens += length
                longest = max(longest, length)
                if trees.answer[child] != NO_ANSWER:
                    room.finished[finished] = child
                    finished += 1
                    continue
                children[active], room.next_key[active] = child, child_key(key_of[p], number)
                room.next_above[active], room.score[active] = above[p] + length, score[child]
                unscored |= score[child] != score[child]
                active += 1
        critical += longest
        if active == 0:
            break
        if unscored:
            return np.int64(UNSCORED), nothing, nothing, nothing, nothing, nothing
        share_out(room, active, budget - finished, settings.temperature, settings.rounded)
        for i in range(active):
            row[i], key_of[i], above[i] = children[i], room.next_key[i], room.next_above[i]
        senders, pool = active, settings.step_pool
    for i in range(active):  # unfinished after the last round: candidates without an answer
        room.finished[finished + i] = row[i]
    return np.int64(SUPPORTED), finished + active, tokens, critical, calls, prefix


@kernel_called
def list_missing(
    q: Int, row: Int32s, share: Int64s, senders: Int, children: Int32s, numbers: Int32s, tally: Tally
) -> None:
    """List the missing ones of the children that the senders have drawn, each its share."""
    num = 0
    for p in range(senders):
        for _ in range(share[p]):
            if children[num] < 0:
                want(tally, q, np.int64(row[p]), np.int64(numbers[num]))
            num += 1


@kernel_lean
def rebase(
    start: Int, stop: Int, room: Room, trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, budgets: Int64s,
    settings: Settings, tally: Tally,
) -> None:  # fmt: skip
    """Replay `rebase` on questions start:stop at every budget; row 0 of `scores` are the step scores."""
    for q in range(start, stop):
        prompt, question_key = trees.question_start[q], mix(settings.seed, trees.question_key[q])
        open_question(trees, q, room.instead)
        for t in range(settings.trials):
            key = mix(question_key, np.uint64(t))
            for b in range(len(budgets)):
                if not reuses(room.instead) and budgets[b] > pool_size(trees, prompt, settings.root_pool):
                    tally.exhausted[q, b] += 1  # there may be no room for so many
                    continue
                end, num, tokens, critical, calls, prefix = rebase_trial(
                    trees, scores[0], settings, q, budgets[b], key, room, tally
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
                        value = worth(trees, scores, kinds[s], columns[s], q, room.finished, num, room.sums)
                        if value != value:
                            tally.status[q] = 1
                            return
                        note(tally, q, b, s, value)
                    tally.borrowed[q, b] += count_borrowed(room.instead)
                    spend(tally, q, b, num, tokens, critical, calls, prefix)
