"""`adaptive` as one would say it: samples, one by one, until the majority is settled."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from tests import naive_figures
from tests.naive import PERMUTE, Exhausted, Missing, Node, Run, first_draws, mix, select
from tests.naive_figures import Costs, Trial, parts, scorer


def settled(a: int, b: int, confidence: float) -> bool:
    """Whether P(Beta(a + 1, b + 1) > 1/2) reaches the confidence: a of a + b + 1 tosses at most are heads."""
    tosses = a + b + 1
    return Fraction(sum(math.comb(tosses, k) for k in range(a + 1)), 2**tosses) >= Fraction(confidence)


def solution(run: Run, prompt: Node, draw: int) -> tuple[Node, int]:
    """Last node and tokens of the solution that a root draw leads to."""
    node, tokens = prompt, 0
    while not node.ends:
        child = run.child(node, draw)
        if child is None:
            if run.pool(node) <= draw:
                raise Exhausted
            raise Missing([(node, draw)], False)
        node, tokens, draw = child, tokens + child.tokens, 0
    return node, tokens


def is_complete(run: Run, prompt: Node, draw: int) -> bool:
    try:
        solution(run, prompt, draw)
    except (Missing, Exhausted):
        return False
    return True


def trial_of(run: Run, spec: str, reuse: bool) -> Callable[[Node, int, int], Trial]:
    given, selection, agg = parts(spec)
    confidence = float(given.get("confidence", "0.95"))
    score = scorer(agg)

    def run_trial(prompt: Node, key: int, budget: int) -> Trial:
        if reuse:
            complete = [draw for draw in range(run.pool(prompt)) if is_complete(run, prompt, draw)]
            order = [
                complete[(mix(key, PERMUTE + i) >> 32) * len(complete) >> 32] for i in range(budget if complete else 0)
            ]
        else:
            order = first_draws(key, run.pool(prompt), min(budget, run.pool(prompt)))
        drawn: list[Node] = []
        spent = 0
        counts: Counter[str] = Counter()
        while len(drawn) < budget:
            first, second = ([count for _, count in counts.most_common(2)] + [0, 0])[:2]
            if drawn and settled(first, second, confidence):
                break
            if len(drawn) == len(order):
                raise Exhausted
            try:
                node, tokens = solution(run, prompt, order[len(drawn)])
            except Missing:
                sure = next((n for n in range(1, budget) if settled(first + n, second, confidence)), budget)
                raise Missing(lacking(run, prompt, order[len(drawn) : min(len(drawn) + sure, budget)]), False) from None
            drawn.append(node)
            spent += tokens
            if node.answer is not None:
                counts[node.answer] += 1
        return Trial([select(selection, drawn, score)], Costs(len(drawn), spent, spent, len(drawn), 0))

    return run_trial


def lacking(run: Run, prompt: Node, draws: Sequence[int]) -> list[tuple[Node, int]]:
    """What is missing of these solutions."""
    missing: list[tuple[Node, int]] = []
    for draw in draws:
        try:
            solution(run, prompt, draw)
        except Missing as one:
            missing += one.args[0]
        except Exhausted:
            pass
    return missing


def replay(
    run: Run, spec: str, budgets: Sequence[int], *, trials: int, seed: int, on_exhausted: str = "bounds"
) -> dict[tuple[str, int], dict[str, Any]]:
    """Monte Carlo figures per (question, budget)."""
    return naive_figures.replay(run, budgets, trials, seed, trial_of(run, spec, on_exhausted == "reuse"))


def demand(run: Run, spec: str, budgets: Sequence[int], *, trials: int, seed: int) -> set[tuple[str, int | None, int]]:
    """The next layer of draws that the replays lack."""
    return naive_figures.demand(run, budgets, trials, seed, trial_of(run, spec, False))
