"""`tts-sim demand`: the draws that a recording still lacks."""

from __future__ import annotations

from typing import Annotated

import typer

from tts_sim.cli.options import AsCsv, AsJson, CachePath


def demand(
    cache: CachePath,
    specs: Annotated[list[str] | None, typer.Argument(metavar="[SPEC]…", help="Strategies.")] = None,
    strategy: Annotated[
        list[str] | None, typer.Option("--strategy", "-s", metavar="SPEC", help="search+selection; repeatable.")
    ] = None,
    budget: Annotated[str, typer.Option("--budget", "-b", help="Generations per question: 4,8…32.")] = "1,2,4…64",
    run: Annotated[str | None, typer.Option("--run", help="Run to fill; default: the first of the kind.")] = None,
    verifier: Annotated[str | None, typer.Option("--verifier", help="Verifier whose scores are used.")] = None,
    trials: Annotated[int | None, typer.Option("--trials", help="Trials per question.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all draws.")] = 0,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Write Parquet here.")] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List the next draws that strategies lack in a recorded run: question, node (none: the prompt), draw."""
    from tts_sim.cli.engine import announce_compilation, forests_of, judges, parsed
    from tts_sim.cli.options import note, open_for_reading, parse_budgets, print_rows

    strategies, budgets = parsed(specs or [], strategy or []), parse_budgets(budget)
    with open_for_reading(cache) as opened:
        announce_compilation(strategies)
        import polars as pl

        from tts_sim.demand import demand as list_missing

        parts = forests_of(opened, strategies, run, all_questions=True)
        missing = pl.concat(
            [
                list_missing(forest, members, budgets, verifier=judge, trials=trials, seed=seed).select(
                    pl.lit(forest.run_id).alias("run"), pl.all()
                )
                for (forest, members), judge in zip(parts, judges(parts, verifier), strict=True)
            ]
        )
    questions = missing["question_id"].n_unique()
    found = f"{len(missing)} draws of {questions} questions are missing" if len(missing) else "no draw is missing"
    if output is not None:
        try:
            missing.write_parquet(output)
        except OSError as error:
            raise ValueError(f"--output {output}: cannot be written ({error.strerror or error}).") from None
        note(f"{found}; written to {output}.")
        return
    if len(missing) or as_json or as_csv:
        print_rows(missing, as_json=as_json, as_csv=as_csv)
    note(f"{found}.")
