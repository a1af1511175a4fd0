"""The models of coverage beyond the cache, each fitted to the data and to its resamples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tts_sim.arrays import Float64s
from tts_sim.extrapolation.beta_binomial import Cells, Rates, fit
from tts_sim.extrapolation.counts import Counts, coverage, thinned
from tts_sim.extrapolation.power_law import exponentiated
from tts_sim.extrapolation.resampling import Refit, Seen

COVERAGE_MODELS = ("zoibb", "beta-binomial", "power-law")


def coverage_refits(
    counts: Counts, budgets: Sequence[int], weights: Float64s, observed: Seen
) -> tuple[dict[str, Refit], float]:
    """Every model of COVERAGE_MODELS, and the share of questions that are surely never solved.

    `zoibb`: zero-and-one-inflated beta-binomial, anchored at what was observed; `beta-binomial`: plain, neither
    inflated nor anchored; `power-law`: exponentiated, anchored. The share is the lower end of the interval (95 %,
    two-sided) of the atom at 0 of `zoibb`. Source: statistics §6.
    """
    cells, membership = _cells(counts)
    quarter = observed.num_samples // 4
    sub_cells = Cells(np.arange(quarter + 1), np.full(quarter + 1, quarter))
    chances = thinned(counts, quarter)
    refits: dict[str, Refit] = {}
    for name, inflated in (("zoibb", True), ("beta-binomial", False)):
        rates = fit(cells, weights @ membership, inflated=inflated)
        part = fit(sub_cells, weights @ chances, inflated=inflated)
        if inflated:
            sure = float(np.quantile(rates.zero[1:], 0.025))
            values = _anchored(rates, counts, budgets, weights)
            unsolved = weights @ chances[:, 0] / len(chances)
            held_out = 1.0 - unsolved * part.still_unsolved(observed.num_samples, quarter)
        else:
            values = _plain(rates, budgets)
            held_out = 1.0 - part.unsolved(observed.num_samples)
        refits[name] = Refit(values, _plain(rates, observed.grid)[0], held_out)
    refits["power-law"] = exponentiated(observed, budgets, len(weights[0]))
    return refits, sure


def _cells(counts: Counts) -> tuple[Cells, Float64s]:
    """The distinct (correct, total), and which questions fall into them: ones and zeros of shape (Q, C)."""
    pairs, place = np.unique(np.stack(counts), axis=1, return_inverse=True)
    return Cells(pairs[0], pairs[1]), np.eye(pairs.shape[1])[place.ravel()]


def _plain(rates: Rates, budgets: Sequence[int]) -> Float64s:
    return np.stack([1.0 - rates.unsolved(budget) for budget in budgets], axis=1)


def _anchored(rates: Rates, counts: Counts, budgets: Sequence[int], weights: Float64s) -> Float64s:
    """Coverage, shape (R, budgets): what is solved stays so; what is not is solved at the rate of the model.

    A question that holds more samples than the budget counts with its exact pass@k.
    """
    num_questions = len(counts.total)
    known = np.nan_to_num(coverage(counts, budgets), nan=1.0)
    values = np.empty((len(weights), len(budgets)))
    for place, budget in enumerate(budgets):
        sizes = np.unique(counts.total[counts.total < budget])
        unsolved = weights @ ((counts.correct == 0)[:, None] & (counts.total[:, None] == sizes)) / num_questions
        left = [rates.still_unsolved(budget, int(size)) for size in sizes]
        values[:, place] = weights @ known[:, place] / num_questions - (unsolved * np.stack(left, axis=1)).sum(axis=1)
    return values
