"""Adaptive consistency: independent samples, one by one, until the first two answers are far enough apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tts_sim.arrays import Bools, Float32s, Float64s, Int, Int32s, Int64s, Key, Solutions, Tally, Trees
from tts_sim.kernels._jit import kernel_inlined, kernel_lean
from tts_sim.kernels.draws import PERMUTE, mix
from tts_sim.kernels.levels import COMPLETE, EXHAUSTED, MISSING
from tts_sim.kernels.select import MAJORITY, note, spend, want, worth

ABSENT = -2  # a solution that is not complete


class Room(NamedTuple):
    """Scratch of one thread, for the largest pool and budget."""

    solutions: Int64s  # what a question's draws may hit: places in Solutions
    answer: Int64s  # the answer of each of them, -1 for none, ABSENT
    places: Int64s  # 0, 1, 2, …
    swapped: Int64s
    order: Int64s  # draws so far
    rows: Int32s  # where their solutions end
    spent: Int64s  # tokens up to each of them
    counts: Int64s  # by answer of a question
    winner: Int64s  # by draws: the answer that has the most votes alone, or -1
    listed: Bools  # by draw: whether it is listed as missing
    values: Float64s  # by selection
    sums: Float64s


def new_room(pool: int, most: int, num_answers: int, num_selections: int) -> Room:
    """Scratch for pools, budgets and answers of up to these numbers."""
    return Room(
        np.empty(pool, np.int64), np.empty(pool, np.int64), np.arange(pool), np.empty(most, np.int64),
        np.empty(most, np.int64), np.empty(most, np.int32), np.empty(most, np.int64), np.empty(num_answers, np.int64),
        np.empty(most, np.int64), np.empty(pool, np.bool_), np.empty(num_selections, np.float64),
        np.empty(num_answers, np.float64),
    )  # fmt: skip


@kernel_inlined
def draw_next(key: Key, i: Int, pool: Int, reuse: bool, room: Room) -> None:
    """Write draw i of a trial into `order`: that of `draw_prefix`, or one of its bits with replacement."""
    bits = mix(key, PERMUTE + np.uint64(i)) >> np.uint64(32)
    if reuse:
        room.order[i] = np.int64((bits * np.uint64(pool)) >> np.uint64(32))
        return
    j = i + np.int64((bits * np.uint64(pool - i)) >> np.uint64(32))
    room.order[i] = room.places[j]
    room.places[j] = room.places[i]
    room.swapped[i] = j


@kernel_inlined
def draw_until_settled(
    trees: Trees, q: Int, most: Int, drawable: Int, pool: Int, leads: Int64s, key: Key, reuse: bool, found: Solutions,
    room: Room,
) -> tuple[Int, Int, Int, Int]:  # fmt: skip
    """Draw up to `most` solutions: how many are there, what ended it, and the counts of the first two answers.

    It ends COMPLETE if it was settled or came to `most`, or with the state of the solution that was not there. Their
    rows, the tokens and the winner up to each are in `room`.
    """
    origin = trees.answer_start[q]
    room.counts[: trees.answer_start[q + 1] - origin] = 0
    leader, first, second, tokens = np.int64(-1), np.int64(0), np.int64(0), np.int64(0)
    for i in range(most):
        if i == drawable:
            return np.int64(i), np.int64(EXHAUSTED), first, second
        draw_next(key, np.int64(i), pool, reuse, room)
        place, a = room.solutions[room.order[i]], room.answer[room.order[i]]
        if a == ABSENT:
            return np.int64(i), np.int64(found.state[place]), first, second
        room.rows[i] = found.row[place]
        tokens += found.tokens[place]
        room.spent[i] = tokens
        if a >= 0:
            room.counts[a] += 1
            if a == leader:
                first = room.counts[a]
            elif room.counts[a] > first:
                leader, first, second = a, room.counts[a], first
            elif room.counts[a] > second:
                second = room.counts[a]
        room.winner[i] = origin + leader if first > second else np.int64(-1)
        if first >= leads[second]:
            return np.int64(i + 1), np.int64(COMPLETE), first, second
    return np.int64(most), np.int64(COMPLETE), first, second


@kernel_lean
def adaptive(
    start: Int, stop: Int, room: Room, trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, budgets: Int64s,
    leads: Int64s, trials: Int, seed: Key, found: Solutions, reuse: bool, tally: Tally,
) -> None:  # fmt: skip
    """Replay `adaptive` on questions start:stop; `budgets` ascend, and leads[b] settles it against b."""
    most = budgets[-1]
    for q in range(start, stop):
        pool = np.int64(0)
        for place in range(found.start[q], found.start[q + 1]):
            if not reuse or found.state[place] == COMPLETE:
                answer = np.int64(trees.answer[found.row[place]])
                room.solutions[pool] = place
                room.answer[pool] = answer - trees.answer_start[q] if answer >= 0 else np.int64(-1)
                if found.state[place] != COMPLETE:
                    room.answer[pool] = ABSENT
                pool += 1
        drawable = most if reuse and pool > 0 else min(most, pool)
        room.listed[:pool] = False
        question_key = mix(seed, trees.question_key[q])
        for t in range(trials):
            key = mix(question_key, np.uint64(t))
            drawn, end, first, second = draw_until_settled(
                trees, q, most, drawable, pool, leads, key, reuse, found, room
            )
            begun = drawn + np.int64(end != COMPLETE and drawn < drawable)
            if end == MISSING:  # whatever they are, this one and the next few will be needed
                for i in range(drawn, min(drawable, drawn + leads[second] - first)):
                    if i == begun:
                        draw_next(key, np.int64(i), pool, reuse, room)
                        begun += 1
                    draw = room.order[i]
                    place = room.solutions[draw]
                    if found.state[place] == MISSING and not room.listed[draw]:
                        room.listed[draw] = True
                        want(tally, q, np.int64(found.row[place]), np.int64(found.draw[place]))
            if not reuse:
                for i in range(begun):
                    room.places[room.swapped[i]] = room.swapped[i]
            before = np.int64(-1)
            for b in range(len(budgets)):
                num = min(drawn, budgets[b])
                if end != COMPLETE and budgets[b] > drawn:
                    tally.missing[q, b] += np.int64(end == MISSING)
                    tally.exhausted[q, b] += np.int64(end == EXHAUSTED)
                    continue
                for s in range(len(kinds)):
                    if num != before and kinds[s] == MAJORITY and room.winner[num - 1] >= 0:
                        room.values[s] = 1.0 if trees.answer_correct[room.winner[num - 1]] else 0.0
                    elif num != before:
                        room.values[s] = worth(trees, scores, kinds[s], columns[s], q, room.rows, num, room.sums)
                        if room.values[s] != room.values[s]:
                            tally.status[q] = 1
                            return
                    note(tally, q, b, s, room.values[s])
                before = num
                spend(tally, q, b, num, room.spent[num - 1], room.spent[num - 1], num, np.int64(0))
