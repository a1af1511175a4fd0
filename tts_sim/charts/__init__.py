"""Altair charts: each function takes Outcomes, or the table of an analysis, and returns a chart."""

from tts_sim.charts.accuracy import accuracy_by_budget
from tts_sim.charts.break_even import break_even_ratios
from tts_sim.charts.costs import accuracy_by_cost, costs_by_strategy, support
from tts_sim.charts.difficulty import accuracy_by_difficulty
from tts_sim.charts.exchange import exchange_curves, exchange_differences
from tts_sim.charts.policy import policy_by_budget, policy_choices
from tts_sim.charts.ratios import accuracy_by_ratio
from tts_sim.charts.revisions import right_by_attempt, sequential_against_parallel, turned_by_attempt
from tts_sim.charts.verifiers import accuracy_by_verifier, calibration_curve

__all__ = [
    "accuracy_by_budget",
    "accuracy_by_cost",
    "accuracy_by_difficulty",
    "accuracy_by_ratio",
    "accuracy_by_verifier",
    "break_even_ratios",
    "calibration_curve",
    "costs_by_strategy",
    "exchange_curves",
    "exchange_differences",
    "policy_by_budget",
    "policy_choices",
    "right_by_attempt",
    "sequential_against_parallel",
    "support",
    "turned_by_attempt",
]
