"""Outcomes written down: accuracy, cost and support of each question, without a replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from tts_sim.outcomes import Outcomes


def outcomes(
    values: Mapping[tuple[str, int], Any],
    *,
    questions: Sequence[str] | None = None,
    tokens: Mapping[tuple[str, int], Any] | None = None,
    supported: Mapping[tuple[str, int], Any] | None = None,
    run: str = "r",
) -> Outcomes:
    """Outcomes out of accuracies by (strategy, budget); `supported` is 1 where it says nothing.

    Below .9 there is no accuracy but bounds, as in a replay. Tokens are 10 a generation where they are not given.
    """
    frames = []
    for (strategy, budget), accuracies in values.items():
        right = np.asarray(accuracies, np.float64)
        count = len(right)
        share = np.broadcast_to(np.asarray((supported or {}).get((strategy, budget), 1.0)), count)
        spent = np.broadcast_to(np.asarray((tokens or {}).get((strategy, budget), 10.0 * budget)), count)
        frames.append(
            pl.DataFrame(
                {
                    "run": [run] * count,
                    "question_id": questions if questions is not None else [f"q{i:05}" for i in range(count)],
                    "strategy": [strategy] * count,
                    "verifier": pl.Series([None] * count, dtype=pl.String),
                    "budget": np.full(count, budget),
                    "accuracy": np.where(share >= 0.9, right, np.nan),
                    "lower": right * share,
                    "upper": right * share + 1 - share,
                    "supported": share,
                    "generations": np.where(share > 0, float(budget), np.nan),
                    "tokens": np.where(share > 0, spent, np.nan),
                },
                nan_to_null=True,
            )
        )
    return Outcomes(pl.concat(frames))
