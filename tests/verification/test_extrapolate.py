"""Extrapolations of coverage against known distributions of success rates: what statistics §6 measured, in small."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from tts_sim.arrays import Float64s
from tts_sim.extrapolation.bounds import coverage_bounds
from tts_sim.extrapolation.counts import Counts, coverage, powers
from tts_sim.extrapolation.coverage_models import COVERAGE_MODELS, coverage_refits
from tts_sim.extrapolation.gate import judged
from tts_sim.extrapolation.resampling import question_weights, seen

QUESTIONS, SAMPLES, REPETITIONS, RESAMPLES = 500, 64, 12, 60
BUDGETS = [128, 2048]


class Measured(NamedTuple):
    """By repetition: (extrapolated - true) coverage in points at each budget, z of the hold-out, reasons to refuse."""

    errors: Float64s  # (repetitions, budgets)
    z: Float64s
    refused: list[list[str]]


def rates(truth: str, random: np.random.Generator) -> Float64s:
    if truth == "log-normal":
        return np.minimum(1.0, np.exp(random.normal(-2.5, 2.0, QUESTIONS)))
    solvable = random.random(QUESTIONS) >= (0.15 if truth == "unsolvable" else 0.0)
    return random.beta(0.5 if truth == "unsolvable" else 0.35, 1.5, QUESTIONS) * solvable


def repetition(truth: str, number: int) -> tuple[Counts, Float64s]:
    """The counts of one simulated cache, and the coverage that its own questions reach at the budgets."""
    random = np.random.default_rng([number, 7])
    chances = rates(truth, random)
    counts = Counts(random.binomial(SAMPLES, chances), np.full(QUESTIONS, SAMPLES))
    return counts, np.array([np.mean(1 - (1 - chances) ** budget) for budget in BUDGETS])


@cache
def measured(truth: str) -> dict[str, Measured]:
    found: dict[str, list[tuple[Float64s, float, list[str]]]] = {name: [] for name in COVERAGE_MODELS}
    for number in range(REPETITIONS):
        counts, reached = repetition(truth, number)
        weights = question_weights(QUESTIONS, number, RESAMPLES)
        grid = powers(SAMPLES)
        observed = seen(coverage(counts, grid), grid, weights)
        refits, _ = coverage_refits(counts, BUDGETS, weights, observed)
        for name, refit in refits.items():
            verdict = judged(refit, observed)
            found[name].append((100 * (refit.values[0] - reached), verdict.held_out_z, verdict.reasons))
    return {
        name: Measured(np.array([row[0] for row in rows]), np.array([row[1] for row in rows]), [row[2] for row in rows])
        for name, rows in found.items()
    }


def test_beta_truth_is_met_by_both_models() -> None:
    for name, limits in (("beta-binomial", (1.0, 1.0)), ("zoibb", (1.0, 2.5))):
        result = measured("beta")[name]
        assert (np.abs(result.errors.mean(axis=0)) < limits).all(), (name, result.errors.mean(axis=0))
        assert abs(result.z.mean()) < 1.5
        assert sum(map(bool, result.refused)) <= REPETITIONS // 3


def test_unsolvable_questions_need_the_atom_at_zero() -> None:
    plain, anchored = measured("unsolvable")["beta-binomial"], measured("unsolvable")["zoibb"]
    assert (plain.errors.mean(axis=0) > (2.5, 7.0)).all() and plain.z.mean() > 2.0
    assert (np.abs(anchored.errors.mean(axis=0)) < 1.5).all() and abs(anchored.z.mean()) < 1.0
    assert sum(map(bool, anchored.refused)) <= REPETITIONS // 3
    assert sum(map(bool, plain.refused)) >= REPETITIONS // 2
    power = measured("unsolvable")["power-law"]
    assert power.errors.mean(axis=0)[1] > 7.0 and all(power.refused)


def test_the_gate_refuses_a_truth_that_no_model_knows() -> None:
    for name in COVERAGE_MODELS:
        result = measured("log-normal")[name]
        assert result.errors.mean(axis=0)[1] < -2.0  # what the refusal spares the reader
        assert result.z.mean() < -3.0 and all(result.refused)
        assert any(reason.startswith("hold-out: 16 samples predict") for reason in result.refused[0])


@pytest.mark.parametrize("truth", ["beta", "unsolvable", "log-normal"])
def test_bounds_hold_whatever_the_truth_is(truth: str) -> None:
    for number in range(3):
        counts, reached = repetition(truth, number)
        low, high = coverage_bounds(counts, BUDGETS)
        assert (low <= reached).all() and (reached <= high).all()
        assert high[0] - low[0] > 0.1 and high[1] > 0.999  # K samples say little of 32 K
