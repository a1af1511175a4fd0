"""Paired differences over questions: error, test, and many tests at once. Arrays in, numbers out."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from tts_sim.arrays import Float64s, Int64s
from tts_sim.student import t_two_sided

T_TEST_FROM = 50  # questions (or clusters); below, signs are flipped
EXACT_UP_TO = 36  # differences other than 0: two halves of 2**18 sums
FLIPS = 100_000
CHUNK = 2**20  # signs that are held at a time


class PairedDifference(NamedTuple):
    """A mean difference over questions; NaN (and no test) where a single group leaves no error to estimate."""

    difference: float
    variance: float  # of the mean
    se: float
    se_unpaired: float  # what it would be on two separate sets of questions, every question its own cluster
    t: float
    p_value: float  # two-sided
    test: str  # t, sign-flip exact or sign-flip
    num_questions: int
    num_groups: int  # clusters, or questions without any


def paired_difference(
    a: Sequence[float] | Float64s,
    b: Sequence[float] | Float64s,
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
) -> PairedDifference:
    """Mean of a - b over questions, a and b being accuracies of the same questions in the same order.

    Questions of one cluster may depend on each other: variance CR0 times G/(G - 1), which is sd²/Q where each question
    is its own. The test is t with G - 1 degrees of freedom from 50 groups on, `sign_flip` below (whole clusters flip).
    Raises ValueError for sequences of different lengths, none, or NaN. Source: statistics §3.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"a of shape {first.shape}, b of {second.shape}: expected one accuracy of each per question.")
    values, count = first - second, len(first)
    if not np.isfinite(values).all():
        raise ValueError("a and b: expected finite accuracies; leave out the questions that have none.")
    groups = np.arange(count) if clusters is None else group_codes(clusters)
    num_groups = int(groups.max()) + 1
    mean = float(values.mean())
    if num_groups < 2:
        nothing = float("nan")
        return PairedDifference(mean, nothing, nothing, nothing, nothing, nothing, "", count, num_groups)
    deviation = values - mean if np.ptp(values) else np.zeros(count)  # equal differences: no dust from rounding
    variance = float((np.bincount(groups, deviation) ** 2).sum()) / count**2 * num_groups / (num_groups - 1)
    se = variance**0.5
    t = mean / se if se else float("inf") * mean if mean else 0.0
    unpaired = float(np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / count))
    if num_groups >= T_TEST_FROM:
        return PairedDifference(mean, variance, se, unpaired, t, t_two_sided(t, num_groups - 1), "t", count, num_groups)
    p_value, exact = sign_flip(np.asarray(np.bincount(groups, values), np.float64), seed=seed)
    test = "sign-flip exact" if exact else "sign-flip"
    return PairedDifference(mean, variance, se, unpaired, t, p_value, test, count, num_groups)


def group_codes(groups: Sequence[Hashable]) -> Int64s:
    """Groups as numbers from 0, by first appearance."""
    codes: dict[Hashable, int] = {}
    return np.array([codes.setdefault(group, len(codes)) for group in groups], np.int64)


def sign_flip(differences: Sequence[float] | Float64s, *, seed: int, flips: int = FLIPS) -> tuple[float, bool]:
    """Two-sided p-value of the sum of differences if each might as well have the other sign; whether it is exact.

    Exact over all 2^Q signs with up to 36 differences other than 0 (a 0 has no sign): both halves are enumerated, and
    met in the middle. Above, `flips` random signs, and (hits + 1) / (flips + 1), which is never too small.
    Sums that differ by rounding count as equal. Source: Fisher's randomisation test; Phipson & Smyth 2010 for the + 1.
    """
    signed = np.asarray(differences, np.float64)
    signed = signed[signed != 0]
    reach = abs(float(signed.sum())) - 1e-12 * float(np.abs(signed).sum())
    if reach <= 0:
        return 1.0, True
    if len(signed) <= EXACT_UP_TO:
        half = len(signed) // 2
        left, right = _signed_sums(signed[:half]), np.sort(_signed_sums(signed[half:]))
        hits = int((len(right) - np.searchsorted(right, reach - left)).sum())
        return 2 * hits / 2 ** len(signed), True
    random = np.random.default_rng(seed)
    hits, rows = 0, CHUNK // len(signed) + 1
    for start in range(0, flips, rows):
        bits = random.integers(0, 2, (min(rows, flips - start), len(signed)), dtype=np.int8)
        hits += int((np.abs((2.0 * bits - 1.0) @ signed) >= reach).sum())
    return (hits + 1) / (flips + 1), False


def _signed_sums(values: Float64s) -> Float64s:
    """The sum of the values under each of the 2^n choices of signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return sums


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p-values, in the order given: to call those below α real errs anywhere with probability ≤ α.

    None stays None and is not counted. Source: Holm 1979.
    """
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        adjusted[place] = highest
    return adjusted
