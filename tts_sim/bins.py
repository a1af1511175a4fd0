"""Bins of difficulty: which level a question has, by how easy it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from tts_sim.arrays import Float64s, Int64s

Rule = Literal["value", "rank", "absolute"]
RULES: tuple[Rule, ...] = get_args(Rule)
NUM_BINS = 5
THRESHOLDS = (0.1, 0.5)  # hard, medium and easy of Liu et al. 2025 (arXiv:2502.06703), on pass@1


@dataclass(frozen=True)
class Bins:
    """Levels 1 (easiest: the highest values) to `num_bins`, cut at `edges`; a value on an edge is above it.

    Under the rule `rank` values on an edge are split by order: the first `tied_below[j]` of them (a share) lie below
    edge j. Raises ValueError unless the edges are finite and ascending, and the shares from 0 to 1, one an edge.
    """

    rule: Rule
    edges: tuple[float, ...]
    tied_below: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule {self.rule!r}: expected one of {', '.join(RULES)}.")
        if not all(math.isfinite(edge) for edge in self.edges) or list(self.edges) != sorted(self.edges):
            raise ValueError(f"edges {self.edges}: expected finite numbers in ascending order.")
        shares = self.tied_below
        if len(shares) != (len(self.edges) if self.rule == "rank" else 0) or not all(0 <= s <= 1 for s in shares):
            raise ValueError(f"tied_below {shares}: expected a share from 0 to 1 for each edge of a rank rule.")

    @property
    def num_bins(self) -> int:
        return len(self.edges) + 1

    def levels(self, values: Sequence[float] | Float64s) -> Int64s:
        """Level of each value. Raises ValueError for a NaN."""
        numbers = _finite(values)
        edges = np.asarray(self.edges, np.float64)
        above = np.searchsorted(edges, numbers, side="right")
        if any(self.tied_below):
            place = _place_among_ties(numbers)
            for edge, share in zip(edges, self.tied_below, strict=True):
                above -= (numbers == edge) & (place < share)
        return (self.num_bins - above).astype(np.int64)

    def level(self, value: float) -> int:
        """Level of one value: on an edge of a rank rule, that of most of those who were there."""
        return int(self.levels([value])[0])


def fit_bins(
    values: Sequence[float] | Float64s,
    num_bins: int | None = None,
    rule: Rule = "value",
    *,
    thresholds: Sequence[float] | None = None,
) -> Bins:
    """Bins of about equal size (5 unless `num_bins` says otherwise), or cut at given thresholds.

    `value`: quantiles by linear interpolation; tied values share a bin, so that sizes differ and a bin may be empty
    (Snell et al. 2024, arXiv:2408.03314 §3.2: sizes 95 to 105). `rank`: equal sizes, ties by the order given.
    `absolute`: at `thresholds`, by default .1 and .5 (hard, medium, easy of Liu et al. 2025).
    Raises ValueError for fewer values than bins (`value`, `rank`), NaN, and settings that contradict each other.
    """
    if rule not in RULES:
        raise ValueError(f"rule {rule!r}: expected one of {', '.join(RULES)}.")
    if num_bins is not None and (isinstance(num_bins, bool) or not isinstance(num_bins, int) or num_bins < 1):
        raise ValueError(f"num_bins {num_bins!r}: expected a whole number from 1.")
    numbers = _finite(values)
    if rule == "absolute":
        cuts = tuple(float(cut) for cut in (THRESHOLDS if thresholds is None else thresholds))
        if num_bins not in (None, len(cuts) + 1):
            raise ValueError(f"num_bins {num_bins}: {len(cuts)} thresholds make {len(cuts) + 1} bins.")
        return Bins("absolute", cuts)
    if thresholds is not None:
        raise ValueError(f"thresholds {tuple(thresholds)}: only for the rule absolute, not for {rule}.")
    count = NUM_BINS if num_bins is None else num_bins
    if len(numbers) < count:
        raise ValueError(f"{len(numbers)} questions are too few for {count} bins; ask for fewer bins.")
    return _by_rank(numbers, count) if rule == "rank" else by_quantiles(numbers, count)


def by_quantiles(values: Float64s, num_bins: int) -> Bins:
    """Bins of the rule `value`, however few the values."""
    return Bins("value", tuple(np.sort(np.quantile(values, np.arange(1, num_bins) / num_bins)).tolist()))


def _by_rank(values: Float64s, num_bins: int) -> Bins:
    """Bins whose sizes differ by 1 at most; an edge is the lowest value of the bin above it."""
    ordered = np.sort(values)
    first = -(-np.arange(1, num_bins) * len(values) // num_bins)  # rank of the lowest in the bin above
    edges = ordered[first]
    start, stop = np.searchsorted(ordered, edges, side="left"), np.searchsorted(ordered, edges, side="right")
    return Bins("rank", tuple(edges.tolist()), tuple(((first - start) / (stop - start)).tolist()))


def _place_among_ties(values: Float64s) -> Float64s:
    """Where each value stands among the equal ones, in the order given: (i + ½) / m of m."""
    order = np.argsort(values, kind="stable")
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    starts = np.cumsum(counts) - counts
    place = np.empty(len(values))
    place[order] = np.arange(len(values))
    return np.asarray((place - starts[group] + 0.5) / counts[group], np.float64)


def _finite(values: Sequence[float] | Float64s) -> Float64s:
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise ValueError("values: expected one finite number for each question.")
    return numbers
