"""Beam search, with or without lookahead, under four readings of what becomes of candidates that end early."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tts_sim.arrays import GREEDY, NO_ANSWER, Float32s, Float64s, Int, Int32s, Int64s, Key, Tally, Trees, UInt64s
from tts_sim.kernels._jit import kernel_inlined, kernel_lean
from tts_sim.kernels.children import (
    Draws,
    Substitutes,
    count_borrowed,
    draw_children,
    new_draws,
    open_question,
    reuses,
)
from tts_sim.kernels.draws import child_key, mix, pool_size
from tts_sim.kernels.ranking import Candidates, new_candidates, rank, tie_key
from tts_sim.kernels.select import note, spend, want, worth

MAX_ROUNDS = 40
SUPPORTED, MISSING, EXHAUSTED, UNSCORED = 0, 1, 2, 3
FREEZE, ABSORB, SHRINK, POOL = 0, 1, 2, 3  # readings


class Rollouts(NamedTuple):
    """Where greedy rollouts lead, by row; empty without lookahead."""

    end: Int32s  # row of their last node, or ~row of the last one that is cached
    tokens: Int32s


class Settings(NamedTuple):
    """What is the same for every trial of a replay."""

    reading: Int
    trials: Int
    seed: Key
    root_pool: Int
    step_pool: Int
    per_candidate: Int  # generations that a candidate counts for


class Senders(NamedTuple):
    """Candidates that send children in a round, in rank order."""

    row: Int32s
    key: UInt64s
    tokens: Int64s  # from the prompt down to each of them


class Room(NamedTuple):
    """Scratch, for candidates of the largest budget."""

    opening: Candidates  # the first round of a trial: each budget takes its first ones
    opened: Int64s  # (B, 6) what came of them, as a Round
    early: Int32s  # rows of the answers among them
    now: Candidates
    senders: Senders
    following: Senders
    finished: Int32s  # rows of the answers
    draws: Draws
    instead: Substitutes | None
    sums: Float64s


def new_senders(most: int) -> Senders:
    """Room for so many senders."""
    return Senders(np.empty(most, np.int32), np.empty(most, np.uint64), np.empty(most, np.int64))


def new_room(
    most: int, num_budgets: int, reading: int, largest_pool: int, num_answers: int, instead: Substitutes | None
) -> Room:
    """Scratch for questions with pools and answers of up to these numbers."""
    num_finished = 1 + most * (MAX_ROUNDS if reading == POOL else 1)
    return Room(
        new_candidates(most), np.empty((num_budgets, 6), np.int64), np.empty(1 + most, np.int32),
        new_candidates(most), new_senders(most), new_senders(most), np.empty(num_finished, np.int32),
        new_draws(largest_pool, most), instead, np.empty(num_answers, np.float64),
    )  # fmt: skip


class Round(NamedTuple):
    """What came of the draws of a round, or of the first part of one."""

    active: Int  # candidates that compete for a place in the next round
    going: Int  # those among them that have not ended
    finished: Int  # answers so far
    tokens: Int  # so far
    longest: Int
    unscored: Int


class End(NamedTuple):
    """How a trial ended: SUPPORTED, with its answers in finished[:num_finished] and its costs, or why it stopped."""

    status: Int
    finished: Int
    generations: Int
    tokens: Int
    critical: Int
    calls: Int
    prefix: Int


@kernel_inlined
def stopped(status: Int) -> End:
    """The end of a trial that cannot go on."""
    nothing = np.int64(0)
    return End(status, nothing, nothing, nothing, nothing, nothing, nothing)


@kernel_inlined
def sort_out(
    trees: Trees, score: Float32s, reading: Int, of: Candidates, start: Int, stop: Int, senders: Senders,
    finished: Int32s, before: Round,
) -> Round:  # fmt: skip
    """Part the children that stand in start:stop into candidates, moved to the front, and answers.

    Where ended candidates compete, they stay among the candidates; one that is absorbed stands as its own child.
    """
    active, going, ended, tokens, longest, unscored = before
    competes = reading in (ABSORB, SHRINK)
    for i in range(start, stop):
        child, sender, draw = np.int64(of.row[i]), of.sender[i], of.draw[i]
        length = np.int64(trees.tokens[child])
        if reading == ABSORB and senders.row[sender] == child:
            length = np.int64(0)
        tokens += length
        longest = max(longest, length)
        goes = np.int64(trees.answer[child] == NO_ANSWER)
        stays = goes | np.int64(competes)
        value = np.float32(score[child])
        unscored |= stays & np.int64(value != value)
        of.row[active], of.sender[active], of.draw[active] = child, sender, draw
        of.score[active] = value if value == value else -np.inf  # so that all can be ranked
        finished[ended] = child  # written always: a branch would be guessed wrong too often
        active += stays
        going += goes
        ended += 1 - stays
    return Round(active, going, ended, tokens, longest, unscored)


@kernel_inlined
def list_missing(
    trees: Trees, look: Rollouts, q: Int, of: Candidates, start: Int, stop: Int, senders: Senders, last: Int,
    tally: Tally,
) -> Int:  # fmt: skip
    """List the draws of start:stop that are missing, and the greedy steps of their rollouts; whether there are any."""
    before = tally.wanted[q]
    for i in range(start, stop):
        child = of.row[i]
        if child < 0:
            want(tally, q, np.int64(senders.row[of.sender[i]]), np.int64(of.draw[i]))
        elif len(look.end) > 0 and not last and look.end[child] < 0:
            want(tally, q, np.int64(~look.end[child]), np.int64(GREEDY))
    return tally.wanted[q] > before


@kernel_inlined
def open_trial(
    trees: Trees, score: Float32s, look: Rollouts, settings: Settings, q: Int, key: Key, budgets: Int64s, b: Int,
    stop: Int, in_order: Int, room: Room, tally: Tally,
) -> tuple[Int, Int]:  # fmt: skip
    """Draw and rank the first candidates of budgets b:stop together: each takes the first ones of the last.

    The budget from which on draws are missing, and the number of draws before the first that is (-1: none can be).
    """
    opening, senders, no = room.opening, room.senders, np.int64(0)
    listing, missing = tally.wanted_row.shape[1] > 0, False
    prompt, count = trees.question_start[q], budgets[stop - 1]
    senders.row[0], senders.key[0], senders.tokens[0] = prompt, key, 0
    drawn = draw_children(
        trees, q, prompt, no, key, count, 1 - in_order, settings.root_pool, listing, room.draws, room.instead,
        opening.row, opening.draw, no,
    )  # fmt: skip
    found, done, ready = Round(no, no, no, no, no, no), no, b
    for c in range(b, stop):
        if listing:
            missing |= list_missing(trees, look, q, opening, done, budgets[c], senders, no, tally)
        if drawn >= budgets[c] and not missing:
            found = sort_out(trees, score, settings.reading, opening, done, budgets[c], senders, room.early, found)
            room.opened[c, 0], room.opened[c, 1], room.opened[c, 2] = found.active, found.going, found.finished
            room.opened[c, 3], room.opened[c, 4], room.opened[c, 5] = found.tokens, found.longest, found.unscored
            ready = c + 1
        done = budgets[c]
    for i in range(found.active):
        opening.tie[i] = tie_key(opening, i, senders.key)
    rank(opening, found.active, found.active, senders.key, True)
    return ready, drawn


@kernel_inlined
def choose(
    trees: Trees, reading: Int, n: Int, width: Int, of: Candidates, active: Int, num_kept: Int, finished: Int,
    room: Room,
) -> tuple[Int, Int, Int]:  # fmt: skip
    """Let the best candidates send children: their number, the answers so far, and the children of the next round."""
    senders, following = room.senders, room.following
    num, rest = np.int64(0), np.int64(n if reading == POOL else active)
    for p in range(num_kept):
        i = room.now.order[p]
        row, sender = np.int64(of.row[i]), of.sender[i]
        if reading == SHRINK and trees.answer[row] != NO_ANSWER:
            room.finished[finished] = row
            finished += 1
            rest -= min(width, active - p * width)
            continue
        following.row[num] = row
        following.key[num] = child_key(senders.key[sender], of.draw[i])
        following.tokens[num] = senders.tokens[sender] + trees.tokens[row]
        num += 1
    for p in range(num):
        senders.row[p], senders.key[p], senders.tokens[p] = following.row[p], following.key[p], following.tokens[p]
    return num, finished, rest


@kernel_inlined
def beam_trial(
    trees: Trees, score: Float32s, look: Rollouts, settings: Settings, q: Int, key: Key, n: Int, width: Int, b: Int,
    room: Room, tally: Tally,
) -> End:  # fmt: skip
    """Run one search of n candidates, whose first round has been opened."""
    no = np.int64(0)  # typed: a literal would compile helpers once more
    reading, of, now, senders = settings.reading, room.opening, room.now, room.senders
    listing, ahead = tally.wanted_row.shape[1] > 0, len(look.end) > 0
    senders.row[0], senders.key[0], senders.tokens[0] = trees.question_start[q], key, 0
    active, going, finished = room.opened[b, 0], room.opened[b, 1], room.opened[b, 2]
    tokens, longest, unscored = room.opened[b, 3], room.opened[b, 4], room.opened[b, 5]
    for i in range(finished):
        room.finished[i] = room.early[i]
    sampled, calls, prefix = np.int64(n), np.int64(n), np.int64(0)
    generations, critical, num_senders = no, no, no
    share, extra, rest = np.int64(width), no, no
    for depth in range(MAX_ROUNDS):
        last = np.int64(depth == MAX_ROUNDS - 1)
        if depth > 0:
            of = now
            num, sampled, missing = np.int64(0), np.int64(0), False
            for p in range(num_senders):
                v, count = np.int64(senders.row[p]), min(share + np.int64(p < extra), rest)
                rest -= count
                if reading == ABSORB and trees.answer[v] != NO_ANSWER:
                    for i in range(count):
                        now.row[num + i], now.draw[num + i] = v, i
                else:
                    drawn = draw_children(
                        trees, q, v, depth, senders.key[p], count, no, settings.step_pool,
                        listing, room.draws, room.instead, now.row, now.draw, num,
                    )  # fmt: skip
                    if drawn < 0:
                        return stopped(np.int64(EXHAUSTED))
                    if drawn < count and not listing:
                        return stopped(np.int64(MISSING))
                    missing |= drawn < count
                    sampled += count
                    prefix += count * senders.tokens[p]
                for i in range(count):
                    now.sender[num + i] = p
                num += count
            if listing:
                missing |= list_missing(trees, look, q, now, no, num, senders, last, tally)
            if missing:
                return stopped(np.int64(MISSING))
            calls += sampled
            active, going, finished, tokens, longest, unscored = sort_out(
                trees, score, reading, now, no, num, senders, room.finished, Round(no, no, finished, tokens, no, no)
            )
        generations += sampled - going
        if reading != SHRINK and (going == 0 or last):
            critical += longest
            break
        if ahead:
            for i in range(active):
                row = np.int64(of.row[i])
                if look.end[row] < 0:
                    return stopped(np.int64(MISSING if settings.step_pool >= 0 else EXHAUSTED))
                length = np.int64(look.tokens[row])
                tokens += length
                longest = max(longest, trees.tokens[row] + length)
                prefix += senders.tokens[of.sender[i]] + trees.tokens[row]
            calls += active
        critical += longest
        if unscored:
            return stopped(np.int64(UNSCORED))
        num_kept = (active + width - 1) // width
        if reading == POOL:
            share, extra, num_kept = np.int64(width), no, min(active, np.int64((n + width - 1) // width))
            if num_kept * width < n:
                share, extra = n // num_kept, n % num_kept
        if depth > 0:
            rank(now, active, num_kept, senders.key, False)
        else:
            picked, place = no, no
            while picked < num_kept:  # without a branch: which of the ranked are among the first is chance
                now.order[picked] = of.order[place]
                picked += np.int64(of.order[place] < active)
                place += 1
        num_senders, finished, rest = choose(trees, reading, n, width, of, active, num_kept, finished, room)
        if num_senders == 0:
            going = no
        if num_senders == 0 or last:
            break
    if reading == ABSORB:
        for i in range(active):
            if trees.answer[of.row[i]] != NO_ANSWER:
                room.finished[finished] = of.row[i]
                finished += 1
    return End(np.int64(SUPPORTED), finished, generations + going, tokens, critical, calls, prefix)


@kernel_lean
def beam(
    start: Int, stop: Int, room: Room, trees: Trees, score: Float32s, look: Rollouts, scores: Float32s, kinds: Int64s,
    columns: Int64s, budgets: Int64s, widths: Int64s, settings: Settings, tally: Tally,
) -> None:  # fmt: skip
    """Replay beam search on questions start:stop for budgets of candidates, each with its own width (at most them).

    Candidates rank by `score`; NaN is refused where it is needed. `scores` and `columns` are for the selections.
    """
    for q in range(start, stop):
        question_key = mix(settings.seed, trees.question_key[q])
        size = pool_size(trees, trees.question_start[q], settings.root_pool)
        within, ready, drawn, together = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
        open_question(trees, q, room.instead)
        for b in range(len(budgets)):  # those below the pool share their draws; all of a pool comes in order
            within += np.int64(budgets[b] <= size or reuses(room.instead))
            together += np.int64(budgets[b] < size or reuses(room.instead))
        for b in range(within, len(budgets)):
            tally.exhausted[q, b] += settings.trials
        for t in range(settings.trials):
            key = mix(question_key, np.uint64(t))
            for b in range(within):
                if b == 0 or b == together:
                    shared = np.int64(within if b == together else together)
                    ready, drawn = open_trial(
                        trees, score, look, settings, q, key, budgets, np.int64(b), shared, np.int64(b == together),
                        room, tally,
                    )  # fmt: skip
                if b < ready:
                    end = beam_trial(trees, score, look, settings, q, key, budgets[b], widths[b], b, room, tally)
                else:
                    end = stopped(np.int64(EXHAUSTED if drawn < 0 else MISSING))
                borrowed = count_borrowed(room.instead)
                if end.status == MISSING:
                    tally.missing[q, b] += 1
                elif end.status == EXHAUSTED:
                    tally.exhausted[q, b] += 1
                elif end.status == UNSCORED:
                    tally.status[q] = 1
                    return
                else:
                    for s in range(len(kinds)):
                        value = worth(trees, scores, kinds[s], columns[s], q, room.finished, end.finished, room.sums)
                        if value != value:
                            tally.status[q] = 1
                            return
                        note(tally, q, b, s, value)
                    tally.borrowed[q, b] += borrowed
                    generations = end.generations * settings.per_candidate
                    spend(tally, q, b, generations, end.tokens, end.critical, end.calls, end.prefix)
