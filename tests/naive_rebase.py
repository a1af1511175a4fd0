"""`rebase` as one would say it: n expansions a round, shared out by softmax."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tests import naive_figures
from tests.naive import ROUNDS, TIE, Exhausted, Missing, Node, Run, first_draws, mix, select
from tests.naive_figures import Costs, Trial, parts, scorer, slots, total


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
    run: Run, prompt: Node, key: int, n: int, temperature: float, rounding: str, reuse: bool
) -> tuple[list[Node], Costs]:
    """The candidates, those that have ended first, and what they cost."""
    finished: list[Node] = []
    active: list[tuple[Node, int, int]] = []
    senders = [(prompt, key, 0, n)]
    costs = Costs(0, 0, 0, 0, 0)
    for _ in range(ROUNDS):
        draws: list[tuple[Node, int, int, int]] = []
        for node, node_key, above, count in senders:
            size = len(node.children) if reuse else run.pool(node)
            if count and size < (1 if reuse else count):
                raise Exhausted
            chosen = range(count) if reuse or count == size else first_draws(node_key, size, count)
            draws += [(node, node_key, above, draw) for draw in chosen]
        drawn: list[tuple[Node | None, int, int]] = []
        for node, node_key, above, draw in draws:
            child = node.children[slots(node_key, len(node.children), 1, draw)[0]] if reuse else run.child(node, draw)
            drawn.append((child, mix(node_key, draw + 1), above))
        missing = [(node, draw) for (node, _, _, draw), (child, _, _) in zip(draws, drawn, strict=True) if not child]
        if missing:
            raise Missing(missing, False)
        active = []
        longest = 0
        for child, child_key, above in drawn:
            assert child is not None
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


def trial_of(run: Run, spec: str, reuse: bool) -> Callable[[Node, int, int], Trial]:
    given, selection, agg = parts(spec)
    temperature, rounding = float(given.get("temperature", "0.1")), given.get("rounding", "remainder")
    score = scorer(agg)

    def run_trial(prompt: Node, key: int, budget: int) -> Trial:
        candidates, costs = search(run, prompt, key, budget, temperature, rounding, reuse)
        return Trial([select(selection, candidates, score)], costs)

    return run_trial


def replay(
    run: Run, spec: str, budgets: Sequence[int], *, trials: int, seed: int, on_exhausted: str = "bounds"
) -> dict[tuple[str, int], dict[str, Any]]:
    """Monte Carlo figures per (question, budget)."""
    return naive_figures.replay(run, budgets, trials, seed, trial_of(run, spec, on_exhausted == "reuse"))


def demand(run: Run, spec: str, budgets: Sequence[int], *, trials: int, seed: int) -> set[tuple[str, int | None, int]]:
    """The next layer of draws that the replays lack."""
    return naive_figures.demand(run, budgets, trials, seed, trial_of(run, spec, False))
