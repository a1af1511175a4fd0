"""`tts-sim allocate`: a total budget over bins of questions, or over questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tts_sim.cli.options import AsCsv, AsJson, CachePath

if TYPE_CHECKING:
    import polars as pl

    from tts_sim.allocated import AllocatedOutcomes

UNITS = ("generations", "tokens", "flops")
BY = ("difficulty", "level", "question")


def allocate(
    cache: CachePath,
    specs: Annotated[list[str] | None, typer.Argument(metavar="[SPEC]…", help="Strategies to choose from.")] = None,
    total: Annotated[float | None, typer.Option("--total", help="What may be spent on all questions together.")] = None,
    unit: Annotated[
        str, typer.Option("--unit", help="Unit of the total: generations, tokens or flops.")
    ] = "generations",
    by: Annotated[
        str, typer.Option("--by", help="What is given a budget of its own: bins of difficulty, level, or question.")
    ] = "difficulty",
    bins: Annotated[int, typer.Option("--bins", help="Bins of difficulty.")] = 5,
    answer_all: Annotated[
        bool, typer.Option("--answer-all", help="Give every question at least the cheapest option.")
    ] = False,
    budget: Annotated[
        str | None, typer.Option("--budget", "-b", help="Generations: 1,2,4…64; default: all that the cache supports.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="Run to replay; default: the first of the kind.")] = None,
    verifier: Annotated[str | None, typer.Option("--verifier", help="Verifier whose scores are used.")] = None,
    trials: Annotated[int | None, typer.Option("--trials", help="Trials per question; default 256.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all draws.")] = 0,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Allocate a total budget: which strategy at which budget for which questions brings the most correct answers.

    Without SPEC: sample+majority. The accuracy reported for bins is cross-fitted, with the same total spent evenly
    beside it. --by question is what could be had if the value of every question were known.
    """
    from tts_sim.allocated import allocate_outcomes
    from tts_sim.cli.engine import Asked, charged, loaded, parsed, replayed
    from tts_sim.cli.groups import question_levels
    from tts_sim.cli.options import open_for_reading, parse_budgets, print_json, print_rows
    from tts_sim.costs import model_sizes
    from tts_sim.replay import checked_choice

    checked_choice("--unit", unit, UNITS)
    checked_choice("--by", by, BY)
    if total is None or not 0 < total < float("inf"):
        raise ValueError(f"--total {total}: expected {unit} for all questions together, above 0.")
    strategies = parsed(specs or ["sample+majority"], [])
    budgets = parse_budgets(budget) if budget is not None else []
    judges = [] if verifier is None else [verifier]
    with open_for_reading(cache) as opened:
        asked = Asked(strategies, budgets, run, judges, trials, seed)
        parts = loaded(opened, asked)
        groups = None if by == "question" else question_levels([part.source for part in parts], by, bins)
        outcomes = charged(replayed(parts, asked), asked, model_sizes(opened))
    found = allocate_outcomes(outcomes, total, groups=groups, unit=unit, abstain=not answer_all, seed=seed)
    rows = found.allocation.frame.drop("option").rename({"item": "question_id" if groups is None else "bin"})
    rows = rows.with_columns(num_questions=rows["weight"].cast(int)).drop("weight")
    if as_json:
        print_json(_figures(found) | {"rows": rows.to_dicts()})
    elif as_csv:
        print_rows(rows, as_csv=True)
    else:
        _print_readable(rows, found)
        if by == "difficulty":
            print("bin 1 is easiest: quantiles of pass@1, from the samples evaluated here too: a little flattering.")


def _figures(found: AllocatedOutcomes) -> dict[str, object]:
    """The figures of an allocation without its rows."""
    shallow = {name: value for name, value in vars(found).items() if name != "allocation"}
    made = found.allocation
    return shallow | {
        "total": made.total, "planned_cost": made.cost, "bound": made.bound / found.num_questions,
        "gap": made.gap / found.num_questions, "slope": made.slope,
    }  # fmt: skip


def _print_readable(rows: pl.DataFrame, found: AllocatedOutcomes) -> None:
    """Prints a row a bin; of questions, how many get what."""
    import polars as pl

    from tts_sim.cli.fit import print_fitting

    if "question_id" in rows.columns:
        rows = (
            rows.group_by("run", "strategy", "verifier", "budget")
            .agg(pl.col("cost", "value").mean(), pl.col("num_questions").sum())
            .sort("cost", "strategy", nulls_last=False)
        )
    shown = rows.with_columns(
        pl.col("cost").round_sig_figs(4), pl.col("value").cast(pl.Decimal(18, 4)), pl.col("strategy").fill_null("none")
    )
    made, count = found.allocation, found.num_questions
    title = f"{made.cost:.6g} of {made.total:.6g} {found.unit} on {count} questions"
    print_fitting(shown, dispensable=["verifier", "run", "num_questions"], title=title)
    print(
        f"promised: {found.naive:.4f}, at most {made.bound / count:.4f} for this total; "
        f"one more of {found.unit} would bring {made.slope:.3g} correct answers."
    )
    if found.accuracy is None:
        print("Values of single questions are known from the samples evaluated here: an upper envelope, no forecast.")
        return
    print(
        f"cross-fitted: {found.accuracy:.4f} (95 % {found.ci_low:.4f} to {found.ci_high:.4f}), spending "
        f"{found.cost:.6g}; the same total spent evenly: {_evenly(found)}."
    )


def _evenly(found: AllocatedOutcomes) -> str:
    """The best single option for the total, and the gain over it."""
    if found.uniform is None:
        return "pays for no option on every question"
    return f"{found.uniform:.4f}; gain {found.gain:+.4f} ({found.gain_low:+.4f} to {found.gain_high:+.4f}, paired)"
