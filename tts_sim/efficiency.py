"""Efficiency at equal accuracy: how much less compute one strategy needs than another, the "4× less"."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from tts_sim.arrays import Bools, Float64s, Int64s
from tts_sim.intervals import DRAWS, ROUNDING
from tts_sim.lines import line_of, shared_questions
from tts_sim.outcomes import Outcomes
from tts_sim.resampling import resampled_means

Monotone = Literal["isotonic", "max"]
MONOTONE: tuple[Monotone, ...] = ("isotonic", "max")
COLUMNS: dict[str, Any] = {
    "budget": pl.Float64,
    "accuracy": pl.Float64,
    "baseline": pl.Float64,
    "ratio": pl.Float64,
    "bound": pl.String,
    "ratio_low": pl.Float64,
    "ratio_high": pl.Float64,
    "censored": pl.Float64,
    "counted": pl.Boolean,
    "reason": pl.String,
}


@dataclass(frozen=True)
class Efficiency:
    """How many times the budget the baseline needs for the same accuracy.

    `ratio` is the geometric mean over the budgets that are counted, with its 95 % interval; null where none is, with
    the `reason`. `bound` ">=" or "<=": a ratio in it is only bounded. `frame`: one row a budget, columns COLUMNS.
    """

    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    bound: str | None
    reason: str | None
    budgets: tuple[float, ...]
    num_questions: int
    seed: int
    frame: pl.DataFrame


def efficiency(
    line: Outcomes | pl.DataFrame,
    baseline: Outcomes | pl.DataFrame,
    *,
    anchors: Sequence[float] | None = None,
    cost: str = "generations",
    monotone: Monotone = "isotonic",
    seed: int = 0,
    draws: int = DRAWS,
) -> Efficiency:
    """r(b) = A_baseline⁻¹(A_line(b)) / b: compute that the baseline needs to be as accurate as the line at b, over b.

    Both sides hold one strategy: outcomes, or a frame of question_id, budget, accuracy and perhaps cost; b is the mean
    `cost`, and the column `baseline` what the baseline reaches at it. The baseline is made monotone (isotonic
    regression, or the running maximum) and read linearly in log2 b, at the first point where it gets there. Above its
    last point r is right-censored, `bound` ">="; below its first "<=".

    The summary is a mean of log2 r, over the `anchors` (budgets of the line, set before looking) or over all budgets in
    the range that both curves overlap: the best of many budgets flatters, 1.24 for a true 1.0. r is not reported where
    the baseline rises by less than two standard errors of the difference per doubling: there it says nothing.
    Intervals: bootstrap over questions of both curves together, percentiles of log2 r, censored draws kept at the bound
    (`censored` is their share). They hold for new questions and new generations.

    Raises ValueError for an anchor that is no budget of the line, an unknown `monotone`, a baseline with one budget,
    and sides that share no question. Source: statistics §4, efficiency at equal accuracy.
    """
    if monotone not in MONOTONE:
        raise ValueError(f"monotone {monotone!r}: expected one of {', '.join(MONOTONE)}.")
    first, second = line_of(line, cost, role="line"), line_of(baseline, cost, role="baseline")
    names = shared_questions([first, second])
    first, second = first.at(names), second.at(names)
    prices = second.cost.mean(axis=0)
    dearer = np.concatenate([[True], prices[1:] > np.maximum.accumulate(prices)[:-1]])
    if not prices[0] > 0 or not first.cost.mean(axis=0).min() > 0:
        raise ValueError(f"cost {cost!r}: a budget that costs nothing has no logarithm; leave it out.")
    if dearer.sum() < 2:
        raise ValueError(f"baseline {second.strategy!r}: holds one budget; expected at least two to read between.")
    wanted = _anchored(first.budgets, anchors)
    table = _Curves(
        first.accuracy, second.accuracy[:, dearer], np.log2(first.cost.mean(axis=0)), np.log2(prices[dearer]), monotone
    )
    found = table.read(table.stacked().mean(axis=0, keepdims=True))
    sample = None
    if len(names) > 1:
        sample = table.read(resampled_means(table.stacked(), seed=seed, draws=draws))
    reasons = [table.flat(b, found) for b in range(len(first.budgets))]
    inside = ~(found.above[0] | found.below[0])
    counted = [
        reason is None and (place in wanted if wanted is not None else bool(inside[place]))
        for place, reason in enumerate(reasons)
    ]
    rows = []
    for b, reason in enumerate(reasons):
        row: dict[str, Any] = {
            "budget": 2.0 ** table.x[b], "accuracy": float(first.accuracy[:, b].mean()), "reason": reason,
            "counted": counted[b],
        }  # fmt: skip
        if table.grid[0] <= table.x[b] <= table.grid[-1]:
            row["baseline"] = float(np.interp(table.x[b], table.grid, table.baseline.mean(axis=0)))
        if reason is None:
            row |= {"ratio": 2.0 ** found.log_ratio[0, b], "bound": _bound(found, [b])}
            if sample is not None:
                row["ratio_low"], row["ratio_high"] = _interval(sample.log_ratio[:, b])
                row["censored"] = float((sample.above[:, b] | sample.below[:, b]).mean())
        rows.append(row)
    frame = pl.DataFrame(rows, schema=COLUMNS)
    places = [b for b, is_counted in enumerate(counted) if is_counted]
    why = _why_not(reasons, wanted, places)
    if why is not None:
        return Efficiency(None, None, None, None, why, (), len(names), seed, frame)
    low, high = (None, None) if sample is None else _interval(sample.log_ratio[:, places].mean(axis=1))
    return Efficiency(
        2.0 ** float(found.log_ratio[0, places].mean()), low, high, _bound(found, places), None,
        tuple(float(2.0 ** table.x[b]) for b in places), len(names), seed, frame,
    )  # fmt: skip


class _Read(NamedTuple):
    """log2 r of each draw (rows) and budget (columns), and where it is a bound."""

    log_ratio: Float64s
    above: Bools  # the baseline's last point
    below: Bools  # its first


class _Curves(NamedTuple):
    """A line and its baseline on the same questions; x and grid are log2 of their mean costs."""

    line: Float64s
    baseline: Float64s
    x: Float64s
    grid: Float64s
    monotone: Monotone

    def stacked(self) -> Float64s:
        return np.hstack([self.line, self.baseline])

    def read(self, means: Float64s) -> _Read:
        """Each row of means, of the line's columns and then the baseline's."""
        targets, curve = means[:, : len(self.x)], _monotone(means[:, len(self.x) :], self.monotone)
        log_ratio = np.empty(targets.shape)
        above, below = np.empty(targets.shape, np.bool_), np.empty(targets.shape, np.bool_)
        rows = np.arange(len(means))
        for b in range(len(self.x)):
            target = targets[:, b]
            there = curve >= target[:, None] - ROUNDING
            place = np.where(there.any(axis=1), there.argmax(axis=1), curve.shape[1] - 1)
            before = np.maximum(place - 1, 0)
            low, high = curve[rows, before], curve[rows, place]
            wide = high > low
            share = np.where(wide, np.clip((target - low) / np.where(wide, high - low, 1.0), 0.0, 1.0), 1.0)
            log_ratio[:, b] = self.grid[before] + share * (self.grid[place] - self.grid[before]) - self.x[b]
            above[:, b] = target > curve[:, -1] + ROUNDING
            below[:, b] = target < curve[:, 0] - ROUNDING
        return _Read(log_ratio, above, below)

    def flat(self, b: int, found: _Read) -> str | None:
        """Why r at this budget is not reported; None if it is."""
        curve = _monotone(self.baseline.mean(axis=0, keepdims=True), self.monotone)[0]
        at = found.log_ratio[0, b] + self.x[b]
        place = int(np.clip(np.searchsorted(self.grid, at - ROUNDING), 1, len(self.grid) - 1))
        width = self.grid[place] - self.grid[place - 1]
        slope = (curve[place] - curve[place - 1]) / width
        share = float(np.clip((at - self.grid[place - 1]) / width, 0.0, 1.0))
        there = self.baseline[:, place - 1] * (1 - share) + self.baseline[:, place] * share
        differences = self.line[:, b] - there
        if len(differences) < 2:
            return None
        error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
        if slope >= 2 * error and slope > 0:
            return None
        return f"the baseline rises by {slope:.4f} per doubling there, less than 2 standard errors ({2 * error:.4f})"


def _monotone(curves: Float64s, how: Monotone) -> Float64s:
    """Each row made monotone: its running maximum, or its isotonic regression with equal weights (max-min formula)."""
    if how == "max":
        return np.asarray(np.maximum.accumulate(curves, axis=1), np.float64)
    count = curves.shape[1]
    sums = np.concatenate([np.zeros((len(curves), 1)), np.cumsum(curves, axis=1)], axis=1)
    out = np.full(curves.shape, -np.inf)
    for start in range(count):
        mean = (sums[:, start + 1 :] - sums[:, start : start + 1]) / np.arange(1, count - start + 1)
        least = np.minimum.accumulate(mean[:, ::-1], axis=1)[:, ::-1]  # the least mean of start : stop, stop ≥ column
        out[:, start:] = np.maximum(out[:, start:], least)
    return out


def _anchored(budgets: Int64s, anchors: Sequence[float] | None) -> set[int] | None:
    """Columns of the anchors."""
    if anchors is None:
        return None
    places = {int(budget): place for place, budget in enumerate(budgets)}
    for anchor in anchors:
        if anchor not in places:
            raise ValueError(f"anchor {anchor}: not a budget of the line; it has {', '.join(map(str, places))}.")
    if not anchors:
        raise ValueError("anchors: expected at least one, or None for all budgets in the overlapping range.")
    return {places[int(anchor)] for anchor in anchors}


def _why_not(reasons: Sequence[str | None], wanted: set[int] | None, places: Sequence[int]) -> str | None:
    """Why there is no summary: an anchor that cannot be read, or no budget to read at."""
    unread = [reason for place, reason in enumerate(reasons) if wanted is not None and place in wanted and reason]
    if unread:
        return unread[0]
    if not places:
        return next((reason for reason in reasons if reason), "the curves do not overlap at any budget")
    return None


def _bound(found: _Read, places: Sequence[int]) -> str | None:
    """What the mean ratio over these budgets is, at the whole sample, if not a figure."""
    above, below = bool(found.above[0, places].any()), bool(found.below[0, places].any())
    return "?" if above and below else ">=" if above else "<=" if below else None


def _interval(log_ratios: Float64s) -> tuple[float, float]:
    low, high = np.quantile(log_ratios, [0.025, 0.975])
    return float(2.0**low), float(2.0**high)
