"""Coverage by a distribution of success rates over questions: Beta, with atoms at 0 and at 1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import betaln, digamma, gammaln

from tts_sim.arrays import Bools, Float64s, Int64s

LOWEST, HIGHEST = np.array([-7.0, -7.0, -14.0, -14.0]), np.array([9.0, 12.0, 14.0, 14.0])
NEVER = -60.0  # logit of an atom that is left out
STARTS = [(0.0, 0.7, -2.0, -2.0), (-1.0, 0.5, -3.0, -3.0), (0.7, 1.5, -1.0, -2.0), (-2.0, 0.0, -6.0, -6.0)]
LONGEST_STEP = 2.0
ITERATIONS = 100
CONVERGED = 1e-9  # what a question's mean log-likelihood still gains


class Rates(NamedTuple):
    """Fits of R data sets, each of shape (R,): a rate of 0 with probability `zero`, 1 with `one`, else Beta(a, b)."""

    a: Float64s
    b: Float64s
    zero: Float64s
    one: Float64s

    def unsolved(self, budget: int) -> Float64s:
        """P(none of `budget` samples of a new question is correct), shape (R,)."""
        rest = 1.0 - self.zero - self.one
        return np.asarray(self.zero + rest * self._missed(0, budget))

    def still_unsolved(self, budget: int, num_samples: int) -> Float64s:
        """P(unsolved at `budget` samples | unsolved at `num_samples`), shape (R,): z + (1 - z) B(a,b+k) / B(a,b+K).

        Source: statistics §6; z is the chance that a question without a correct sample can never be solved.
        """
        z = self.zero / np.maximum(self.unsolved(num_samples), 1e-300)
        return np.asarray(z + (1.0 - z) * self._missed(num_samples, budget))

    def _missed(self, start: int, stop: int) -> Float64s:
        """P(unsolved at `stop` samples | unsolved at `start`) by Beta alone: B(a, b + stop) / B(a, b + start)."""
        return np.asarray(np.exp(betaln(self.a, self.b + stop) - betaln(self.a, self.b + start)))


class Cells(NamedTuple):
    """What can be observed of a question: `correct` of `total` samples, both of shape (C,)."""

    correct: Int64s
    total: Int64s


def fit(cells: Cells, weights: Float64s, *, inflated: bool) -> Rates:
    """Maximum likelihood for each row of `weights`, shape (R, C): how often each cell was seen, or in what share.

    The first row is fitted from several starts, the others from where it ended: they are resamples of it. `inflated`
    allows the atoms at 0 and 1. A flat likelihood ends at the edge of a box (a from e^-7 to e^9, b to e^12).
    Source: statistics §6. Our deviation: scoring with damping on log a, log b and the logits of the atoms, all rows at
    once, where one call of an optimiser a resample would take seconds.
    """
    shares = weights / weights.sum(axis=1, keepdims=True)
    starts = np.array(STARTS)
    if not inflated:
        starts[:, 2:] = NEVER
    first, gained = _climb(cells, np.repeat(shares[:1], len(starts), axis=0), starts, inflated)
    best = first[np.argmax(gained)]
    theta = np.concatenate([best[None, :], _climb(cells, shares[1:], np.tile(best, (len(shares) - 1, 1)), inflated)[0]])
    a, b = np.exp(theta[:, 0]), np.exp(theta[:, 1])
    _, zero, one = np.exp(_log_atoms(theta))
    return Rates(a, b, zero, one)


def log_likelihood(cells: Cells, shares: Float64s, theta: Float64s) -> tuple[Float64s, Float64s]:
    """Mean log-likelihood of each row, shape (R,), and its derivatives by theta in each cell, shape (R, C, 4).

    `theta` is log a, log b and the logits of the atoms at 0 and 1 against the rest, shape (R, 4).
    """
    c, n = cells.correct[None, :].astype(np.float64), cells.total[None, :].astype(np.float64)
    a, b = np.exp(theta[:, :1]), np.exp(theta[:, 1:2])
    rest, zero, one = (part[:, None] for part in _log_atoms(theta))
    choose = gammaln(n + 1) - gammaln(c + 1) - gammaln(n - c + 1)
    inside = rest + choose + betaln(c + a, n - c + b) - betaln(a, b)
    none, every = c == 0, c == n
    chance = np.where(none, np.logaddexp(inside, zero), np.where(every, np.logaddexp(inside, one), inside))
    share = np.exp(inside - chance)
    both = digamma(a + b) - digamma(n + a + b)
    slopes = np.stack(
        [
            share * a * (digamma(c + a) - digamma(a) + both),
            share * b * (digamma(n - c + b) - digamma(b) + both),
            np.exp(zero - np.where(none, chance, 0.0)) * none - np.exp(zero),
            np.exp(one - np.where(every, chance, 0.0)) * every - np.exp(one),
        ],
        axis=2,
    )
    return (shares * chance).sum(axis=1), slopes


def _climb(cells: Cells, shares: Float64s, theta: Float64s, inflated: bool) -> tuple[Float64s, Float64s]:
    """Where each row ends, shape (R, 4), and its mean log-likelihood; damped as Levenberg does, each row by itself."""
    free = np.array([True, True, inflated, inflated])
    theta = theta.copy()
    value, slopes = log_likelihood(cells, shares, theta)
    damping = np.full(len(theta), 1e-2)
    active = np.ones(len(theta), np.bool_)
    for _ in range(ITERATIONS):
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        step = _step(shares[rows], slopes[rows], theta[rows], damping[rows], free)
        proposed = np.where(free, np.clip(theta[rows] + step, LOWEST, HIGHEST), theta[rows])
        reached, new_slopes = log_likelihood(cells, shares[rows], proposed)
        gain = reached - value[rows]
        better = gain > 0
        won = rows[better]
        theta[won], value[won], slopes[won] = proposed[better], reached[better], new_slopes[better]
        damping[rows] = np.where(better, np.maximum(damping[rows] / 5, 1e-6), damping[rows] * 8)
        active[rows] = (np.abs(gain) > CONVERGED) & (damping[rows] < 1e6)
    return theta, value


def _step(shares: Float64s, slopes: Float64s, theta: Float64s, damping: Float64s, free: Bools) -> Float64s:
    """Damped scoring step; a parameter that presses against its bound, or is left out, stays."""
    gradient = np.einsum("rc,rci->ri", shares, slopes)
    held = ~free | ((theta <= LOWEST) & (gradient < 0)) | ((theta >= HIGHEST) & (gradient > 0))
    gradient = np.where(held, 0.0, gradient)
    information = np.einsum("rc,rci,rcj->rij", shares, slopes, slopes, optimize=True)
    information = np.where(held[:, :, None] | held[:, None, :], 0.0, information)
    diagonal = np.arange(4)
    information[:, diagonal, diagonal] *= 1.0 + damping[:, None]
    information[:, diagonal, diagonal] += 1e-9 + held
    step = np.linalg.solve(information, gradient[:, :, None])[:, :, 0]
    return np.clip(step, -LONGEST_STEP, LONGEST_STEP)


def _log_atoms(theta: Float64s) -> tuple[Float64s, Float64s, Float64s]:
    """Logarithms of the shares of Beta, of the atom at 0 and of the atom at 1, each of shape (R,)."""
    logits = np.concatenate([np.zeros((len(theta), 1)), theta[:, 2:]], axis=1)
    logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return logs[:, 0], logs[:, 1], logs[:, 2]
