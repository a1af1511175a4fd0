"""Revision chains: attempt by attempt, sequential against parallel, and every ratio between them."""

from __future__ import annotations

import polars as pl

from tts_sim.charts.marks import curve_of
from tts_sim.charts.ratios import accuracy_by_ratio, shaped
from tts_sim.charts.revisions import right_by_attempt, sequential_against_parallel, turned_by_attempt
from tts_sim.report import Figure, Section
from tts_sim.report_sections.material import Material, NotShown
from tts_sim.report_sections.reading import curve_table, percent, read_from, run_name, thousands
from tts_sim.revision_steps import revision_steps

DRAWS = 2000


def attempts(material: Material) -> Section:
    """pass@1 attempt by attempt, and what the next attempt makes of a right and of a wrong one."""
    forest = material.run("revisions")
    steps = revision_steps(forest, seed=material.settings.seed, draws=DRAWS)
    last = steps.row(-1, named=True)
    if last["right_turned_wrong"] is None or last["wrong_turned_right"] is None:
        raise NotShown("needs chains of two attempts and more.")
    if last["right_turned_wrong_low"] is None or last["wrong_turned_right_low"] is None:
        raise NotShown("needs two questions and more.")
    text = (
        f"Of right attempts the next one turned {percent(last['right_turned_wrong'])} wrong (95 % from "
        f"{percent(last['right_turned_wrong_low'])} to {percent(last['right_turned_wrong_high'])}), of wrong ones "
        f"{percent(last['wrong_turned_right'])} right ({percent(last['wrong_turned_right_low'])} to "
        f"{percent(last['wrong_turned_right_high'])}), over all attempts."
    )
    read = (
        f"Read from {run_name(material, forest.run_id)}: {thousands(last['num_chains'])} chains of "
        f"{last['num_questions']} questions, every cached attempt, no verifier, no replay. Later attempts come from "
        "fewer chains. The band of pass@1 is a 95 % t interval over questions; those of the shares are percentiles of "
        f"a bootstrap of questions ({DRAWS} draws, seed {material.settings.seed})."
    )
    figures = [
        Figure(
            "pass-at-1-by-attempt", "Share of chains whose attempt is right (pass@1).", right_by_attempt(steps), steps
        ),
        Figure(
            "turned-by-attempt",
            "Share of right attempts that the next one turned wrong, and of wrong ones that it turned right. Dotted: "
            "over all attempts. Shares of fewer than 20 attempts are left out.",
            turned_by_attempt(steps),
        ),
    ]
    return Section("Revisions, attempt by attempt", read, figures, [text])


def sequential(material: Material) -> Section:
    """One chain of n attempts against n first attempts."""
    outcomes = material.revisions
    shown = shaped(curve_of(outcomes)).filter((pl.col("parallel") == 1) | (pl.col("sequential") == 1))
    if not (shown["sequential"] > 1).any() or not (shown["parallel"] > 1).any():
        raise NotShown("needs chains of two attempts and more, and two chains a question.")
    figure = Figure(
        "sequential-against-parallel",
        "n attempts in one chain, each seeing earlier ones, against n first attempts that see nothing; the selection "
        "chooses among all n.",
        sequential_against_parallel(outcomes),
        curve_table(shown, "parallel", "sequential"),
    )
    return Section("Sequential against parallel", read_from(material, outcomes), [figure])


def ratios(material: Material) -> Section:
    """Accuracy by ratio, overall and at each level of difficulty."""
    outcomes = material.revisions
    shown = shaped(curve_of(outcomes, "difficulty"))
    try:
        overall = accuracy_by_ratio(outcomes)
        split = accuracy_by_ratio(outcomes, by="difficulty")
    except ValueError:
        raise NotShown("needs a budget that can be split in three ratios (chains of 4 and more attempts).") from None
    most = int(shown["budget"].max())  # type: ignore[arg-type]
    figures = [
        Figure(
            "accuracy-by-ratio",
            "A budget split between long chains (right) and many chains (left), one line a budget.",
            overall,
            curve_table(shaped(curve_of(outcomes)), "split"),
        ),
        Figure(
            "accuracy-by-ratio-and-difficulty",
            f"The same at budget {most}, one line a level of difficulty (1 is easiest).",
            split,
            curve_table(shown.filter(pl.col("budget") == most), "difficulty", "split"),
        ),
    ]
    return Section("Accuracy by ratio of sequential to parallel", read_from(material, outcomes), figures)
