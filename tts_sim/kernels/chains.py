"""Revision chains: their attempts in one column, and the ballots that they cast in a selection.

Kernels take the arrays out of their bundles before a loop: inside it each look into a bundle counts references, which
was 60 times the work of the loop in `lay_chains`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tts_sim.arrays import Float32s, Float64s, Int, Int32s, Int64s, Trees
from tts_sim.kernels._jit import kernel_lean, kernel_part
from tts_sim.kernels.select import BEST, MAJORITY, ORACLE

HIERARCHICAL, POOLED, LAST = 0, 1, 2


class Chains(NamedTuple):
    """Question q owns chains start[q] : start[q + 1]; chain c holds the attempts rows[attempt[c] : attempt[c + 1]]."""

    start: Int64s  # (Q + 1,)
    attempt: Int64s  # (L + 1,)
    rows: Int32s  # (A,)


class Eligible(NamedTuple):
    """The chains of a question that hold S attempts, and what their first S cost."""

    chains: Int64s  # (C,) places in Chains
    draws: Int64s  # (C,) draw numbers: they key the choices inside a chain
    tokens: Int64s  # (C,)
    above: Int64s  # (C,) tokens of earlier attempts that stood in a context, summed over attempts


class Ballots(NamedTuple):
    """What a selection sees of C chains.

    One of the alternatives alternative[c] : alternative[c + 1], each as likely, stands for chain c; there are several
    only where answers tie inside it. Alternative m casts the ballots ballot[m] : ballot[m + 1]; if it abstains, one
    that cannot win.
    """

    alternative: Int64s  # (C + 1,)
    place: Int64s  # (M,) first attempt with the alternative's answer: keys the choice
    ballot: Int64s  # (M + 1,)
    answer: Int64s  # (K,) among the question's A; A where it abstains
    weight: Float64s  # (K,) score, sum of scores or count; -inf where it abstains
    tied: Int64s  # (K,) attempts that share this score
    right: Int64s  # (K,) correct ones of them


@kernel_lean
def lay_chains(trees: Trees, pool: Int, chains: Chains) -> None:
    """Fill in `attempt` and `rows`: from each cached root child on, draw 0 at every later attempt."""
    prompts, child_start, child_stop, draws = trees.question_start, trees.child_start, trees.child_stop, trees.draw
    start, attempt, rows = chains.start, chains.attempt, chains.rows
    filled = np.int64(0)
    for q in range(len(start) - 1):
        first = np.int64(child_start[prompts[q]])
        for c in range(start[q], start[q + 1]):
            attempt[c] = filled
            v = first + c - start[q]
            while v >= 0:
                rows[filled] = v
                filled += 1
                below = np.int64(child_start[v])
                v = below if below < child_stop[v] and (pool < 0 or draws[below] == 0) else np.int64(-1)
    attempt[-1] = filled


@kernel_part
def eligible_chains(trees: Trees, chains: Chains, q: Int, sequential: Int, pool: Int, context: Int) -> Eligible:
    """The chains of question q with at least `sequential` attempts, each of which saw the `context` before it."""
    node_tokens, node_draw = trees.tokens, trees.draw
    attempt, rows, start, stop = chains.attempt, chains.rows, chains.start[q], chains.start[q + 1]
    num = 0
    for c in range(start, stop):
        num += attempt[c + 1] - attempt[c] >= sequential
    places, draws = np.empty(num, np.int64), np.empty(num, np.int64)
    tokens, above = np.zeros(num, np.int64), np.zeros(num, np.int64)
    i = 0
    for c in range(start, stop):
        if attempt[c + 1] - attempt[c] < sequential:
            continue
        first = attempt[c]
        places[i] = c
        draws[i] = c - start if pool < 0 else np.int64(node_draw[rows[first]])
        for step in range(sequential):
            length = node_tokens[rows[first + step]]
            tokens[i] += length
            above[i] += length * min(context, sequential - 1 - step)
        i += 1
    return Eligible(places, draws, tokens, above)


@kernel_part
def cast_ballots(
    trees: Trees, chains: Chains, scores: Float32s, kind: Int, across: Int, q: Int, sequential: Int,
    eligible: Eligible, sums: Float64s,
) -> tuple[bool, Ballots]:  # fmt: skip
    """The ballots of the eligible chains for a selection of this kind; False if a score that is needed is not there.

    Pooled: votes cast one ballot per answer, with the sum of its scores (or its count) in the chain; `best` and
    `oracle` one ballot for the highest-scored attempts, of which `right` are correct. Last: the same for the last
    attempt alone. Hierarchical: of the answer with the most weight in the chain, the attempt with the highest score;
    every answer that ties for most is an alternative. A chain without an answer abstains.
    `sums` is scratch with a place per answer of the question, and one more. Summed scores must not be negative.
    """
    node_answer, correct, origin = trees.answer, trees.answer_correct, trees.answer_start[q]
    attempt, rows, places = chains.attempt, chains.rows, eligible.chains
    counted = kind in (MAJORITY, ORACLE)
    voted = across == HIERARCHICAL or kind not in (BEST, ORACLE)
    num = len(places)
    taken = 1 if across == LAST else sequential
    alternative, place_of, ballot = (
        np.empty(num + 1, np.int64), np.zeros(num * taken, np.int64), np.empty(num * taken + 1, np.int64),
    )  # fmt: skip
    answer, weight = np.zeros(num * taken, np.int64), np.empty(num * taken, np.float64)
    tied, right = np.ones(num * taken, np.int64), np.zeros(num * taken, np.int64)
    scored = True
    m, k = 0, 0
    for i in range(num):
        alternative[i] = m
        ballot[m] = k
        stop = attempt[places[i]] + sequential
        start = stop - taken
        highest, leader = -np.inf, -np.inf
        for place in range(start, stop):
            if node_answer[rows[place]] >= 0:
                sums[node_answer[rows[place]] - origin] = -1.0
        for place in range(start, stop):
            row = rows[place]
            if node_answer[row] < 0:
                continue
            given = 1.0 if counted else np.float64(scores[row])
            scored &= given == given
            if voted:
                a = node_answer[row] - origin
                sums[a] = max(sums[a], 0.0) + given
                leader = max(leader, sums[a])
            elif given > highest:
                highest = given
                weight[k], tied[k], right[k] = given, 1, correct[node_answer[row]]
            elif given == highest:
                tied[k] += 1
                right[k] += correct[node_answer[row]]
        if not voted:
            k += highest > -np.inf
        alone = m
        for place in range(start, stop if voted else start):
            a = node_answer[rows[place]] - origin
            if a < 0 or sums[a] < 0.0 or (across == HIERARCHICAL and sums[a] != leader):
                continue  # no answer, cast already, or outvoted
            weight[k] = sums[a]
            sums[a] = -1.0
            if across == HIERARCHICAL:
                place_of[m], ballot[m] = place - start, k
                m += 1
                weight[k] = 1.0 if counted else -np.inf
                for other in range(start, stop if not counted else start):
                    if node_answer[rows[other]] - origin == a:
                        weight[k] = max(weight[k], np.float64(scores[rows[other]]))
            answer[k], right[k] = a, correct[origin + a]
            k += 1
        if m == alone:
            if k == ballot[m]:
                answer[k], weight[k], tied[k], right[k] = len(sums) - 1, -np.inf, 1, 0
                k += 1
            m += 1
    alternative[num] = m
    ballot[m] = k
    return scored, Ballots(alternative, place_of, ballot, answer, weight, tied, right)
