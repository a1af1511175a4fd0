"""`rebase` as one would say it: n expansions a round, shared out by softmax."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tests import naive_figures
from tests.naive import ROUNDS, TIE, Exhausted, Missing, Node, Run, draw_children, mix, select
from tests.naive_figures import Costs, Trial, parts, scorer, total


def shares(scores: Sequence[float], ties: Sequence[int], budget: int, temperature: float, rounding: str) -> list[int]:
    """Expansions of each candidate."""
    weights = [math.exp((score - max(scores)) / temperature) for score in scores]
    exact = [budget * weight / total(weights) for weight in weights]
    everyone = range(len(scores))
    if rounding == "remainder":
        given = [math.floor(share) for share in exact]
        rest = budget - sum(given)
        for i in sorted(everyone, key=lambda i: (-(exact[i] - given[i]), -scores[i], ties[i]))[:rest]:
            given[i] += 1
        return given
    given = [0 for _ in everyone]
    for i in sorted(everyone, key=lambda i: (-scores[i], ties[i])):
        given[i] = min(math.floor(exact[i] + 0.5), budget - sum(given))
    return given


def search(
    run: Run, prompt: Node, key: int, n: int, temperature: float, rounding: str, policy: str
) -> tuple[list[Node], Costs]:
    """The candidates, those that have ended first, and what they cost."""
    finished: list[Node] = []
    active: list[tuple[Node, int, int]] = []
    senders = [(prompt, key, 0, n)]
    costs = Costs(0, 0, 0, 0, 0)
    for _ in range(ROUNDS):
        drawn: list[tuple[Node, int, int]] = []
        missing: list[tuple[Node, int]] = []
        lacking = exhausted = False
        for node, node_key, above, count in senders:
            try:
                children, borrowed = draw_children(run, node, node_key, count, policy) if count else ([], 0)
            except Missing:  # of a pool that is not empty, and yet none is cached that could stand in
                lacking = True
            except Exhausted:
                exhausted = True
            else:
                costs.borrowed += borrowed
                missing += [(node, draw) for child, draw in children if child is None]
                drawn += [(child, mix(node_key, draw + 1), above) for child, draw in children if child is not None]
        if exhausted:
            raise Exhausted
        if missing or lacking:
            raise Missing(missing, False)
        active = []
        longest = 0
        for child, child_key, above in drawn:
            costs.calls += 1
            costs.prefix += above
            costs.tokens += child.tokens
            longest = max(longest, child.tokens)
            if child.ends:
                finished.append(child)
            else:
                active.append((child, child_key, above + child.tokens))
        costs.critical += longest
        if not active:
            break
        scores = [child.score for child, _, _ in active]
        ties = [mix(child_key, TIE) for _, child_key, _ in active]
        given = shares(scores, ties, n - len(finished), temperature, rounding)
        senders = [(*candidate, count) for candidate, count in zip(active, given, strict=True)]
    candidates = finished + [child for child, _, _ in active]
    costs.generations = len(candidates)
    return candidates, costs


def trial_of(run: Run, spec: str, policy: str) -> Callable[[Node, int, int], Trial]:
    given, selection, agg = parts(spec)
    temperature, rounding = float(given.get("temperature", "0.1")), given.get("rounding", "remainder")
    score = scorer(agg)

    def run_trial(prompt: Node, key: int, budget: int) -> Trial:
        candidates, costs = search(run, prompt, key, budget, temperature, rounding, policy)
        return Trial([select(selection, candidates, score)], costs)

    return run_trial


def replay(
    run: Run, spec: str, budgets: Sequence[int], *, trials: int, seed: int, on_exhausted: str = "bounds"
) -> dict[tuple[str, int], dict[str, Any]]:
    """Monte Carlo figures per (question, budget)."""
    return naive_figures.replay(run, budgets, trials, seed, trial_of(run, spec, on_exhausted))


def demand(run: Run, spec: str, budgets: Sequence[int], *, trials: int, seed: int) -> set[tuple[str, int | None, int]]:
    """The next layer of draws that the replays lack."""
    return naive_figures.demand(run, budgets, trials, seed, trial_of(run, spec, "bounds"))
