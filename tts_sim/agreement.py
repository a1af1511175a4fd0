"""How well one levelling of questions agrees with another: predicted difficulty against oracle difficulty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from tts_sim.arrays import Float64s, Int64s


@dataclass(frozen=True, eq=False)
class Agreement:
    """Questions by predicted and by actual level.

    `matrix[i, j]` counts the questions of predicted level i + 1 whose level is j + 1.
    """

    matrix: Int64s  # (num_bins, num_bins)

    @property
    def share(self) -> float:
        """Share of questions whose predicted level is theirs."""
        return float(np.trace(self.matrix) / self.matrix.sum())

    @property
    def precision(self) -> Float64s:
        """For each predicted level the share of its questions whose level it is; NaN for an empty one."""
        sizes = self.matrix.sum(axis=1)
        return np.where(sizes > 0, np.diag(self.matrix) / np.maximum(sizes, 1), np.nan)

    def frame(self) -> pl.DataFrame:
        """One row a predicted level: `predicted`, `num_questions`, `precision`, and a count for each level."""
        counts = {f"level_{j + 1}": self.matrix[:, j] for j in range(len(self.matrix))}
        columns = {"predicted": np.arange(1, len(self.matrix) + 1), "num_questions": self.matrix.sum(axis=1)}
        return pl.DataFrame(columns | {"precision": self.precision} | counts, nan_to_null=True)


def agreement(predicted: Mapping[str, int], actual: Mapping[str, int], num_bins: int | None = None) -> Agreement:
    """Agreement of two levellings (question → level from 1) on the questions that both know.

    `num_bins`: by default the highest level met. Raises ValueError if they share no question, and for a level outside
    1 to num_bins. Source: statistics §1.1 (Snell et al.: 52.8 %, precision .77 .48 .41 .38 .60).
    """
    both = [question for question in predicted if question in actual]
    if not both:
        raise ValueError("predicted and actual share no question.")
    pairs = np.array([(predicted[question], actual[question]) for question in both], np.int64)
    count = int(pairs.max()) if num_bins is None else num_bins
    if pairs.min() < 1 or pairs.max() > count:
        raise ValueError(f"level {pairs.min() if pairs.min() < 1 else pairs.max()}: expected levels from 1 to {count}.")
    matrix = np.zeros((count, count), np.int64)
    np.add.at(matrix, (pairs[:, 0] - 1, pairs[:, 1] - 1), 1)
    return Agreement(matrix)
