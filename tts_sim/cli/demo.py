"""`tts-sim demo`: the shipped sample's headline, and report.html."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    output: Annotated[str, typer.Option("--output", "-o", help="Where the report goes.")] = "report.html",
) -> None:
    """Replay the shipped sample, print accuracy by budget and by difficulty, and write a report that opens offline."""
    from tts_sim.cli.engine import announce_compilation
    from tts_sim.cli.options import note, open_for_reading, print_table
    from tts_sim.headline import headline_outcomes, verdict, wide
    from tts_sim.headline_report import headline_report

    announce_compilation()
    with open_for_reading("sample") as cache:
        outcomes = headline_outcomes(cache)
    overall, split = outcomes.curve(), outcomes.curve(by="difficulty")
    questions = outcomes.frame["question_id"].n_unique()
    print_table(
        wide(overall, "budget"),
        title=f"Accuracy by budget, % ± standard error over {questions} questions (generations)",
    )
    budget = 16
    print_table(
        wide(split.filter(split["budget"] == budget), "difficulty"),
        title=f"Accuracy by difficulty at budget {budget}, % ± standard error (1 is easiest; fifths of pass@1)",
    )
    print(verdict(outcomes, budget))
    note(f"report: {headline_report(outcomes, output)}")
