"""Accuracy by budget, over all questions or split by a group of them."""

from __future__ import annotations

import altair as alt
import polars as pl

from tts_sim.charts.theme import series, strategy_name

WIDTH, HEIGHT = 620, 340


def accuracy_by_budget(
    curve: pl.DataFrame, *, by: str | None = None, width: int = WIDTH, height: int = HEIGHT
) -> alt.LayerChart | alt.FacetChart:
    """Lines of accuracy over the budget in generations (log2), one a strategy, with 95 % t intervals as bands.

    `curve` is `Outcomes.curve(…)`; `by` names its group column and gives one small panel a group. Rows without a point
    estimate (support below .9) are left out: their bounds are in the tables.
    """
    shown = curve.filter(pl.col("accuracy").is_not_null()).with_columns(
        strategy=pl.col("strategy").map_elements(strategy_name, return_dtype=pl.String),
        ci_low=pl.coalesce("ci_low", "accuracy").clip(0, 1),
        ci_high=pl.coalesce("ci_high", "accuracy").clip(0, 1),
    )
    names = shown["strategy"].unique(maintain_order=True).to_list()
    columns = [
        "strategy",
        "budget",
        "accuracy",
        "se",
        "ci_low",
        "ci_high",
        "supported",
        "method",
        "tokens",
        "num_questions",
    ]
    rows = shown.select(*columns, *([by] if by else [])).to_dicts()
    encodings = series(names)
    base = alt.Chart().encode(
        x=alt.X(
            "budget:Q",
            scale=alt.Scale(type="log", base=2),
            axis=alt.Axis(values=sorted(shown["budget"].unique().to_list()), format="d"),
            title="budget (generations per question)",
        )
    )
    accuracy = alt.Y("accuracy:Q", title="accuracy", scale=alt.Scale(zero=False), axis=alt.Axis(format=".0%"))
    band = base.mark_area(opacity=0.1).encode(
        y=alt.Y("ci_low:Q", title="accuracy"), y2="ci_high:Q", color=encodings["color"]
    )
    line = base.mark_line(strokeWidth=2).encode(
        y=accuracy, color=encodings["color"], strokeDash=encodings["strokeDash"]
    )
    point = base.mark_point(filled=True, size=48, opacity=1).encode(
        y=accuracy,
        color=encodings["color"],
        shape=encodings["shape"],
        tooltip=[
            alt.Tooltip("strategy:N"),
            *([alt.Tooltip(f"{by}:O")] if by else []),
            alt.Tooltip("budget:Q"),
            alt.Tooltip("accuracy:Q", format=".3f"),
            alt.Tooltip("se:Q", format=".3f", title="standard error"),
            alt.Tooltip("ci_low:Q", format=".3f", title="95 % from"),
            alt.Tooltip("ci_high:Q", format=".3f", title="95 % to"),
            alt.Tooltip("tokens:Q", format=".0f", title="tokens per question"),
            alt.Tooltip("supported:Q", format=".1%", title="supported replays"),
            alt.Tooltip("method:N"),
            alt.Tooltip("num_questions:Q", title="questions"),
        ],
    )
    data = alt.InlineData(values=rows)
    layers = alt.layer(band, line, point)
    if by is None:
        return layers.properties(data=data, width=width, height=height)
    title = "difficulty (1 is easiest)" if by == "difficulty" else by
    panels = layers.properties(width=width // 2 - 40, height=height // 2)
    chart = panels.facet(facet=alt.Facet(f"{by}:O", title=title), columns=2, data=data)
    shared: alt.FacetChart = chart.resolve_scale(y="shared")
    return shared
