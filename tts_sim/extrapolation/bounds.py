"""What the samples allow coverage to be, whatever the distribution of success rates over questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linprog

from tts_sim.arrays import Float64s, Int64s
from tts_sim.extrapolation.counts import Counts, coverage

NORMAL = 1.96
MOST_MATCHED = 64


def coverage_bounds(counts: Counts, budgets: Sequence[int]) -> tuple[Float64s, Float64s]:
    """The least and the greatest coverage at each budget, over all mixtures of success rates that fit the samples.

    A mixture fits if its pass@j lies within 1.96 standard errors of the observed one for j = 1 … K (for K above 64:
    64 of them, geometrically spaced, which can only widen the bounds). Where all questions agree, the standard error is
    taken from the chance that Q questions show nothing of a rarer kind. NaN if no mixture fits.
    Source: statistics §6 (K samples identify the first K moments only); linear programme over a grid of rates.
    """
    num_questions, most = len(counts.total), counts.num_samples
    matched = np.unique(np.round(np.geomspace(1, most, min(most, MOST_MATCHED))).astype(np.int64))
    observed = coverage(counts, matched.tolist())
    mean = observed.mean(axis=0)
    unseen = 1.0 - 0.025 ** (1.0 / num_questions)
    reach = np.maximum(NORMAL * observed.std(axis=0, ddof=1) / np.sqrt(num_questions), unseen)
    rates = _rates(max(budgets))
    solved = _solved(rates, matched)
    matrix = np.concatenate([solved, -solved])
    limits = np.concatenate([mean + reach, reach - mean])
    ends = np.full((2, len(budgets)), np.nan)
    for place, aim in enumerate(_solved(rates, np.asarray(budgets))):
        for end, sign in enumerate((1.0, -1.0)):
            found = linprog(sign * aim, matrix, limits, np.ones((1, len(rates))), [1.0], method="highs")
            if found.status == 0:
                ends[end, place] = sign * found.fun
    return np.clip(ends[0], 0.0, 1.0), np.clip(ends[1], 0.0, 1.0)


def _rates(most: int) -> Float64s:
    """Success rates from 0 to 1, close together at both ends."""
    return np.concatenate([[0.0], np.geomspace(0.01 / most, 0.5, 160), 1.0 - np.geomspace(0.5, 1e-3, 60)[1:], [1.0]])


def _solved(rates: Float64s, budgets: Int64s) -> Float64s:
    """1 - (1 - p)^k, shape (budgets, rates)."""
    with np.errstate(divide="ignore"):
        return np.asarray(-np.expm1(budgets[:, None] * np.log1p(-rates)[None, :]))
