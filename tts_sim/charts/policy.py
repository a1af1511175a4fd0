"""The compute-optimal policy beside its baselines, and what it chooses where."""

from __future__ import annotations

import math

import altair as alt
import polars as pl

from tts_sim.charts.marks import (
    CURVE,
    GROUPS,
    accuracy_axis,
    bounded,
    layered,
    lines,
    log_axis,
    named,
    panels,
    require,
    rows_of,
    tips,
)
from tts_sim.charts.theme import HEIGHT, WIDTH, series, strategy_name

LINES = (
    "policy, cross-fitted",
    "policy, charged",
    "policy, naive",
    "envelope (oracle, per question)",
)


def policy_by_budget(
    curves: pl.DataFrame,
    *,
    x: str = "budget",
    unit: str = "generations per question",
    width: int = WIDTH,
    height: int = HEIGHT,
) -> alt.LayerChart | alt.FacetChart:
    """Accuracy of the policy over the budget: cross-fitted, charged and naive, the envelope, and the baselines.

    `curves` is the frame of `policy_curves`; one panel a difficulty (oracle, predicted), where lines without one are in
    each. `x`: the budget, or the mean realised `cost`. Bands are 95 % intervals.
    Raises ValueError for another frame or another `x`.
    """
    require(curves, ["line", "difficulty", "budget", "cost", *CURVE], "policy_curves")
    if x not in ("budget", "cost"):
        raise ValueError(f"x={x!r}: expected budget or cost.")
    curves = curves.rename({"difficulty": "chooses_by"})
    kinds = curves["chooses_by"].drop_nulls().unique(maintain_order=True).to_list()
    everywhere = curves.filter(pl.col("chooses_by").is_null()).drop("chooses_by")
    shown = pl.concat(
        [
            curves.filter(pl.col("chooses_by").is_not_null()),
            *[everywhere.with_columns(chooses_by=pl.lit(kind)).select(curves.columns) for kind in kinds],
        ]
        if kinds
        else [curves]
    )
    shown = bounded(shown.with_columns(line=pl.col("line").map_elements(strategy_name, return_dtype=pl.String)))
    shown = shown.filter(pl.col("accuracy").is_not_null() & pl.col(x).is_not_null())
    names = shown["line"].unique(maintain_order=True).to_list()
    order = [name for name in LINES if name in names] + [name for name in names if name not in LINES]
    fields = ["line", "chooses_by", "budget"]
    data = rows_of(shown, [*fields, *CURVE, "cost", "num_questions"])
    ticks = sorted({2.0 ** round(math.log2(value)) for value in shown[x].to_list() if value > 0})
    title = f"budget ({unit})" if x == "budget" else f"mean cost ({unit})"
    layers = lines(log_axis(x, title, ticks), accuracy_axis(), series(order, "line"), tips(shown, fields), "accuracy")
    if len(kinds) < 2:
        return layers.properties(data=data, width=width, height=height)
    half = width // 2 - 20
    return panels(
        layers, data, "chooses_by", columns=2, width=half, height=height, title="the policy chooses by … difficulty"
    )


def policy_choices(choices: pl.DataFrame, *, column: int = 64, row: int = 36) -> alt.LayerChart:
    """The strategy that a policy chooses at each level (1 is easiest) and budget, told by colour and by shape.

    `choices` has the columns level, budget, strategy, accuracy, ci_low and ci_high, as the table of a policy.
    Raises ValueError for another frame.
    """
    require(choices, ["level", "budget", "strategy", "accuracy", "ci_low", "ci_high"], "the table of a policy")
    shown = named(choices.with_columns(pl.selectors.float().fill_nan(None)))
    look = series(shown["strategy"].unique(maintain_order=True).to_list(), columns=2)
    fields = ["strategy", "level", "budget"]
    details = ["accuracy", "ci_low", "ci_high", "cost", "num_questions"]
    base = alt.Chart().encode(
        x=alt.X("budget:O", title="budget", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("level:O", title=GROUPS["difficulty"]),
        tooltip=tips(shown, fields),
    )
    cell = base.mark_rect(stroke="white", strokeWidth=2).encode(color=look.color)
    sign = base.mark_point(filled=True, size=70, opacity=1, color="white").encode(shape=look.shape)
    layers = layered(cell, sign).properties(data=rows_of(shown, [*fields, *details]), width=alt.Step(column))
    return layers.properties(height=row * max(1, shown["level"].n_unique()))
