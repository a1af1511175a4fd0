"""`tts-sim exchange`: test-time compute of a small model against the parameters of a larger one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tts_sim.cli.options import AsCsv, AsJson, CachePath

if TYPE_CHECKING:
    import polars as pl

    from tts_sim.cli.two_models import TwoModels, Wanted

TABLES = ("exchange", "break-even", "split")
COUNTED = {
    "generations": "generations",
    "generated": "tokens generated, in those of an answer,",
    "once": "tokens generated and prompts read once, in those of an answer,",
    "every": "tokens generated and context read at every call, in those of an answer,",
}
SHARES = ("small", "large", "difference", "ci_low", "ci_high", "accuracy", "naive")
HIDDEN = {
    "exchange": ["convention", "x_read", "se", "boot_low", "boot_high", "seed"],
    "break-even": ["convention", "seed", "small", "large"],
    "split": ["convention", "total", "flops", "seed", "verifier", "se"],
}


def exchange(
    cache: CachePath,
    specs: Annotated[list[str] | None, typer.Argument(metavar="[SPEC]…", help="Strategies of the small model.")] = None,
    small: Annotated[str | None, typer.Option("--small", help="Run of the small model; default: the first.")] = None,
    large: Annotated[str | None, typer.Option("--large", help="Run of the larger model; default: the largest.")] = None,
    large_strategy: Annotated[
        str, typer.Option("--large-strategy", metavar="greedy|SPEC", help="How the larger model answers.")
    ] = "greedy",
    large_budget: Annotated[
        int, typer.Option("--large-budget", help="Generations that the larger model spends on an answer.")
    ] = 1,
    ratio: Annotated[
        str, typer.Option("--ratio", "-R", help="R, inference over pretraining tokens; several with commas.")
    ] = "0.16,0.79,22",
    convention: Annotated[
        str, typer.Option("--convention", help="Who pays for the verifier: strict, snell-v1 or snell-iclr.")
    ] = "strict",
    bins: Annotated[int, typer.Option("--bins", help="Bins of difficulty.")] = 5,
    by: Annotated[str, typer.Option("--by", help="Split by difficulty or level.")] = "difficulty",
    tokens: Annotated[
        str,
        typer.Option(
            "--tokens",
            help="What x counts: generations (each as long as the larger model's answer), generated tokens, or these "
            "with the prompt read once, or the context read at every call.",
        ),
    ] = "generations",
    budget: Annotated[
        str | None, typer.Option("--budget", "-b", help="Generations: 1,2,4…64; default: all that the cache supports.")
    ] = None,
    verifier: Annotated[str | None, typer.Option("--verifier", help="Verifier whose scores are used.")] = None,
    rho: Annotated[
        float | None, typer.Option("--rho", help="FLOPs of the verifier for a token over the small model's.")
    ] = None,
    size_ratio: Annotated[
        float | None, typer.Option("--size-ratio", help="M, parameters of the larger over those of the small model.")
    ] = None,
    phi: Annotated[
        str, typer.Option("--phi", help="Finetuning over pretraining compute; 'cache': what its models say.")
    ] = "0",
    token_ratio: Annotated[
        float, typer.Option("--token-ratio", help="Tokens of a small model's sample over the larger model's answer.")
    ] = 1.0,
    own_data: Annotated[
        bool, typer.Option("--own-data", help="Charge each model for its own pretraining tokens.")
    ] = False,
    prompt_tokens: Annotated[
        int | None, typer.Option("--prompt-tokens", help="Length of prompts of which the cache does not know it.")
    ] = None,
    interpolated: Annotated[
        bool, typer.Option("--interpolated", help="Break even between budgets too, not only at one of them.")
    ] = False,
    table: Annotated[
        str | None, typer.Option("--table", help="One of exchange, break-even, split; default: the first two.")
    ] = None,
    total: Annotated[
        str, typer.Option("--total", help="For split: FLOPs over those of the larger model that answers greedily.")
    ] = "0.5,1,2,4",
    trials: Annotated[int | None, typer.Option("--trials", help="Trials per question; default 256.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all draws.")] = 0,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Is a bigger model the better buy: accuracy at equal FLOPs of a small model that samples and a larger one.

    A number that JSON lacks is null there: r_star, r_low, r_high and r_at_most without a limit.
    """
    from tts_sim.cli.options import open_for_reading, parse_budgets, print_json, print_rows
    from tts_sim.cli.two_models import TOKENS, Wanted, two_models
    from tts_sim.exchange import CONVENTIONS
    from tts_sim.replay import checked_choice

    checked_choice("--convention", convention, CONVENTIONS)
    checked_choice("--tokens", tokens, list(TOKENS))
    if table is not None:
        checked_choice("--table", table, TABLES)
    ratios, totals = _numbers("--ratio", ratio), _numbers("--total", total)
    wanted = Wanted(
        small, large, large_strategy, large_budget, convention, by, bins, tokens,  # type: ignore[arg-type]
        parse_budgets(budget) if budget is not None else [], verifier, rho, size_ratio, phi, token_ratio, own_data,
        prompt_tokens, trials, seed, table == "split",
    )  # fmt: skip
    with open_for_reading(cache) as opened:
        models = two_models(opened, wanted, specs or [])
    names = [table] if table is not None else ["exchange"] if as_csv else ["exchange", "break-even"]
    tables = {name: _table(name, models, wanted, ratios, totals, interpolated) for name in names}
    if as_json and table is None:
        print_json({"terms": _terms(models)} | {name: rows.to_dicts() for name, rows in tables.items()})
    elif as_json or as_csv:
        print_rows(tables[names[0]], as_json=as_json, as_csv=as_csv)
    else:
        for name, rows in tables.items():
            _print_readable(name, rows)
        for line in _footer(models, wanted, names):
            print(line)


def _numbers(option: str, text: str) -> list[float]:
    """The positive numbers that `text` lists; 'inf' is one."""
    numbers = []
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        try:
            numbers.append(float(piece))
        except ValueError:
            numbers.append(math.nan)
        if not numbers[-1] > 0:
            raise ValueError(f"{option} {piece}: expected a number above 0, or several with commas.")
    if not numbers:
        raise ValueError(f"{option} '{text}': expected a number above 0, or several with commas.")
    return numbers


def _table(
    name: str, models: TwoModels, wanted: Wanted, ratios: Sequence[float], totals: Sequence[float], interpolated: bool
) -> pl.DataFrame:
    import polars as pl

    from tts_sim.exchange_tables import break_even, exchange_table

    if name == "split":
        return _split(models, wanted, ratios, totals)
    settings = {"levels": models.levels, "cost": models.cost, "seed": wanted.seed}
    if name == "exchange":
        return pl.concat(
            exchange_table(line, models.rival, terms, ratios=ratios, **settings)  # type: ignore[arg-type]
            for line, _, terms in models.lines
        )
    tables = [
        break_even(line, models.rival, terms, interpolated=interpolated, **settings)  # type: ignore[arg-type]
        for line, _, terms in models.lines
    ]
    return pl.concat(tables).with_columns(
        verdict=pl.when(pl.col("r_star").is_infinite())
        .then(pl.lit("small model at any R"))
        .when(pl.col("r_star") == 0)
        .then(pl.lit("larger model as far as the cache goes"))
        .otherwise(pl.format("small model below R = {}", pl.col("r_star").round_sig_figs(3)))
    )


def _split(models: TwoModels, wanted: Wanted, ratios: Sequence[float], totals: Sequence[float]) -> pl.DataFrame:
    """The best (strategy, budget) of each model at shares of the FLOPs of the larger model that answers greedily."""
    import polars as pl

    from tts_sim.best_split import SplitCandidates, best_split

    terms = models.lines[0][2]
    answer = float(models.rival.frame[models.cost].mean()) / wanted.large_budget  # type: ignore[arg-type]
    candidates = [
        SplitCandidates(
            str(run.model or run.run), line, terms.M / own.M, 1.0, own.phi, own.rho or 0, answer / own.token_ratio
        )
        for line, run, own in models.lines
    ]
    name = str(models.large.model or models.large.run)
    rivals = [(models.rival, terms.v_large or 0.0), *models.sampled]
    candidates += [SplitCandidates(name, line, terms.M, terms.data_ratio, 0.0, share, answer) for line, share in rivals]
    tables = []
    for ratio in ratios:
        whole = terms.M * (terms.data_ratio + ratio / 3)
        found = best_split(
            candidates, ratio=ratio, totals=[share * whole for share in totals], convention=wanted.convention,
            levels=models.levels, cost=models.cost, seed=wanted.seed,
        )  # fmt: skip
        place = found.columns.index("total")
        tables.append(found.insert_column(place, (found["total"] / whole).round_sig_figs(12).alias("total_over_large")))
    return pl.concat(tables)


def _terms(models: TwoModels) -> list[dict[str, object]]:
    """Who pays for what, strategy by strategy."""
    from dataclasses import asdict

    return [
        {"strategy": line.frame["strategy"][0], "small": run.run, "large": models.large.run} | asdict(terms)
        for line, run, terms in models.lines
    ]


def _print_readable(name: str, rows: pl.DataFrame) -> None:
    """Prints a table without what is for machines, shares with four decimals."""
    import polars as pl

    from tts_sim.cli.fit import print_fitting

    shown = rows.drop(HIDDEN[name]).with_columns(pl.col(pl.Float64).round_sig_figs(4))
    shown = shown.with_columns(
        *[pl.col(column).cast(pl.Decimal(18, 4)) for column in SHARES if column in shown.columns],
        pl.col("bin").cast(pl.String).fill_null("all"),
    )
    if "strategy" in shown.columns and shown["strategy"].n_unique() == 1 and name != "split":
        shown = shown.drop("strategy")
    empty = [column for column in ("bound", "r_at_most") if column in shown.columns and shown[column].is_null().all()]
    dispensable: list[str | tuple[str, ...]] = ["num_questions", "run", "naive", "r_at_most", ("ci_low", "ci_high")]
    print_fitting(shown.drop(empty), dispensable=dispensable, title=name)


def _footer(models: TwoModels, wanted: Wanted, names: Sequence[str]) -> list[str]:
    """What the figures rest on."""
    from tts_sim.exchange import WHO_PAYS

    rival = models.rival.frame["strategy"][0] + (f" at {wanted.large_budget}" if wanted.large_budget > 1 else "")
    lines = [
        f"x: {COUNTED[wanted.tokens]} of the small model (run '{models.small.run}') for each answer of the larger one "
        f"(run '{models.large.run}', {rival}) at equal FLOPs. Convention {wanted.convention}: "
        f"{WHO_PAYS[wanted.convention]}."
    ]
    for line, _, terms in models.lines:
        figures = {"M": terms.M, "rho": terms.rho, "v_large": terms.v_large, "phi": terms.phi, "t": terms.token_ratio,
                   "d": terms.data_ratio}  # fmt: skip
        lines.append(f"{line.frame['strategy'][0]}: {', '.join(f'{name} = {x:.4g}' for name, x in figures.items())}.")
    if wanted.by == "difficulty":
        lines.append("bin 1 is easiest: quantiles of the small model's pass@1, from the samples evaluated here too.")
    if "exchange" in names:
        lines.append(
            "ci: 95 %, t over questions, paired. beyond cache: read at the last budget; '>=': accuracy rises up to it."
        )
    if "break-even" in names:
        lines.append("r_star: below this R the small model is the better buy; r_low to r_high: 95 %, bootstrap.")
    if "split" in names:
        lines.append("accuracy: cross-fitted over questions, with its 95 % interval; naive: of the pick itself.")
    return lines
