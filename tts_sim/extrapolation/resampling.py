"""Refits to resampled questions: where intervals, and the errors that the gate judges by, come from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tts_sim.arrays import Float64s

RESAMPLES = 500


class Refit(NamedTuple):
    """A model fitted to R weightings of the questions; row 0 is the questions themselves."""

    values: Float64s  # (R, budgets) beyond the cache
    inside: Float64s  # (G,) of row 0, at the budgets 1, 2, 4 … K that the cache holds
    held_out: Float64s  # (R,) at K, fitted to a quarter of the samples


class Seen(NamedTuple):
    """What the cache says of the budgets `grid`, 1, 2, 4 … K, in the same R weightings."""

    grid: list[int]
    means: Float64s  # (R, G)
    se: Float64s  # (G,) over questions

    @property
    def num_samples(self) -> int:
        return self.grid[-1]


def question_weights(num_questions: int, seed: int, resamples: int = RESAMPLES) -> Float64s:
    """How often each question counts, shape (1 + resamples, Q): once, then as drawn with replacement."""
    drawn = np.random.default_rng(seed).multinomial(num_questions, np.full(num_questions, 1 / num_questions), resamples)
    return np.concatenate([np.ones((1, num_questions)), drawn])


def seen(values: Float64s, grid: list[int], weights: Float64s) -> Seen:
    """Means over questions of `values`, shape (Q, G), in every weighting."""
    num_questions = len(values)
    return Seen(grid, weights @ values / num_questions, values.std(axis=0, ddof=1) / np.sqrt(num_questions))


def percentiles(values: Float64s) -> tuple[Float64s, Float64s]:
    """Percentile interval of each column, 95 %, over the resampled rows."""
    low, high = np.quantile(values[1:], [0.025, 0.975], axis=0)
    return low, high
