"""The headline of a cache as a page: the demo's charts and tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tts_sim.outcomes import Outcomes
from tts_sim.report import Section, write_report
from tts_sim.report_sections.accuracy import by_budget_of, by_difficulty_of
from tts_sim.report_sections.costs import costs_of
from tts_sim.report_sections.reading import INTERVALS, estimators

DIFFICULTY = (
    "Fifths of the questions by pass@1 of the base model, level 1 is easiest; the same samples are evaluated, so that "
    "the levels lean a little towards the samples at hand."
)


def headline_report(outcomes: Outcomes, path: str | Path, more: Sequence[Section] = ()) -> Path:
    """Writes accuracy by budget, overall and by difficulty, `more`, and all figures with costs and support."""
    runs = ", ".join(f"'{run}'" for run in outcomes.frame["run"].unique(maintain_order=True))
    judges = ", ".join(outcomes.frame["verifier"].drop_nulls().unique(maintain_order=True)) or "none"
    read = (
        f"Read from runs {runs}, {outcomes.frame['question_id'].n_unique()} questions; verifiers: {judges}. "
        f"{estimators(outcomes.frame)}; seed 0. {INTERVALS}"
    )
    sections = [by_budget_of(outcomes, read), by_difficulty_of(outcomes, read, DIFFICULTY), *more]
    sections.append(costs_of(outcomes, read))
    summary = ["The headline; `tts-sim report sample` writes every analysis."]
    return write_report(path, "Test-time strategies on the shipped sample", summary, sections)
