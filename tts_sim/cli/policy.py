"""`tts-sim policy`: which strategy for which difficulty at which budget; fit, show, apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tts_sim.cli.options import AsCsv, AsJson, CachePath

if TYPE_CHECKING:
    import polars as pl

    from tts_sim.agreement import Agreement
    from tts_sim.policy import FittedPolicy
    from tts_sim.policy_file import Policy

app = typer.Typer(
    help="Compute-optimal policies: which strategy for which difficulty at which budget.", no_args_is_help=True
)

PolicyPath = Annotated[str, typer.Argument(metavar="POLICY", help="A file that `policy fit` has written.")]
Verifier = Annotated[str | None, typer.Option("--verifier", help="Verifier whose scores are used.")]
Run = Annotated[str | None, typer.Option("--run", help="Run to replay; default: the first of the kind.")]
Trials = Annotated[int | None, typer.Option("--trials", help="Trials per question; default 256.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of all draws and of the splits.")]
Draws = Annotated[
    int, typer.Option("--difficulty-draws", help="Samples a question that give its difficulty and evaluate nothing.")
]
SHARES = ("accuracy", "ci_low", "ci_high", "naive", "single", "gain", "gain_low", "gain_high", "envelope", "agreed",
          "own", "loss", "loss_low", "loss_high", "fitted")  # fmt: skip
DISPENSABLE: list[str | tuple[str, ...]] = [
    "fitted_questions", "num_questions", "agreed", "envelope", "static", "fitted", ("loss_low", "loss_high"),
    ("gain_low", "gain_high"), "naive", ("ci_low", "ci_high"), "own_generations", "single",
]  # fmt: skip


@app.command()
def fit(
    cache: CachePath,
    specs: Annotated[
        list[str] | None, typer.Argument(metavar="[SPEC]…", help="Strategies; default: the usual ones.")
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option("--strategy", "-s", metavar="SPEC", help="search+selection, e.g. beam+weighted; repeatable."),
    ] = None,
    budget: Annotated[
        str, typer.Option("--budget", "-b", help="Limits on the mean cost of a level: 4,8…64; or 1e3tokens,4e3tokens.")
    ] = "4,8…64",
    unit: Annotated[
        str | None, typer.Option("--unit", help="generations (default), tokens, flops or critical_tokens (latency).")
    ] = None,
    bins: Annotated[int | None, typer.Option("--bins", help="Levels of difficulty; default 5.")] = None,
    rule: Annotated[
        str, typer.Option("--rule", help="Bins by quantiles of value, by rank, or at absolute thresholds.")
    ] = "value",
    thresholds: Annotated[
        str | None, typer.Option("--thresholds", help="For --rule absolute, ascending; default 0.1,0.5.")
    ] = None,
    difficulty: Annotated[
        str, typer.Option("--difficulty", help="oracle (share correct) or predicted (mean score of the verifier).")
    ] = "oracle",
    difficulty_draws: Draws = 32,
    sizes: Annotated[
        str, typer.Option("--sizes", help="Budgets a strategy may run at: any within the limit, or only the largest.")
    ] = "any",
    one_se: Annotated[
        bool, typer.Option("--one-se", help="Of what is within one standard error of the best, take the cheapest.")
    ] = False,
    n_min: Annotated[int, typer.Option("--n-min", help="Levels of fewer questions choose over all levels.")] = 20,
    folds: Annotated[int, typer.Option("--folds", help="Folds of the cross-fit (by question).")] = 5,
    splits: Annotated[int, typer.Option("--splits", help="Random splits that are averaged.")] = 20,
    bootstrap: Annotated[
        int, typer.Option("--bootstrap", help="Resamples of the whole pipeline for the interval; 0: t.")
    ] = 0,
    run: Run = None,
    verifier: Verifier = None,
    trials: Trials = None,
    seed: Seed = 0,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Where the policy goes, as JSON.")] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Choose the best strategy for each level of difficulty and each budget, and judge it on held-out questions.

    In generations, strategies are tried at the budgets listed; in other units at the powers of two that the cache
    holds. Difficulty comes from samples that evaluate nothing.
    """
    from tts_sim.cli.apart import DIFFICULTIES, default_strategies, measure_apart
    from tts_sim.cli.engine import Asked, parsed
    from tts_sim.cli.options import note, open_for_reading, parse_amounts, print_json, print_rows
    from tts_sim.replay import checked_choice

    checked_choice("--difficulty", difficulty, DIFFICULTIES)
    in_unit, limits = parse_amounts(budget, unit)
    with open_for_reading(cache) as opened:
        given = specs or strategy
        strategies = parsed(specs or [], strategy or []) if given else parsed(default_strategies(opened), [])
        tried = [int(limit) for limit in limits] if in_unit == "generations" else []
        asked = Asked(strategies, tried, run, [] if verifier is None else [verifier], trials, seed)
        measured = measure_apart(opened, cache, asked, None, difficulty_draws)
    from tts_sim.policy import fit_policy

    cuts = _thresholds(thresholds)
    fitted = fit_policy(
        measured.outcomes, measured.of_kind(difficulty), limits, seed=seed, unit=in_unit, num_bins=bins,
        rule=rule, thresholds=cuts, n_min=n_min, one_se=one_se, sizes=sizes, folds=folds, splits=splits,  # type: ignore[arg-type]
        bootstrap=bootstrap, kind=difficulty, about=measured.about, cache=measured.cache,
    )  # fmt: skip
    agreed = _agreement(measured.difficulty, fitted, bins, rule, cuts)
    if output is not None:
        fitted.policy.save(output)
        note(f"policy: {output}")
    if as_json:
        tables = {name: getattr(fitted, name).to_dicts() for name in ("curves", "choices", "gains")}
        print_json({"unit": in_unit, **tables, "agreement": agreed and agreed.frame().to_dicts()})
    elif as_csv:
        print_rows(fitted.curves, as_csv=True)
    else:
        _print_fitted(fitted, agreed)


@app.command()
def show(policy: PolicyPath, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """Print what a policy chooses, and what it was fitted on."""
    from tts_sim.policy_file import load_policy

    loaded = load_policy(policy)
    if as_json:
        print(loaded.text(), end="")
        return
    import polars as pl

    from tts_sim.cli.options import print_rows

    rows = pl.DataFrame([vars(entry) for entry in loaded.table], infer_schema_length=None)
    rows = rows.select("level", "budget", "strategy", "generations", "accuracy", "ci_low", "ci_high", "cost",
                       "num_questions", "pooled")  # fmt: skip
    if as_csv:
        print_rows(rows, as_csv=True)
    else:
        _print_table(rows, f"{policy}: budgets in {loaded.unit}")
        for line in _origin(loaded):
            print(line)


@app.command()
def apply(
    policy: PolicyPath,
    cache: CachePath,
    difficulty_draws: Draws = 32,
    run: Run = None,
    verifier: Verifier = None,
    trials: Trials = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Apply a policy to another cache with the same strategies: what it reaches there, and what it leaves behind."""
    from tts_sim.cli.apart import measure_apart
    from tts_sim.cli.engine import Asked, parsed
    from tts_sim.cli.options import note, open_for_reading, print_json, print_rows
    from tts_sim.policy_file import load_policy

    loaded = load_policy(policy)
    strategies = parsed([entry.strategy for entry in loaded.candidates], [])
    tried = {entry.strategy: entry.budgets for entry in loaded.candidates}
    named = verifier if verifier is not None else loaded.difficulty.get("verifier")
    with open_for_reading(cache) as opened:
        asked = Asked(strategies, [], run, [str(named)] if named is not None else [], trials, seed)
        measured = measure_apart(opened, cache, asked, tried, difficulty_draws)
    from tts_sim.policy_apply import apply_policy

    kind = str(loaded.difficulty.get("kind", "oracle"))
    applied = apply_policy(loaded, measured.outcomes, measured.of_kind(kind), seed=seed)
    if measured.cache["runs"] == loaded.cache.get("runs"):
        note("the policy was fitted on these very runs: what it reaches here is the naive accuracy.")
    if as_json:
        print_json({"values": applied.values.to_dicts(), "levels": applied.levels.to_dicts()})
    elif as_csv:
        print_rows(applied.levels, as_csv=True)
    else:
        columns = ["budget", "accuracy", "ci_low", "ci_high", "own", "loss", "loss_low", "loss_high", "cost",
                   "num_questions"]  # fmt: skip
        _print_table(applied.values.select(columns), f"{policy} on {cache}: budgets in {loaded.unit}")
        columns = ["level", "budget", "strategy", "generations", "own_strategy", "own_generations", "accuracy",
                   "fitted", "loss", "loss_low", "loss_high", "num_questions", "fitted_questions"]  # fmt: skip
        _print_table(applied.levels.select(columns), "By level of difficulty (1 is easiest)")
        moved = applied.levels["moved"].sum()
        print(f"{moved} of {len(applied.levels)} choices would be others here ({kind} difficulty, bins as fitted).")
        print("own: the policy that this cache would choose, cross-fitted; loss: own − accuracy, paired by question.")


def _thresholds(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(piece) for piece in text.split(",") if piece.strip()]
    except ValueError:
        raise ValueError(f"--thresholds {text}: expected numbers, for instance 0.1,0.5") from None


def _agreement(difficulty: Any, fitted: FittedPolicy, bins: int | None, rule: Any, cuts: Any) -> Agreement | None:
    """Predicted against oracle levels, each in bins of its own; None where one of them is unknown."""
    if len(difficulty) < 2:
        return None
    import numpy as np

    from tts_sim.agreement import agreement
    from tts_sim.bins import fit_bins

    def levels(kind: str) -> dict[str, int]:
        questions = [question for question in fitted.levels if question in difficulty[kind]]
        values = np.array([difficulty[kind][question] for question in questions])
        found = fit_bins(values, bins, rule, thresholds=cuts).levels(values)
        return dict(zip(questions, found.tolist(), strict=True))

    return agreement(levels("predicted"), levels("oracle"), fitted.policy.bins.num_bins)


def _print_fitted(fitted: FittedPolicy, agreed: Agreement | None) -> None:
    import polars as pl

    from tts_sim.policy_tables import BEST_SINGLE, CROSSFITTED, ENVELOPE, NAIVE

    def line(name: str, column: str) -> pl.DataFrame:
        return fitted.curves.filter(line=name).select("budget", pl.col("accuracy").alias(column))

    gain = fitted.gains.filter(baseline=BEST_SINGLE).select(
        "budget", gain="difference", gain_low="ci_low", gain_high="ci_high"
    )
    policy = fitted.curves.filter(line=CROSSFITTED).select(
        "budget", "accuracy", "ci_low", "ci_high", "cost", "num_questions", "without_value"
    )
    rows = policy.join(gain, on="budget", how="left", maintain_order="left")
    for name, column in ((NAIVE, "naive"), (BEST_SINGLE, "single"), (ENVELOPE, "envelope")):
        rows = rows.join(line(name, column), on="budget", how="left", maintain_order="left")
    columns = ["budget", "accuracy", "ci_low", "ci_high", "naive", "single", "gain", "gain_low", "gain_high",
               "envelope", "cost", "num_questions"]  # fmt: skip
    loaded = fitted.policy
    kind = loaded.difficulty["kind"]
    _print_table(rows.select(columns), f"Policy by {kind} difficulty, cross-fitted: budgets in {loaded.unit}")
    chosen = fitted.choices.select("level", "budget", "strategy", "generations", "accuracy", "ci_low", "ci_high",
                                   "cost", "agreed", "num_questions")  # fmt: skip
    _print_table(chosen, "Its choices by level of difficulty (1 is easiest)")
    print("accuracy: on questions that had no say in the choice; naive: on those that had; single: the best strategy")
    print("for all levels, cross-fitted; gain: over single, paired by question; envelope: the best of each question in")
    print("hindsight, a bound. ci: 95 %, over questions. agreed: share of training sets that choose the same.")
    for text in _origin(loaded):
        print(text)
    pooled = fitted.choices.filter("pooled")["level"].unique().sort().to_list()
    if pooled:
        print(f"levels {', '.join(map(str, pooled))}: too few questions of their own, chosen over all levels.")
    missing = int(rows["without_value"].max())  # type: ignore[arg-type]
    if missing or fitted.left_out:
        print(
            f"left out: {fitted.left_out} questions that a strategy lacks, up to {missing} without a supported trial."
        )
    if agreed is not None:
        precision = " ".join("–" if value != value else f"{value:.2f}" for value in agreed.precision.tolist())
        print(f"predicted and oracle levels agree on {agreed.share:.1%} of questions (precision by level {precision}).")


def _print_table(rows: pl.DataFrame, title: str) -> None:
    """Shares with four decimals."""
    import polars as pl

    from tts_sim.cli.fit import print_fitting

    rounded = rows.with_columns(pl.col(column).cast(pl.Decimal(18, 4)) for column in rows.columns if column in SHARES)
    print_fitting(rounded, dispensable=DISPENSABLE, title=title)


def _origin(policy: Policy) -> list[str]:
    """What the policy was fitted on, as far as its file says."""
    kind, fit = policy.difficulty.get("kind", "unknown"), policy.fit
    edges = ", ".join(f"{edge:.4g}" for edge in policy.bins.edges)
    runs = policy.cache.get("runs")
    names = ", ".join(str(run.get("run")) for run in runs if isinstance(run, dict)) if isinstance(runs, list) else ""
    return [
        f"bins: {policy.bins.num_bins} by {policy.bins.rule} of {kind} difficulty, edges {edges or 'none'}, questions "
        f"{policy.difficulty.get('num_questions', 'unknown')} (level 1 first)",
        f"fitted on {fit.get('num_questions', '?')} questions of {policy.cache.get('path', 'unknown')} "
        f"(runs {names or 'unknown'}), {fit.get('folds', '?')} folds, {fit.get('splits', '?')} splits, seed "
        f"{fit.get('seed', '?')}",
    ]
