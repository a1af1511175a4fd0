"""Outcomes: the one table between replays and everything that is computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from tts_sim.intervals import se_fixed, t_quantile
from tts_sim.ledger import MIN_SUPPORT

COLUMNS = [
    "run",
    "question_id",
    "strategy",
    "verifier",
    "budget",
    "accuracy",
    "lower",
    "upper",
    "supported",
    "method",
    "trials",
    "variance",
    "within",
    "generations",
    "tokens",
    "verifier_tokens",
    "critical_tokens",
    "calls",
    "prefix_tokens",
    "borrowed",
    "missing",
    "exhausted",
    "exchangeable",
]
PRICES = ["generator_flops", "verifier_flops", "flops"]  # where the sizes of models are known, see costs.py
MEANS = COLUMNS[COLUMNS.index("generations") : COLUMNS.index("exchangeable")]
KEYS = ["run", "strategy", "verifier", "budget"]


# what a question counts with in a mean: its supported trials, even where they are too few for a figure of its own
VALUE = pl.coalesce("accuracy", pl.when(pl.col("supported") > 0).then(pl.col("lower") / pl.col("supported")))


@dataclass(frozen=True)
class Outcomes:
    """One row per (run, question, strategy, verifier, budget), in `frame`, with the columns COLUMNS.

    accuracy is in [0, 1] and null where less than .9 of the trials are supported (method `bounds`): lower and upper
    then say what can be said. Costs are means over supported trials. `groups` holds question → group by name.
    """

    frame: pl.DataFrame
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def curve(
        self, by: Literal["level", "difficulty"] | None = None, groups: Mapping[str, Any] | None = None
    ) -> pl.DataFrame:
        """Means over questions, with `se`, `ci_low`, `ci_high` (t, 95 %), `se_fixed`, `se_mc` and `num_questions`.

        `by` splits by the dataset's level or by difficulty (1 easiest); `groups` (question → group) overrides what the
        replay knew, and without `by` its column is called `group`. The interval is over questions: it holds for new
        questions and new generations, and contains the noise of the cache. se_fixed is for these very questions with
        new generations (null where that cannot be told: 2n > K); se_mc is the share of chance in the replay.
        The method is the weakest of those that the questions were estimated by; with support below .9 it is `bounds`,
        and no accuracy is given. Raises ValueError for an unknown `by`.
        """
        rows = self.frame.with_columns(value=VALUE)
        keys = list(KEYS)
        name = self._group_name(by, groups)
        if name is not None:
            mapping = self.groups.get(name, {}) if groups is None else groups
            table = pl.DataFrame({"question_id": list(mapping), name: list(mapping.values())}, strict=False)
            table = table.with_columns(pl.col("question_id").cast(pl.String))
            rows = rows.join(table, on="question_id", how="left", maintain_order="left")
            keys.insert(3, name)
        variance = pl.when(pl.col("variance").is_null().any()).then(None).otherwise(pl.col("variance").sum())
        weakest = (
            pl.when((pl.col("method") == "exact").all())
            .then(pl.lit("exact"))
            .when((pl.col("method") == "imputed").any())
            .then(pl.lit("imputed"))
            .when((pl.col("method") == "plugin").any())
            .then(pl.lit("plugin"))
            .otherwise(pl.lit("monte-carlo"))
        )
        curve = rows.group_by(keys, maintain_order=True).agg(
            *[pl.col(cost).mean() for cost in (*MEANS, *PRICES) if cost in rows.columns],
            accuracy=pl.col("value").mean(),
            lower=pl.col("lower").mean(),
            upper=pl.col("upper").mean(),
            supported=pl.col("supported").mean(),
            exchangeable=pl.col("exchangeable").all(),
            method=weakest,
            trials=pl.col("trials").max(),
            variance=variance / pl.len() ** 2,
            within=pl.col("within"),
            se=pl.col("value").std() / pl.col("value").count().sqrt(),
            num_questions=pl.len().cast(pl.Int64),
            _counted=pl.col("value").count(),
        )
        enough = pl.col("supported") >= MIN_SUPPORT
        reach = {n: t_quantile(0.975, n - 1) for n in curve["_counted"].unique() if n > 1}
        fixed = [se_fixed(within, len(within)) for within in curve["within"].to_list()]
        curve = (
            curve.with_columns(se_fixed=pl.Series(fixed, dtype=pl.Float64))
            .with_columns(
                accuracy=pl.when(enough).then("accuracy"),
                method=pl.when(enough).then("method").otherwise(pl.lit("bounds")),
                variance=pl.when(enough).then("variance"),
                se=pl.when(enough).then("se"),
                se_fixed=pl.when(enough).then("se_fixed"),
                _reach=pl.col("_counted").replace_strict(reach, default=None, return_dtype=pl.Float64) * pl.col("se"),
            )
            .with_columns(
                ci_low=pl.col("accuracy") - pl.col("_reach"),
                ci_high=pl.col("accuracy") + pl.col("_reach"),
                se_mc=pl.col("variance").sqrt(),
            )
        )
        left_out = (*KEYS, "question_id", "within")
        figures = [column for column in (*COLUMNS, *PRICES) if column in curve.columns and column not in left_out]
        curve = curve.select(*keys, *figures, "se", "ci_low", "ci_high", "se_fixed", "se_mc", "num_questions")
        if name is None:
            return curve
        firsts = curve.select("run", "strategy", "verifier").unique(maintain_order=True).with_row_index("_order")
        return (
            curve.join(firsts, on=["run", "strategy", "verifier"], how="left", nulls_equal=True)
            .sort("_order", name, "budget", nulls_last=True, maintain_order=True)
            .drop("_order")
        )

    def _group_name(self, by: str | None, groups: Mapping[str, Any] | None) -> str | None:
        if by is None:
            return None if groups is None else "group"
        if by not in ("level", "difficulty"):
            raise ValueError(f"by={by!r}: expected level or difficulty.")
        if groups is None and by not in self.groups:
            raise ValueError(f"by={by!r}: these outcomes carry no {by}; give groups={{question_id: …}}.")
        return by


def combine(parts: Sequence[Outcomes]) -> Outcomes:
    """Several outcomes as one; where they group a question differently, the first that knows it holds."""
    groups: dict[str, dict[str, Any]] = {}
    for part in reversed(parts):
        for name, mapping in part.groups.items():
            groups.setdefault(name, {}).update({key: value for key, value in mapping.items() if value is not None})
    return Outcomes(pl.concat([part.frame for part in parts]), groups)
