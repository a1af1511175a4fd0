"""What readable searches report: one trial as a record, many trials as the columns of Outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.naive import Exhausted, Missing, Node, Run, path_score, summary, trial_key


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
