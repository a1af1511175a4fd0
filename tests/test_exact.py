"""Closed forms against small exact numbers and against counting subsets."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from tts_sim.exact.best_of_n import best_of_n
from tts_sim.exact.pass_at_k import pass_at_k


def test_pass_at_k_of_three_in_ten() -> None:
    expected = [3 / 10, 8 / 15, 17 / 24, 5 / 6, 11 / 12, 29 / 30, 119 / 120, 1, 1, 1]  # case C01
    assert [pass_at_k(10, 3, k) for k in range(1, 11)] == pytest.approx(expected, abs=1e-12)
    assert pass_at_k(10, 3, 8) == 1.0
    assert pass_at_k(5, 0, 5) == 0.0


def test_best_of_n_with_ties() -> None:
    scores = np.array([0.875, 0.875, 0.75, 0.75, 0.75, 0.125])  # case C03
    correct = np.array([1, 0, 1, 0, 0, 1], np.bool_)
    expected = [1 / 2, 13 / 30, 7 / 15, 22 / 45, 1 / 2, 1 / 2]
    assert [best_of_n(scores, correct, n) for n in range(1, 7)] == pytest.approx(expected, abs=1e-12)


def test_best_of_n_counts_subsets() -> None:
    chance = random.Random(4)
    for _ in range(20):
        scores = np.array([chance.choice([0.25, 0.5, 0.75, np.nan]) for _ in range(7)])
        correct = np.array([chance.random() < 0.5 for _ in range(7)])
        for n in range(1, 8):
            total, count = 0.0, 0
            for subset in itertools.combinations(range(7), n):
                scored = [i for i in subset if not np.isnan(scores[i])]
                tied = [i for i in scored if scores[i] == max(scores[j] for j in scored)]
                total += sum(correct[i] for i in tied) / len(tied) if tied else 0.0
                count += 1
            assert best_of_n(scores, correct, n) == pytest.approx(total / count, abs=1e-12)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="k=11: expected 1 to num_samples=10"):
        pass_at_k(10, 3, 11)
    with pytest.raises(ValueError, match="num_correct=11"):
        pass_at_k(10, 11, 1)
    with pytest.raises(ValueError, match="n=0: expected 1 to num_samples=2"):
        best_of_n(np.array([1.0, 2.0]), np.array([True, False]), 0)
    with pytest.raises(ValueError, match="correct: expected as many"):
        best_of_n(np.array([1.0, 2.0]), np.array([True]), 1)
