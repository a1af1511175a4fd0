"""What strategies cost, and how much of them the cache supports."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl

from tts_sim.charts.marks import CURVE, accuracy_axis, curve_of, layered, lines, named, panels, require, rows_of, tips
from tts_sim.charts.theme import HEIGHT, WIDTH, series
from tts_sim.intervals import t_quantile
from tts_sim.outcomes import KEYS, Outcomes

UNITS = {
    "tokens": "tokens generated",
    "critical_tokens": "critical tokens (longest chain)",
    "flops": "FLOPs, verifier included",
    "generator_flops": "FLOPs of the generator",
    "verifier_tokens": "tokens read by the verifier",
}


def known_units(frame: pl.DataFrame) -> list[str]:
    """Tokens, critical tokens and FLOPs (with the verifier's where every strategy's are known), as far as known."""
    complete = [unit for unit in UNITS if unit in frame.columns and frame[unit].null_count() < len(frame)]
    priced = "flops" in complete and frame["flops"].null_count() == frame["generator_flops"].null_count()
    left_out = {"generator_flops" if priced else "flops", "verifier_tokens"}
    return [unit for unit in complete if unit not in left_out]


def accuracy_by_cost(
    outcomes: Outcomes | pl.DataFrame, *, units: Sequence[str] | None = None, width: int = WIDTH, height: int = HEIGHT
) -> alt.FacetChart:
    """Accuracy over the mean cost of a question (log), one line a strategy and one panel a unit of cost.

    `units`: columns of the curve, by default tokens, critical tokens and FLOPs, where known. Bands are 95 % intervals
    of the accuracy. Raises ValueError for a unit that is not there, or if none is known.
    """
    shown = curve_of(outcomes)
    chosen = list(units) if units is not None else known_units(shown)
    require(shown, chosen, "Outcomes.curve")
    if not chosen:
        raise ValueError("outcomes without a cost: none of tokens, critical_tokens, flops is known.")
    shown = pl.concat(
        shown.select(
            "strategy",
            "budget",
            *CURVE,
            "num_questions",
            unit=pl.lit(UNITS.get(unit, unit)),
            cost=pl.col(unit).cast(pl.Float64),
        )
        for unit in chosen
    ).filter(pl.col("cost") > 0)
    fields = ["strategy", "budget", "unit"]
    x = alt.X(
        "cost:Q",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(format="~s", tickCount=5, labelOverlap="greedy"),
        title="cost per question",
    )
    look = series(shown["strategy"].unique(maintain_order=True).to_list())
    layers = lines(x, accuracy_axis(), look, tips(shown, fields), "accuracy")
    data = rows_of(shown, [*fields, "cost", *CURVE, "num_questions"])
    each = width // min(3, len(chosen)) - 20
    chart = panels(layers, data, "unit", columns=3, width=each, height=height * 4 // 5, title=None)
    own: alt.FacetChart = chart.resolve_scale(x="independent")
    return own


def costs_by_strategy(
    outcomes: Outcomes,
    *,
    budget: int | None = None,
    units: Sequence[str] | None = None,
    width: int = WIDTH,
    row: int = 26,
) -> alt.FacetChart:
    """What a question costs with each strategy at one budget: a point with its 95 % t interval over questions.

    `budget`: by default the largest that every strategy has, or the largest of all. One panel a unit (see
    accuracy_by_cost), each with its own log axis. Raises ValueError for a budget that nothing has or no known cost.
    """
    frame = named(outcomes.frame)
    chosen = list(units) if units is not None else known_units(frame)
    require(frame, chosen, "Outcomes.frame")
    held = [set(part["budget"].to_list()) for _, part in frame.group_by("strategy")]
    common = set.intersection(*held) if held else set()
    at = budget if budget is not None else max(common or set().union(*held), default=0)
    frame = frame.filter((pl.col("budget") == at) & (pl.col("supported") > 0))
    if frame.is_empty() or not chosen:
        raise ValueError(f"budget {at}: no strategy has a known cost there.")
    summary = pl.concat(
        frame.group_by("strategy", maintain_order=True).agg(
            unit=pl.lit(UNITS.get(unit, unit)),
            cost=pl.col(unit).mean().cast(pl.Float64),
            se=pl.col(unit).std() / pl.col(unit).count().sqrt(),
            num_questions=pl.col(unit).count().cast(pl.Int64),
        )
        for unit in chosen
    ).filter(pl.col("cost") > 0)
    reach = {n: t_quantile(0.975, n - 1) for n in summary["num_questions"].unique() if n > 1}
    half = pl.col("num_questions").replace_strict(reach, default=None, return_dtype=pl.Float64) * pl.col("se")
    half = half.fill_null(0.0)
    summary = summary.with_columns(
        ci_low=(pl.col("cost") - half).clip(pl.col("cost") / 100), ci_high=pl.col("cost") + half, budget=pl.lit(at)
    )
    look = series(summary["strategy"].unique(maintain_order=True).to_list())
    title = f"per question at budget {at}"
    x = alt.X(
        "cost:Q",
        scale=alt.Scale(type="log", nice=True),
        axis=alt.Axis(format="~s", tickCount=3, labelOverlap="greedy"),
        title=title,
    )
    base = alt.Chart().encode(
        y=alt.Y("strategy:N", title=None, sort=look.domain, axis=alt.Axis(labelLimit=240)),
        color=alt.Color("strategy:N", scale=look.scale, legend=None),
    )
    rule = base.mark_rule(strokeWidth=2).encode(x=alt.X("ci_low:Q", title=title), x2="ci_high:Q")
    point = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=x,
        shape=alt.Shape("strategy:N", scale=look.shapes, legend=None),
        tooltip=[
            alt.Tooltip("strategy:N"),
            alt.Tooltip("unit:N"),
            alt.Tooltip("cost:Q", format=",.4~g"),
            alt.Tooltip("ci_low:Q", format=",.4~g", title="95 % from"),
            alt.Tooltip("ci_high:Q", format=",.4~g", title="95 % to"),
            alt.Tooltip("num_questions:Q", title="questions"),
        ],
    )
    data = rows_of(summary, ["strategy", "unit", "cost", "ci_low", "ci_high", "num_questions"])
    each = (width - 180) // min(3, len(chosen))
    height = row * summary["strategy"].n_unique()
    chart = panels(layered(rule, point), data, "unit", columns=3, width=each, height=height, title=None)
    own: alt.FacetChart = chart.resolve_scale(x="independent")
    return own


def support(outcomes: Outcomes | pl.DataFrame, *, column: int = 52, row: int = 26) -> alt.LayerChart:
    """Share of replays that found every draw in the cache, by strategy and budget, as a table of shaded cells.

    Below .9 (outlined) no figure is given, only bounds. Raises ValueError for a frame that is no curve.
    """
    curve = outcomes.curve() if isinstance(outcomes, Outcomes) else outcomes
    require(curve, [*KEYS, "supported", "lower", "upper", "method"], "Outcomes.curve")
    shown = named(curve.with_columns(pl.selectors.float().fill_nan(None)))
    names = shown["strategy"].unique(maintain_order=True).to_list()
    base = alt.Chart().encode(
        x=alt.X("budget:O", title="budget (generations per question)", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("strategy:N", title=None, sort=names, axis=alt.Axis(labelLimit=240)),
        tooltip=[
            alt.Tooltip("strategy:N"),
            alt.Tooltip("budget:Q"),
            alt.Tooltip("supported:Q", format=".2%"),
            alt.Tooltip("lower:Q", format=".3f", title="accuracy at least"),
            alt.Tooltip("upper:Q", format=".3f", title="accuracy at most"),
            alt.Tooltip("method:N"),
        ],
    )
    enough = alt.value("white")
    cell = base.mark_rect(strokeWidth=2).encode(
        color=alt.Color(
            "supported:Q",
            scale=alt.Scale(domain=[0, 1], range=["#ffffff", "#0072B2"], interpolate="rgb"),
            legend=alt.Legend(title="supported", orient="top", format=".0%", gradientLength=160),
        ),
        stroke=alt.condition("datum.supported < 0.9", alt.value("#D55E00"), enough),
    )
    text = base.mark_text(fontSize=11).encode(
        text=alt.Text("supported:Q", format=".0%"),
        color=alt.condition("datum.supported > 0.55", alt.value("white"), alt.value("#24292f")),
    )
    data = rows_of(shown, ["strategy", "budget", "supported", "lower", "upper", "method"])
    return layered(cell, text).properties(data=data, width=alt.Step(column), height=row * len(names))
