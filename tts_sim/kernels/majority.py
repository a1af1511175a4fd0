"""Majority of n without chance: the expected value over all n-subsets of a pool, by a dynamic programme over answers.

An answer wins with j votes if no other has more; with t others that have j too, it has 1 / (1 + t) of the win. The
subsets in which that happens are a coefficient of a product over the other answers a, k_a strong,

    C(k, j) [x^(n - j) z^t]  prod_a ( sum_(i < j) C(k_a, i) x^i  +  z C(k_a, j) x^j )  ·  (1 + x)^rest

where `rest` are the solutions that cannot matter: those of answers with less than j, and those that abstain. Every
C(k, i) stands here as the binomial probability C(k, i) p^i (1 - p)^(k - i), so that nothing overflows; the powers of p
cancel against the chance that n of all K are drawn. All terms are positive: nothing cancels.
"""

from __future__ import annotations

import numpy as np

from tts_sim.arrays import Float64s, Int, Int64s, Solutions, Trees
from tts_sim.kernels._jit import kernel, kernel_inlined, kernel_part
from tts_sim.kernels.sample import pool_of, votes_of

MOST_STEPS = 20_000_000  # per question, a few milliseconds: about as long as replaying it; beyond, it is replayed
SURELY_IN_RANGE = 800  # a pool of which C(K, n) / 2^K is a normal float64 at every n, with room for small terms
FAINTEST = 1e-250  # chance of drawing n from a pool; below it, n gets a p of its own


@kernel_part
def binomial(k: Int, p: float, out: Float64s) -> None:
    """Write the probabilities of i successes out of k into out[i], from the most likely one outwards."""
    odds = p / (1.0 - p)
    mode = min(np.int64((k + 1) * p), k)
    out[mode] = 1.0
    total = 1.0
    for i in range(mode, 0, -1):
        out[i - 1] = out[i] * i / ((k - i + 1) * odds)
        total += out[i - 1]
    for i in range(mode, k):
        out[i + 1] = out[i] * (k - i) * odds / (i + 1)
        total += out[i + 1]
    for i in range(k + 1):
        out[i] /= total


@kernel_part
def num_steps(counts: Int64s, num_correct: Int, n: Int) -> float:
    """About how many multiplications the programme takes for subsets of up to n."""
    steps = 0.0
    for star in range(num_correct):
        for j in range(1, min(counts[star], n) + 1):
            others = 0
            for a in range(len(counts)):
                others += a != star and counts[a] >= j
            levels, length = min(others, (n - j) // j) + 1, min(others * (j - 1), n - j) + 1
            steps += others * levels * j * (8.0 + length) / 3.0
    return steps


@kernel_part
def others_within(
    counts: Int64s, star: Int, j: Int, most: Int, chance: Float64s, start: Int64s, here: Float64s, there: Float64s,
    won: Float64s,
) -> Int:  # fmt: skip
    """Write into won[i] the chance that the other answers of j or more have i votes together and none more than j.

    It is shared with those that have j. Returns the largest such i, which is at most `most`.
    """
    num = 0  # answers that were multiplied in: here[t, i] is not 0 only for t * j <= i <= num * (j - 1) + t
    here[0, 0] = 1.0
    for a in range(len(counts)):
        if a == star or counts[a] < j:
            continue
        for t in range(min(num + 1, most // j) + 1):
            there[t, t * j : min((num + 1) * (j - 1) + t, most) + 1] = 0.0
            if t <= num:
                for i in range(j):
                    low, high = t * j, min(num * (j - 1) + t, most - i) + 1
                    _add_shifted(here[t, low:high], chance[start[a] + i], there[t, low + i : high + i])
            if t > 0:
                low, high = (t - 1) * j, min(num * (j - 1) + t - 1, most - j) + 1
                _add_shifted(here[t - 1, low:high], chance[start[a] + j], there[t, low + j : high + j])
        num += 1
        here, there = there, here
    highest = min(num * j, most)
    won[: highest + 1] = 0.0
    for t in range(min(num, most // j) + 1):
        low, high = t * j, min(num * (j - 1) + t, most) + 1
        _add_shifted(here[t, low:high], 1.0 / (1 + t), won[low:high])
    return highest


@kernel_inlined
def _add_shifted(source: Float64s, factor: float, target: Float64s) -> None:
    for c in range(len(target)):
        target[c] += factor * source[c]


@kernel
def expected_majority(counts: Int64s, num_correct: Int, abstained: Int, budgets: Int64s, value: Float64s) -> None:
    """Write the expected share of correct ones among the winners of n draws, for each n of `budgets` (ascending).

    `counts` has the solutions per answer, the correct answers first; no budget exceeds their sum with `abstained`.
    """
    pool = abstained
    start = np.empty(len(counts), np.int64)  # of each answer's chances
    for a in range(len(counts)):
        start[a] = pool - abstained + a
        pool += counts[a]
    chance, rest_chance = np.empty(pool + len(counts), np.float64), np.empty(pool + 1, np.float64)
    drawn, won = np.empty(pool + 1, np.float64), np.empty(pool + 1, np.float64)
    levels = min(len(counts), budgets[-1]) + 1
    here = np.empty((levels, budgets[-1] + 1), np.float64)
    there = np.empty((levels, budgets[-1] + 1), np.float64)
    value[:] = 0.0
    stop = len(budgets)
    while stop > 0:  # budgets begin:stop share a p
        p = 0.5 if pool <= SURELY_IN_RANGE else budgets[stop - 1] / (pool + 1)
        binomial(pool, p, drawn)
        begin = stop - 1
        while begin > 0 and drawn[budgets[begin - 1]] > FAINTEST:
            begin -= 1
        for a in range(len(counts)):
            binomial(counts[a], p, chance[start[a] :])
        for star in range(num_correct):
            rest = -1
            for j in range(1, min(counts[star], budgets[stop - 1]) + 1):
                highest = others_within(counts, star, j, budgets[stop - 1] - j, chance, start, here, there, won)
                idle = abstained
                for a in range(len(counts)):
                    idle += counts[a] if a != star and counts[a] < j else 0
                if idle != rest:
                    rest = idle
                    binomial(rest, p, rest_chance)
                for b in range(begin, stop):
                    left = budgets[b] - j
                    total = 0.0
                    for i in range(max(0, left - rest), min(highest, left) + 1):
                        total += won[i] * rest_chance[left - i]
                    value[b] += chance[start[star] + j] * total / drawn[budgets[b]]
        stop = begin
    for b in range(len(budgets)):
        value[b] = min(value[b], 1.0)


@kernel_part
def majority_question(trees: Trees, q: Int, budgets: Int64s, found: Solutions, value: Float64s) -> None:
    """Write the expected majority of question q, where all its solutions are complete, n is not above, nor too dear."""
    solutions = pool_of(found, q, True)
    if len(solutions) < found.start[q + 1] - found.start[q]:
        return
    votes = votes_of(trees, found, q, solutions)
    counts = np.zeros(votes.num + 1, np.int64)
    for a in votes.answer:
        counts[a] += 1
    num = 0
    while num < len(budgets) and budgets[num] <= len(solutions):
        if num_steps(counts[:-1], votes.num_correct, budgets[num]) > MOST_STEPS:
            break
        num += 1
    if num:
        expected_majority(counts[:-1], votes.num_correct, counts[-1], budgets[:num], value[:num])


@kernel
def majority(
    start: Int, stop: Int, room: None, trees: Trees, budgets: Int64s, found: Solutions, value: Float64s
) -> None:
    """Write the expected majority of questions start:stop into value[q, b], where it is known without replays."""
    for q in range(start, stop):
        majority_question(trees, q, budgets, found, value[q])
