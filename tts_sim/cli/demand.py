"""`tts-sim demand`: the draws that a recording still lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tts_sim.cli.options import AsCsv, AsJson, CachePath

if TYPE_CHECKING:
    import polars as pl


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
    throughput: Annotated[
        float | None, typer.Option("--throughput", help="Tokens a second of your GPU: tells the time it would take.")
    ] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Write Parquet here.")] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List the next draws that strategies lack in a recorded run, with the tokens that they would take.

    A replay stops where it first misses a draw: once these are filled, a deeper layer may follow.
    """
    from tts_sim.cli.engine import announce_compilation, fitting, forests_of, parsed
    from tts_sim.cli.options import note, open_for_reading, parse_budgets, print_rows

    strategies, budgets = parsed(specs or [], strategy or []), parse_budgets(budget)
    if throughput is not None and not 0 < throughput < float("inf"):
        raise ValueError(f"--throughput {throughput}: expected tokens a second, above 0.")
    with open_for_reading(cache) as opened:
        announce_compilation()
        import polars as pl

        from tts_sim.demand import demand as list_missing
        from tts_sim.demand_cost import expected_tokens
        from tts_sim.verifiers import side_by_side

        parts = forests_of(opened, strategies, run, all_questions=True)
        lists = []
        judged = side_by_side([forest for forest, _ in parts], [] if verifier is None else [verifier], seed=seed)
        for (forest, (judge, *_)), (_, members) in zip(judged, parts, strict=True):
            for to_end in (True, False):
                group = [member for member in members if member.search.grows_trees != to_end]
                for fit, fitted in fitting(group, budgets):
                    draws = list_missing(forest, fitted, fit, verifier=judge, trials=trials, seed=seed)
                    lists.append(
                        draws.with_columns(
                            pl.lit(forest.run_id).alias("run"), expected_tokens(forest, draws, to_end=to_end)
                        )
                    )
        found_draws = pl.concat(lists)
        keys = [column for column in found_draws.columns if column not in ("run", "tokens")]
        missing = (
            found_draws.group_by("run", *keys, maintain_order=True)
            .agg(pl.col("tokens").max())
            .sort("run", *keys, maintain_order=True, nulls_last=False)
        )
    questions = missing["question_id"].n_unique()
    found = _summary(missing, questions, throughput)
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


def _summary(missing: pl.DataFrame, questions: int, throughput: float | None) -> str:
    """What is missing, in one sentence."""
    if not len(missing):
        return "no draw is missing"
    tokens = float(missing["tokens"].sum())
    text = f"{len(missing)} draws of {questions} questions are missing"
    if tokens == tokens:
        text += f", about {tokens:.3g} tokens"
        if throughput is not None:
            text += f" ({tokens / throughput / 3600:.3g} GPU hours at {throughput:g} tokens a second)"
    return text
