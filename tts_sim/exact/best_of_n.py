"""Best of n by score."""

from __future__ import annotations

import numpy as np

from tts_sim.arrays import Bools, Float64s


def best_of_n(scores: Float64s, correct: Bools, n: int) -> float:
    """Expected accuracy of the highest-scored of n samples drawn without replacement, in [0, 1].

    `scores` and `correct` have shape (num_samples,). Tied top scores share the win equally; a NaN score abstains: it
    never wins, and n abstentions are wrong. Raises ValueError if n exceeds num_samples.
    Source: order statistics, as in Chen et al. 2021 (arXiv:2107.03374) §2.1 for pass@k; exact, no sampling.
    """
    num_samples = len(scores)
    if len(correct) != num_samples:
        raise ValueError(f"correct: expected as many entries as scores ({num_samples}), got {len(correct)}.")
    if not 1 <= n <= num_samples:
        raise ValueError(f"n={n}: expected 1 to num_samples={num_samples}.")
    lowest = np.where(np.isnan(scores), -np.inf, scores)
    right = np.where(np.isnan(scores), 0.0, correct)
    share = np.zeros(num_samples + 1)  # share[i] = C(i, n) / C(K, n): chance that the winner is among the i lowest
    share[num_samples] = 1.0
    for i in range(num_samples, n, -1):
        share[i - 1] = share[i] * (i - n) / i
    groups, sizes = np.unique(lowest, return_counts=True)
    stops = np.cumsum(sizes)
    total = 0.0
    for group, size, stop in zip(groups, sizes, stops, strict=True):
        total += (share[stop] - share[stop - size]) * float(right[lowest == group].sum()) / size
    return float(total)
