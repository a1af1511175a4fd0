"""Replays: strategies run on cached trees, many times at every budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from tts_sim.difficulty import difficulty_levels, pass_at_1
from tts_sim.draws import checked_seed
from tts_sim.forest import Forest
from tts_sim.ledger import Account, account, exact_where_known
from tts_sim.outcomes import COLUMNS, Outcomes
from tts_sim.selections import Best, Oracle, Selection
from tts_sim.spec import Search, Strategy, parse_strategy
from tts_sim.strategies.beam import Beam
from tts_sim.strategies.plan import Plan
from tts_sim.strategies.revise import Revise
from tts_sim.strategies.sample import Sample

DEFAULT_TRIALS = 256


def replay(
    forest: Forest,
    strategies: Sequence[Strategy | str],
    budgets: Sequence[int],
    *,
    verifier: str | None = None,
    trials: int | None = None,
    seed: int,
) -> Outcomes:
    """Run every strategy on every question `trials` times at each budget; one row per (question, strategy, budget).

    Without `trials`: 256, and for tree searches on a run that was recorded by demand as many as it was recorded for.
    Without `verifier`: the run's only one, or its only one of the suitable kind. `sample` with `oracle` or `best` is
    exact where every solution is there. All strategies and budgets share their draws (common random numbers).
    Raises ValueError for bad arguments, CacheExhausted for a budget above what is cached, ScoreMissing.
    """
    wanted = checked_strategies(strategies)
    ascending = checked_budgets(budgets)
    checked_seed(seed)
    checked_trials(trials)
    judge = chosen_verifier(forest, wanted, verifier)
    accounts: dict[Strategy, Account] = {}
    for search, members in by_search(wanted).items():
        count = trials if trials is not None else default_trials(forest, search)
        plan = Plan(forest, [member.selection for member in members], ascending, judge, count, seed)
        results = _sample_accounts(search, plan) if isinstance(search, Sample) else _accounts(search, plan)
        accounts.update(zip(members, results, strict=True))
    frames = [_frame(forest, strategy, ascending, judge, accounts[strategy]) for strategy in wanted]
    measured = pass_at_1(forest)
    groups: dict[str, dict[str, Any]] = {
        "level": dict(zip(forest.question_ids, forest.levels, strict=True)),
        "difficulty": difficulty_levels(measured),
    }
    return Outcomes(pl.concat(frames), groups)


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
        search = strategy.search
        if isinstance(search, Revise):
            search = search.resolved(strategy.selection)
        groups.setdefault(search, []).append(strategy)
    return groups


def default_trials(forest: Forest, search: Search) -> int:
    """256, or what a tree search was recorded for: more trials would ask for draws that nobody made."""
    demand = forest.recorded.get("demand")
    recorded = demand.get("trials") if isinstance(demand, dict) else None
    return recorded if isinstance(search, Beam) and isinstance(recorded, int) else DEFAULT_TRIALS


def _accounts(search: Beam | Revise, plan: Plan) -> list[Account]:
    tally = search.replay(plan)
    return [account(tally, s, plan.trials) for s in range(len(plan.selections))]


def _sample_accounts(search: Sample, plan: Plan) -> list[Account]:
    """Closed forms where there are some; trials for the rest."""
    values, tokens, critical = search.closed_forms(plan)
    results: dict[Selection, Account] = {}
    chancy = []
    for s, selection in enumerate(plan.selections):
        if np.isnan(values[:, :, s]).any():
            chancy.append(selection)
        else:
            results[selection] = exact_where_known(None, values[:, :, s], tokens, critical)
    if chancy:
        tally = search.replay(Plan(plan.forest, chancy, plan.budgets, plan.verifier, plan.trials, plan.seed))
        for place, selection in enumerate(chancy):
            results[selection] = account(tally, place, plan.trials)
            if isinstance(selection, Best | Oracle):
                value = values[:, :, list(plan.selections).index(selection)]
                results[selection] = exact_where_known(results[selection], value, tokens, critical)
    return [results[selection] for selection in plan.selections]


def _frame(
    forest: Forest, strategy: Strategy, budgets: Sequence[int], verifier: str | None, figures: Account
) -> pl.DataFrame:
    """Rows of one strategy, question by question."""
    num_rows = forest.num_questions * len(budgets)
    bounds = figures.supported < 0.9
    method = np.where(bounds, "bounds", np.where(figures.exact, "exact", "monte-carlo"))
    judge = verifier if strategy.uses_scores else None
    verifier_tokens = figures.tokens if judge is not None else np.where(figures.supported > 0, 0.0, np.nan)
    frame = pl.DataFrame(
        {
            "run": pl.repeat(forest.run_id, num_rows, eager=True, dtype=pl.String),
            "question_id": pl.Series(forest.question_ids, dtype=pl.String).repeat_by(len(budgets)).explode(),
            "strategy": pl.repeat(str(strategy), num_rows, eager=True, dtype=pl.String),
            "verifier": pl.repeat(judge, num_rows, eager=True, dtype=pl.String),
            "budget": np.tile(np.array(budgets, np.int64), forest.num_questions),
            "accuracy": figures.accuracy.ravel(),
            "lower": figures.lower.ravel(),
            "upper": figures.upper.ravel(),
            "supported": figures.supported.ravel(),
            "method": method.ravel().astype(object),
            "trials": np.where(figures.exact, 0, figures.trials).ravel(),
            "variance": figures.variance.ravel(),
            "generations": np.tile(np.array(budgets, np.float64), forest.num_questions),
            "tokens": figures.tokens.ravel(),
            "verifier_tokens": verifier_tokens.ravel(),
            "critical_tokens": figures.critical_tokens.ravel(),
            "missing": figures.missing.ravel(),
            "exhausted": figures.exhausted.ravel(),
        },
        schema_overrides={"method": pl.String},
        nan_to_null=True,
    )
    return frame.select(COLUMNS)
