"""Closed forms against small exact numbers and against counting subsets."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import pytest

from tts_sim.exact.best_of_n import best_of_n
from tts_sim.exact.majority import majority
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


def test_majority_with_ties() -> None:
    counts, correct = np.array([3, 4, 1, 1]), np.array([True, False, False, False])  # case C05
    expected = [1 / 3, 1 / 3, 1 / 3, 5 / 14, 5 / 14, 9 / 28, 5 / 18, 2 / 9, 0]
    assert [majority(counts, correct, n) for n in range(1, 10)] == pytest.approx(expected, abs=1e-12)


def test_majority_counts_subsets() -> None:
    """Several correct answers, abstentions, and no answer at all."""
    chance = random.Random(8)
    for _ in range(30):
        answers = [chance.choice([None, 0, 1, 2, 3, 3]) for _ in range(8)]
        correct = [chance.random() < 0.4 for _ in range(4)]
        counts = np.array([answers.count(a) for a in range(4)])
        for n in range(1, 9):
            total = Fraction(0)
            for subset in itertools.combinations(answers, n):
                votes = [subset.count(a) for a in range(4)]
                tied = [a for a in range(4) if votes[a] == max(votes) and votes[a]]
                total += Fraction(sum(correct[a] for a in tied), len(tied)) if tied else 0
            share = majority(counts, np.array(correct), n, abstained=answers.count(None))
            assert share == pytest.approx(float(total / math.comb(8, n)), abs=1e-12)


@pytest.mark.parametrize("counts", [(1000, 1048), (20, 2028), (350, 350), (500, 500), (5000, 5000)])
def test_majority_of_large_pools(counts: tuple[int, int]) -> None:
    """Neither overflow nor underflow: two answers, as the tail of a hypergeometric distribution in whole numbers."""
    right, wrong = counts
    pool = right + wrong
    for n in (1, 2, 5, 64, pool // 2, pool - 1, pool):
        wins = sum((2 if 2 * j > n else 1) * math.comb(right, j) * math.comb(wrong, n - j)
                   for j in range((n + 1) // 2, min(n, right) + 1))  # fmt: skip
        expected = float(Fraction(wins, 2 * math.comb(pool, n)))
        assert majority(np.array(counts), np.array([True, False]), n) == pytest.approx(expected, abs=1e-11)


def test_invariants_of_majority() -> None:
    counts, correct = np.array([9, 40, 31, 5, 1, 1]), np.array([False, True, False, True, False, False])
    assert majority(counts, correct, 2) == pytest.approx(majority(counts, correct, 1), abs=1e-14)
    two, right = np.array([23, 31]), np.array([True, False])
    for m in (1, 5, 20):  # of two answers, an even number of votes decides like one less
        assert majority(two, right, 2 * m) == pytest.approx(majority(two, right, 2 * m - 1), abs=1e-13)
    assert majority(np.array([4, 3]), np.array([True, True]), 3) == pytest.approx(1.0, abs=1e-15)
    assert majority(np.array([], np.int64), np.array([], np.bool_), 2, abstained=3) == 0.0


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="k=11: expected 1 to num_samples=10"):
        pass_at_k(10, 3, 11)
    with pytest.raises(ValueError, match="num_correct=11"):
        pass_at_k(10, 11, 1)
    with pytest.raises(ValueError, match="n=0: expected 1 to num_samples=2"):
        best_of_n(np.array([1.0, 2.0]), np.array([True, False]), 0)
    with pytest.raises(ValueError, match="correct: expected as many"):
        best_of_n(np.array([1.0, 2.0]), np.array([True]), 1)
    with pytest.raises(ValueError, match="n=4: expected 1 to num_samples=3"):
        majority(np.array([1, 1]), np.array([True, False]), 4, abstained=1)
    with pytest.raises(ValueError, match="correct: expected as many entries as counts"):
        majority(np.array([1, 1]), np.array([True]), 1)
    with pytest.raises(ValueError, match="expected numbers of samples, from 0"):
        majority(np.array([1, -1]), np.array([True, False]), 1)
