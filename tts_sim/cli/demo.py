"""`tts-sim demo`: the shipped sample's headline, and report.html."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    output: Annotated[str, typer.Option("--output", "-o", help="Where the report goes.")] = "report.html",
) -> None:
    """Replay the shipped sample, print what pays for which difficulty, and write a report that opens offline."""
    from tts_sim.cli.engine import announce_compilation
    from tts_sim.cli.options import note, open_for_reading, print_table
    from tts_sim.headline import headline_outcomes, verdict, wide
    from tts_sim.headline_report import headline_report
    from tts_sim.report_sections import exchange, policy
    from tts_sim.report_sections.material import Material, Settings

    announce_compilation()
    with open_for_reading("sample") as cache:
        outcomes = headline_outcomes(cache)
        material = Material(cache, Settings())
        optimal, exchanged = policy.search(material), exchange.exchange(material)
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
    print_table(
        policy.choices_by_level(optimal),
        title="Compute-optimal search: what the policy chooses by level (1 is easiest) and budget",
    )
    print(*policy.verdicts(optimal), *exchanged.text, sep="\n")
    note(f"report: {headline_report(outcomes, output, [optimal, exchanged])}")
