"""Student's t distribution, without scipy: importing that would take half of a replay's start-up."""

from __future__ import annotations

import math
from statistics import NormalDist

_GAMMA_RATIO = (-1 / 8, 1 / 128, 5 / 1024, -21 / 32768, -399 / 262144)


def t_quantile(probability: float, degrees_of_freedom: float) -> float:
    """Quantile of Student's t distribution; NaN below one degree of freedom.

    Relative error below 1e-11. Raises ValueError unless 0 < probability < 1.
    Source: Newton's method from the Cornish-Fisher expansion (Abramowitz & Stegun 26.7.5); in the tails on logarithms,
    where a power law is a straight line.
    """
    if not 0 < probability < 1:
        raise ValueError(f"probability={probability}: expected a number between 0 and 1.")
    if degrees_of_freedom < 1:
        return math.nan
    if probability == 0.5:
        return 0.0
    tail = min(probability, 1 - probability)
    x = -NormalDist().inv_cdf(tail)
    t = x + (x**3 + x) / (4 * degrees_of_freedom) + (5 * x**5 + 16 * x**3 + 3 * x) / (96 * degrees_of_freedom**2)
    for _ in range(100 if degrees_of_freedom < 1e5 else 0):  # above, the expansion's error is below the fraction's
        central, tails, front = _split(t, degrees_of_freedom)
        if central < 0.5:
            step = (1 - 2 * tail - central) / (2 * front)
        else:
            step = math.expm1(math.log(tails / (2 * tail)) * tails / (2 * front))
        t += step * t
        if abs(step) < 1e-9:  # the next one would be its square
            break
    return t if probability > 0.5 else -t


def t_two_sided(t: float, degrees_of_freedom: float) -> float:
    """P(|T| ≥ |t|) for Student's t: the two-sided p-value, with all its digits however small; NaN for a NaN."""
    if math.isnan(t) or degrees_of_freedom < 1:
        return math.nan
    return 1.0 if t == 0 else 0.0 if math.isinf(t) else _split(abs(t), degrees_of_freedom)[1]


def _split(t: float, degrees_of_freedom: float) -> tuple[float, float, float]:
    """P(|T| < t), P(|T| ≥ t) and t times the density, for t > 0; the smaller probability has all its digits.

    Source: P(|T| ≥ t) = I_x(ν/2, 1/2) at x = ν/(ν + t²) (Abramowitz & Stegun 26.7.1), by its continued fraction.
    """
    a, x, y = degrees_of_freedom / 2, 1 / (1 + t * t / degrees_of_freedom), t * t / (degrees_of_freedom + t * t)
    front = math.exp(-a * math.log1p(t * t / degrees_of_freedom)) * math.sqrt(y / math.pi) * _gamma_ratio(a)
    if x < (a + 1) / (a + 2.5):
        tails = front * _beta_fraction(a, 0.5, x) / a
        return 1 - tails, tails, front
    central = 2 * front * _beta_fraction(0.5, a, y)
    return central, 1 - central, front


def _gamma_ratio(a: float) -> float:
    """Γ(a + 1/2) / Γ(a); for large a by its asymptotic series: a difference of logarithms would lose six digits."""
    if a < 100:
        return math.gamma(a + 0.5) / math.gamma(a)
    return math.sqrt(a) * (1 + sum(c / a ** (power + 1) for power, c in enumerate(_GAMMA_RATIO)))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (Abramowitz & Stegun 26.5.8), by Lentz's method."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / (1 + even * d), 1 + even / c
        value *= c * d
        d, c = 1 / (1 + odd * d), 1 + odd / c
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value
