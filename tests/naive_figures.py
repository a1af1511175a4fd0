"""What readable searches report: one trial as a record, many trials as the columns of Outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.naive import PERMUTE, Exhausted, Missing, Node, Run, first_draws, mix, path_score, summary, trial_key


@dataclass
class Costs:
    generations: int
    tokens: int
    critical: int
    calls: int
    prefix: int
    borrowed: int = 0


@dataclass
class Trial:
    """Values of disjoint blocks of draws (most searches know one), and what the first of them cost."""

    values: list[float]
    costs: Costs


def slots(key: int, size: int, count: int, start: int = 0) -> list[int]:
    """Draws with replacement among `size` children: one for each of the slots start : start + count of a node."""
    return [(mix(key, PERMUTE + slot) >> 32) * size >> 32 for slot in range(start, start + count)]


BORROWING = 2**34


def draw_children(
    run: Run, node: Node, key: int, count: int, policy: str, picked: Sequence[int] | None = None
) -> tuple[list[tuple[int, Node]], int]:
    """Children of a node with the numbers that key them, and how many of them are borrowed.

    `picked` are their draws, where they are not for the node's own permutation to say. Raises Missing, Exhausted.
    """
    if policy == "reuse":
        if not node.children:
            raise Missing([], False) if run_pool(run, node) else Exhausted
        places = list(picked if picked is not None else range(count))
        return [(place, node.children[slots(key, len(node.children), 1, place)[0]]) for place in places], 0
    size = run.pool(node)
    if picked is None:
        picked = list(range(count)) if size <= count else first_draws(key, size, count)
    if policy != "borrow" or node.parent is None:
        if size < count or len(picked) < count:
            raise Exhausted
        missing = [(node, draw) for draw in picked if run.child(node, draw) is None]
        if missing:
            raise Missing(missing, False)
    found = [(draw, run.child(node, draw) if draw < size else None) for draw in picked]
    lacking = sum(child is None for _, child in found)
    gifts = iter(borrowed_children(node, key, lacking, size >= count) if lacking else [])
    return [(draw, child or next(gifts)) for draw, child in found], lacking


def run_pool(run: Run, node: Node) -> int | None:
    return run.root_pool if node.parent is None else run.step_pool


def borrowed_children(node: Node, key: int, count: int, promised: bool) -> list[Node]:
    """Children of the node of the same depth with the nearest score that has so many."""
    depth, top = 0, node
    while top.parent is not None:
        depth, top = depth + 1, top.parent
    level = [top]
    for _ in range(depth):
        level = [child for other in level for child in other.children]
    donors = [other for other in level if other is not node and len(other.children) >= count]
    if not donors:
        raise Missing([], False) if promised else Exhausted
    donor = min(donors, key=lambda other: abs(other.score - node.score))
    return [donor.children[place] for place in first_draws(mix(key, BORROWING), len(donor.children), count)]


def replay(
    run: Run,
    budgets: Sequence[int],
    trials: int,
    seed: int,
    run_trial: Callable[[Node, int, int], Trial],
) -> dict[tuple[str, int], dict[str, Any]]:
    """Monte Carlo figures per (question, budget). `run_trial(prompt, key, budget)` raises Missing or Exhausted.

    The second argument of Missing says whether the trial met the end of a pool, too.
    """
    figures = {}
    for question_id, prompt in run.prompts.items():
        for budget in budgets:
            done: list[Trial] = []
            missing = exhausted = 0
            for trial in range(trials):
                try:
                    done.append(run_trial(prompt, trial_key(seed, question_id, trial), budget))
                except Missing as draws:
                    missing += 1
                    exhausted += draws.args[1]
                except Exhausted:
                    exhausted += 1
            figures[question_id, budget] = columns(done, trials, missing, exhausted)
    return figures


def columns(done: Sequence[Trial], trials: int, missing: int, exhausted: int) -> dict[str, Any]:
    count = len(done)
    values = [total(trial.values) / len(trial.values) for trial in done]
    costs = {name: sum(getattr(trial.costs, name) for trial in done) for name in Costs.__annotations__}
    row = summary(values, trials, costs["tokens"], costs["critical"], missing, exhausted)
    for name, column in (("generations", "generations"), ("calls", "calls"), ("prefix_tokens", "prefix")):
        row[name] = costs[column] / count if count else None
    row["borrowed"] = costs["borrowed"] / costs["calls"] if costs["calls"] else 0.0
    row["within"] = None
    if count > 1 and all(len(trial.values) > 1 for trial in done):
        products = total([pair_product(trial.values) for trial in done])
        shift = total([value - values[0] for value in values[1:]])
        mean = values[0] + shift / count
        row["within"] = mean * mean - row["variance"] - products / count
    return row


def total(values: Sequence[float]) -> float:
    """The sum, from left to right (newer Pythons' sum() compensates)."""
    running = 0.0
    for value in values:
        running += value
    return running


def pair_product(values: Sequence[float]) -> float:
    """Mean product of the values of two different blocks."""
    plain, squares = total(values), total([value * value for value in values])
    return (plain * plain - squares) / (len(values) * (len(values) - 1))


def demand(
    run: Run, budgets: Sequence[int], trials: int, seed: int, run_trial: Callable[[Node, int, int], Trial]
) -> set[tuple[str, int | None, int]]:
    """(question, node or None for the prompt, draw): the next layer of draws that the replays lack."""
    wanted: set[tuple[str, int | None, int]] = set()
    for question_id, prompt in run.prompts.items():
        for budget in budgets:
            for trial in range(trials):
                try:
                    run_trial(prompt, trial_key(seed, question_id, trial), budget)
                except Missing as draws:
                    wanted.update((question_id, node.id, draw) for node, draw in draws.args[0])
                except Exhausted:
                    pass
    return wanted


def scorer(agg: str) -> Callable[[Node], float]:
    """Score of a solution, each computed once."""
    scores: dict[Node, float] = {}

    def score(node: Node) -> float:
        if node not in scores:
            scores[node] = path_score(node, agg or "last")
        return scores[node]

    return score


def parts(spec: str) -> tuple[dict[str, str], str, str]:
    """Parameters of the search, name of the selection and its aggregate, of a spec that is known to be sound."""
    left, right = spec.split("+")
    selection, _, agg = right.rstrip(")").partition("(agg=")
    inside = left.rstrip(")").partition("(")[2]
    return dict((part.split("=")[0], part.split("=")[1]) for part in inside.split(",") if part), selection, agg
