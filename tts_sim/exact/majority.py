"""Majority of n."""

from __future__ import annotations

import numpy as np

from tts_sim.arrays import Bools, Int64s
from tts_sim.kernels.majority import expected_majority


def majority(counts: Int64s, correct: Bools, n: int, *, abstained: int = 0) -> float:
    """Expected share of correct ones among the most frequent answers of n samples without replacement, in [0, 1].

    `counts` and `correct` have shape (num_answers,): how many samples gave each answer, and whether it is right.
    `abstained` more gave none: they can be drawn but never win, and n of them are wrong. Tied answers share the win.
    Raises ValueError if n exceeds the number of samples.
    Source: counting subsets (statistics 2.3); exact, by a dynamic programme over answers, O(K n²) at most.
    """
    if len(correct) != len(counts):
        raise ValueError(f"correct: expected as many entries as counts ({len(counts)}), got {len(correct)}.")
    if abstained < 0 or (len(counts) and int(np.min(counts)) < 0):
        raise ValueError("counts, abstained: expected numbers of samples, from 0.")
    num_samples = int(np.sum(counts)) + abstained
    if not 1 <= n <= num_samples:
        raise ValueError(f"n={n}: expected 1 to num_samples={num_samples}.")
    right = np.asarray(correct, np.bool_)
    ordered = np.concatenate([np.asarray(counts)[right], np.asarray(counts)[~right]]).astype(np.int64)
    value = np.empty(1)
    expected_majority(ordered, int(right.sum()), abstained, np.array([n], np.int64), value)
    return float(value[0])
