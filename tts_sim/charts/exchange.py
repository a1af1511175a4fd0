"""Test-time against pretraining compute: what the small model reaches where a larger one costs the same."""

from __future__ import annotations

import math

import altair as alt
import polars as pl

from tts_sim.charts.marks import (
    CURVE,
    GROUPS,
    accuracy_axis,
    bounded,
    curve_of,
    layered,
    lines,
    log_axis,
    panels,
    require,
    rows_of,
    tips,
)
from tts_sim.charts.theme import ALL, HEIGHT, WIDTH, ordered
from tts_sim.outcomes import Outcomes

TABLE = ["bin", "R", "convention", "x", "small", "large", "difference", "se", "ci_low", "ci_high", "status"]
OUTSIDE = "datum.status !== 'inside'"
STAR = "M0,-1L0.25,-0.31L0.95,-0.31L0.38,0.12L0.59,0.81L0,0.4L-0.59,0.81L-0.38,0.12L-0.95,-0.31L-0.25,-0.31Z"


def exchange_curves(
    small: Outcomes | pl.DataFrame,
    table: pl.DataFrame,
    *,
    convention: str | None = None,
    width: int = WIDTH,
    height: int = HEIGHT + 40,
) -> alt.LayerChart:
    """Accuracy of the small model over its samples x, by difficulty, and a star for the larger model at each x(R).

    A star below the line of its colour: there test-time compute is the better buy. Hollow stars lie beyond the cache or
    below what it holds. `small`: Outcomes of one strategy with their difficulty, or a frame with the columns bin (null:
    all questions), budget, accuracy, se, ci_low, ci_high. `table`: that of `exchange_table`, of which one `convention`
    is drawn (default: the first).
    Raises ValueError for other frames and an unknown convention. Source: Snell et al. 2024 (arXiv:2408.03314), Fig. 9.
    """
    require(table, TABLE, "exchange_table")
    stars = _levelled(_of_convention(table, convention)).filter(pl.col("large").is_not_null())
    curve = _levelled(_curve(small))
    if any(level != ALL for level in stars["bin"]):  # then the line of all questions is one too many
        curve, stars = (frame.filter(pl.col("bin") != ALL) for frame in (curve, stars))
    look = ordered(levels_of(curve, stars), "bin", GROUPS["bin"], offset=30)
    stars = stars.filter(pl.col("x").is_finite() & (pl.col("x") > 0)).with_columns(budget="x", accuracy="large")
    places = [1.0, *curve["budget"].to_list(), *stars["budget"].to_list()]
    powers = range(math.floor(math.log2(min(places))), math.ceil(math.log2(max(places))) + 1)
    x = log_axis("budget", "samples of the small model per question (x)", [2.0**power for power in powers])
    x = x.scale(type="log", base=2, domain=[min(places), 1.1 * max(places)], nice=False)
    fields = ["bin", "budget"]
    drawn = lines(x, accuracy_axis(zero=True), look, tips(curve, fields), "accuracy")
    drawn = drawn.properties(data=rows_of(curve, [*fields, *CURVE, "num_questions"]))
    at = alt.Chart(rows_of(stars, [*TABLE, "budget", "accuracy"])).encode(
        x="budget:Q",
        y="accuracy:Q",
        tooltip=[*_where(), alt.Tooltip("large:Q", format=".3f", title="larger model"), *_how_far()],
    )
    star = at.mark_point(shape=STAR, filled=True, size=260, opacity=1).encode(color=look.color)
    hole = at.mark_point(shape=STAR, filled=True, size=90, opacity=1, color="white").transform_filter(OUTSIDE)
    marked = stars.select("budget", label=pl.format("R = {}", pl.col("R").map_elements(short, pl.String))).unique()
    places_of = alt.Chart(rows_of(marked, ["budget", "label"])).encode(x="budget:Q")
    rule = places_of.mark_rule(strokeDash=[2, 3], color="#8c959f")
    label = places_of.mark_text(dy=-11, baseline="bottom", fontSize=11).encode(text="label:N", y=alt.value(0))
    return layered(rule, drawn, star, hole, label).properties(width=width, height=height)


def exchange_differences(
    table: pl.DataFrame, *, width: int = WIDTH, height: int = HEIGHT * 2 // 3
) -> alt.LayerChart | alt.FacetChart:
    """Accuracy of the small model at x(R) less that of the larger one, by R and difficulty, with 95 % intervals.

    Above 0 test-time compute is the better buy. One panel a convention; hollow points lie beyond the cache. Takes the
    frame of `exchange_table`; raises ValueError for another.
    """
    require(table, TABLE, "exchange_table")
    shown = _levelled(table).filter(pl.col("difference").is_not_null())
    shown = shown.with_columns(
        *[pl.coalesce(end, "difference").alias(end) for end in ("ci_low", "ci_high")],
        ratio=pl.col("R").map_elements(short, pl.String),
    )
    bins = levels_of(shown)
    look = ordered(bins, "bin", GROUPS["bin"])
    ratios = [short(ratio) for ratio in sorted(set(shown["R"]))]
    title = "small less larger model"
    base = alt.Chart().encode(
        x=alt.X("ratio:O", title="R (inference over pretraining tokens)", sort=ratios, axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("bin:N", scale=alt.Scale(domain=bins)),
        color=look.color,
    )
    reach = base.mark_rule(strokeWidth=2).encode(y=alt.Y("ci_low:Q", title=title), y2="ci_high:Q")
    at = base.encode(
        y=alt.Y("difference:Q", title=title, axis=alt.Axis(format="+.0%")),
        shape=look.shape,
        tooltip=[*_where(), *_how_far()],
    )
    point = at.mark_point(filled=True, size=70, opacity=1)
    hole = at.encode(color=alt.value("white")).mark_point(filled=True, size=20, opacity=1).transform_filter(OUTSIDE)
    zero = alt.Chart().mark_rule(color="#24292f").encode(y=alt.datum(0))
    layers, data = layered(zero, reach, point, hole), rows_of(shown, [*TABLE, "ratio"])
    conventions = shown["convention"].n_unique()
    if conventions < 2:
        return layers.properties(data=data, width=width, height=height)
    each = width // min(3, conventions) - 20
    return panels(layers, data, "convention", columns=3, width=each, height=height, title=None)


def levels_of(*frames: pl.DataFrame) -> list[str]:
    """The levels of the frames' column bin, which are texts, in order, `all` last."""
    return sorted(
        {level for frame in frames for level in frame["bin"]}, key=lambda level: (level == ALL, len(level), level)
    )


def short(value: float) -> str:
    """Three digits; ∞ for infinity."""
    return "∞" if math.isinf(value) else f"{value:.3g}"


def _levelled(frame: pl.DataFrame) -> pl.DataFrame:
    """`bin` as text, null as `all`; NaN as null."""
    frame = frame.with_columns(pl.selectors.float().fill_nan(None))
    return frame.with_columns(pl.col("bin").cast(pl.String).fill_null(ALL))


def _of_convention(table: pl.DataFrame, convention: str | None) -> pl.DataFrame:
    known = table["convention"].unique(maintain_order=True).to_list()
    if convention is not None and convention not in known:
        raise ValueError(f"convention {convention!r}: the table holds {', '.join(known) or 'none'}.")
    return table.filter(pl.col("convention") == (convention or known[0])) if known else table


def _curve(small: Outcomes | pl.DataFrame) -> pl.DataFrame:
    if isinstance(small, Outcomes):
        curve = curve_of(small, "difficulty").rename({"difficulty": "bin"})
        if curve["spec"].n_unique() > 1:
            raise ValueError(f"small holds {curve['spec'].n_unique()} strategies: expected one.")
        return curve
    require(small, ["bin", "budget", *CURVE], "a curve by bin")
    return bounded(small).filter(pl.col("accuracy").is_not_null())


def _where() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("bin:N", title=GROUPS["bin"]),
        alt.Tooltip("R:Q", format=".3~g"),
        alt.Tooltip("x:Q", format=".4~g", title="x(R), samples for one answer"),
        alt.Tooltip("convention:N"),
        alt.Tooltip("status:N", title="x(R) is"),
    ]


def _how_far() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("small:Q", format=".3f", title="small model at x(R)"),
        alt.Tooltip("difference:Q", format="+.3f", title="small less larger"),
        alt.Tooltip("ci_low:Q", format="+.3f", title="95 % from"),
        alt.Tooltip("ci_high:Q", format="+.3f", title="95 % to"),
    ]
