"""Power laws: of the logarithm of coverage, and of the distance between an accuracy and its limit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tts_sim.arrays import Float64s, Int64s
from tts_sim.extrapolation.resampling import Refit, Seen

EXPONENTS = np.geomspace(0.01, 5.0, 400)


def exponentiated(observed: Seen, budgets: Sequence[int], num_questions: int) -> Refit:
    """Coverage exp(a k^-b), by least squares of log(-log c) on log k, moved to meet what was observed at K.

    Source: Brown et al. 2024 (arXiv:2407.21787) §3; anchored as statistics §6 has it. A coverage of 1 in a resample
    counts as one quarter of a question short of it.
    """
    grid = np.array(observed.grid)
    held = grid <= observed.num_samples // 4
    values = _anchored_law(observed.means, grid, np.asarray(budgets), num_questions)
    inside = _anchored_law(observed.means[:1], grid, grid, num_questions)[0]
    return Refit(values, inside, _anchored_law(observed.means[:, held], grid[held], grid[-1:], num_questions)[:, 0])


def _anchored_law(means: Float64s, grid: Int64s, wanted: Int64s, num_questions: int) -> Float64s:
    """exp(log c_K (k / K)^-b) at the wanted budgets, K being the last of the grid; rows are data sets."""
    logs = np.log(np.clip(means, 1e-12, 1.0 - 0.25 / num_questions))
    x = np.log(grid)
    slope = np.log(-logs) @ (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    return np.asarray(np.exp(logs[:, -1:] * np.exp(slope[:, None] * (np.log(wanted) - x[-1]))))


def saturating(observed: Seen, budgets: Sequence[int]) -> Refit:
    """Accuracy A - c n^-g with c ≥ 0, by least squares weighted by the inverse square of the standard error.

    g is the best of 400 values from .01 to 5; for each, A and c have a closed form. Source: statistics §6.
    """
    grid = np.array(observed.grid)
    held = grid <= observed.num_samples // 4
    floor = max(float(observed.se.max(initial=0.0)), 1e-6) / 100
    precision = 1.0 / np.maximum(observed.se, floor) ** 2
    values = _saturating_law(observed.means, precision, grid, np.asarray(budgets))
    inside = _saturating_law(observed.means[:1], precision, grid, grid)[0]
    held_out = _saturating_law(observed.means[:, held], precision[held], grid[held], grid[-1:])[:, 0]
    return Refit(values, inside, held_out)


def _saturating_law(means: Float64s, precision: Float64s, grid: Int64s, wanted: Int64s) -> Float64s:
    share = precision / precision.sum()
    x = np.asarray(grid, np.float64)[None, :] ** -EXPONENTS[:, None]
    x_mean = x @ share
    y_mean = means @ share
    spread = ((x - x_mean[:, None]) ** 2) @ share
    together = np.minimum(((means - y_mean[:, None]) * share) @ (x - x_mean[:, None]).T, 0.0)
    best = np.argmax(together**2 / spread, axis=1)
    slope = together[np.arange(len(means)), best] / spread[best]  # -c
    moved = np.asarray(wanted, np.float64)[None, :] ** -EXPONENTS[best][:, None] - x_mean[best][:, None]
    return np.asarray(y_mean[:, None] + slope[:, None] * moved)
