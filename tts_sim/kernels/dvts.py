"""Diverse verifier tree search: subtrees that never meet, each going on from the best of its siblings."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange

from tts_sim.arrays import Float32s, Float64s, Int, Int32s, Int64s, Key, Tally, Trees
from tts_sim.kernels._jit import kernel, kernel_inlined, kernel_parallel
from tts_sim.kernels.beam import EXHAUSTED, MAX_ROUNDS, MISSING, SUPPORTED, UNSCORED
from tts_sim.kernels.draws import PERMUTE, TIE, cached_child, child_key, draw_prefix, mix, pool_size
from tts_sim.kernels.select import note, spend, want, worth


class Room(NamedTuple):
    """Scratch of one question, for the subtrees of the largest budget and draws of the largest pool."""

    rows: Int32s  # what each subtree gives out, subtree after subtree
    end: Int64s  # how each subtree ended
    tokens: Int64s
    critical: Int64s
    calls: Int64s
    prefix: Int64s
    places: Int64s
    swapped: Int64s
    picked: Int64s
    root_draws: Int64s  # this trial's draws at the prompt, `width` for each subtree
    sums: Float64s


@kernel_inlined
def slot_draw(key: Key, slot: Int, size: Int) -> Int:
    """A draw with replacement: the place among `size` cached children that slot number `slot` of a node takes."""
    return np.int64(((mix(key, PERMUTE + np.uint64(slot)) >> np.uint64(32)) * np.uint64(size)) >> np.uint64(32))


@kernel_inlined
def grow_subtree(
    trees: Trees, step_score: Float32s, q: Int, i: Int, width: Int, best_only: bool, key: Key, root_pool: Int,
    step_pool: Int, reuse: bool, room: Room, tally: Tally,
) -> Int:  # fmt: skip
    """Grow subtree number i of a trial: how it ended. What it gives out is in rows[i * width :], or in rows[i] alone.

    The latter overwrites siblings of a subtree that is done with: grow them in their order. Where missing draws are
    listed, all of the round are: its draws are known before any of its nodes is looked at.
    """
    listing = tally.wanted_row.shape[1] > 0
    v, node_key, pool = np.int64(trees.question_start[q]), key, np.int64(root_pool)
    first, above = i * width, np.int64(0)
    room.tokens[i], room.critical[i], room.calls[i], room.prefix[i] = 0, 0, 0, 0
    for depth in range(MAX_ROUNDS):
        size = pool_size(trees, v, np.int64(-1) if reuse else pool)
        if depth > 0 and (size == 0 if reuse else size < width):
            return EXHAUSTED
        if depth > 0 and not reuse and width < size:
            draw_prefix(node_key, size, width, room.places, room.swapped, room.picked)
        missing, unscored, longest = False, False, np.int64(0)
        best, highest, best_slot = np.int64(-1), np.float32(0.0), np.int64(0)
        room.calls[i] += width
        room.prefix[i] += width * above
        for m in range(width):
            slot = first + m if depth == 0 else np.int64(m)
            if reuse:
                child = trees.child_start[v] + slot_draw(node_key, slot, size)
            else:
                slot = room.root_draws[slot] if depth == 0 else slot if width == size else room.picked[m]
                child = cached_child(trees, v, slot, pool)
            if child < 0:
                if not listing:
                    return MISSING
                missing = True
                want(tally, q, v, slot)
                continue
            room.rows[first + m] = child
            room.tokens[i] += trees.tokens[child]
            longest = max(longest, np.int64(trees.tokens[child]))
            score = step_score[child]
            unscored |= score != score
            ahead = best < 0 or score > highest
            if not ahead and score == highest:
                ahead = mix(child_key(node_key, slot), TIE) < mix(child_key(node_key, best_slot), TIE)
            if ahead:
                best, highest, best_slot = np.int64(child), score, slot
        if missing:
            return MISSING
        if unscored:
            return UNSCORED
        room.critical[i] += longest
        v, node_key, pool, above = best, child_key(node_key, best_slot), np.int64(step_pool), above + trees.tokens[best]
        if trees.answer[v] != -1:
            break
    if best_only:
        room.rows[i] = v
    return SUPPORTED


@kernel_inlined
def note_blocks(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, q: Int, b: Int, num: Int, blocks: Int,
    independent: bool, room: Room, tally: Tally,
) -> bool:  # fmt: skip
    """Note every selection's mean value over blocks of `num` rows; False if a score is missing."""
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
        if independent and blocks > 1:
            tally.products[q, b, s] += (total * total - squares) / (blocks * (blocks - 1))
    tally.paired[q, b] += independent and blocks > 1
    return True


@kernel
def dvts_question(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, q: Int, budgets: Int64s, widths: Int64s,
    best_only: bool, trials: Int, seed: Key, root_pool: Int, step_pool: Int, reuse: bool, tally: Tally,
) -> None:  # fmt: skip
    """Replay question q `trials` times at every budget; row 0 of `scores` are the step scores.

    Budgets of one width stand side by side: their subtrees are grown once a trial. A budget is supported if its first
    subtrees are; if all are, its value is the mean over all its blocks. As subtrees are exchangeable, whether all are
    supported does not depend on which of them come first, so that this mean has the expectation of the first block.
    """
    most = max(budgets)
    largest = np.int64(max(root_pool, step_pool, most))
    for v in range(trees.question_start[q], trees.question_start[q + 1]):
        largest = max(largest, np.int64(trees.child_stop[v] - trees.child_start[v]))
    room = Room(
        np.empty(most, np.int32), np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64),
        np.empty(most, np.int64), np.empty(most, np.int64), np.arange(largest), np.empty(most, np.int64),
        np.empty(most, np.int64), np.empty(most, np.int64),
        np.empty(trees.answer_start[q + 1] - trees.answer_start[q], np.float64),
    )  # fmt: skip
    key = mix(seed, trees.question_key[q])
    root_size = pool_size(trees, trees.question_start[q], np.int64(-1) if reuse else root_pool)
    drawable = np.int64(most if reuse and root_size > 0 else min(most, root_size))
    for t in range(trials):
        trial_key = mix(key, np.uint64(t))
        if not reuse:
            draw_prefix(trial_key, root_size, drawable, room.places, room.swapped, room.root_draws)
        b_stop = 0
        while b_stop < len(budgets):
            b_start, width = b_stop, widths[b_stop]
            while b_stop < len(budgets) and widths[b_stop] == width:
                b_stop += 1
            grown = min(budgets[b_stop - 1], drawable) // width
            whole = True
            for i in range(grown):
                room.end[i] = grow_subtree(
                    trees, scores[0], q, np.int64(i), width, best_only, trial_key, root_pool, step_pool, reuse, room,
                    tally,
                )  # fmt: skip
                if room.end[i] == UNSCORED:
                    tally.status[q] = 1
                    return
                whole &= room.end[i] == SUPPORTED
            for b in range(b_start, b_stop):
                num = budgets[b] // width
                missing, exhausted = False, num > grown
                tokens, critical, calls, prefix = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
                for i in range(min(num, grown)):
                    missing |= room.end[i] == MISSING
                    exhausted |= room.end[i] == EXHAUSTED
                    tokens += room.tokens[i]
                    critical = max(critical, room.critical[i])
                    calls += room.calls[i]
                    prefix += room.prefix[i]
                tally.missing[q, b] += missing
                tally.exhausted[q, b] += exhausted
                if missing or exhausted:
                    continue
                blocks = grown // num if whole else np.int64(1)
                answers = num if best_only else num * width
                if not note_blocks(trees, scores, kinds, columns, q, b, answers, blocks, not reuse, room, tally):
                    tally.status[q] = 1
                    return
                spend(tally, q, b, budgets[b], tokens, critical, calls, prefix)


@kernel_parallel
def dvts(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, budgets: Int64s, widths: Int64s,
    best_only: bool, trials: Int, seed: Key, root_pool: Int, step_pool: Int, reuse: bool, tally: Tally,
) -> None:  # fmt: skip
    """Replay `dvts` on every question, each budget with its own width, which divides it; `budgets` ascend."""
    for q in prange(len(trees.question_start) - 1):
        dvts_question(
            trees, scores, kinds, columns, np.int64(q), budgets, widths, best_only, trials, seed, root_pool, step_pool,
            reuse, tally,
        )  # fmt: skip
