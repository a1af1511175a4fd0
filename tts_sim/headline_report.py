"""The headline of a cache as a page: the demo's charts and tables."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tts_sim.charts.accuracy import accuracy_by_budget
from tts_sim.charts.theme import strategy_name
from tts_sim.headline import verdict
from tts_sim.outcomes import Outcomes
from tts_sim.report import Section, write_report


def headline_report(outcomes: Outcomes, path: str | Path) -> Path:
    """Writes accuracy by budget, overall and by difficulty, and all figures with costs and support."""
    overall, split = outcomes.curve(), outcomes.curve(by="difficulty")
    runs = ", ".join(f"'{run}'" for run in outcomes.frame["run"].unique(maintain_order=True))
    questions = outcomes.frame["question_id"].n_unique()
    read = (
        f"Read from runs {runs}, {questions} questions. Bands are 95 % t intervals over questions (new questions, new "
        "generations). Coverage and best-of-N are exact; the others are replays without replacement, seed 0."
    )
    table = overall.select(
        strategy=pl.col("strategy").map_elements(strategy_name, return_dtype=pl.String),
        budget="budget",
        accuracy="accuracy",
        se="se",
        **{"95 % from": "ci_low", "95 % to": "ci_high"},
        supported="supported",
        method="method",
        trials="trials",
        tokens=pl.col("tokens").round(0),
        **{
            "verifier tokens": pl.col("verifier_tokens").round(0),
            "critical tokens": pl.col("critical_tokens").round(0),
        },
    )
    return write_report(
        path,
        "Test-time strategies on the shipped sample",
        [verdict(outcomes, 16)],
        [
            Section("Accuracy by budget", read, accuracy_by_budget(overall)),
            Section(
                "Accuracy by budget and difficulty",
                "Fifths of the questions by pass@1 of the base model (oracle difficulty; the same samples are "
                "evaluated, so the bins lean a little towards the samples at hand). " + read,
                accuracy_by_budget(split, by="difficulty"),
            ),
            Section(
                "All figures",
                "Tokens are generated tokens per question, pruned ones included; critical tokens are the longest chain "
                "that must be made one after the other.",
                table=table,
            ),
        ],
    )
