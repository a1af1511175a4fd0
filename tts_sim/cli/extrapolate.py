"""`tts-sim extrapolate`: accuracy at budgets that the cache does not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tts_sim.cli.options import AsCsv, AsJson, CachePath

if TYPE_CHECKING:
    import polars as pl

SHARES = ["value", "ci_low", "ci_high", "range_low", "range_high", "bound_low", "bound_high", "limit", "near_ties"]
DISPENSABLE: list[str | tuple[str, ...]] = ["near_ties", "limit", ("range_low", "range_high"), ("ci_low", "ci_high")]


def extrapolate(
    cache: CachePath,
    specs: Annotated[list[str] | None, typer.Argument(metavar="[SPEC]…", help="Strategies that sample.")] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option("--strategy", "-s", metavar="SPEC", help="Default sample+oracle (coverage); repeatable."),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Budgets above the cache: 256,512…2048; default: 2 to 16 times it.")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="auto, zoibb, beta-binomial, power-law or plugin.")] = "auto",
    run: Annotated[str | None, typer.Option("--run", help="Run to read; default: the first of step trees.")] = None,
    verifier: Annotated[str | None, typer.Option("--verifier", help="Verifier whose scores are used.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all draws.")] = 0,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Extrapolate what samples reach beyond the cache: value, interval, bounds that need no model, or a refusal.

    A model must fit what is cached, and predict all of it from a quarter, before it is believed.
    """
    from tts_sim.cli.engine import announce_compilation, forests_of, parsed
    from tts_sim.cli.options import note, open_for_reading, parse_budgets, print_rows

    strategies = parsed(specs or [], strategy or ([] if specs else ["sample+oracle"]))
    budgets = None if to is None else parse_budgets(to)
    with open_for_reading(cache) as opened:
        from tts_sim.extrapolation.extrapolate import checked_models, extrapolate
        from tts_sim.verifiers import side_by_side

        checked_models(strategies, model)
        announce_compilation()
        [(forest, _)] = forests_of(opened, strategies, run)
        if not forest.exchangeable:
            note(f"run {forest.run_id!r}: its siblings are not i.i.d. (exchangeable is false): no figure is unbiased.")
        [(judged, (judge, *_))] = side_by_side([forest], [] if verifier is None else [verifier], seed=seed)
        rows = extrapolate(judged, strategies, budgets, model=model, verifier=judge, seed=seed)
    if as_json or as_csv:
        print_rows(rows, as_json=as_json, as_csv=as_csv)
    else:
        _print_readable(rows)


def _print_readable(rows: pl.DataFrame) -> None:
    """Prints the figures, below them what was refused and why, and how to read them."""
    import polars as pl

    from tts_sim.cli.fit import print_fitting

    shown = ["strategy", "model", "k", *(share for share in SHARES if rows[share].null_count() < len(rows))]
    table = rows.select(shown).with_columns(pl.col(name).cast(pl.Decimal(18, 4)) for name in shown if name in SHARES)
    samples, questions = rows["num_samples"][0], rows["num_questions"][0]
    print_fitting(
        table,
        dispensable=DISPENSABLE,
        title=f"run '{rows['run'][0]}', {questions} questions, {samples} samples of each",
    )
    keys = ["strategy", "model", "refused"]
    for part in rows.drop_nulls("refused").partition_by(keys, maintain_order=True):
        listed = ", ".join(map(str, part["k"]))
        print(f"refused: {part['strategy'][0]} ({part['model'][0]}) at {listed}: {part['refused'][0]}.")
    print("bound: 95 %, what the samples allow without a model.")
    if rows["value"].null_count() < len(rows):
        print("ci: 95 %, over questions, as far as the model holds.")
    if rows["range_low"].null_count() < len(rows):
        print("range: all models that pass the same tests.")
    if rows["limit"].null_count() < len(rows):
        print("limit: any number of samples, by the shares that were seen; near_ties: questions where it is open.")
