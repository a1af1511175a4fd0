"""Revision chains: P of the chains that are long enough, the first S attempts of each."""

from __future__ import annotations

import numpy as np
from numba import prange

from tts_sim.arrays import Float32s, Float64s, Int, Int32s, Int64s, Key, Tally, Trees
from tts_sim.kernels._jit import kernel, kernel_parallel
from tts_sim.kernels.draws import TIE, cached_child, child_key, draw_prefix, mix
from tts_sim.kernels.select import MAJORITY, ORACLE, note, spend, want, worth

HIERARCHICAL, POOLED, LAST = 0, 1, 2


@kernel
def chain_choice(
    trees: Trees, weights: Float32s, counted: bool, q: Int, chain: Int32s, key: Key, sums: Float64s
) -> Int:
    """Row that stands for a chain: of the answer with the most weight in it, the attempt with the highest score.

    Tied answers are chosen from uniformly (the smallest of their keys in this trial). A chain without an answer is
    stood for by its first attempt, which abstains. -1 if a weight that is needed is not there.
    """
    origin = trees.answer_start[q]
    for row in chain:
        if trees.answer[row] >= 0:
            sums[trees.answer[row] - origin] = -1.0
    for row in chain:
        if trees.answer[row] >= 0:
            a = trees.answer[row] - origin
            weight = 1.0 if counted else np.float64(weights[row])
            if weight != weight:
                return -1
            sums[a] = weight if sums[a] < 0.0 else sums[a] + weight
    highest = -1.0
    for row in chain:
        if trees.answer[row] >= 0:
            highest = max(highest, sums[trees.answer[row] - origin])
    winner, lowest = np.int64(-1), np.uint64(0)
    for i in range(len(chain)):
        if trees.answer[chain[i]] >= 0:
            a = trees.answer[chain[i]] - origin
            if sums[a] == highest:
                sums[a] = -1.0  # looked at once, at its first attempt
                tie = mix(key, TIE + np.uint64(i))
                if winner < 0 or tie < lowest:
                    winner, lowest = a, tie
    chosen = np.int64(chain[0])
    found = False
    for row in chain:
        won = trees.answer[row] >= 0 and trees.answer[row] - origin == winner
        if won and (not found or (not counted and weights[row] > weights[chosen])):
            chosen = np.int64(row)
            found = True
    return chosen


@kernel
def revise_question(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, across: Int, q: Int, b: Int, parallel: Int,
    sequential: Int, trials: Int, seed: Key, pool: Int, context: Int, chain_start: Int64s, lengths: Int32s,
    tally: Tally,
) -> None:  # fmt: skip
    """Replay question q `trials` times with `parallel` chains of `sequential` attempts."""
    prompt = trees.question_start[q]
    first = np.int64(trees.child_start[prompt])
    eligible = 0
    for i in range(chain_start[q], chain_start[q + 1]):
        eligible += lengths[i] >= sequential
    if eligible < parallel:
        tally.exhausted[q, b] += trials
        return
    chains, draws = np.empty((eligible, sequential), np.int32), np.empty(eligible, np.int64)
    tokens, above = np.zeros(eligible, np.int64), np.zeros(eligible, np.int64)
    c = 0
    for i in range(chain_start[q + 1] - chain_start[q]):
        if lengths[chain_start[q] + i] >= sequential:
            v = first + i
            draws[c] = i if pool < 0 else trees.draw[v]
            for step in range(sequential):
                chains[c, step] = v
                tokens[c] += trees.tokens[v]
                for back in range(max(0, step - context), step):
                    above[c] += trees.tokens[chains[c, back]]
                v = cached_child(trees, v, np.int64(0), pool)
            c += 1
    places, swapped, picked = np.arange(eligible), np.empty(parallel, np.int64), np.empty(parallel, np.int64)
    sums = np.empty(trees.answer_start[q + 1] - trees.answer_start[q], np.float64)
    rows = np.empty(parallel * sequential, np.int32)
    key = mix(seed, trees.question_key[q])
    for t in range(trials):
        trial_key = mix(key, np.uint64(t))
        draw_prefix(trial_key, eligible, parallel, places, swapped, picked)
        num, spent, longest, reread = 0, np.int64(0), np.int64(0), np.int64(0)
        for place in picked:
            spent += tokens[place]
            reread += above[place]
            longest = max(longest, tokens[place])
            if across == POOLED:
                rows[num : num + sequential] = chains[place]
                num += sequential
            else:
                rows[num] = chains[place, sequential - 1]
                num += 1
        for s in range(len(kinds)):
            if across == HIERARCHICAL:
                counted = kinds[s] == MAJORITY or kinds[s] == ORACLE
                for p in range(parallel):
                    chain = chains[picked[p]]
                    own_key = child_key(trial_key, draws[picked[p]])
                    choice = chain_choice(trees, scores[columns[s]], counted, q, chain, own_key, sums)
                    if choice < 0:
                        tally.status[q] = 1
                        return
                    rows[p] = choice
            value = worth(trees, scores, kinds[s], columns[s], q, rows, num, sums)
            if value != value:
                tally.status[q] = 1
                return
            note(tally, q, b, s, value)
        spend(tally, q, b, parallel * sequential, spent, longest, parallel * sequential, reread)


@kernel_parallel
def revise(
    trees: Trees, scores: Float32s, kinds: Int64s, columns: Int64s, across: Int, parallel: Int64s,
    sequential: Int64s, trials: Int, seed: Key, pool: Int, context: Int, chain_start: Int64s, lengths: Int32s,
    tally: Tally,
) -> None:  # fmt: skip
    """Replay `revise` on every question, each budget with its own numbers of chains and attempts."""
    num_budgets = len(parallel)
    for i in prange((len(trees.question_start) - 1) * num_budgets):
        q, b = np.int64(i // num_budgets), np.int64(i % num_budgets)
        revise_question(
            trees, scores, kinds, columns, across, q, b, parallel[b], sequential[b], trials, seed, pool, context,
            chain_start, lengths, tally,
        )  # fmt: skip


@kernel
def missing_attempts(trees: Trees, parallel: Int64s, sequential: Int64s, pool: Int, tally: Tally) -> None:
    """List the next missing attempt of each chain that a demand needs: chains 0 : P with S attempts each."""
    for q in range(len(trees.question_start) - 1):
        prompt = trees.question_start[q]
        for c in range(max(parallel)):
            needed = 0
            for b in range(len(parallel)):
                if c < parallel[b]:
                    needed = max(needed, sequential[b])
            v, draw = np.int64(prompt), np.int64(c)
            for _ in range(needed):
                child = cached_child(trees, v, draw, pool)
                if child < 0:
                    want(tally, q, v, draw)
                    break
                v, draw = child, np.int64(0)
