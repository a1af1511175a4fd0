"""`tts-sim replay`: accuracy and cost of strategies by budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tts_sim.cli.options import AsCsv, AsJson, CachePath

if TYPE_CHECKING:
    import polars as pl

FIGURES = ["accuracy", "se", "ci_low", "ci_high", "lower", "upper", "supported"]
COSTS = ["tokens", "verifier_tokens", "critical_tokens"]
DISPENSABLE: list[str | tuple[str, ...]] = [
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
    strategy: Annotated[
        list[str] | None,
        typer.Option("--strategy", "-s", metavar="SPEC", help="search+selection, e.g. beam+weighted; repeatable."),
    ] = None,
    budget: Annotated[str, typer.Option("--budget", "-b", help="Generations per question: 1,2,4…64.")] = "1,2,4…64",
    by: Annotated[str | None, typer.Option("--by", help="Split by level or difficulty.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="Run to replay; default: the first of the kind.")] = None,
    verifier: Annotated[str | None, typer.Option("--verifier", help="Verifier whose scores are used.")] = None,
    trials: Annotated[int | None, typer.Option("--trials", help="Trials per question; default 256.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all draws.")] = 0,
    per_question: Annotated[bool, typer.Option("--per-question", help="One row per question.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Replay strategies on cached generations: accuracy by budget, with standard errors and costs."""
    from tts_sim.cli.engine import announce_compilation, forests_of, judges, parsed
    from tts_sim.cli.options import open_for_reading, parse_budgets, print_rows
    from tts_sim.errors import CacheExhausted

    strategies, budgets = parsed(specs or [], strategy or []), parse_budgets(budget)
    if by not in (None, "level", "difficulty"):
        raise ValueError(f"--by {by}: expected level or difficulty.")
    if by is not None and per_question:
        raise ValueError(f"--by {by} means over questions, --per-question lists them; give one of them.")
    with open_for_reading(cache) as opened:
        announce_compilation(strategies)
        from tts_sim.outcomes import combine
        from tts_sim.replay import replay as run_replay

        parts = forests_of(opened, strategies, run)
        for forest, _ in parts:
            if not forest.num_questions:
                raise CacheExhausted(f"run {forest.run_id!r} holds no generation yet. Record with `tts-sim generate`.")
        outcomes = combine(
            [
                run_replay(forest, members, budgets, verifier=judge, trials=trials, seed=seed)
                for (forest, members), judge in zip(parts, judges(parts, verifier), strict=True)
            ]
        )
    rows = outcomes.frame if per_question else outcomes.curve(by=by)  # type: ignore[arg-type]
    if as_json or as_csv:
        print_rows(rows, as_json=as_json, as_csv=as_csv)
    else:
        _print_readable(rows, "question_id" if per_question else by, outcomes.frame["question_id"].n_unique())


def _print_readable(rows: pl.DataFrame, split: str | None, num_questions: int) -> None:
    """Prints the figures that are read first; support and bounds only where a replay lacked something."""
    from tts_sim.cli.fit import print_fitting

    columns = ["strategy", "budget", *FIGURES, "method", *COSTS]
    if split is not None:
        columns.insert(1, split)
    if split in ("level", "difficulty"):
        columns.append("num_questions")
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
