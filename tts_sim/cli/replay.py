"""`tts-sim replay`: accuracy and cost of strategies by budget."""

from __future__ import annotations

from typing import Annotated

import typer

from tts_sim.cli.options import AsCsv, AsJson, CachePath

READ_FIRST = ["accuracy", "se", "ci_low", "ci_high", "lower", "upper", "supported", "method"]
READ_FIRST += ["tokens", "verifier_tokens", "critical_tokens", "num_questions"]


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

    strategies, budgets = parsed(specs or [], strategy or []), parse_budgets(budget)
    if by not in (None, "level", "difficulty"):
        raise ValueError(f"--by {by}: expected level or difficulty.")
    with open_for_reading(cache) as opened:
        announce_compilation(strategies)
        from tts_sim.outcomes import combine
        from tts_sim.replay import replay as run_replay

        parts = forests_of(opened, strategies, run)
        outcomes = combine(
            [
                run_replay(forest, members, budgets, verifier=judge, trials=trials, seed=seed)
                for (forest, members), judge in zip(parts, judges(parts, verifier), strict=True)
            ]
        )
    if per_question:
        print_rows(outcomes.frame, as_json=as_json, as_csv=as_csv)
        return
    curve = outcomes.curve(by=by)  # type: ignore[arg-type]
    if not (as_json or as_csv):  # a person's terminal: the figures that are read first
        split = [] if by is None else [by]
        curve = curve.select("strategy", *split, "budget", *READ_FIRST)
    print_rows(curve, as_json=as_json, as_csv=as_csv)
