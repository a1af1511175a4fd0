"""Accuracy by budget of each search, and strategies at each level of difficulty."""

from __future__ import annotations

import polars as pl

from tts_sim.charts.accuracy import accuracy_by_budget
from tts_sim.charts.difficulty import accuracy_by_difficulty
from tts_sim.errors import TtsSimError
from tts_sim.headline import verdict
from tts_sim.outcomes import Outcomes
from tts_sim.report import Figure, Section
from tts_sim.report_sections.material import Material, NotShown
from tts_sim.report_sections.reading import curve_table, read_from

COSTS = ("tokens", "verifier_tokens", "critical_tokens")
SHOWN_AT = 16


def by_budget(material: Material) -> Section:
    """Accuracy by budget of every strategy that the cache supports."""
    outcomes = material.together
    return by_budget_of(outcomes, read_from(material, outcomes))


def by_budget_of(outcomes: Outcomes, read: str) -> Section:
    """The same of given outcomes."""
    curve = outcomes.curve()
    table = curve_table(curve, costs=COSTS)
    caption = (
        "Accuracy by budget. Coverage counts a question as solved if any of its samples is right: a bound for every "
        "choice among them."
    )
    held = outcomes.frame.filter(pl.col("strategy") == "sample+majority")["budget"].unique().to_list()
    at = max((budget for budget in held if budget <= SHOWN_AT), default=None)
    text = [verdict(outcomes, at)] if at is not None else []
    figure = Figure("accuracy-by-budget", caption, accuracy_by_budget(curve), table)
    return Section("Accuracy by budget", read, [figure], text)


def by_difficulty(material: Material) -> Section:
    """Strategies at each level of difficulty, where it can be measured on other draws than those evaluated."""
    if "steps" not in material.forests:
        outcomes, measured = material.revisions, "first attempts, which are evaluated here, too"
    else:
        try:
            outcomes, draws = material.apart.outcomes, {len(some) for some in material.apart.roles.draws.values()}
            span = str(min(draws)) if len(draws) == 1 else f"{min(draws)} to {max(draws)}"
            measured = f"{span} samples of a question that evaluate nothing here"
        except (TtsSimError, ValueError):
            outcomes = material.search
            measured = "all samples of a question, which are evaluated here, too, so that levels lean towards them"
    about = f"Difficulty is the share of right ones among {measured}, cut into fifths; level 1 is easiest."
    return by_difficulty_of(outcomes, read_from(material, outcomes), about)


def by_difficulty_of(outcomes: Outcomes, read: str, about: str) -> Section:
    """The same of given outcomes; `about` says what difficulty is."""
    curve = outcomes.curve(by="difficulty")
    found = curve.filter(pl.col("accuracy").is_not_null() & pl.col("difficulty").is_not_null())
    known = found["strategy"].unique(maintain_order=True).to_list()
    if found["difficulty"].n_unique() < 2:
        raise NotShown("needs questions of several levels of difficulty.")
    trees = [name for name in known if not name.startswith(("sample+", "revise("))]
    usual = [name for name in ("sample+majority", "sample+weighted") if name in known]
    bars = [*usual, *trees[:2]] if len([*usual, *trees]) > 1 else known
    figures = [
        Figure(
            "accuracy-by-difficulty",
            "Strategies side by side at each level of difficulty, as in Fig. 3 (right) of Snell et al. 2024.",
            accuracy_by_difficulty(found, bars),
        ),
        Figure(
            "accuracy-by-budget-and-difficulty",
            "Accuracy by budget at each level of difficulty.",
            accuracy_by_budget(found, by="difficulty"),
            curve_table(found, "difficulty"),
        ),
    ]
    return Section("Accuracy by difficulty", read, figures, [about])
