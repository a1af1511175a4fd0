"""Diverse verifier tree search: subtrees that never meet, each going on from the best of its siblings."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tts_sim.arrays import NO_ANSWER, Float32s, Float64s, Int, Int32s, Int64s, Key, Tally, Trees
from tts_sim.kernels._jit import kernel_called, kernel_inlined, kernel_lean
from tts_sim.kernels.beam import EXHAUSTED, MAX_ROUNDS, MISSING, SUPPORTED, UNSCORED
from tts_sim.kernels.children import Draws, Substitutes, count_borrowed, draw_children, open_question, reuses
from tts_sim.kernels.draws import TIE, child_key, mix, pool_size
from tts_sim.kernels.select import note, spend, want, worth


class Settings(NamedTuple):
    """What is the same for every trial of a replay."""

    best_only: Int  # a subtree gives out the sibling that it keeps, not all of its last round
    trials: Int
    seed: Key
    root_pool: Int
    step_pool: Int


class Room(NamedTuple):
    """Scratch of one thread, for the subtrees of the largest budget."""

    rows: Int32s  # siblings of each subtree, `width` places for each; in the end what the subtrees give out
    numbers: Int32s  # that key them
    end: Int64s  # how each subtree ended, and what it cost
    tokens: Int64s
    critical: Int64s
    calls: Int64s
    prefix: Int64s
    borrowed: Int64s
    draws: Draws
    instead: Substitutes | None
    sums: Float64s


def new_room(most: int, draws: Draws, instead: Substitutes | None, sums: Float64s) -> Room:
    """Scratch for up to `most` first steps."""
    costs = np.empty((6, most), np.int64)
    return Room(
        np.empty(most, np.int32), np.empty(most, np.int32), costs[0], costs[1], costs[2], costs[3], costs[4], costs[5],
        draws, instead, sums,
    )  # fmt: skip


@kernel_called
def list_missing(q: Int, v: Int, rows: Int32s, numbers: Int32s, start: Int, stop: Int, tally: Tally) -> None:
    """List those draws of v at the places start:stop that are missing."""
    for i in range(start, stop):
        if rows[i] < 0:
            want(tally, q, v, np.int64(numbers[i]))


@kernel_inlined
def best_sibling(score: Float32s, key: Key, rows: Int32s, numbers: Int32s, start: Int, stop: Int) -> Int:
    """Place of the highest score, ties by a uniform key; -1 if a score is missing."""
    best, highest = start, score[rows[start]]
    scored = highest == highest
    for i in range(start + 1, stop):
        value = score[rows[i]]
        scored &= value == value
        if value > highest:
            best, highest = np.int64(i), value
        elif value == highest and mix(child_key(key, numbers[i]), TIE) < mix(child_key(key, numbers[best]), TIE):
            best = np.int64(i)
    return best if scored else np.int64(-1)


@kernel_called
def grow_subtree(
    trees: Trees, score: Float32s, settings: Settings, q: Int, i: Int, width: Int, key: Key, room: Room, tally: Tally
) -> Int:
    """Grow subtree i of a trial from the first steps at the places from i * width on: how it ended, costs in `room`.

    Its last siblings are then at these places, or the kept one alone at place i. That belongs to a subtree that is done
    with, as long as subtrees are grown in their order. Where missing draws are listed, all of the round are: its draws
    are known before any of its nodes is looked at.
    """
    rows, numbers, listing = room.rows, room.numbers, tally.wanted_row.shape[1] > 0
    start, stop = i * width, (i + 1) * width
    v, above = np.int64(trees.question_start[q]), np.int64(0)
    tokens, critical, calls, prefix = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for depth in range(MAX_ROUNDS):
        missing = False
        if depth == 0:
            for m in range(start, stop):
                missing |= rows[m] < 0
        else:
            drawn = draw_children(
                trees, q, v, depth, key, width, np.int64(0), settings.step_pool, listing, room.draws,
                room.instead, rows, numbers, start,
            )  # fmt: skip
            if drawn < 0:
                return np.int64(EXHAUSTED)
            missing = drawn < width
        if missing:
            if listing:
                list_missing(q, v, rows, numbers, start, stop, tally)
            return np.int64(MISSING)
        longest = np.int64(0)
        for m in range(start, stop):
            length = np.int64(trees.tokens[rows[m]])
            tokens += length
            longest = max(longest, length)
        critical += longest
        calls += width
        prefix += width * above
        best = best_sibling(score, key, rows, numbers, start, stop)
        if best < 0:
            return np.int64(UNSCORED)
        v, key = np.int64(rows[best]), child_key(key, numbers[best])
        above += np.int64(trees.tokens[v])
        if trees.answer[v] != NO_ANSWER:
            break
    if settings.best_only:
        rows[i] = v
    room.tokens[i], room.critical[i], room.calls[i], room.prefix[i] = tokens, critical, calls, prefix
    room.borrowed[i] = count_borrowed(room.instead)
    return np.int64(SUPPORTED)


@kernel_called
def note_blocks(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, q: Int, b: Int, num: Int, blocks: Int,
    disjoint: Int, room: Room, tally: Tally,
) -> bool:  # fmt: skip
    """Note every selection's mean value over blocks of `num` answers; False if a score is missing."""
    for s in range(len(kinds)):
        total, squares = 0.0, 0.0
        for block in range(blocks):
            rows = room.rows[block * num : (block + 1) * num]
            value = worth(trees, scores, kinds[s], columns[s], q, rows, num, room.sums)
            if value != value:
                return False
            total += value
            squares += value * value
        note(tally, q, b, s, total / blocks)
        if disjoint:
            tally.products[q, b, s] += (total * total - squares) / (blocks * (blocks - 1))
    tally.paired[q, b] += np.int64(disjoint)
    return True


@kernel_lean
def dvts(
    start: Int, stop: Int, room: Room, trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, budgets: Int64s,
    widths: Int64s, settings: Settings, tally: Tally,
) -> None:  # fmt: skip
    """Replay `dvts` on questions start:stop, each budget with its own width, which divides it; `budgets` ascend.

    Row 0 of `scores` are the step scores. Budgets of one width stand side by side: their subtrees are grown once a
    trial. A budget is supported if its first subtrees are; if all are, its value is the mean over all its blocks. As
    subtrees are exchangeable, whether all are supported says nothing about which of them come first: the mean has the
    expectation of the first block.
    """
    for q in range(start, stop):
        prompt, question_key = trees.question_start[q], mix(settings.seed, trees.question_key[q])
        reuse, most = reuses(room.instead), np.int64(max(budgets))
        drawable = most if reuse else min(most, pool_size(trees, prompt, settings.root_pool))
        open_question(trees, q, room.instead)
        nothing, listing = np.int64(0), np.int64(1)
        for t in range(settings.trials):
            key = mix(question_key, np.uint64(t))
            b_stop = nothing
            while b_stop < len(budgets):
                b_start, width = b_stop, widths[b_stop]
                while b_stop < len(budgets) and widths[b_stop] == width:
                    b_stop += 1
                grown = min(budgets[b_stop - 1], drawable) // width
                room.rows[: grown * width] = -1
                drawn = draw_children(
                    trees, q, prompt, nothing, key, grown * width, listing, settings.root_pool, listing,
                    room.draws, room.instead, room.rows, room.numbers, nothing,
                )  # fmt: skip
                whole = True
                for i in range(grown):
                    end = np.int64(EXHAUSTED)
                    if drawn >= 0:
                        count_borrowed(room.instead)
                        end = grow_subtree(trees, scores[0], settings, q, np.int64(i), width, key, room, tally)
                    if end == UNSCORED:
                        tally.status[q] = 1
                        return
                    room.end[i] = end
                    whole &= end == SUPPORTED
                for b in range(b_start, b_stop):
                    num = budgets[b] // width
                    missing, exhausted = False, num > grown
                    for i in range(min(num, grown)):
                        missing |= room.end[i] == MISSING
                        exhausted |= room.end[i] == EXHAUSTED
                    tally.missing[q, b] += np.int64(missing)
                    tally.exhausted[q, b] += np.int64(exhausted)
                    if missing or exhausted:
                        continue
                    blocks = grown // num if whole else np.int64(1)
                    answers = num if settings.best_only else num * width
                    disjoint = np.int64(blocks > 1 and not reuse)
                    if not note_blocks(trees, scores, kinds, columns, q, b, answers, blocks, disjoint, room, tally):
                        tally.status[q] = 1
                        return
                    tokens, critical, calls, prefix = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
                    for i in range(num):
                        tokens += room.tokens[i]
                        critical = max(critical, room.critical[i])
                        calls += room.calls[i]
                        prefix += room.prefix[i]
                        tally.borrowed[q, b] += room.borrowed[i]
                    spend(tally, q, b, budgets[b], tokens, critical, calls, prefix)
