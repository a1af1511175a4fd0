"""The readable specification of `revise`: its trials in blocks, and its exact values by going through all subsets.

Replays must agree with it to the last bit, exact values to rounding: here they are fractions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tests import naive
from tests.naive import PERMUTE, TIE, Exhausted, Node, Run, first_draws, mix, search_of, trial_key

CONTEXT = 4  # earlier attempts that the reviser sees

Score = Callable[[Node], Any]


@dataclass
class Chain:
    """The first S attempts of a chain, and the alternatives that may stand for it: lists of candidates."""

    draw: int
    attempts: list[Node]
    alternatives: list[list[Node]]
    places: list[int]  # first attempt with the alternative's answer

    @property
    def tokens(self) -> int:
        return sum(node.tokens for node in self.attempts)

    @property
    def prefix(self) -> int:
        return sum(seen.tokens for i in range(len(self.attempts)) for seen in self.attempts[max(0, i - CONTEXT) : i])

    def stands(self, key: int) -> list[Node]:
        """Of several alternatives, the one whose own key is smallest."""
        chosen = min(range(len(self.alternatives)), key=lambda i: mix(key, TIE + self.places[i]))
        return self.alternatives[chosen]


def eligible(run: Run, prompt: Node, sequential: int, across: str, name: str, score: Score) -> list[Chain]:
    """The chains of at least `sequential` attempts."""
    found = []
    for place, first in enumerate(prompt.children):
        attempts = [first]
        while (following := run.child(attempts[-1], 0)) is not None:
            attempts.append(following)
        if len(attempts) >= sequential:
            draw = place if run.root_pool is None else first.draw
            attempts = attempts[:sequential]
            found.append(Chain(draw, attempts, *alternatives(attempts, across, name, score)))
    return found


def alternatives(attempts: list[Node], across: str, name: str, score: Score) -> tuple[list[list[Node]], list[int]]:
    """What may stand for a chain: all its attempts, the last, or the best attempt of an answer that wins its vote."""
    if across == "pooled":
        return [attempts], [0]
    if across == "last":
        return [attempts[-1:]], [0]
    weight: Score = score if name in ("best", "weighted") else lambda node: 1
    sums: dict[str, Any] = {}
    first: dict[str, int] = {}
    for place, node in enumerate(attempts):
        if node.answer is not None:
            sums[node.answer] = sums.get(node.answer, 0) + weight(node)
            first.setdefault(node.answer, place)
    if not sums:
        return [[]], [0]
    tied = [answer for answer in sums if sums[answer] == max(sums.values())]
    best = [max((node for node in attempts if node.answer == answer), key=weight) for answer in tied]
    return [[node] for node in best], [first[answer] for answer in tied]


# ------------------------------------------------------------------------------------------------------------ trials
def replay(
    run: Run, spec: str, budgets: Sequence[int], *, trials: int, seed: int, reuse: bool = False
) -> dict[tuple[str, int], dict[str, Any]]:
    """Monte Carlo figures per (question, budget)."""
    return {
        (question, budget): figures(run, question, spec, budget, trials, seed, reuse)
        for question in run.prompts
        for budget in budgets
    }


def figures(run: Run, question: str, spec: str, budget: int, trials: int, seed: int, reuse: bool) -> dict[str, Any]:
    _, shape, name, _ = search_of(spec, budget)
    chains = eligible(run, run.prompts[question], shape["sequential"], shape["across"], name, node_score)
    size = shape["parallel"]
    if len(chains) < (1 if reuse else size):
        nothing = dict.fromkeys(("accuracy", "variance", "within", "tokens", "critical_tokens", "prefix_tokens"))
        return {**nothing, "lower": 0.0, "upper": 1.0, "supported": 0.0, "exhausted": 1.0}
    values, products = [], 0.0
    tokens = critical = prefix = 0
    for trial in range(trials):
        key = trial_key(seed, question, trial)
        if reuse:
            order = [(mix(key, PERMUTE + i) >> 32) * len(chains) >> 32 for i in range(size)]
            keys = [mix(key, i + 1) for i in range(size)]
        else:
            order = first_draws(key, len(chains), len(chains))
            keys = [mix(key, chains[i].draw + 1) for i in order]
        standing = [chains[i].stands(own) for i, own in zip(order, keys, strict=True)]
        total = squares = 0.0
        blocks = len(order) // size
        for start in range(0, blocks * size, size):
            candidates = [node for nodes in standing[start : start + size] for node in nodes]
            value = naive.select(name, candidates, node_score)
            total += value
            squares += value * value
        values.append(total / blocks)
        if blocks > 1:
            products += (total * total - squares) / (blocks * (blocks - 1))
        tokens += sum(chains[i].tokens for i in order[:size])  # costs: those of the first block
        critical += max(chains[i].tokens for i in order[:size])
        prefix += sum(chains[i].prefix for i in order[:size])
    shift = spread = 0.0
    for value in values[1:]:
        shift += value - values[0]
        spread += (value - values[0]) * (value - values[0])
    mean = values[0] + shift / trials
    variance = max(spread - shift * shift / trials, 0.0) / (trials - 1) / trials
    return {
        "accuracy": mean,
        "lower": mean,
        "upper": mean,
        "supported": 1.0,
        "exhausted": 0.0,
        "variance": variance,
        "within": mean * mean - variance - products / trials if 2 * size <= len(chains) and not reuse else None,
        "tokens": tokens / trials,
        "critical_tokens": critical / trials,
        "prefix_tokens": prefix / trials,
    }


def node_score(node: Node) -> float:
    return node.score


# ------------------------------------------------------------------------------------------------------ exact values
def exact(run: Run, question: str, spec: str, budget: int) -> dict[str, Fraction | None]:
    """Value, estimate of its variance over new generations (None: 2P > C) and costs, over all subsets of P chains."""
    _, shape, name, _ = search_of(spec, budget)
    chains = eligible(run, run.prompts[question], shape["sequential"], shape["across"], name, fraction)
    num, size = len(chains), shape["parallel"]
    if num < size:
        raise Exhausted
    values = {
        subset: mean(
            share_right(name, [node for nodes in standing for node in nodes])
            for standing in itertools.product(*(chains[i].alternatives for i in subset))
        )
        for subset in itertools.combinations(range(num), size)
    }
    value = mean(values.values())
    within = None
    if 2 * size <= num:
        pairs = ((a, b) for a in values for b in values if not set(a) & set(b))
        within = value * value - mean(values[a] * values[b] for a, b in pairs)
    return {
        "accuracy": value,
        "within": within,
        "tokens": mean(Fraction(sum(chains[i].tokens for i in subset)) for subset in values),
        "critical_tokens": mean(Fraction(max(chains[i].tokens for i in subset)) for subset in values),
        "prefix_tokens": mean(Fraction(sum(chains[i].prefix for i in subset)) for subset in values),
    }


def plugged_in(run: Run, question: str, spec: str, budget: int) -> Fraction:
    """Expected value where chains are drawn with replacement."""
    _, shape, name, _ = search_of(spec, budget)
    chains = eligible(run, run.prompts[question], shape["sequential"], shape["across"], name, fraction)
    return mean(
        mean(
            share_right(name, [node for nodes in standing for node in nodes])
            for standing in itertools.product(*(chain.alternatives for chain in drawn))
        )
        for drawn in itertools.product(chains, repeat=shape["parallel"])
    )


def fraction(node: Node) -> Fraction:
    return Fraction(0) if math.isnan(node.score) else Fraction(node.score)


def mean(values: Any) -> Fraction:
    listed = list(values)
    return sum(listed, Fraction(0)) / len(listed)


def share_right(name: str, candidates: Sequence[Node]) -> Fraction:
    """Share of correct ones among those that tie for the win."""
    answered = [node for node in candidates if node.answer is not None]
    if not answered:
        return Fraction(0)
    if name == "oracle":
        return Fraction(any(node.correct for node in answered))
    if name == "best":
        highest = max(node.score for node in answered)
        tied = [node.correct for node in answered if node.score == highest]
        return Fraction(sum(tied), len(tied))
    sums: dict[str | None, Fraction] = {}
    for node in answered:
        sums[node.answer] = sums.get(node.answer, Fraction(0)) + (1 if name == "majority" else fraction(node))
    right = {node.answer: node.correct for node in answered}
    tied = [right[answer] for answer in sums if sums[answer] == max(sums.values())]
    return Fraction(sum(tied), len(tied))
