"""Revision chains, replayed: a trial cuts a permutation of the chains that are long enough into disjoint blocks."""

from __future__ import annotations

import numpy as np

from tts_sim.arrays import Float32s, Float64s, Int, Int64s, Key, Tally, Trees
from tts_sim.kernels._jit import kernel, kernel_inlined, kernel_lean
from tts_sim.kernels.ballot_blocks import cast_in_order, sum_any, sum_best, sum_votes
from tts_sim.kernels.chains import POOLED, Ballots, Chains, cast_ballots, eligible_chains
from tts_sim.kernels.draws import PERMUTE, cached_child, draw_prefix, mix
from tts_sim.kernels.select import BEST, ORACLE, note, spend, want


@kernel_inlined
def draw_again(key: Key, pool: Int, count: Int, picked: Int64s) -> None:
    """Write `count` independent draws from range(pool) into `picked`: the bits of `draw_prefix`, with replacement."""
    for i in range(count):
        bits = mix(key, PERMUTE + np.uint64(i)) >> np.uint64(32)
        picked[i] = np.int64((bits * np.uint64(pool)) >> np.uint64(32))


@kernel
def revise(
    start: Int, stop: Int, room: Float64s, trees: Trees, chains: Chains, scores: Float32s, kinds: Int64s,
    columns: Int64s, across: Int, groups: Int64s, parallel: Int64s, sequential: Int64s, trials: Int, seed: Key,
    pool: Int, context: Int, reuse: bool, tally: Tally,
) -> None:  # fmt: skip
    """Replay `revise` on the pairs start:stop of a question and a group of budgets, groups first.

    The budgets groups[g] : groups[g + 1] share the length of their chains. The value of a trial is the mean over its
    disjoint blocks of `parallel` chains; its costs are those of the first block, so that they stay whole numbers:
    unbiased all the same. With `reuse` a trial is a single block. `room` has a place per answer, and one more.
    """
    num_groups = len(groups) - 1
    for pair in range(start, stop):
        q, g = np.int64(pair // num_groups), np.int64(pair % num_groups)
        b_start, b_stop, length = groups[g], groups[g + 1], sequential[groups[g]]
        found = eligible_chains(trees, chains, q, length, pool, context)
        draws, tokens, above = found.draws, found.tokens, found.above
        num = len(draws)
        b_last, used = b_start, 0
        for b in range(b_start, b_stop):
            if num < (1 if reuse else parallel[b]):
                tally.exhausted[q, b] += trials
                continue
            b_last = b + 1
            used = max(used, parallel[b] if reuse else num // parallel[b] * parallel[b])
        if b_last == b_start:
            continue
        sums = room[: trees.answer_start[q + 1] - trees.answer_start[q] + 1]
        ballots = []
        for s in range(len(kinds)):
            scored, cast = cast_ballots(
                trees, chains, scores[columns[s]], kinds[s], across, q, length, found, sums
            )  # fmt: skip
            if not scored:
                tally.status[q] = 1
                return
            ballots.append(cast)
        sums[:] = -1.0
        places, swapped, order = np.arange(num), np.empty(used, np.int64), np.empty(used, np.int64)
        most = used * (length if across == POOLED else 1)
        ends, none = np.empty(used + 1, np.int64), np.empty(0, np.int64)
        box = Ballots(
            none, none, none, np.empty(most, np.int64), np.empty(most, np.float64), np.empty(most, np.int64),
            np.empty(most, np.int64),
        )  # fmt: skip
        key = mix(seed, trees.question_key[q])
        for t in range(trials):
            trial_key = mix(key, np.uint64(t))
            if reuse:
                draw_again(trial_key, num, used, order)
            else:
                draw_prefix(trial_key, num, used, places, swapped, order)
            for s in range(len(kinds)):
                cast = ballots[s]
                cast_in_order(cast, order, draws, reuse, trial_key, ends, box)
                for b in range(b_start, b_last):
                    size = parallel[b]
                    blocks = 1 if reuse else num // size
                    if kinds[s] == ORACLE:
                        total, squares = sum_any(box, ends, size, blocks)
                    elif kinds[s] == BEST:
                        total, squares = sum_best(box, ends, size, blocks)
                    else:
                        total, squares = sum_votes(box, ends, size, blocks, sums)
                    note(tally, q, b, s, total / blocks)
                    if blocks > 1:
                        tally.products[q, b, s] += (total * total - squares) / (blocks * (blocks - 1))
            spent, longest, reread, i = np.int64(0), np.int64(0), np.int64(0), 0
            for b in range(b_start, b_last):
                while i < parallel[b]:
                    spent += tokens[order[i]]
                    longest = max(longest, tokens[order[i]])
                    reread += above[order[i]]
                    i += 1
                tally.paired[q, b] += not reuse and num // parallel[b] > 1
                attempts = parallel[b] * length
                spend(tally, q, b, attempts, spent, longest, attempts, reread)


@kernel_lean
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
