"""`tts-sim compare`: the difference between strategies, paired by question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tts_sim.cli.options import (
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

FIGURES = ["difference", "se", "ci_low", "ci_high", "band_low", "band_high", "p_value", "p_holm", "detectable"]
PROBABILITIES = ["p_value", "p_holm"]
BOUNDS = ["lower", "upper", "supported"]
DISPENSABLE: list[str | tuple[str, ...]] = [
    "method",
    "num_questions",
    "num_clusters",
    "test",
    "detectable",
    "se",
    ("ci_low", "ci_high"),
    "p_value",
    ("lower", "upper"),
]


def compare(
    cache: CachePath,
    specs: Annotated[list[str] | None, typer.Argument(metavar="SPEC SPEC…", help="Strategies, two or more.")] = None,
    strategy: StrategyOption = None,
    budget: Annotated[str, typer.Option("--budget", "-b", help="Generations per question: 1,2,4…64.")] = "1,2,4…64",
    run: RunOption = None,
    verifier: Annotated[str | None, typer.Option("--verifier", help="Verifier whose scores are used.")] = None,
    trials: Trials = None,
    seed: Seed = 0,
    method: MethodOption = "auto",
    on_exhausted: OnExhaustedOption = "refuse",
    clusters: Annotated[
        str | None,
        typer.Option(
            "--clusters",
            metavar="NAME",
            help="Questions that depend on each other: alike in level, subject, dataset, split or a key of extra.",
        ),
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Compare strategies on the same questions: paired differences in accuracy by budget, every pair of those given.

    With intervals (each budget by itself), bands (all budgets at once), tests, and the difference that this many
    questions can show at all.
    """
    from tts_sim.cli.engine import Asked, outcomes_of, parsed
    from tts_sim.cli.options import open_for_reading, parse_budgets, print_rows

    strategies, budgets = parsed(specs or [], strategy or []), parse_budgets(budget)
    if len(strategies) < 2:
        raise ValueError(f"compare {strategies[0]}: expected at least two different strategies.")
    with open_for_reading(cache, views=False) as opened:
        judges = [] if verifier is None else [verifier]
        asked = Asked(strategies, budgets, run, judges, trials, seed, method, on_exhausted)
        groups = None if clusters is None else _clusters(opened, clusters)
        outcomes = outcomes_of(opened, asked)
    from itertools import combinations

    from tts_sim.compare import compare_all

    rows = compare_all(outcomes, list(combinations(strategies, 2)), clusters=groups, seed=seed)
    if as_json or as_csv:
        print_rows(rows, as_json=as_json, as_csv=as_csv)
    else:
        _print_readable(rows, outcomes.frame, clusters)


def _clusters(cache: Cache, name: str) -> dict[str, tuple[str, bool]]:
    """The cluster of each question; one without a value is a cluster of its own."""
    from tts_sim.cli.options import note
    from tts_sim.question_groups import question_groups

    try:
        values = question_groups(cache, name)
    except ValueError as error:
        raise ValueError(f"--clusters {name}: {error}") from None
    alone = sum(value is None for value in values.values())
    if alone:
        note(f"{alone} of {len(values)} questions have no {name!r}: each is a cluster of its own.")
    return {question: (question, False) if value is None else (value, True) for question, value in values.items()}


def _print_readable(rows: pl.DataFrame, replayed: pl.DataFrame, clusters: str | None) -> None:
    """Prints what is read first, and below it how to read it."""
    from tts_sim.cli.fit import print_fitting

    columns = ["budget", *FIGURES, "test", "num_questions", "num_clusters", *BOUNDS, "method"]
    if clusters is None:
        columns.remove("num_clusters")
    if (rows["supported"] == 1).all():
        columns = [column for column in columns if column not in BOUNDS]
    if rows["budget"].n_unique() == 1:
        columns = [column for column in columns if not column.startswith("band")]
    if len(rows) == 1:
        columns.remove("p_holm")
    runs, judges = (
        ", ".join(f"'{name}'" for name in replayed[column].drop_nulls().unique(maintain_order=True))
        for column in ("run", "verifier")
    )
    title = f"run {runs}, verifier {judges or 'none'}"
    if rows.select("first", "second").n_unique() == 1:
        title = f"{rows['first'][0]} − {rows['second'][0]}: {title}"
    elif _holds_names(rows):
        columns = ["first", "second", *columns]
    else:
        rows, legend = _numbered(rows)
        title, columns = f"{title}\n{legend}", ["pair", *columns]
    print_fitting(_rounded(rows.select(columns)), dispensable=DISPENSABLE, title=title)
    for line in _footer(rows, replayed, clusters):
        print(line)


def _holds_names(rows: pl.DataFrame) -> bool:
    """Whether a line holds the names of two strategies beside the figures that always stay (60 characters)."""
    from rich.console import Console

    console = Console()
    longest = sum(max(map(len, rows[column])) for column in ("first", "second"))
    return not console.is_terminal or 60 + longest <= console.width


def _numbered(rows: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """The rows with a column `pair`, such as '1 − 3', and what the numbers stand for."""
    import polars as pl

    names = list(dict.fromkeys(name for pair in rows.select("first", "second").rows() for name in pair))
    number = pl.col("first", "second").replace_strict(names, range(1, len(names) + 1), return_dtype=pl.String)
    legend = "\n".join(f"{place} {name}" for place, name in enumerate(names, start=1))
    return rows.with_columns(pair=pl.concat_str(number, separator=" − ")), legend


def _footer(rows: pl.DataFrame, replayed: pl.DataFrame, clusters: str | None) -> list[str]:
    """How far the table carries: what is paired, what the intervals cover, and what it could have shown."""
    counts, errors = rows["num_questions"].to_list(), rows["detectable"].drop_nulls().to_list()
    paired, together = _span(counts, "{}"), replayed["question_id"].n_unique()
    whole = f" of {together}" if min(counts) < together else ""
    lines = [
        f"difference: accuracy of the first minus that of the second strategy, paired on {paired}{whole} questions."
    ]
    if not errors:
        return lines
    if clusters is not None:
        number = _span(rows["num_clusters"].to_list(), "{}")
        lines.append(f"clusters: {number} by {clusters}; errors and tests count these, not questions.")
    budgets = rows["budget"].n_unique()
    lines.append(
        f"ci: 95 %, pointwise (each budget by itself); band: 95 %, simultaneous (a pair's {budgets} budgets at once)."
        if budgets > 1
        else "ci: 95 %, pointwise (each row by itself)."
    )
    if len(rows) > 1:
        lines.append(f"p_value: each test by itself; p_holm: adjusted for the {rows['p_value'].count()} tests here.")
    by_row = " (by row)" if min(errors) < max(errors) else ""
    span = _span(errors, "{:.4f}") + by_row
    lines.append(f"detectable: a true difference of {span} is found with 80 % power by one test at 5 %.")
    return lines


def _span(values: list[float], form: str) -> str:
    """The least and the greatest value, or the one that there is."""
    texts = dict.fromkeys(form.format(value) for value in (min(values), max(values)))
    return " to ".join(texts)


def _rounded(table: pl.DataFrame) -> pl.DataFrame:
    """Shares with four decimals, probabilities with two digits."""
    import polars as pl

    return table.with_columns(
        pl.col(column).round_sig_figs(2) if column in PROBABILITIES else pl.col(column).cast(pl.Decimal(18, 4))
        for column in table.columns
        if column in (*FIGURES, *BOUNDS)
    )
