"""Intervals over questions: for one mean, for many budgets at once, and for a fixed benchmark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tts_sim.arrays import Float64s
from tts_sim.student import t_quantile as t_quantile

DRAWS = 10_000
CHUNK = 2**20  # weights that are held at a time: they fit into the processor's cache
ROUNDING = 1e-12  # what a spread of 0 may come out as


def t_interval(mean: float, standard_error: float, num_questions: int, level: float = 0.95) -> tuple[float, float]:
    """Two-sided interval around a mean over questions, with num_questions - 1 degrees of freedom.

    Not clipped to [0, 1]. Raises ValueError for fewer than two questions. Source: statistics §3, estimand (A).
    """
    if num_questions < 2:
        raise ValueError(f"num_questions={num_questions}: an interval over questions needs at least 2.")
    reach = t_quantile(0.5 + level / 2, num_questions - 1) * standard_error
    return mean - reach, mean + reach


def simultaneous_band(values: Float64s, *, seed: int, level: float = 0.95, draws: int = DRAWS) -> float:
    """Critical value c: all of mean ± c·se, one for each column, hold at once with probability `level`.

    `values` has shape (Q, budgets), one row a question; NaN where a question has no value at a budget. se is that of
    the column's mean over its questions, sd/sqrt(count). Deterministic in `seed`. Raises ValueError for fewer than two
    questions. Source: max-|t| over a bootstrap of questions (statistics §3): multinomial weights times the matrix, each
    draw with a standard error of its own (with that of the sample, skewed columns of 100 questions were covered .92
    instead of .95); a column that is constant in a draw is left out of it. Our deviation: c is at least the t quantile
    of a single interval and at most Bonferroni's for as many columns as vary. Where fewer than ten questions differ at
    all, the bootstrap alone gave bands several times as wide.
    """
    return simultaneous_bands([values], seed=seed, level=level, draws=draws)[0]


def simultaneous_bands(
    tables: Sequence[Float64s], *, seed: int, level: float = 0.95, draws: int = DRAWS
) -> list[float]:
    """`simultaneous_band` of each table; those of equal length share their draws, and the work of drawing."""
    bands = []
    by_length: dict[int, dict[int, _Columns]] = {}
    for place, values in enumerate(tables):
        if len(values) < 2:
            raise ValueError(f"values of {len(values)} questions: a band over questions needs at least 2.")
        bands.append(t_quantile(0.5 + level / 2, len(values) - 1))
        columns = _varying_columns(values)
        if len(columns.counts) > 1:
            by_length.setdefault(len(values), {})[place] = columns
    for length, members in by_length.items():
        largest = _largest_t(list(members.values()), length, draws, seed)
        for (place, columns), row in zip(members.items(), largest, strict=True):
            most = t_quantile(1 - (1 - level) / 2 / len(columns.counts), length - 1)
            # rounded: the last bits of a matrix product differ between machines
            bands[place] = min(max(bands[place], round(float(np.quantile(row, level)), 10)), most)
    return bands


class _Columns(NamedTuple):
    """Columns that vary, each over `counts` of the Q questions; 0 where a question has no value."""

    deviation: Float64s  # (Q, C) from the column's mean, in units of its standard deviation
    counts: Float64s  # (C,)


def _varying_columns(values: Float64s) -> _Columns:
    there = ~np.isnan(values)
    counts = np.maximum(there.sum(axis=0), 1).astype(np.float64)
    deviation = np.where(there, values - np.where(there, values, 0.0).sum(axis=0) / counts, 0.0)
    spread = np.sqrt((deviation**2).sum(axis=0) / counts)
    varying = spread > ROUNDING
    return _Columns(deviation[:, varying] / spread[varying], counts[varying])


def _largest_t(tables: Sequence[_Columns], length: int, draws: int, seed: int) -> Float64s:
    """The largest |t| of each table in each draw of `length` questions with replacement, shape (tables, draws)."""
    random = np.random.default_rng(seed)
    matrix = np.hstack([part for table in tables for part in (table.deviation, table.deviation**2)])
    largest = np.empty((len(tables), draws))
    rows = max(1, CHUNK // length)
    for start in range(0, draws, rows):
        stop = min(start + rows, draws)
        picks = random.integers(0, length, (stop - start, length), dtype=np.int64)
        picks += np.arange(stop - start, dtype=np.int64)[:, None] * length
        weights = np.bincount(picks.ravel(), minlength=picks.size).reshape(picks.shape)  # how often each was drawn
        sums = weights @ matrix
        column = 0
        for place, (_, counts) in enumerate(tables):
            middle, end = column + len(counts), column + 2 * len(counts)
            mean = sums[:, column:middle] / counts
            variance = sums[:, middle:end] / counts - mean**2
            usable = variance > ROUNDING
            t = np.abs(mean) * np.sqrt((counts - 1) / np.where(usable, variance, 1.0))
            largest[place, start:stop] = np.where(usable, t, 0.0).max(axis=1)
            column = end
    return largest


def se_fixed(within: Sequence[float | None], num_questions: int) -> float | None:
    """Standard error of a mean over these very questions, new generations only: sqrt(sum of v_q) / Q.

    `within` holds v_q, the unbiased estimate of the variance of each question's accuracy over new generations; single
    ones may be negative, and a sum below 0 counts as 0. None if any is missing: the sum would be too small.
    Raises ValueError unless there is one entry a question. Source: statistics §3, estimand (B).
    """
    if len(within) != num_questions or not num_questions:
        raise ValueError(f"within has {len(within)} entries for {num_questions} questions; expected one for each.")
    known = [v for v in within if v is not None and not math.isnan(v)]
    return math.sqrt(max(math.fsum(known), 0.0)) / num_questions if len(known) == num_questions else None
