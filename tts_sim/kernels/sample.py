"""Independent samples: the blocks of a permutation of the pool are replays at every budget."""

from __future__ import annotations

import numpy as np
from numba import prange

from tts_sim.arrays import Bools, Float32s, Float64s, Int, Int64s, Key, Solutions, Tally, Trees
from tts_sim.kernels._jit import kernel, kernel_inlined, kernel_parallel
from tts_sim.kernels.blocks import LANES, Votes, adds_exactly, block_values, lay_out, new_desk
from tts_sim.kernels.draws import PERMUTE, draw_prefix, mix
from tts_sim.kernels.levels import COMPLETE, EXHAUSTED, MISSING
from tts_sim.kernels.select import BEST, MAJORITY, ORACLE, WEIGHTED, note, spend, want


@kernel
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


@kernel
def votes_of(trees: Trees, found: Solutions, q: Int, places: Int64s) -> Votes:
    """The answers of these solutions; one that is not complete abstains."""
    origin = trees.answer_start[q]
    number = np.full(trees.answer_start[q + 1] - origin, -1, np.int64)
    answer = np.empty(len(places), np.int64)
    num, num_correct = 0, 0
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
    return Votes(num, num_correct, answer)


@kernel
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


@kernel
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
    at_hand = np.ones(num_budgets, np.bool_)
    places, swapped = np.arange(pool), np.empty(most, np.int64)
    listed = np.zeros(pool, np.bool_)
    tokens = np.empty(pool, np.int64)
    for i in range(pool):
        tokens[i] = found.tokens[solutions[i]]
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
        for t in range(lanes):
            if not (whole or reuse):
                look_for(budgets[:num_budgets], solutions, desk.order[t], listed, q, found, tally, at_hand)
            count_trial(budgets, tokens, desk.order[t], value, product, t, whole, at_hand, q, tally)


@kernel
def look_for(
    budgets: Int64s, solutions: Int64s, order: Int64s, listed: Bools, q: Int, found: Solutions, tally: Tally,
    at_hand: Bools,
) -> None:  # fmt: skip
    """Write at which budgets all draws of a trial are there; count and list those that are not."""
    missing, exhausted = False, False
    i = 0
    for b in range(len(budgets)):
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


@kernel_inlined
def count_trial(
    budgets: Int64s, tokens: Int64s, order: Int64s, value: Float64s, product: Float64s, t: Int, whole: bool,
    at_hand: Bools, q: Int, tally: Tally,
) -> None:  # fmt: skip
    """Count the trial in lane t at the budgets whose draws are all there."""
    spent, longest = np.int64(0), np.int64(0)
    for b in range(len(at_hand)):
        for solution in order[budgets[b - 1] if b else 0 : budgets[b]]:
            spent += tokens[solution]
            longest = max(longest, tokens[solution])
        if not at_hand[b]:
            continue
        paired = whole and len(order) >= 2 * budgets[b]
        for s in range(value.shape[1]):
            note(tally, q, b, s, value[b, s, t])
            if paired:
                tally.products[q, b, s] += product[b, s, t]
        tally.paired[q, b] += paired
        spend(tally, q, b, budgets[b], spent, longest, budgets[b], 0)


@kernel_parallel
def sample(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, budgets: Int64s, trials: Int, seed: Key,
    reuse: bool, found: Solutions, tally: Tally,
) -> None:  # fmt: skip
    """Replay `sample` on every question, with replacement if `reuse`; scores of complete solutions must be there."""
    for q in prange(len(trees.question_start) - 1):
        sample_question(trees, scores, kinds, columns, np.int64(q), budgets, trials, seed, reuse, found, tally)
