"""How many of each question's samples are correct: all that coverage can be extrapolated from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from tts_sim.arrays import Float64s, Int64s
from tts_sim.forest import Forest


class Counts(NamedTuple):
    """Correct samples and all samples of each question, both of shape (Q,)."""

    correct: Int64s
    total: Int64s

    @property
    def num_samples(self) -> int:
        """K: what every question holds."""
        return int(self.total.min()) if len(self.total) else 0


def counts_of(forest: Forest) -> Counts:
    """Correct ones among the complete solutions of each question of a run of step trees."""
    found = forest.solutions()
    right = np.append(forest.trees.answer_correct, False)
    answer = forest.trees.answer[found.row]
    complete = found.state == 0
    solved = complete & (answer >= 0) & right[np.maximum(answer, -1)]
    question = np.repeat(np.arange(forest.num_questions), np.diff(found.start))
    correct, total = (np.bincount(question[which], minlength=forest.num_questions) for which in (solved, complete))
    return Counts(correct.astype(np.int64), total.astype(np.int64))


def coverage(counts: Counts, budgets: Sequence[int]) -> Float64s:
    """pass@k of each question, shape (Q, budgets): exact, without bias. NaN where k exceeds its samples.

    Source: Chen et al. 2021 (arXiv:2107.03374) §2.1, as statistics §2.1 has it: 1 - C(K - c, k) / C(K, k).
    """
    wrong, total = (counts.total - counts.correct)[:, None], counts.total[:, None]
    k = np.asarray(budgets, np.int64)[None, :]
    held = k <= total
    missed = np.exp(_log_choose(wrong, k) - np.where(held, _log_choose(total, k), 0.0))
    return np.where(held, 1.0 - missed, np.nan)


def thinned(counts: Counts, size: int) -> Float64s:
    """P(c of a random `size` of a question's samples are correct), c = 0 to size: shape (Q, size + 1).

    The mean over all sub-caches, so that no draw of one adds noise. Raises ValueError if a question has fewer samples.
    """
    if size > counts.num_samples:
        raise ValueError(f"size={size}: expected at most {counts.num_samples}, what every question holds.")
    correct, total = counts.correct[:, None], counts.total[:, None]
    c = np.arange(size + 1)[None, :]
    return np.exp(_log_choose(correct, c) + _log_choose(total - correct, size - c) - _log_choose(total, np.int64(size)))


def powers(most: int) -> list[int]:
    """1, 2, 4 … up to `most`, and `most` itself."""
    return sorted({*(2**exponent for exponent in range(most.bit_length())), most})


def _log_choose(n: Int64s, k: Int64s | np.int64) -> Float64s:
    """log C(n, k); -inf where k is not within 0 to n."""
    inside = (k >= 0) & (k <= n)
    m, j = np.where(inside, n, 0), np.where(inside, k, 0)
    logs: Float64s = np.where(inside, gammaln(m + 1.0) - gammaln(j + 1.0) - gammaln(m - j + 1.0), -np.inf)
    return logs
