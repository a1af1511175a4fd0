"""Comparisons of strategies on the same questions: differences by budget, and what can and cannot be said of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tts_sim.arrays import Float64s, Int64s
from tts_sim.draws import checked_seed
from tts_sim.intervals import simultaneous_bands, t_interval, t_quantile
from tts_sim.ledger import MIN_SUPPORT
from tts_sim.outcomes import VALUE, Outcomes
from tts_sim.paired import group_codes, holm, paired_difference

if TYPE_CHECKING:
    from tts_sim.spec import Strategy

COLUMNS: dict[str, Any] = {
    "first": pl.String,
    "second": pl.String,
    "budget": pl.Int64,
    "difference": pl.Float64,
    "se": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "band_low": pl.Float64,
    "band_high": pl.Float64,
    "p_value": pl.Float64,
    "test": pl.String,
    "detectable": pl.Float64,
    "num_questions": pl.Int64,
    "num_clusters": pl.Int64,
    "lower": pl.Float64,
    "upper": pl.Float64,
    "supported": pl.Float64,
    "method": pl.String,
    "exchangeable": pl.Boolean,
    "seed": pl.UInt64,
}
POWER = 0.8


def compare(
    outcomes: Outcomes,
    first: str | Strategy,
    second: str | Strategy,
    *,
    clusters: Mapping[str, Hashable] | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """The difference `first` - `second` in accuracy at every budget that both have, paired by question.

    One row a budget, with the columns COLUMNS. `ci_low`, `ci_high`: t over questions, 95 %, each budget by itself;
    `band_low`, `band_high`: all budgets at once. Both hold for new questions and new generations. `p_value` is
    two-sided, by the `test` named. `detectable`: the true difference that would be found at 5 % with 80 % power.
    The strategies may come from different runs; questions that only one of them has are left out. `clusters`
    (question → cluster) names questions that depend on each other, such as variants of one template; what holds for
    questions then holds for clusters, `num_clusters` of them. `exchangeable`: whether both runs are of i.i.d. draws.

    A question counts with the mean over its supported trials, as in `Outcomes.curve`; one that has none on either side
    is left out. `supported` is that of the weaker side; below .9 on average no difference is given (method `bounds`),
    only `lower` and `upper`: what it is if every unsupported trial went against the first, or the second, strategy.
    Raises ValueError for a strategy that the outcomes do not hold, or hold from several runs or verifiers, for a
    comparison of a strategy with itself, and for two that share no question or no budget.
    Source: statistics §2.5 (support), §3 (paired comparison, bands).
    """
    return _compared(outcomes, [(first, second)], clusters, seed)


def compare_all(
    outcomes: Outcomes,
    pairs: Sequence[tuple[str | Strategy, str | Strategy]] | None = None,
    *,
    clusters: Mapping[str, Hashable] | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """`compare` for many pairs (None: every pair of strategies that the outcomes hold), one table, with `p_holm`.

    `p_holm` is adjusted for all tests of the table, pairs times budgets: its smallest may be picked and believed. The
    bands hold over the budgets of a pair, not over pairs. Raises ValueError as `compare`, and for no pair at all.
    """
    if pairs is None:
        pairs = list(combinations(outcomes.frame["strategy"].unique(maintain_order=True), 2))
    if not pairs:
        raise ValueError("pairs: expected at least one, of two different strategies.")
    rows = _compared(outcomes, pairs, clusters, seed)
    adjusted = pl.Series("p_holm", holm(rows["p_value"].to_list()), dtype=pl.Float64)
    return rows.insert_column(rows.columns.index("p_value") + 1, adjusted)


def _compared(
    outcomes: Outcomes,
    pairs: Sequence[tuple[str | Strategy, str | Strategy]],
    clusters: Mapping[str, Hashable] | None,
    seed: int,
) -> pl.DataFrame:
    """Rows of all pairs. Each draws from the seed anew, so that it comes out the same whichever others are there."""
    checked_seed(seed)
    compared = [_pair(outcomes, first, second, clusters, seed) for first, second in pairs]
    tables = [table for _, table in compared if len(table) > 1]
    bands = iter(simultaneous_bands(tables, seed=seed))
    for rows, table in compared:
        critical = next(bands) if len(table) > 1 else None
        for row in rows:
            if critical is not None and row.get("se") is not None:
                row["band_low"] = row["difference"] - critical * row["se"]
                row["band_high"] = row["difference"] + critical * row["se"]
    return pl.DataFrame([row for rows, _ in compared for row in rows], schema=COLUMNS)


def _pair(
    outcomes: Outcomes,
    first: str | Strategy,
    second: str | Strategy,
    clusters: Mapping[str, Hashable] | None,
    seed: int,
) -> tuple[list[dict[str, Any]], Float64s]:
    """Rows of a pair, bands left out, and its differences, shape (groups, budgets): what bands are drawn from."""
    names = _name(outcomes, first), _name(outcomes, second)
    if names[0] == names[1]:
        raise ValueError(f"{names[0]!r} is compared with itself; name two different strategies.")
    joined = _paired_rows(_side(outcomes, names[0]), _side(outcomes, names[1]), names)
    place = {question: number for number, question in enumerate(sorted(set(joined["question_id"])))}
    groups = _groups(list(place), clusters)
    rows, columns = [], []
    for budget, at_budget in joined.group_by("budget", maintain_order=True):
        where = np.array([place[question] for question in at_budget["question_id"]], np.int64)
        rows.append({"first": names[0], "second": names[1], "budget": budget[0], "seed": seed})
        rows[-1] |= _figures(at_budget, groups[where], seed)
        column = np.full(len(groups), np.nan)
        if "difference" in rows[-1]:
            column[where] = at_budget["difference"].to_numpy()
        columns.append(_group_sums(column, groups))
    return rows, np.stack(columns, axis=1)


def _figures(at_budget: pl.DataFrame, groups: Int64s, seed: int) -> dict[str, Any]:
    """Figures of a pair at one budget; without a difference where support does not suffice."""
    supported = min(_mean(at_budget["supported"]), _mean(at_budget["supported_second"]))
    figures = {
        "num_questions": len(at_budget),
        "lower": _mean(at_budget["lower"] - at_budget["upper_second"]),
        "upper": _mean(at_budget["upper"] - at_budget["lower_second"]),
        "supported": supported,
        "num_clusters": len(np.unique(groups)),
        "method": "bounds",
        "exchangeable": bool((at_budget["exchangeable"] & at_budget["exchangeable_second"]).all()),
    }
    there = at_budget["difference"].is_not_null().to_numpy()
    if supported < MIN_SUPPORT or not there.any():
        return figures
    known = at_budget.filter(there)
    result = paired_difference(
        known["value"].to_numpy(), known["value_second"].to_numpy(), groups[there].tolist(), seed=seed
    )
    figures |= {
        "difference": result.difference,
        "num_questions": result.num_questions,
        "num_clusters": result.num_groups,
        "method": _method({*known["method"], *known["method_second"]}),
    }
    if result.num_groups > 1:
        low, high = t_interval(result.difference, result.se, result.num_groups)
        reach = t_quantile(0.975, result.num_groups - 1) + NormalDist().inv_cdf(POWER)
        figures |= {"se": result.se, "ci_low": low, "ci_high": high, "detectable": reach * result.se}
        figures |= {"p_value": result.p_value, "test": result.test}
    return figures


def _method(tags: set[str]) -> str:
    """The method of a difference: the weakest of what it is made of, questions with bounds alone counting as trials."""
    tags = {"monte-carlo" if tag == "bounds" else tag for tag in tags}
    return next((tag for tag in ("imputed", "plugin", "monte-carlo") if tag in tags), "exact")


def _name(outcomes: Outcomes, spec: str | Strategy) -> str:
    """The strategy as the outcomes write it."""
    held = outcomes.frame["strategy"].unique(maintain_order=True).to_list()
    if str(spec) in held:
        return str(spec)
    from tts_sim.spec import parse_strategy  # here: it loads numba, and outcomes may come from a file

    name = str(parse_strategy(str(spec)))
    if name not in held:
        raise ValueError(f"strategy {name!r} is not in these outcomes; they hold {', '.join(held) or 'none'}.")
    return name


def _side(outcomes: Outcomes, name: str) -> pl.DataFrame:
    """The rows of one strategy."""
    rows = outcomes.frame.filter(pl.col("strategy") == name)
    sources = rows.select("run", "verifier").unique(maintain_order=True).rows()
    if len(sources) > 1:
        listed = "; ".join(f"run {run!r}, verifier {verifier or 'none'}" for run, verifier in sources)
        raise ValueError(
            f"strategy {name!r} is there {len(sources)} times ({listed}). Keep one: Outcomes(outcomes.frame.filter(…))."
        )
    return rows.select(
        "question_id",
        "budget",
        "lower",
        "upper",
        "supported",
        "method",
        "exchangeable",
        value=VALUE,
    )


def _paired_rows(first: pl.DataFrame, second: pl.DataFrame, names: tuple[str, str]) -> pl.DataFrame:
    """Rows that stand for the same question and budget on both sides, in the order of budgets and questions."""
    keys = ["budget", "question_id"]
    joined = first.join(second, on=keys, suffix="_second").sort(keys)
    if joined.is_empty():
        if set(first["question_id"]).isdisjoint(second["question_id"]):
            raise ValueError(f"{names[0]!r} and {names[1]!r} share no question: there is nothing to pair.")
        budgets = [", ".join(map(str, side["budget"].unique().sort())) for side in (first, second)]
        raise ValueError(
            f"{names[0]!r} (budgets {budgets[0]}) and {names[1]!r} (budgets {budgets[1]}) share no budget."
        )
    return joined.with_columns(difference=pl.col("value") - pl.col("value_second"))


def _groups(questions: Sequence[str], clusters: Mapping[str, Hashable] | None) -> Int64s:
    """The number of each question's group: its cluster, or itself."""
    if clusters is None:
        return np.arange(len(questions))
    unknown = [question for question in questions if question not in clusters]
    if unknown:
        raise ValueError(f"clusters name no cluster of {len(unknown)} questions (first: {unknown[0]!r}).")
    return group_codes([clusters[question] for question in questions])


def _group_sums(values: Float64s, groups: Int64s) -> Float64s:
    """Sum of each group's deviations from the mean: what its cluster-robust variance is made of; NaN for no value."""
    there = ~np.isnan(values)
    if not there.any():
        return np.full(int(groups.max()) + 1, np.nan)
    sums = np.bincount(groups[there], values[there] - values[there].mean(), minlength=int(groups.max()) + 1)
    return np.where(np.bincount(groups[there], minlength=len(sums)) > 0, sums, np.nan)


def _mean(values: pl.Series) -> float:
    return float(values.mean())  # type: ignore[arg-type]
