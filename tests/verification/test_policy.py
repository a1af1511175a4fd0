"""Policies on simulated questions of which the truth is known: no gain out of noise, and no gain out of leaked samples.

Source: statistics §3 (winner's curse) and §4 (leakage).
"""

from __future__ import annotations

from math import comb
from typing import NamedTuple

import numpy as np
import pytest

from tests.tables import outcomes
from tts_sim.arrays import Bools, Float64s
from tts_sim.outcomes import Outcomes
from tts_sim.policy import CROSSFITTED, NAIVE, FittedPolicy, fit_policy
from tts_sim.policy_apply import apply_policy


def accuracy(fitted: FittedPolicy, line: str) -> float:
    return float(fitted.curves.filter(line=line)["accuracy"].item())


def test_strategies_that_are_equal_in_truth_gain_nothing() -> None:
    """Nine strategies of the same accuracy on every question; noise of sd .15 a question; five bins of 100.

    The documented optimism of the naive value is 1.9 points for bins of 100.
    """
    random = np.random.default_rng(1)
    gains = []
    for _ in range(30):
        truth = random.uniform(0.2, 0.8, 500)
        made = outcomes({(f"s{s}", 8): truth + random.normal(0, 0.15, 500) for s in range(9)})
        difficulty = {f"q{i:05}": float(p) for i, p in enumerate(truth)}
        fitted = fit_policy(made, difficulty, [8], seed=0, splits=2)
        gains.append([accuracy(fitted, line) - truth.mean() for line in (CROSSFITTED, NAIVE)])
    mean, error = np.mean(gains, axis=0), np.std(gains, axis=0, ddof=1) / len(gains) ** 0.5
    assert abs(mean[0]) < 3 * error[0] and error[0] < 0.002
    assert 0.015 < mean[1] < 0.025 and mean[1] > 10 * error[1]


class Samples(NamedTuple):
    """K samples of each question: whether they are right, and their scores."""

    right: Bools  # (Q, K)
    score: Float64s  # (Q, K)

    def difficulty(self) -> dict[str, float]:
        return {f"q{i:05}": float(share) for i, share in enumerate(self.right.mean(axis=1))}

    def outcomes(self, n: int) -> Outcomes:
        """Best of n by score, and majority of n against one wrong answer: exact over all subsets."""
        size = self.right.shape[1]
        ranked = np.take_along_axis(self.right, np.argsort(-self.score, axis=1), axis=1)
        winner = np.array([comb(size - 1 - rank, n - 1) / comb(size, n) for rank in range(size)])
        won = [
            sum(comb(c, i) * comb(size - c, n - i) * ((2 * i > n) + (2 * i >= n)) / 2 for i in range(n + 1))
            / comb(size, n)
            for c in range(size + 1)
        ]
        return outcomes({("best", n): ranked @ winner, ("majority", n): np.array(won)[self.right.sum(axis=1)]})


def drawn(random: np.random.Generator, truth: Float64s, size: int) -> Samples:
    """The score of a right sample is higher by a quarter of a standard deviation."""
    right = random.random((len(truth), size)) < truth[:, None]
    return Samples(right, random.normal(size=right.shape) + 0.25 * right)


@pytest.mark.parametrize(("size", "low", "high"), [(16, 0.009, 0.017), (64, 0.002, 0.006)])
def test_difficulty_from_the_evaluated_samples_leaks(size: int, low: float, high: float) -> None:
    """The better of best of 8 and majority of 8 in each of five bins, 40 000 questions of uniform pass@1.

    What it seems to reach, less what it reaches on samples that nobody has seen: 1.3 points with 16 samples a question
    where they also give the difficulty, .36 with 64; nothing where other samples do.
    """
    random = np.random.default_rng(size)
    truth = random.random(40_000)
    first, second, unseen = (drawn(random, truth, size) for _ in range(3))
    evaluated, fresh = first.outcomes(8), unseen.outcomes(8)
    for difficulty, leaks in ((first.difficulty(), True), (second.difficulty(), False)):
        fitted = fit_policy(evaluated, difficulty, [8], seed=0, folds=2, splits=1)
        assert len(set(fitted.choices["strategy"])) == 2  # otherwise nothing depends on the bins
        applied = apply_policy(fitted.policy, fresh, difficulty, seed=0)
        gap = accuracy(fitted, CROSSFITTED) - applied.values["accuracy"].item()
        one, other = (side.sort("question_id")["accuracy"].to_numpy() for side in (fitted.heldout, applied.own.heldout))
        error = float(np.std(one - other)) / len(truth) ** 0.5
        assert low < gap < high if leaks else abs(gap) < 3 * error, (gap, error)
