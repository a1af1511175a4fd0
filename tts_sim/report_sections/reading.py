"""Sentences of the report: what figures were read from, with what settings; and their tables."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tts_sim.charts.theme import strategy_name
from tts_sim.outcomes import Outcomes
from tts_sim.report_sections.material import Material

INTERVALS = "Bands and rules are 95 % t intervals over questions: they hold for new questions and new generations."
HOW = {
    "exact": "exact (the mean over all subsets of what is cached)",
    "bounds": "too little support for a figure",
    "plugin": "drawn with replacement",
    "imputed": "with borrowed draws",
}
FIGURES = ["accuracy", "se", "ci_low", "ci_high", "supported"]
NAMES = {"se": "standard error", "ci_low": "95 % from", "ci_high": "95 % to", "num_questions": "questions"}


def read_from(material: Material, outcomes: Outcomes, *more: str) -> str:
    """Runs with their models, questions, verifiers, estimators with trials, seed, and the kind of interval."""
    frame = outcomes.frame
    runs = frame["run"].unique(maintain_order=True).to_list()
    judges = frame["verifier"].drop_nulls().unique(maintain_order=True).to_list()
    sentences = [
        f"Read from {', '.join(run_name(material, run) for run in runs)}; {frame['question_id'].n_unique()} questions.",
        f"Verifier{'s' if len(judges) > 1 else ''}: {', '.join(judges) or 'none'}.",
        f"{estimators(frame)}; seed {material.settings.seed}.",
        INTERVALS,
        *more,
    ]
    return " ".join(sentences)


def run_name(material: Material, run: str) -> str:
    """The run with its model and the model's size, as far as known."""
    about = material.models[run]
    size = f", {thousands(about.num_params)} parameters" if about.num_params else ""
    return f"run '{run}' (model {about.model}{size})" if about.model else f"run '{run}'"


def estimators(frame: pl.DataFrame) -> str:
    """Which strategies are exact, and which are replays with how many trials."""
    groups: dict[str, list[str]] = {}
    rows = frame.group_by("strategy", maintain_order=True).agg(
        methods=pl.col("method").unique().sort(), trials=pl.col("trials").max()
    )
    for strategy, methods, trials in rows.iter_rows():
        if "monte-carlo" in methods:
            partly = "exact where that is affordable, else " if "exact" in methods else ""
            how = f"{partly}replays without replacement, {trials} trials a question"
        else:
            how = " or ".join(HOW.get(method, method) for method in methods)
        groups.setdefault(how, []).append(strategy_name(strategy))
    return "; ".join(f"{_listed(names)}: {how}" for how, names in groups.items())


def curve_table(curve: pl.DataFrame, *keys: str, costs: Sequence[str] = ()) -> pl.DataFrame:
    """The figures of a curve for people: names of strategies, rounded costs."""
    several = [name for name in ("run", "verifier") if name in curve.columns and curve[name].n_unique() > 1]
    wanted = ["strategy", *several, *keys, "budget", *FIGURES, "method", *costs, "num_questions"]
    table = curve.select(list(dict.fromkeys(name for name in wanted if name in curve.columns)))
    return table.with_columns(
        pl.col("strategy").map_elements(strategy_name, return_dtype=pl.String),
        *[pl.col(cost).round(0) for cost in costs if cost in table.columns],
    ).rename({name: label for name, label in NAMES.items() if name in table.columns})


def percent(share: float) -> str:
    """One decimal."""
    return f"{100 * share:.1f} %"


def points(difference: float) -> str:
    """A signed difference of shares in points."""
    text = f"{100 * difference:+.1f}"
    return f"{'0.0' if text in ('-0.0', '+0.0') else text} points"


def thousands(count: int) -> str:
    """Digits in groups of three."""
    return f"{count:,}".replace(",", " ")


def _listed(names: Sequence[str]) -> str:
    shown = list(names)
    if len(shown) > 6:
        return f"{', '.join(shown[:3])} and {len(shown) - 3} more"
    return ", ".join(shown)
