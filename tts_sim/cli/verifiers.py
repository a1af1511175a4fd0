"""`tts-sim verifiers`: how well verifiers tell right from wrong, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tts_sim.cli.options import AsCsv, AsJson, CachePath

if TYPE_CHECKING:
    import polars as pl

    from cache import Cache

COUNTS = ["num_solutions", "num_unscored", "num_questions", "num_mixed", "decile"]
DISPENSABLE: list[str | tuple[str, ...]] = [
    "auc_within_pairs",
    ("num_solutions", "num_questions"),
    "brier",
    "mean_correct",
    "auc_within_se",
    ("mean_score", "score_from", "score_to"),
    "num_mixed",
    "accuracy",
]


def verifiers(
    cache: CachePath,
    verifier: Annotated[
        list[str] | None,
        typer.Option(
            "--verifier",
            "-v",
            metavar="SPEC",
            help="An id, random, flip(ID,probability=0.2), temper(ID,temperature=2), power(ID,exponent=2) or "
            "sigmoid(ID); repeatable. Default: all that scored the run.",
        ),
    ] = None,
    by: Annotated[str | None, typer.Option("--by", help="Split by level or difficulty.")] = None,
    calibration: Annotated[bool, typer.Option("--calibration", help="Share correct by tenth of the score.")] = False,
    agg: Annotated[
        str, typer.Option("--agg", help="A solution's score: last, min, prod or mean of its steps.")
    ] = "last",
    run: Annotated[str | None, typer.Option("--run", help="Run; default: the first of steps, or of revisions.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of random and of flip.")] = 0,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Compare verifiers on cached solutions: accuracy, AUC overall and within questions, calibration; no replay."""
    from tts_sim.cli.engine import announce_compilation, note_unexchangeable
    from tts_sim.cli.options import open_for_reading, print_rows
    from tts_sim.errors import CacheExhausted

    if by not in (None, "level", "difficulty"):
        raise ValueError(f"--by {by}: expected level or difficulty.")
    with open_for_reading(cache) as opened:
        announce_compilation()
        from tts_sim.load import load_forest
        from tts_sim.verifier_quality import calibration as bins
        from tts_sim.verifier_quality import verifier_quality
        from tts_sim.verifiers import side_by_side

        forest = load_forest(opened, run, kind=_first_kind(opened))
    if not forest.num_nodes:
        raise CacheExhausted(f"run {forest.run_id!r} holds no generation yet. Record with `tts-sim generate`.")
    note_unexchangeable(forest)
    [(forest, names)] = side_by_side([forest], verifier or list(forest.scores), seed=seed)
    figures = bins if calibration else verifier_quality
    rows = figures(forest, [name for name in names if name is not None], by=by, agg=agg)  # type: ignore[arg-type]
    if as_json or as_csv:
        print_rows(rows, as_json=as_json, as_csv=as_csv)
    else:
        _print_readable(rows)


def _first_kind(cache: Cache) -> str:
    """The kind of run that is shown without being named."""
    held = cache.frame("SELECT DISTINCT kind FROM runs")["kind"]
    return "revisions" if "revisions" in held and "steps" not in held else "steps"


def _print_readable(rows: pl.DataFrame) -> None:
    """Prints the figures with four decimals; unscored solutions only where there are some."""
    import polars as pl

    from tts_sim.cli.fit import print_fitting

    run = rows["run"][0]
    whole = "num_unscored" in rows.columns and (rows["num_unscored"] == 0).all()
    table = rows.drop(["run", "num_unscored"] if whole else ["run"])
    figures = [name for name, kind in table.schema.items() if kind.is_float()]
    print_fitting(
        table.with_columns(pl.col(name).cast(pl.Decimal(18, 4)) for name in figures),
        dispensable=DISPENSABLE,
        title=f"run '{run}'",
    )
