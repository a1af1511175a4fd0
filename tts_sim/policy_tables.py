"""The tables of a fitted policy; see FittedPolicy for what their columns say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from tts_sim.arms import Arms
from tts_sim.arrays import Float64s, Int64s
from tts_sim.choosing import Chosen, Rules
from tts_sim.crossfit import Means
from tts_sim.intervals import t_interval

CROSSFITTED = "policy, cross-fitted"
NAIVE = "policy, naive"
BEST_SINGLE = "best single strategy, cross-fitted"
ENVELOPE = "envelope (oracle, per question)"
FIGURES = {"accuracy": pl.Float64, "se": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64}


def summary(values: Float64s) -> dict[str, Any]:
    """Mean over the questions that have a value, with its t interval."""
    there = values[~np.isnan(values)]
    count = len(there)
    figures_: dict[str, Any] = {"accuracy": float(there.mean()) if count else None, "num_questions": count}
    if count > 1:
        # equal values: no dust from rounding
        se = float(there.std(ddof=1) / np.sqrt(count)) if np.ptp(there) else 0.0
        low, high = t_interval(float(there.mean()), se, count)
        figures_ |= {"se": se, "ci_low": low, "ci_high": high}
    return figures_


def curves_table(lines: Mapping[str, Means], rules: Rules, arms: Arms, kind: str) -> pl.DataFrame:
    rows = [
        {"line": line, "difficulty": kind, "budget": limit, "unit": arms.unit}
        | summary(means.value[place])
        | {"cost": _nanmean(means.cost[place]), "without_value": int(np.isnan(means.value[place]).sum())}
        for line, means in lines.items()
        for place, limit in enumerate(rules.limits)
        if not np.isnan(means.value[place]).all()
    ]
    schema = {
        "line": pl.String, "difficulty": pl.String, "budget": _budget_type(rules), **FIGURES, "cost": pl.Float64,
        "num_questions": pl.Int64, "without_value": pl.Int64, "unit": pl.String,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


def with_bootstrap(curves: pl.DataFrame, draws: Float64s) -> pl.DataFrame:
    """The cross-fitted line with standard errors and percentile intervals of the bootstrap."""
    low, high = np.nanquantile(draws, [0.025, 0.975], axis=0)
    mine = curves["line"] == CROSSFITTED
    columns = {"se": np.nanstd(draws, axis=0, ddof=1), "ci_low": low, "ci_high": high}
    for name, figures_ in columns.items():
        column = curves[name].to_numpy().copy()
        column[mine.to_numpy()] = figures_
        curves = curves.with_columns(pl.Series(name, column, nan_to_null=True))
    return curves


def choices_table(
    arms: Arms, chosen: Chosen, levels: Int64s, rules: Rules, crossfitted: Means, naive: Means, picks: Int64s
) -> pl.DataFrame:
    rows = []
    for g in range(chosen.arm.shape[1]):
        mine = levels == g + 1
        for place, limit in enumerate(rules.limits):
            arm = int(chosen.arm[place, g])
            own = mine if not chosen.pooled[g] else np.ones(len(levels), np.bool_)
            rows.append(
                {"level": g + 1, "budget": limit, "strategy": arms.arms[arm].strategy,
                 "generations": arms.arms[arm].budget, "cost": _nanmean(arms.cost[own, arm]),
                 "naive": _nanmean(naive.value[place, mine]), "pooled": bool(chosen.pooled[g]),
                 "agreed": float((picks[:, :, place, g] == arm).mean())}
                | summary(crossfitted.value[place, mine])
            )  # fmt: skip
    schema = {
        "level": pl.Int64, "budget": _budget_type(rules), "strategy": pl.String, "generations": pl.Int64, **FIGURES,
        "cost": pl.Float64, "naive": pl.Float64, "num_questions": pl.Int64, "pooled": pl.Boolean, "agreed": pl.Float64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


def gains_table(lines: Mapping[str, Means], rules: Rules) -> pl.DataFrame:
    rows = []
    for line, means in lines.items():
        if line in (CROSSFITTED, NAIVE, ENVELOPE):
            continue
        for place, limit in enumerate(rules.limits):
            figures_ = summary(lines[CROSSFITTED].value[place] - means.value[place])
            if figures_["num_questions"]:
                rows.append({"baseline": line, "budget": limit, "difference": figures_.pop("accuracy")} | figures_)
    schema = {
        "baseline": pl.String, "budget": _budget_type(rules), "difference": pl.Float64, "se": pl.Float64,
        "ci_low": pl.Float64, "ci_high": pl.Float64, "num_questions": pl.Int64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


def heldout_table(arms: Arms, means: Means, levels: Int64s, rules: Rules) -> pl.DataFrame:
    count, limits = len(arms.question_ids), list(rules.limits)
    return pl.DataFrame(
        {
            "question_id": pl.Series(arms.question_ids).repeat_by(len(limits)).explode(),
            "level": np.repeat(levels, len(limits)),
            "budget": pl.Series(limits * count, dtype=_budget_type(rules)),
            "accuracy": means.value.T.ravel(),
            "cost": means.cost.T.ravel(),
        },
        nan_to_null=True,
    )


def picks_table(arms: Arms, picks: Int64s, rules: Rules) -> pl.DataFrame:
    places = np.indices(picks.shape).reshape(4, -1)
    names = [*(arm.strategy for arm in arms.arms), None]
    budgets = [*(arm.budget for arm in arms.arms), None]
    flat = picks.ravel().tolist()
    return pl.DataFrame(
        {
            "split": places[0],
            "fold": places[1],
            "level": places[3] + 1,
            "budget": pl.Series([rules.limits[place] for place in places[2]], dtype=_budget_type(rules)),
            "strategy": pl.Series([names[arm] for arm in flat], dtype=pl.String),
            "generations": pl.Series([budgets[arm] for arm in flat], dtype=pl.Int64),
        }
    )


def folds_table(arms: Arms, folds: Int64s) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "split": np.repeat(np.arange(len(folds)), folds.shape[1]),
            "question_id": pl.Series(arms.question_ids * len(folds)),
            "fold": folds.ravel(),
        }
    )


def _budget_type(rules: Rules) -> Any:
    """Whole budgets are printed as such."""
    return pl.Int64 if all(isinstance(limit, int) for limit in rules.limits) else pl.Float64


def _nanmean(values: Float64s) -> float | None:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else None
