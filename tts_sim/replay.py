"""Replays: strategies run on cached trees, many times at every budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import polars as pl

from tts_sim.difficulty import difficulty_levels, pass_at_1
from tts_sim.draws import checked_seed
from tts_sim.forest import Forest
from tts_sim.ledger import Account, account, at_budgets, with_exact
from tts_sim.outcomes import COLUMNS, Outcomes
from tts_sim.spec import Strategy, parse_strategy
from tts_sim.strategies.plan import ON_EXHAUSTED, OnExhausted, Plan
from tts_sim.strategies.search import Search

DEFAULT_TRIALS = 256
Method = Literal["auto", "monte-carlo"]
METHODS: tuple[Method, ...] = ("auto", "monte-carlo")
LABELS = ("exact", "monte-carlo", "plugin", "imputed", "bounds")  # how a row came about
EXACT, MONTE_CARLO, PLUGIN, IMPUTED, BOUNDS = range(len(LABELS))


def replay(
    forest: Forest,
    strategies: Sequence[Strategy | str],
    budgets: Sequence[int],
    *,
    verifier: str | None = None,
    trials: int | None = None,
    seed: int,
    method: Method = "auto",
    on_exhausted: OnExhausted = "refuse",
) -> Outcomes:
    """Run every strategy on every question `trials` times at each budget; one row per (question, strategy, budget).

    Without `trials`: 256, and for tree searches on a run that was recorded by demand as many as it was recorded for.
    Without `verifier`: the run's only one, or its only one of the suitable kind. Where there is an exact estimator it
    is used, unless `method` is "monte-carlo". All strategies and budgets share their draws (common random numbers).
    `on_exhausted`: refuse a budget above what is cached; or give `bounds`; or `reuse` draws (rows are labelled
    `plugin`: biased by O(n²/K), statistics 2.0); or `borrow` children of the sibling with the nearest score
    (`imputed`, statistics 2.5).
    Raises ValueError for bad arguments, CacheExhausted for a budget above what is cached, ScoreMissing.
    """
    wanted = checked_strategies(strategies)
    ascending = checked_budgets(budgets)
    checked_seed(seed)
    checked_trials(trials)
    checked_choice("method", method, METHODS)
    checked_choice("on_exhausted", on_exhausted, ON_EXHAUSTED)
    judge = chosen_verifier(forest, wanted, verifier)
    accounts: dict[Strategy, Account] = {}
    for search, members in by_search(wanted).items():
        count = trials if trials is not None else default_trials(forest, search)
        check_budgets(search, ascending)
        selections = [member.selection for member in members]
        plan = Plan(forest, selections, ascending, judge, count, seed, on_exhausted=on_exhausted)
        accounts.update(zip(members, _accounts(search, plan, method), strict=True))
    rows = _rows(forest, ascending)
    frames = [_frame(rows, strategy, judge, accounts[strategy], on_exhausted) for strategy in wanted]
    measured = pass_at_1(forest)
    groups: dict[str, dict[str, Any]] = {
        "level": dict(zip(forest.question_ids, forest.levels, strict=True)),
        "difficulty": difficulty_levels(measured),
    }
    return Outcomes(pl.concat(frames), groups)


def checked_choice(name: str, value: str, known: Sequence[str]) -> None:
    """Raises ValueError unless the value is one of the known ones."""
    if value not in known:
        raise ValueError(f"{name} {value!r}: expected one of {', '.join(known)}.")


def checked_strategies(strategies: Sequence[Strategy | str]) -> list[Strategy]:
    """The strategies, specs parsed, repeats dropped. Raises ValueError if there is none."""
    if isinstance(strategies, str | Strategy):
        strategies = [strategies]
    wanted = [parse_strategy(entry) if isinstance(entry, str) else entry for entry in strategies]
    if not wanted:
        raise ValueError("strategies: expected at least one, for example sample+majority.")
    return list(dict.fromkeys(wanted))


def checked_budgets(budgets: Sequence[int]) -> list[int]:
    """The budgets in ascending order, repeats dropped. Raises ValueError for anything but whole numbers that fit."""
    for budget in budgets:
        if isinstance(budget, bool) or not isinstance(budget, int | np.integer) or not 1 <= budget < 2**31:
            raise ValueError(f"budget {budget!r}: expected a whole number of generations, from 1 to 2**31 - 1.")
    if not len(budgets):
        raise ValueError("budgets: expected at least one.")
    return sorted({int(budget) for budget in budgets})


def check_budgets(search: Search, budgets: Sequence[int]) -> None:
    """Raises ValueError for a budget that the search cannot spend."""
    for budget in budgets:
        search.check_budget(budget)


def checked_trials(trials: int | None) -> int | None:
    """The trials themselves. Raises ValueError unless None or a whole number that kernels can count."""
    if trials is not None and (isinstance(trials, bool) or not isinstance(trials, int) or not 1 <= trials < 2**31):
        raise ValueError(f"trials {trials!r}: expected a whole number from 1 to 2**31 - 1.")
    return trials


def chosen_verifier(forest: Forest, strategies: Sequence[Strategy], verifier: str | None) -> str | None:
    """The verifier that the strategies use; None if they use none."""
    if not any(strategy.uses_scores for strategy in strategies):
        return None
    if verifier is None:
        return forest.default_verifier()
    forest.path_score(verifier, "last")  # raises for an unknown one
    return verifier


def by_search(strategies: Sequence[Strategy]) -> dict[Search, list[Strategy]]:
    """Strategies by what their search does: one kernel run serves all selections of a search."""
    groups: dict[Search, list[Strategy]] = {}
    for strategy in strategies:
        search = strategy.search.resolved(strategy.selection)
        groups.setdefault(search, []).append(strategy)
    return groups


def default_trials(forest: Forest, search: Search) -> int:
    """256, or what a tree search was recorded for: more trials would ask for draws that nobody made."""
    demand = forest.recorded.get("demand")
    recorded = demand.get("trials") if isinstance(demand, dict) else None
    return recorded if search.grows_trees and isinstance(recorded, int) else DEFAULT_TRIALS


def _accounts(search: Search, plan: Plan, method: Method) -> list[Account]:
    """Exact estimators where there are some; trials for the rest."""
    exact = search.exact(plan) if method == "auto" and plan.on_exhausted != "reuse" else None
    if exact is None:
        tally = search.replay(plan)
        return [account(tally, s, plan.trials) for s in range(len(plan.selections))]
    unknown = np.isnan(exact.value)
    chancy, places = np.flatnonzero(unknown.any(axis=(0, 1))).tolist(), np.flatnonzero(unknown.any(axis=(0, 2)))
    estimates: dict[int, Account] = {}
    if chancy:
        budgets = [plan.budgets[int(b)] for b in places]
        tally = search.replay(replace(plan, selections=[plan.selections[s] for s in chancy], budgets=budgets))
        for place, s in enumerate(chancy):
            estimates[s] = at_budgets(account(tally, place, plan.trials), places, len(plan.budgets))
    generations = np.broadcast_to(np.array(plan.budgets, np.float64), exact.value.shape[:2])
    return [with_exact(estimates.get(s), exact, s, generations) for s in range(len(plan.selections))]


def _rows(forest: Forest, budgets: Sequence[int]) -> pl.DataFrame:
    """What the rows of every strategy have in common: question by question, each at all budgets."""
    questions = np.repeat(np.arange(forest.num_questions), len(budgets))
    return pl.DataFrame(
        {
            "question_id": pl.Series(forest.question_ids, dtype=pl.String).gather(questions),
            "budget": np.tile(np.array(budgets, np.int64), forest.num_questions),
        }
    ).with_columns(run=pl.lit(forest.run_id), exchangeable=pl.lit(forest.exchangeable))


def _frame(
    rows: pl.DataFrame, strategy: Strategy, verifier: str | None, figures: Account, on_exhausted: OnExhausted
) -> pl.DataFrame:
    """The rows of one strategy."""
    judge = verifier if strategy.uses_scores else None
    drawn = np.where(figures.borrowed > 0, IMPUTED, PLUGIN if on_exhausted == "reuse" else MONTE_CARLO)
    method = np.where(figures.supported < 0.9, BOUNDS, np.where(figures.exact, EXACT, drawn))
    columns = {
        "accuracy": figures.accuracy,
        "lower": figures.lower,
        "upper": figures.upper,
        "supported": figures.supported,
        "trials": np.where(figures.exact, 0, figures.trials),
        "variance": figures.variance,
        "within": figures.within,
        "generations": figures.generations,
        "tokens": figures.tokens,
        "verifier_tokens": figures.tokens if judge is not None else np.where(figures.supported > 0, 0.0, np.nan),
        "critical_tokens": figures.critical_tokens,
        "calls": figures.calls,
        "prefix_tokens": figures.prefix_tokens,
        "borrowed": figures.borrowed,
        "missing": figures.missing,
        "exhausted": figures.exhausted,
    }
    return rows.with_columns(
        *(pl.Series(name, column.ravel(), nan_to_null=True) for name, column in columns.items()),
        pl.Series("method", LABELS).gather(method.ravel()),
        strategy=pl.lit(str(strategy)),
        verifier=pl.lit(judge, pl.String),
    ).select(COLUMNS)
