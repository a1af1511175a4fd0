"""Beam search, with or without lookahead, under four readings of what becomes of candidates that end early."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tts_sim.arrays import GREEDY, NO_ANSWER, Float32s, Float64s, Int, Int32s, Int64s, Key, Tally, Trees, UInt64s
from tts_sim.kernels._jit import kernel, kernel_called, kernel_inlined
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


def new_room(most: int, reading: int, largest_pool: int, num_answers: int, instead: Substitutes | None) -> Room:
    """Scratch for questions with pools and answers of up to these numbers."""
    return Room(
        new_candidates(most), new_candidates(most), new_senders(most), new_senders(most),
        np.empty(1 + most * (MAX_ROUNDS if reading == POOL else 1), np.int32), new_draws(largest_pool, most), instead,
        np.empty(num_answers, np.float64),
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
        value = score[child]
        unscored |= stays & np.int64(value != value)
        of.row[active], of.sender[active], of.draw[active], of.score[active] = child, sender, draw, value
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
def beam_trial(
    trees: Trees, score: Float32s, look: Rollouts, settings: Settings, q: Int, n: Int, width: Int, opened: Round,
    room: Room, tally: Tally,
) -> End:  # fmt: skip
    """Run one search of n candidates from its first round on."""
    no = np.int64(0)  # typed: a literal would compile helpers once more
    reading, now, senders = settings.reading, room.now, room.senders
    listing, ahead = tally.wanted_row.shape[1] > 0, len(look.end) > 0
    for i in range(opened.active):
        now.row[i], now.sender[i], now.draw[i] = room.opening.row[i], 0, room.opening.draw[i]
        now.score[i], now.tie[i] = room.opening.score[i], room.opening.tie[i]
    found, sampled, calls, prefix = opened, np.int64(n), np.int64(n), np.int64(0)
    generations, critical, num_senders = np.int64(0), np.int64(0), np.int64(0)
    share, extra, rest = np.int64(0), np.int64(0), np.int64(0)
    for depth in range(MAX_ROUNDS):
        last = np.int64(depth == MAX_ROUNDS - 1)
        if depth > 0:
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
            found = sort_out(
                trees, score, reading, now, no, num, senders, room.finished,
                Round(no, no, found.finished, found.tokens, no, no),
            )  # fmt: skip
        active, going, finished, tokens, longest, unscored = found
        generations += sampled - going
        if reading != SHRINK and (going == 0 or last):
            critical += longest
            break
        if ahead:
            for i in range(active):
                row = np.int64(now.row[i])
                if look.end[row] < 0:
                    return stopped(np.int64(MISSING if settings.step_pool >= 0 else EXHAUSTED))
                length = np.int64(look.tokens[row])
                tokens += length
                longest = max(longest, trees.tokens[row] + length)
                prefix += senders.tokens[now.sender[i]] + trees.tokens[row]
            calls += active
        critical += longest
        if unscored:
            return stopped(np.int64(UNSCORED))
        num_kept = (active + width - 1) // width
        share, extra, rest = np.int64(width), np.int64(0), active
        if reading == POOL:
            num_kept, rest = min(active, np.int64((n + width - 1) // width)), np.int64(n)
            if num_kept * width < n:
                share, extra = n // num_kept, n % num_kept
        rank(now, active, num_kept, senders.key, depth == 0)
        num_senders = np.int64(0)
        for p in range(num_kept):
            i = now.order[p]
            row, sender = np.int64(now.row[i]), now.sender[i]
            if reading == SHRINK and trees.answer[row] != NO_ANSWER:
                room.finished[finished] = row
                finished += 1
                rest -= min(share, active - p * share)
                continue
            room.following.row[num_senders] = row
            room.following.key[num_senders] = child_key(senders.key[sender], now.draw[i])
            room.following.tokens[num_senders] = senders.tokens[sender] + trees.tokens[row]
            num_senders += 1
        for p in range(num_senders):
            senders.row[p], senders.key[p] = room.following.row[p], room.following.key[p]
            senders.tokens[p] = room.following.tokens[p]
        found = Round(active, going, finished, tokens, longest, unscored)
        if num_senders == 0:
            going = np.int64(0)
        if num_senders == 0 or last:
            break
    if reading == ABSORB:
        for i in range(active):
            if trees.answer[now.row[i]] != NO_ANSWER:
                room.finished[finished] = now.row[i]
                finished += 1
    supported = np.int64(SUPPORTED)
    return End(supported, finished, generations + going, tokens, critical, calls, prefix)


@kernel
def beam(
    start: Int, stop: Int, room: Room, trees: Trees, score: Float32s, look: Rollouts, scores: Float32s, kinds: Int64s,
    columns: Int64s, budgets: Int64s, widths: Int64s, settings: Settings, tally: Tally,
) -> None:  # fmt: skip
    """Replay beam search on questions start:stop for budgets of candidates, each with its own width (at most them).

    Candidates rank by `score`; NaN is refused where it is needed. `scores` and `columns` are for the selections.
    """
    for q in range(start, stop):
        beam_question(trees, score, look, scores, kinds, columns, q, budgets, widths, settings, room, tally)


@kernel_called
def beam_question(
    trees: Trees, score: Float32s, look: Rollouts, scores: Float32s, kinds: Int64s, columns: Int64s, q: Int,
    budgets: Int64s, widths: Int64s, settings: Settings, room: Room, tally: Tally,
) -> None:  # fmt: skip
    """Replay question q at every budget. A trial's first draws are shared by its budgets."""
    opening, senders, listing = room.opening, room.senders, tally.wanted_row.shape[1] > 0
    prompt, question_key = trees.question_start[q], mix(settings.seed, trees.question_key[q])
    most = np.int64(max(budgets))
    size = most if reuses(room.instead) else pool_size(trees, prompt, settings.root_pool)
    open_question(trees, q, room.instead)
    no = np.int64(0)  # typed: a literal would compile helpers once more
    for t in range(settings.trials):
        key = mix(question_key, np.uint64(t))
        opened, done, drawn, missing = Round(no, no, no, no, no, no), no, no, False
        for b in range(len(budgets)):
            n = budgets[b]
            if n > size:
                tally.exhausted[q, b] += 1
                continue
            senders.row[0], senders.key[0], senders.tokens[0] = prompt, key, 0
            if b == 0 or n == size:  # all of a pool comes in order
                drawn = draw_children(
                    trees, q, prompt, no, key, min(most, size), np.int64(n < size), settings.root_pool,
                    listing, room.draws, room.instead, opening.row, opening.draw, no,
                )  # fmt: skip
                opened, done, missing = Round(no, no, no, no, no, no), no, False
            if listing and list_missing(trees, look, q, opening, done, n, senders, no, tally):
                missing = True
            if drawn < 0:
                end = stopped(np.int64(EXHAUSTED))
            elif drawn < n or missing:
                end = stopped(np.int64(MISSING))
            else:
                active = opened.active
                opened = sort_out(trees, score, settings.reading, opening, done, n, senders, room.finished, opened)
                for i in range(active, opened.active):
                    opening.tie[i] = tie_key(opening, i, senders.key)
                end = beam_trial(trees, score, look, settings, q, n, widths[b], opened, room, tally)
            done, borrowed = n, count_borrowed(room.instead)
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
