"""What strategies cost, and how much of them the cache supports."""

from __future__ import annotations

from tts_sim.charts.costs import accuracy_by_cost, costs_by_strategy, support
from tts_sim.outcomes import Outcomes
from tts_sim.report import Figure, Section
from tts_sim.report_sections.material import Material
from tts_sim.report_sections.reading import curve_table, read_from

COSTS = ("generations", "tokens", "verifier_tokens", "critical_tokens", "generator_flops", "verifier_flops", "flops")


def costs(material: Material) -> Section:
    """Accuracy by cost, costs at one budget, support."""
    outcomes = material.together
    return costs_of(outcomes, read_from(material, outcomes))


def costs_of(outcomes: Outcomes, read: str) -> Section:
    """The same of given outcomes."""
    curve = outcomes.curve()
    lines = [
        "Tokens are those generated for a question, pruned ones included. Critical tokens are the longest chain that "
        "must be made one after the other, which is what latency grows with.",
        "A replay that asks for a draw that is not cached is unsupported; below 90 % no figure is given, only bounds.",
    ]
    figures = [
        Figure("accuracy-by-cost", "Accuracy by mean cost of a question.", accuracy_by_cost(curve)),
        Figure("costs", "What a question costs.", costs_by_strategy(outcomes)),
        Figure(
            "support",
            "Share of replays that found every draw in the cache.",
            support(curve),
            curve_table(curve, costs=COSTS),
        ),
    ]
    return Section("Costs and support", read, figures, lines)
