"""Simultaneous bands around curves: all budgets of a strategy at once."""

from __future__ import annotations

import numpy as np
import polars as pl

from tts_sim.intervals import simultaneous_bands
from tts_sim.outcomes import KEYS, VALUE, Outcomes

LINE = [key for key in KEYS if key != "budget"]


def with_bands(curve: pl.DataFrame, outcomes: Outcomes, *, seed: int = 0) -> pl.DataFrame:
    """The curve of these outcomes (not split by groups) with band_low and band_high: 95 %, max-|t| over its budgets.

    Null where the curve has no accuracy. Deterministic in `seed`. Source: statistics §3, many budgets.
    """
    supported = curve.filter(pl.col("accuracy").is_not_null()).select(KEYS)
    rows = outcomes.frame.join(supported, on=KEYS, how="semi", nulls_equal=True).with_columns(value=VALUE)
    lines = rows.partition_by(LINE, maintain_order=True)
    tables = [
        line.pivot("budget", index="question_id", values="value", maintain_order=True).drop("question_id").to_numpy()
        for line in lines
    ]
    usable = [place for place, table in enumerate(tables) if len(table) > 1]
    found = simultaneous_bands([tables[place].astype(np.float64) for place in usable], seed=seed)
    critical = pl.concat(
        [lines[place].select(LINE).head(1).with_columns(_c=pl.lit(c)) for place, c in zip(usable, found, strict=True)]
        or [outcomes.frame.select(LINE).clear().with_columns(_c=pl.lit(0.0))]
    )
    return (
        curve.join(critical, on=LINE, how="left", nulls_equal=True, maintain_order="left")
        .with_columns(
            band_low=pl.col("accuracy") - pl.col("_c") * pl.col("se"),
            band_high=pl.col("accuracy") + pl.col("_c") * pl.col("se"),
        )
        .drop("_c")
    )
