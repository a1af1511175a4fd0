"""`tts-sim replay`: accuracy and cost of strategies by budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tts_sim.cli.options import (
    COST_UNITS,
    AsCsv,
    AsJson,
    CachePath,
    MethodOption,
    OnExhaustedOption,
    RunOption,
    Seed,
    StrategyOption,
    Trials,
)

if TYPE_CHECKING:
    import polars as pl

    from cache import Cache
    from tts_sim.cli.engine import Asked, Part
    from tts_sim.costs import Sizes
    from tts_sim.outcomes import Outcomes

FIGURES = ["accuracy", "se", "ci_low", "ci_high", "band_low", "band_high", "se_fixed", "lower", "upper", "supported"]
COSTS = ["tokens", "verifier_tokens", "critical_tokens"]
DISPENSABLE: list[str | tuple[str, ...]] = [
    "se_fixed",
    "critical_tokens",
    "verifier_tokens",
    "method",
    ("ci_low", "ci_high"),
    "tokens",
    "se",
    ("lower", "upper"),
]


def replay(
    cache: CachePath,
    specs: Annotated[list[str] | None, typer.Argument(metavar="[SPEC]…", help="Strategies.")] = None,
    strategy: StrategyOption = None,
    budget: Annotated[
        str,
        typer.Option("--budget", "-b", help="Generations per question: 1,2,4…64; or with a unit: 1e3tokens,1e12flops."),
    ] = "1,2,4…64",
    by: Annotated[str | None, typer.Option("--by", help="Split by level or difficulty.")] = None,
    run: RunOption = None,
    verifier: Annotated[
        list[str] | None, typer.Option("--verifier", help="Verifier whose scores are used; repeatable.")
    ] = None,
    trials: Trials = None,
    seed: Seed = 0,
    method: MethodOption = "auto",
    on_exhausted: OnExhaustedOption = "refuse",
    cost: Annotated[
        str, typer.Option("--cost", metavar="UNIT", help=f"Cost that is shown: {', '.join(COST_UNITS)}.")
    ] = "generations",
    prefill: Annotated[
        str, typer.Option("--prefill", help="Context charged: none, the prompt once, or all of it at every call.")
    ] = "none",
    rescore: Annotated[bool, typer.Option("--rescore", help="Verifiers read the prefix again at each step.")] = False,
    prompt_tokens: Annotated[
        int | None, typer.Option("--prompt-tokens", help="Length of prompts of which the cache does not know it.")
    ] = None,
    bands: Annotated[
        bool, typer.Option("--bands", help="Add bands that hold for all budgets of a strategy at once.")
    ] = False,
    save: Annotated[
        bool, typer.Option("--save", help="Keep the figures of every question in the cache (table outcomes).")
    ] = False,
    per_question: Annotated[bool, typer.Option("--per-question", help="One row per question.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Replay strategies on cached generations: accuracy by budget, with standard errors and costs."""
    from tts_sim.cli.engine import Asked, charged, loaded, parsed, replayed
    from tts_sim.cli.options import open_for_reading, parse_budgets, parse_limits, print_rows

    strategies = parsed(specs or [], strategy or [])
    limits = parse_limits(budget)
    budgets = [] if limits else parse_budgets(budget)
    if by not in (None, "level", "difficulty"):
        raise ValueError(f"--by {by}: expected level or difficulty.")
    if per_question and (by is not None or limits):
        what = f"--by {by}" if by is not None else f"--budget {budget}"
        raise ValueError(f"{what} means over questions, --per-question lists them; give one of them.")
    if bands and (per_question or by is not None or limits):
        raise ValueError(
            "--bands is for curves over all questions: leave out --per-question, --by and budgets in units."
        )
    if cost not in COST_UNITS:
        raise ValueError(f"--cost {cost}: expected one of {', '.join(COST_UNITS)}.")
    if prompt_tokens is not None and prefill == "none":
        raise ValueError(f"--prompt-tokens {prompt_tokens}: charged only with --prefill once or every; add one.")
    if save:
        _refuse_to_save(cache, seed, f"budgets in {limits[0]}" if limits else "--rescore" if rescore else None)
    asked = Asked(
        strategies, budgets, run, verifier or [], trials, seed, method, on_exhausted, prefill, rescore, prompt_tokens
    )
    with open_for_reading(cache, views=False) as opened:
        from tts_sim.costs import model_sizes

        if limits:
            unit, amounts = limits
            rows = _within(opened, asked, by, unit, amounts)
            cost = unit if cost == "generations" else cost
            num_questions = int(rows["num_questions"].max() or 0)  # type: ignore[arg-type]
        else:
            parts = loaded(opened, asked)
            outcomes = replayed(parts, asked)
            if not save:
                parts = []  # a large forest makes room for what follows
            outcomes = charged(outcomes, asked, model_sizes(opened))
            rows = outcomes.frame if per_question else outcomes.curve(by=by)  # type: ignore[arg-type]
            if bands:
                from tts_sim.bands import with_bands

                rows = with_bands(rows, outcomes, seed=seed)
            num_questions = outcomes.frame["question_id"].n_unique()
    if cost not in rows.columns or (cost != "generations" and rows[cost].null_count() == len(rows)):
        raise ValueError(f"--cost {cost}: unknown here; the cache's models have no num_params.")
    rows = rows.with_columns(cost=rows[cost])
    if save:
        _save(cache, parts, outcomes, seed)
    if as_json or as_csv:
        print_rows(rows, as_json=as_json, as_csv=as_csv)
    else:
        _print_readable(rows, "question_id" if per_question else by, num_questions, cost)


def _refuse_to_save(path: str, seed: int, odd: str | None) -> None:
    """Raises ValueError, before anything is replayed, for a cache that cannot be written and for what has no key."""
    import os
    from pathlib import Path

    from tts_sim.saved import LARGEST_SEED

    if odd is not None:
        raise ValueError(f"--save: keeps figures at budgets in generations, at plain costs; leave out {odd}.")
    if seed > LARGEST_SEED:
        raise ValueError(f"--save: seed {seed} does not fit the table; seeds up to 2**63 - 1 do.")
    if path == "sample" and not Path(path).exists():
        raise ValueError("--save: the shipped sample is read-only. Save into a .duckdb file of your own.")
    if Path(path).is_dir():
        raise ValueError(f"--save: {path} is a directory of Parquet tables, which is read-only. Give a .duckdb file.")
    if Path(path).exists() and not os.access(path, os.W_OK):
        raise ValueError(f"--save: {path} may not be written. Change its permissions, or copy it.")


def _save(path: str, parts: Sequence[Part], outcomes: Outcomes, seed: int) -> None:
    """Keeps the outcomes in the cache, which nobody may have open."""
    from cache import create_cache
    from tts_sim.cli.options import note
    from tts_sim.saved import fingerprint, saved_rows

    contents = {part.source.run_id: fingerprint(part.source) for part in parts}
    rows = saved_rows(outcomes, contents, seed)
    with create_cache(path) as opened:
        opened.save_outcomes(rows)
    digests = ", ".join(f"{content[:8]}… of run {run!r}" for run, content in contents.items())
    note(f"saved {len(rows)} rows in the table outcomes of {path} (content {digests}).")


def _within(cache: Cache, asked: Asked, by: str | None, unit: str, limits: Sequence[float]) -> pl.DataFrame:
    """The best-filled budget of each strategy within each limit, out of the powers of two that the cache holds.

    What a limit is too small for is said on stderr. Raises ValueError if that is every strategy.
    """
    import polars as pl

    from tts_sim.budgets import spendable
    from tts_sim.cli.engine import loaded
    from tts_sim.costs import model_sizes, within_limits

    sizes = model_sizes(cache)
    parts = [
        (part._replace(strategies=[member]), spendable(member.search, part.forest))
        for part in loaded(cache, asked)
        for member in part.strategies
    ]
    curves = [_held(part, asked, budgets, sizes).curve(by=by) for part, budgets in parts]  # type: ignore[arg-type]
    rows = within_limits(pl.concat(curves, how="diagonal_relaxed"), unit, limits)
    _name_what_is_too_dear(curves, unit, limits)
    return rows


def _held(part: Part, asked: Asked, budgets: Sequence[int], sizes: Sizes) -> Outcomes:
    """Outcomes at these budgets, without the largest ones if a question holds too little for them."""
    from dataclasses import replace as changed

    from tts_sim.cli.engine import charged, replayed
    from tts_sim.errors import CacheExhausted

    try:
        return charged(replayed([part], changed(asked, budgets=budgets)), asked, sizes)
    except CacheExhausted:
        if len(budgets) == 1:
            raise
    return _held(part, asked, budgets[:-1], sizes)


def _name_what_is_too_dear(curves: Sequence[pl.DataFrame], unit: str, limits: Sequence[float]) -> None:
    """Names on stderr the limits below a strategy's cheapest budget. Raises ValueError if they leave no strategy."""
    from tts_sim.cli.options import note

    cheapest = {curve["strategy"][0]: float(curve[unit].min()) for curve in curves if curve[unit].count()}  # type: ignore[arg-type]
    strategy, least = min(cheapest.items(), key=lambda item: item[1])
    if max(limits) < least:
        raise ValueError(
            f"--budget {max(limits):g}{unit}: too little for every strategy; "
            f"the cheapest is {strategy}, from {least:g} {unit}."
        )
    for strategy, least in cheapest.items():
        short = ", ".join(f"{limit:g}" for limit in sorted(set(limits)) if limit < least)
        if short:
            note(f"{strategy}: left out at {short} (its cheapest budget takes {least:g} {unit}).")


def _print_readable(rows: pl.DataFrame, split: str | None, num_questions: int, cost: str) -> None:
    """Prints the figures that are read first; support and bounds only where a replay lacked something."""
    from tts_sim.cli.fit import print_fitting

    columns = ["strategy", "budget", *FIGURES, "method", *COSTS]
    if "limit" in rows.columns:
        columns.insert(0, "limit")
    if split is not None:
        columns.insert(1, split)
    if split in ("level", "difficulty"):
        columns.append("num_questions")
    if rows["verifier"].n_unique() > 2:
        columns.insert(1, "verifier")
    if cost not in ("generations", *COSTS):
        columns.append(cost)
    if rows.get_column("se_fixed", default=rows["accuracy"].clear(len(rows))).null_count() == len(rows):
        columns.remove("se_fixed")
    if (rows["supported"] == 1).all():
        columns = [column for column in columns if column not in ("lower", "upper", "supported")]
    runs = ", ".join(f"'{run}'" for run in rows["run"].unique(maintain_order=True))
    judges = ", ".join(f"'{judge}'" for judge in rows["verifier"].drop_nulls().unique(maintain_order=True))
    print_fitting(
        _rounded(rows.select(column for column in columns if column in rows.columns)),
        dispensable=DISPENSABLE,
        title=f"run {runs}, verifier {judges or 'none'}, {num_questions} questions",
    )


def _rounded(table: pl.DataFrame) -> pl.DataFrame:
    """Shares with four decimals, tokens as whole numbers."""
    import polars as pl

    return table.with_columns(
        pl.col(column).round().cast(pl.Int64) if column in COSTS else pl.col(column).cast(pl.Decimal(18, 4))
        for column in table.columns
        if column in COSTS or column in FIGURES
    )
