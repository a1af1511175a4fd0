"""Pilots: the first samples of a permutation tell how easy a question looks, and count as a strategy's first ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tts_sim.arrays import Float32s, Float64s, Int, Int64s, Key, Solutions, Trees
from tts_sim.kernels._jit import kernel, kernel_part
from tts_sim.kernels.draws import draw_prefix, mix
from tts_sim.kernels.sample import pool_of, votes_of, weights_of
from tts_sim.kernels.select import BEST, ORACLE
from tts_sim.kernels.votes import Votes


class Found(NamedTuple):
    """What trials of Q questions found, at B budgets with S selections. Budget 0 of the costs is the pilot alone."""

    easiness: Float64s  # (Q, T) mean score of the pilot
    value: Float64s  # (Q, T, B, S)
    tokens: Float64s  # (Q, T, 1 + B) of the pilot and of what is drawn after it
    critical: Float64s  # (Q, T, 1 + B) the longest of the pilot and the longest after it


@kernel_part
def follow_prefix(
    votes: Votes, kind: Int, weight: Float64s, order: Int64s, budgets: Int64s, sums: Float64s, value: Float64s
) -> None:
    """Write what a selection makes of the first n of the draws in `order`, for each budget n; sums only grow."""
    answer, num, num_correct = votes.answer, votes.num, votes.num_correct
    summed = kind != BEST and kind != ORACLE
    sums[:] = -1.0
    top, tied, right, i = -np.inf, 0, 0, 0
    for b in range(len(budgets)):
        while i < budgets[b]:
            a, own, before = answer[order[i]], weight[order[i]], -np.inf
            i += 1
            if a == num:
                continue
            if summed:
                before = sums[a]
                own += max(before, 0.0)
                sums[a] = own
            if own > top:
                top, tied, right = own, 1, int(a < num_correct)
            elif own == top and before != top:
                tied += 1
                right += int(a < num_correct)
        value[b] = right / tied if tied else 0.0
        if kind == ORACLE:
            value[b] = 1.0 if right else 0.0


@kernel_part
def pilot_question(
    trees: Trees, judge: Float32s, scores: Float32s, kinds: Int64s, columns: Int64s, q: Int, samples: Int,
    budgets: Int64s, trials: Int, seed: Key, solutions: Solutions, found: Found,
) -> None:  # fmt: skip
    """Run the trials of question q; costs are whole numbers, kept as float64."""
    easiness, worth, tokens, critical = found.easiness[q], found.value[q], found.tokens[q], found.critical[q]
    spent: Int
    longest: Int
    after: Int
    places = pool_of(solutions, q, False)
    pool = len(places)
    votes = votes_of(trees, solutions, q, places)
    weight = weights_of(scores, kinds, columns, solutions, places, votes)
    looks, length = np.empty(pool, np.float64), np.empty(pool, np.int64)
    for i in range(pool):
        looks[i] = judge[solutions.row[places[i]]]
        length[i] = solutions.tokens[places[i]]
    most = max(samples, budgets[-1] if len(budgets) else 0)
    numbers, swapped, order = np.arange(pool), np.empty(most, np.int64), np.empty(most, np.int64)
    sums, value = np.empty(votes.num + 1, np.float64), np.empty(len(budgets), np.float64)
    key = mix(seed, trees.question_key[q])
    for t in range(trials):
        draw_prefix(mix(key, np.uint64(t)), pool, most, numbers, swapped, order)
        total, spent, longest, after = 0.0, np.int64(0), np.int64(0), np.int64(0)
        for i in range(samples):
            total += looks[order[i]]
            spent += length[order[i]]
            longest = max(longest, length[order[i]])
        easiness[t] = total / samples
        tokens[t, 0], critical[t, 0] = spent, longest
        i = samples
        for b in range(len(budgets)):
            while i < budgets[b]:
                spent += length[order[i]]
                after = max(after, length[order[i]])
                i += 1
            tokens[t, 1 + b], critical[t, 1 + b] = spent, longest + after
        for s in range(len(kinds)):
            follow_prefix(votes, kinds[s], weight[s], order, budgets, sums, value)
            worth[t, :, s] = value


@kernel
def pilot(
    start: Int, stop: Int, room: None, trees: Trees, judge: Float32s, scores: Float32s, kinds: Int64s, columns: Int64s,
    samples: Int, budgets: Int64s, trials: Int, seed: Key, solutions: Solutions, found: Found,
) -> None:  # fmt: skip
    """Run every trial of questions start : stop; all solutions are complete and scored, pools hold all budgets."""
    for q in range(start, stop):
        pilot_question(trees, judge, scores, kinds, columns, q, samples, budgets, trials, seed, solutions, found)
