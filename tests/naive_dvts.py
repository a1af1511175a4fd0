"""`dvts` as one would say it: greedy subtrees, and blocks of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests import naive_figures
from tests.naive import ROUNDS, TIE, Exhausted, Missing, Node, Run, draw_children, first_draws, mix, select
from tests.naive_figures import Costs, Trial, parts, scorer


@dataclass
class Subtree:
    siblings: list[Node]  # of its last round
    kept: Node
    costs: Costs


def width_at(width: str, budget: int) -> int:
    return round(math.sqrt(budget)) if width == "sqrt" else min(int(width), budget)


def subtree(
    run: Run, prompt: Node, key: int, first: Sequence[tuple[Node | None, int]], width: int, policy: str
) -> Subtree:
    """A subtree with these first steps, each with the number that keys it; then `width` children of each kept node."""
    costs = Costs(width, 0, 0, 0, 0)
    kept, above = prompt, 0
    for depth in range(ROUNDS):
        draws, borrowed = (first, 0) if depth == 0 else draw_children(run, kept, key, width, policy)
        missing = [(kept, draw) for child, draw in draws if child is None]
        if missing:
            raise Missing(missing, False)
        costs.borrowed += borrowed
        siblings = [child for child, _ in draws if child is not None]
        costs.calls += width
        costs.prefix += width * above
        costs.tokens += sum(child.tokens for child in siblings)
        costs.critical += max(child.tokens for child in siblings)
        keys = [mix(key, draw + 1) for _, draw in draws]
        best = min(range(width), key=lambda i: (-siblings[i].score, mix(keys[i], TIE)))
        kept, key = siblings[best], keys[best]
        above += kept.tokens
        if kept.ends:
            break
    return Subtree(siblings, kept, costs)


def subtrees(
    run: Run, prompt: Node, key: int, count: int, width: int, policy: str
) -> tuple[list[Subtree | None], list[tuple[Node, int]], list[bool]]:
    """All subtrees of a trial (None: not supported), the draws that they lack, and which met the end of a pool."""
    if policy == "reuse":
        try:
            roots, _ = draw_children(run, prompt, key, count * width, policy)
        except Missing:
            return [None] * count, [], [False] * count
        except Exhausted:
            return [None] * count, [], [True] * count
    else:
        pool = run.pool(prompt)
        roots = [(run.child(prompt, draw), draw) for draw in first_draws(key, pool, min(pool, count * width))]
    grown: list[Subtree | None] = []
    missing: list[tuple[Node, int]] = []
    exhausted = []
    for start in range(0, count * width, width):
        grown.append(None)
        exhausted.append(start + width > len(roots))
        if exhausted[-1]:
            continue
        try:
            grown[-1] = subtree(run, prompt, key, roots[start : start + width], width, policy)
        except Missing as draws:
            missing += draws.args[0]
        except Exhausted:
            exhausted[-1] = True
    return grown, missing, exhausted


def trial_of(run: Run, spec: str, budgets: Sequence[int], policy: str) -> Callable[[Node, int, int], Trial]:
    """One trial at one budget; `budgets` are replayed together: the largest of the same width gives the blocks."""
    given, selection, agg = parts(spec)
    score = scorer(agg)

    def run_trial(prompt: Node, key: int, budget: int) -> Trial:
        width = width_at(given.get("width", "4"), budget)
        num = budget // width
        grown, missing, exhausted = subtrees(run, prompt, key, num, width, policy)
        if any(tree is None for tree in grown):
            if missing or not any(exhausted):
                raise Missing(missing, any(exhausted))
            raise Exhausted
        most = max(other for other in budgets if width_at(given.get("width", "4"), other) == width)
        pool = most if policy == "reuse" else run.pool(prompt)
        more, _, _ = subtrees(run, prompt, key, min(most, pool) // width, width, policy)
        if not any(tree is None for tree in more):
            grown = more
        known = [tree for tree in grown if tree is not None]
        values = []
        for start in range(0, len(known) - num + 1, num):
            block = known[start : start + num]
            if given.get("outputs") == "best":
                candidates = [tree.kept for tree in block]
            else:
                candidates = [node for tree in block for node in tree.siblings]
            values.append(select(selection, candidates, score))
        costs = [tree.costs for tree in known[:num]]
        return Trial(
            values,
            Costs(
                budget,
                sum(cost.tokens for cost in costs),
                max(cost.critical for cost in costs),
                sum(cost.calls for cost in costs),
                sum(cost.prefix for cost in costs),
                sum(cost.borrowed for cost in costs),
            ),
        )

    return run_trial


def replay(
    run: Run, spec: str, budgets: Sequence[int], *, trials: int, seed: int, on_exhausted: str = "bounds"
) -> dict[tuple[str, int], dict[str, Any]]:
    """Monte Carlo figures per (question, budget)."""
    figures = naive_figures.replay(run, budgets, trials, seed, trial_of(run, spec, budgets, on_exhausted))
    for row in figures.values():
        row["within"] = None if on_exhausted == "reuse" else row["within"]
    return figures


def demand(run: Run, spec: str, budgets: Sequence[int], *, trials: int, seed: int) -> set[tuple[str, int | None, int]]:
    """The next layer of draws that the replays lack."""
    return naive_figures.demand(run, budgets, trials, seed, trial_of(run, spec, budgets, "bounds"))
