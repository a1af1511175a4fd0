"""The goodness gate: whether a model may speak, and if not, why."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tts_sim.arrays import Float64s
from tts_sim.extrapolation.resampling import Refit, Seen

MOST_MISFIT = 1.0  # standard errors
MOST_HELD_OUT = 2.0  # standard errors
COVERAGE_HORIZON, CURVE_HORIZON = 16, 4  # times the samples of a question; a power law of coverage is a curve
MOST_UNSOLVABLE = 0.01  # share of questions that a power law, which knows no plateau, may have to overlook
ROUNDING = 1e-9


class Verdict(NamedTuple):
    """What was tested, and the reasons to refuse at any budget (none: empty)."""

    misfit: float  # largest |fit - observed| / SE within the cache
    held_out_z: float  # (predicted - observed) / SE at K, fitted to a quarter of the samples
    reasons: list[str]


def judged(refit: Refit, observed: Seen) -> Verdict:
    """Both tests of a model against what the cache holds.

    The standard error of the hold-out is that of the difference, over resampled questions. Source: statistics §6.
    """
    off = np.abs(refit.inside - observed.means[0])
    misfits = np.where(off < ROUNDING, 0.0, off / np.maximum(observed.se, ROUNDING))
    worst = int(np.argmax(misfits))
    difference = refit.held_out - observed.means[:, -1]
    z = ratio(float(difference[0]), float(difference[1:].std(ddof=1)))
    reasons = []
    if not misfits[worst] <= MOST_MISFIT:
        reasons.append(f"in sample: off by {misfits[worst]:.1f} SE at {observed.grid[worst]} (limit {MOST_MISFIT:g})")
    if not abs(z) <= MOST_HELD_OUT:
        reasons.append(held_out_reason(observed.num_samples, float(refit.held_out[0]), float(observed.means[0, -1]), z))
    return Verdict(float(misfits[worst]), z, reasons)


def ratio(difference: float, standard_error: float) -> float:
    """difference / standard_error; 0 where both are 0."""
    return 0.0 if abs(difference) < ROUNDING else difference / max(standard_error, ROUNDING)


def held_out_reason(num_samples: int, predicted: float, observed: float, z: float) -> str:
    return (
        f"hold-out: {num_samples // 4} samples predict {predicted:.3f} at {num_samples}, where {observed:.3f} is "
        f"observed (z {z:+.1f}, limit {MOST_HELD_OUT:g})"
    )


def beyond_horizon(budget: int, num_samples: int, horizon: int) -> list[str]:
    """The reason to refuse a budget that is too far out, or none."""
    if budget <= horizon * num_samples:
        return []
    return [f"horizon: at most {horizon} × {num_samples} = {horizon * num_samples} samples"]


def falls(values: Float64s, grid: list[int]) -> list[str]:
    """The reason to refuse a curve that falls somewhere by more than two standard errors (paired), or none.

    `values` has shape (Q, G), one row a question.
    """
    steps = np.diff(values, axis=1)
    z = [ratio(float(step.mean()), float(step.std(ddof=1)) / np.sqrt(len(step))) for step in steps.T]
    lowest = int(np.argmin(z))
    if z[lowest] >= -2.0:
        return []
    drop = -float(steps[:, lowest].mean())
    return [f"not monotone: accuracy falls by {drop:.3f} from {grid[lowest]} to {grid[lowest + 1]}"]
