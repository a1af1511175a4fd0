"""Independent samples: the blocks of a permutation of the pool are replays at every budget."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tts_sim.arrays import Bools, Float32s, Float64s, Int, Int64s, Key, Solutions, Tally, Trees
from tts_sim.kernels._jit import kernel, kernel_called, kernel_inlined, kernel_part
from tts_sim.kernels.blocks import adds_exactly, block_values, lay_out, new_desk
from tts_sim.kernels.draws import PERMUTE, draw_prefix, mix
from tts_sim.kernels.levels import COMPLETE, EXHAUSTED, MISSING
from tts_sim.kernels.select import BEST, MAJORITY, ORACLE, WEIGHTED, want
from tts_sim.kernels.votes import LANES, Votes


class Lengths(NamedTuple):
    """Tokens of a question's solutions."""

    tokens: Int64s  # (K,)
    total: Int
    longest: Int


@kernel_part
def pool_of(found: Solutions, q: Int, complete_only: bool) -> Int64s:
    """Places of the solutions that replays of question q may draw."""
    num = 0
    for place in range(found.start[q], found.start[q + 1]):
        num += not complete_only or found.state[place] == COMPLETE
    places = np.empty(num, np.int64)
    num = 0
    for place in range(found.start[q], found.start[q + 1]):
        if not complete_only or found.state[place] == COMPLETE:
            places[num] = place
            num += 1
    return places


@kernel_part
def votes_of(trees: Trees, found: Solutions, q: Int, places: Int64s) -> Votes:
    """The answers of these solutions; one that is not complete abstains."""
    origin = trees.answer_start[q]
    number = np.full(trees.answer_start[q + 1] - origin, -1, np.int64)
    answer = np.empty(len(places), np.int64)
    num, num_correct, num_right = 0, 0, 0
    for correct in (True, False):
        for place in places:
            a = trees.answer[found.row[place]]
            votes = found.state[place] == COMPLETE and a >= 0 and trees.answer_correct[a] == correct
            if votes and number[a - origin] < 0:
                number[a - origin] = num
                num += 1
        if correct:
            num_correct = num
    for i in range(len(places)):
        a = trees.answer[found.row[places[i]]]
        answer[i] = number[a - origin] if found.state[places[i]] == COMPLETE and a >= 0 else num
        num_right += answer[i] < num_correct
    return Votes(num, num_correct, answer, num_right)


@kernel_part
def lengths_of(found: Solutions, places: Int64s) -> Lengths:
    """The tokens of these solutions, their sum and the most of them."""
    tokens, total, longest = np.empty(len(places), np.int64), np.int64(0), np.int64(0)
    for i in range(len(places)):
        tokens[i] = found.tokens[places[i]]
        total += tokens[i]
        longest = max(longest, tokens[i])
    return Lengths(tokens, total, longest)


@kernel_part
def weights_of(
    scores: Float32s, kinds: Int64s, columns: Int64s, found: Solutions, places: Int64s, votes: Votes
) -> Float64s:
    """What each selection weighs each solution with, shape (S, K): scores, votes, or whether it is correct."""
    weight = np.zeros((len(kinds), len(places)), np.float64)
    for s in range(len(kinds)):
        for i in range(len(places)):
            if kinds[s] == ORACLE:
                weight[s, i] = votes.answer[i] < votes.num_correct
            elif votes.answer[i] == votes.num:
                weight[s, i] = -np.inf if kinds[s] == BEST else 0.0
            else:
                weight[s, i] = 1.0 if kinds[s] == MAJORITY else np.float64(scores[columns[s], found.row[places[i]]])
    return weight


@kernel_inlined
def shuffle(key: Key, order: Int64s) -> None:
    """Write the keyed permutation of range(len(order)): what draw_prefix draws, in half the time."""
    pool = len(order)
    for i in range(pool):
        order[i] = i
    for i in range(pool):
        bits = mix(key, PERMUTE + np.uint64(i)) >> np.uint64(32)
        j = i + np.int64((bits * np.uint64(pool - i)) >> np.uint64(32))
        order[i], order[j] = order[j], order[i]


@kernel_inlined
def draw_again(key: Key, pool: Int, order: Int64s) -> None:
    """Write draws with replacement from range(pool)."""
    for i in range(len(order)):
        bits = mix(key, PERMUTE + np.uint64(i)) >> np.uint64(32)
        order[i] = np.int64((bits * np.uint64(pool)) >> np.uint64(32))


@kernel_part
def sample_question(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, q: Int, budgets: Int64s, trials: Int,
    seed: Key, reuse: bool, found: Solutions, tally: Tally,
) -> None:  # fmt: skip
    """Replay question q `trials` times at every budget; `budgets` ascend, those above the pool are exhausted.

    Where every solution is complete, a trial's value is the mean over all blocks of its permutation; its costs are the
    first block's. Elsewhere a trial is the first block alone, supported if every draw of it is there.
    """
    solutions = pool_of(found, q, reuse)
    pool = len(solutions)
    whole = not reuse
    for place in solutions:
        whole &= found.state[place] == COMPLETE
    num_budgets = 0
    while num_budgets < len(budgets) and pool > 0 and (reuse or budgets[num_budgets] <= pool):
        num_budgets += 1
    for b in range(num_budgets, len(budgets)):
        tally.exhausted[q, b] += trials
    if num_budgets == 0:
        return
    most = budgets[num_budgets - 1]
    layout = lay_out(budgets[:num_budgets], pool if whole else most)
    votes = votes_of(trees, found, q, solutions)
    weight = weights_of(scores, kinds, columns, found, solutions, votes)
    additive = np.empty(len(kinds), np.bool_)
    for s in range(len(kinds)):
        additive[s] = kinds[s] == MAJORITY or (kinds[s] == WEIGHTED and adds_exactly(weight[s], most))
    desk = new_desk(layout, votes.num)
    value = np.zeros((num_budgets, len(kinds), LANES), np.float64)
    product = np.zeros((num_budgets, len(kinds), LANES), np.float64)
    at_hand = np.ones((num_budgets, LANES), np.bool_)
    places, swapped = np.arange(pool), np.empty(most, np.int64)
    listed = np.zeros(pool, np.bool_)
    lengths = lengths_of(found, solutions)
    key = mix(seed, trees.question_key[q])
    for begin in range(0, trials, LANES):
        lanes = min(LANES, trials - begin)
        for t in range(lanes):  # lanes beyond the last trial repeat an earlier one, and are not counted
            trial_key, order = mix(key, np.uint64(begin + t)), desk.order[t]
            if whole:
                shuffle(trial_key, order)
            elif reuse:
                draw_again(trial_key, pool, order)
            else:
                draw_prefix(trial_key, pool, most, places, swapped, order)
        block_values(layout, desk, votes, weight, kinds, additive, whole, value, product)
        if not (whole or reuse):
            for t in range(lanes):
                look_for(budgets, solutions, desk.order[t], listed, q, found, tally, at_hand[:, t])
        count_values(value, product, at_hand, lanes, q, tally)
        count_costs(budgets, lengths, desk.order, at_hand, lanes, whole, q, tally)


@kernel_called
def look_for(
    budgets: Int64s, solutions: Int64s, order: Int64s, listed: Bools, q: Int, found: Solutions, tally: Tally,
    at_hand: Bools,
) -> None:  # fmt: skip
    """Write at which budgets all draws of a trial are there; count and list those that are not."""
    missing, exhausted = False, False
    i = 0
    for b in range(len(at_hand)):
        while i < budgets[b]:
            place = solutions[order[i]]
            if found.state[place] == MISSING:
                missing = True
                if not listed[order[i]]:
                    listed[order[i]] = True
                    want(tally, q, found.row[place], found.draw[place])
            elif found.state[place] == EXHAUSTED:
                exhausted = True
            i += 1
        tally.missing[q, b] += missing
        tally.exhausted[q, b] += exhausted
        at_hand[b] = not missing and not exhausted


@kernel_called
def count_values(value: Float64s, product: Float64s, at_hand: Bools, lanes: Int, q: Int, tally: Tally) -> None:
    """Add the values of the trials in the first lanes, and of their products, at the budgets whose draws are there."""
    for b in range(value.shape[0]):
        for s in range(value.shape[1]):
            num, products = tally.supported[q, b], tally.products[q, b, s]
            first, shift, squares = tally.first[q, b, s], tally.shift[q, b, s], tally.squares[q, b, s]
            for t in range(lanes):
                if at_hand[b, t]:
                    first = first if num > 0 else value[b, s, t]
                    difference = value[b, s, t] - first
                    shift += difference
                    squares += difference * difference
                    products += product[b, s, t]
                    num += 1
            tally.first[q, b, s], tally.shift[q, b, s], tally.squares[q, b, s] = first, shift, squares
            tally.products[q, b, s] = products


@kernel_called
def count_costs(
    budgets: Int64s, lengths: Lengths, order: Int64s, at_hand: Bools, lanes: Int, whole: bool, q: Int, tally: Tally
) -> None:
    """Count the trials in the first lanes, with what the first blocks cost, at the budgets whose draws are there."""
    pool = len(lengths.tokens)
    for t in range(lanes):
        tokens, longest, drawn = np.int64(0), np.int64(0), np.int64(0)
        for b in range(len(at_hand)):
            if whole and budgets[b] == pool:
                tokens, longest = lengths.total, lengths.longest
            else:
                for solution in order[t, drawn : budgets[b]]:
                    tokens += lengths.tokens[solution]
                    longest = max(longest, lengths.tokens[solution])
            drawn = budgets[b]
            if at_hand[b, t]:
                tally.supported[q, b] += 1
                tally.generations[q, b] += budgets[b]
                tally.tokens[q, b] += tokens
                tally.critical[q, b] += longest
                tally.calls[q, b] += budgets[b]
                tally.paired[q, b] += whole and pool >= 2 * budgets[b]


@kernel
def sample(
    start: Int, stop: Int, room: None, trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, budgets: Int64s,
    trials: Int, seed: Key, reuse: bool, found: Solutions, tally: Tally,
) -> None:  # fmt: skip
    """Replay `sample` on questions start:stop, with replacement if `reuse`; scores of complete solutions must be there.

    Every question makes a room of its own.
    """
    for q in range(start, stop):
        sample_question(trees, scores, kinds, columns, q, budgets, trials, seed, reuse, found, tally)
