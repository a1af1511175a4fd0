"""Coverage: the chance that k of the samples hold a correct one."""

from __future__ import annotations


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Chance that k of `num_samples` drawn without replacement hold one of `num_correct` correct ones, in [0, 1].

    1 - C(K - c, k) / C(K, k); exactly 1 if fewer than k samples are wrong. Raises ValueError if k exceeds num_samples.
    Source: Chen et al. 2021 (arXiv:2107.03374) §2.1, in its product form.
    """
    if not 0 <= num_correct <= num_samples:
        raise ValueError(f"num_correct={num_correct}: expected 0 to num_samples={num_samples}.")
    if not 1 <= k <= num_samples:
        raise ValueError(f"k={k}: expected 1 to num_samples={num_samples}.")
    failure = 1.0
    for i in range(k):
        failure *= max(num_samples - num_correct - i, 0) / (num_samples - i)
    return 1.0 - failure
