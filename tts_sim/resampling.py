"""The bootstrap over questions: many means at once, and what is read off them."""

from __future__ import annotations

import numpy as np

from tts_sim.arrays import Float64s, Int64s
from tts_sim.draws import checked_seed
from tts_sim.intervals import CHUNK, DRAWS


def resampled_means(values: Float64s, *, seed: int, draws: int = DRAWS) -> Float64s:
    """Means of the columns of `values`, shape (questions, columns), over questions drawn with replacement.

    Shape (draws, columns). A draw takes the same questions for all columns, and for all tables of as many questions.
    Cached samples are not drawn again: they would be counted twice (statistics §3).
    Raises ValueError for no question or fewer than one draw.
    """
    checked_seed(seed)
    num_questions = len(values)
    if not num_questions or draws < 1:
        raise ValueError(f"{num_questions} questions, draws={draws}: expected at least 1 of each.")
    random = np.random.default_rng(seed)
    means = np.empty((draws, values.shape[1]))
    rows = max(1, CHUNK // num_questions)
    for start in range(0, draws, rows):
        count = min(rows, draws - start)
        picks = random.integers(0, num_questions, (count, num_questions), dtype=np.int64)
        picks += np.arange(count, dtype=np.int64)[:, None] * num_questions
        weights = np.bincount(picks.ravel(), minlength=picks.size).reshape(picks.shape)
        means[start : start + count] = weights @ values / num_questions
    return means


def percentile_interval(draws: Float64s, level: float = 0.95) -> tuple[float, float]:
    """The interval between the outer quantiles of the draws, of which some may be infinite: no value in between."""
    low = np.quantile(draws, (1 - level) / 2, method="lower")
    high = np.quantile(draws, (1 + level) / 2, method="higher")
    return float(low), float(high)


def fold_numbers(num_questions: int, folds: int, random: np.random.Generator) -> Int64s:
    """A fold, from 0, for each question: as equal in size as can be, by chance."""
    return random.permutation(np.arange(num_questions, dtype=np.int64) % folds)
