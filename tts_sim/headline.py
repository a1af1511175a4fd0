"""The headline of a cache: accuracy by budget of the usual strategies, overall and by difficulty."""

from __future__ import annotations

import polars as pl

from cache import Cache
from tts_sim.budgets import powers_of_two
from tts_sim.charts.theme import strategy_name
from tts_sim.load import load_forest
from tts_sim.outcomes import Outcomes, combine
from tts_sim.paired import paired_difference
from tts_sim.replay import replay

SAMPLING = ("sample+majority", "sample+best", "sample+weighted", "sample+oracle")
TREES = ("beam(width=4)+weighted", "beam(width=sqrt)+weighted")
REVISIONS = ("revise(sequential=4)+weighted", "revise(sequential=4)+majority")
STRATEGIES = (*SAMPLING, *TREES, *REVISIONS)


def headline_outcomes(cache: Cache, *, seed: int = 0) -> Outcomes:
    """Outcomes of sampling, beam search and revisions at powers of two, as far as the cache supports each."""
    kinds = set(cache.frame("SELECT DISTINCT kind FROM runs")["kind"])
    parts = []
    if "steps" in kinds:
        forest = load_forest(cache, kind="steps")
        most = int(forest.root_pools().min())
        parts.append(replay(forest, SAMPLING, powers_of_two(1, most), seed=seed))
        noted = forest.recorded.get("demand", {}).get("budgets", [])
        if noted:
            parts.append(replay(forest, TREES, noted, seed=seed))
    if "revisions" in kinds:
        forest = load_forest(cache, kind="revisions")
        most = int(forest.root_pools().min())
        parts.append(replay(forest, REVISIONS, powers_of_two(4, most), seed=seed))
    return combine(parts)


def wide(curve: pl.DataFrame, column: str) -> pl.DataFrame:
    """One row a strategy, one column a value of `column`, 'accuracy ± standard error' in the cells."""
    cells = curve.with_columns(
        strategy=pl.col("strategy").map_elements(strategy_name, return_dtype=pl.String),
        cell=pl.format("{} ± {}", _percent("accuracy"), _percent("se")),
    )
    order = sorted(cells[column].drop_nulls().unique().to_list())
    table = cells.pivot(column, index="strategy", values="cell", maintain_order=True)
    return table.select("strategy", *[str(value) for value in order])


def _percent(column: str) -> pl.Expr:
    return (pl.col(column) * 100).round(1)


def verdict(outcomes: Outcomes, budget: int) -> str:
    """One sentence: the best strategy at the budget (coverage aside), and its paired difference to majority."""
    rows = outcomes.frame.filter((pl.col("budget") == budget) & ~pl.col("strategy").str.ends_with("+oracle"))
    curve = outcomes.curve().filter(
        (pl.col("budget") == budget) & ~pl.col("strategy").str.ends_with("+oracle") & pl.col("accuracy").is_not_null()
    )
    best = curve.sort("accuracy", descending=True).row(0, named=True)
    if best["strategy"] == "sample+majority":
        return f"At budget {budget} nothing here beats majority ({100 * best['accuracy']:.1f} %)."
    pair = rows.filter(pl.col("strategy") == best["strategy"]).join(
        rows.filter(pl.col("strategy") == "sample+majority"), on="question_id", suffix="_majority"
    )
    paired = paired_difference(pair["accuracy"].to_numpy(), pair["accuracy_majority"].to_numpy())
    points, error = 100 * paired.difference, 100 * paired.se
    return (
        f"At budget {budget} the best is {strategy_name(best['strategy'])}: {100 * best['accuracy']:.1f} %, "
        f"{points:+.1f} ± {error:.1f} points against majority (paired standard error, {len(pair)} questions; "
        "picked as the best of several, so a little flattered)."
    )
