"""`dvts` as one would say it: greedy subtrees, and blocks of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests import naive_figures
from tests.naive import ROUNDS, TIE, Exhausted, Missing, Node, Run, first_draws, mix, select
from tests.naive_figures import Costs, Trial, parts, scorer, slots


@dataclass
class Subtree:
    siblings: list[Node]  # of its last round
    kept: Node
    costs: Costs


def width_at(width: str, budget: int) -> int:
    return round(math.sqrt(budget)) if width == "sqrt" else min(int(width), budget)


def subtree(run: Run, prompt: Node, key: int, number: int, width: int, roots: Sequence[int], reuse: bool) -> Subtree:
    """Subtree i of a trial takes the root draws i·width … of `roots`; then `width` children of each kept node."""
    costs = Costs(width, 0, 0, 0, 0)
    kept, above = prompt, 0
    for depth in range(ROUNDS):
        if reuse:
            if not kept.children:
                raise Exhausted
            places = range(number * width, (number + 1) * width) if depth == 0 else range(width)
            picked = slots(key, len(kept.children), width, places[0])
            draws = [(place, kept.children[child]) for place, child in zip(places, picked, strict=True)]
        else:
            if depth == 0:
                numbers: Sequence[int] = roots[number * width : (number + 1) * width]
            else:
                size = run.pool(kept)
                numbers = range(size) if size <= width else first_draws(key, size, width)
            if len(numbers) < width:
                raise Exhausted
            missing = [(kept, draw) for draw in numbers if run.child(kept, draw) is None]
            if missing:
                raise Missing(missing, False)
            draws = [(draw, child) for draw in numbers if (child := run.child(kept, draw)) is not None]
        siblings = [child for _, child in draws]
        costs.calls += width
        costs.prefix += width * above
        costs.tokens += sum(child.tokens for child in siblings)
        costs.critical += max(child.tokens for child in siblings)
        ranked = sorted((-child.score, mix(mix(key, draw + 1), TIE), i) for i, (draw, child) in enumerate(draws))
        draw, kept = draws[ranked[0][2]]
        key = mix(key, draw + 1)
        above += kept.tokens
        if kept.ends:
            break
    return Subtree(siblings, kept, costs)


def subtrees(
    run: Run, prompt: Node, key: int, count: int, width: int, reuse: bool
) -> tuple[list[Subtree | None], list[tuple[Node, int]], list[bool]]:
    """All subtrees of a trial (None: not supported), the draws that they lack, and which met the end of a pool."""
    roots = [] if reuse else first_draws(key, run.pool(prompt), min(run.pool(prompt), count * width))
    grown: list[Subtree | None] = []
    missing: list[tuple[Node, int]] = []
    exhausted = []
    for number in range(count):
        grown.append(None)
        exhausted.append(False)
        try:
            grown[-1] = subtree(run, prompt, key, number, width, roots, reuse)
        except Missing as draws:
            missing += draws.args[0]
        except Exhausted:
            exhausted[-1] = True
    return grown, missing, exhausted


def trial_of(run: Run, spec: str, budgets: Sequence[int], reuse: bool) -> Callable[[Node, int, int], Trial]:
    """One trial at one budget; `budgets` are replayed together: the largest of the same width gives the blocks."""
    given, selection, agg = parts(spec)
    score = scorer(agg)

    def run_trial(prompt: Node, key: int, budget: int) -> Trial:
        width = width_at(given.get("width", "4"), budget)
        num = budget // width
        grown, missing, exhausted = subtrees(run, prompt, key, num, width, reuse)
        if any(tree is None for tree in grown):
            if missing:
                raise Missing(missing, any(exhausted))
            raise Exhausted
        most = max(other for other in budgets if width_at(given.get("width", "4"), other) == width)
        pool = most if reuse and prompt.children else run.pool(prompt)
        more, _, _ = subtrees(run, prompt, key, min(most, pool) // width, width, reuse)
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
            ),
        )

    return run_trial


def replay(
    run: Run, spec: str, budgets: Sequence[int], *, trials: int, seed: int, on_exhausted: str = "bounds"
) -> dict[tuple[str, int], dict[str, Any]]:
    """Monte Carlo figures per (question, budget)."""
    reuse = on_exhausted == "reuse"
    figures = naive_figures.replay(run, budgets, trials, seed, trial_of(run, spec, budgets, reuse))
    for row in figures.values():
        row["within"] = None if reuse else row["within"]
    return figures


def demand(run: Run, spec: str, budgets: Sequence[int], *, trials: int, seed: int) -> set[tuple[str, int | None, int]]:
    """The next layer of draws that the replays lack."""
    return naive_figures.demand(run, budgets, trials, seed, trial_of(run, spec, budgets, False))
