"""What the charts of accuracy are made of: rows with names, axes, tooltips, lines inside their intervals, panels."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl

from tts_sim.charts.theme import Look, strategy_name
from tts_sim.outcomes import Outcomes

CURVE = ["accuracy", "se", "ci_low", "ci_high"]
DETAILS = ["supported", "method", "tokens", "num_questions"]
GROUPS = dict.fromkeys(("difficulty", "bin"), "difficulty (1 is easiest)") | {"level": "level"}


def curve_of(outcomes: Outcomes | pl.DataFrame, by: str | None = None) -> pl.DataFrame:
    """The rows of `Outcomes.curve(by=…)` that have a figure, `strategy` as people call it, bounds within [0, 1].

    Where a strategy was judged by several verifiers or replayed on several runs its name says which.
    Raises ValueError for a frame without the columns that are needed.
    """
    curve = outcomes.curve(by=by) if isinstance(outcomes, Outcomes) else outcomes  # type: ignore[arg-type]
    require(curve, ["strategy", "budget", *CURVE, *([by] if by else [])], "Outcomes.curve")
    return bounded(named(curve)).filter(pl.col("accuracy").is_not_null())


def require(frame: pl.DataFrame, columns: Sequence[str], source: str) -> None:
    """Raises ValueError unless the frame has the columns; `source` says what makes such a frame."""
    lacking = [column for column in columns if column not in frame.columns]
    if lacking:
        raise ValueError(f"frame without {', '.join(lacking)}: expected the columns of {source}.")


def named(curve: pl.DataFrame) -> pl.DataFrame:
    """`strategy` as people call it, with its verifier or run where it comes with several; `spec` is what it was."""
    name = pl.col("strategy").map_elements(strategy_name, return_dtype=pl.String)
    for column in ("verifier", "run"):
        if column in curve.columns:
            several = pl.col(column).drop_nulls().n_unique().over("strategy") > 1
            suffix = pl.when(several).then(pl.format(", {}", pl.col(column).fill_null("no verifier")))
            name = name + suffix.otherwise(pl.lit(""))
    return curve.with_columns(strategy=name, spec=pl.col("strategy"))


def bounded(frame: pl.DataFrame, value: str = "accuracy") -> pl.DataFrame:
    """NaN as null, and ci_low and ci_high within [0, 1], at the value itself where there is no interval."""
    frame = frame.with_columns(pl.selectors.float().fill_nan(None))
    return frame.with_columns(pl.coalesce(end, value).clip(0, 1).alias(end) for end in ("ci_low", "ci_high"))


def rows_of(frame: pl.DataFrame, columns: Sequence[str]) -> alt.InlineData:
    """Those of the columns that the frame has, as data inside the chart."""
    kept = list(dict.fromkeys(column for column in columns if column in frame.columns))
    return alt.InlineData(values=frame.select(kept).to_dicts())


def budget_axis(budgets: Sequence[float], title: str = "budget (generations per question)") -> alt.X:
    """log2 axis with a tick at each budget."""
    return log_axis("budget", title, sorted(set(budgets)))


def log_axis(field: str, title: str, ticks: Sequence[float]) -> alt.X:
    """log2 axis with ticks at the given places."""
    axis = alt.Axis(values=list(ticks), format="~g", labelOverlap="greedy", labelSeparation=4, grid=True)
    return alt.X(f"{field}:Q", scale=alt.Scale(type="log", base=2), axis=axis, title=title)


def accuracy_axis(field: str = "accuracy", title: str = "accuracy", zero: bool = False) -> alt.Y:
    """Percent, from 0 or from the smallest figure."""
    return alt.Y(f"{field}:Q", title=title, scale=alt.Scale(zero=zero), axis=alt.Axis(format=".0%"))


def tips(frame: pl.DataFrame, fields: Sequence[str], value: str = "accuracy") -> list[alt.Tooltip]:
    """Tooltip lines: the fields, the value with its interval, and the details that the frame has."""
    lines = [alt.Tooltip(f"{field}:N", title=GROUPS.get(field, field.replace("_", " "))) for field in fields]
    lines.append(alt.Tooltip(f"{value}:Q", format=".3f", title=value.replace("_", " ")))
    known: list[tuple[str, str, str]] = [
        ("se", ".3f", "standard error"),
        ("ci_low", ".3f", "95 % from"),
        ("ci_high", ".3f", "95 % to"),
        ("cost", ".4~g", "mean cost"),
        ("tokens", ".0f", "tokens per question"),
        ("supported", ".1%", "supported replays"),
    ]
    lines += [alt.Tooltip(f"{name}:Q", format=form, title=title) for name, form, title in known if name in frame]
    if "method" in frame:
        lines.append(alt.Tooltip("method:N"))
    if "num_questions" in frame:
        lines.append(alt.Tooltip("num_questions:Q", title="questions"))
    return lines


def lines(x: alt.X, y: alt.Y, look: Look, tooltip: list[alt.Tooltip], title: str) -> alt.LayerChart:
    """Lines with points inside bands from ci_low to ci_high; the data come from the chart that it is put into."""
    base = alt.Chart().encode(x=x)
    band = base.mark_area(opacity=0.1).encode(y=alt.Y("ci_low:Q", title=title), y2="ci_high:Q", color=look.color)
    line = base.mark_line(strokeWidth=2).encode(y=y, color=look.color, strokeDash=look.dash)
    point = base.mark_point(filled=True, size=48, opacity=1).encode(
        y=y, color=look.color, shape=look.shape, tooltip=tooltip
    )
    return layered(band, line, point)


def layered(*charts: alt.Chart | alt.LayerChart) -> alt.LayerChart:
    """The charts on top of each other."""
    layers = alt.layer(*charts)
    assert isinstance(layers, alt.LayerChart)
    return layers


def panels(
    layers: alt.LayerChart, data: alt.InlineData, by: str, *, columns: int, width: int, height: int, title: str | None
) -> alt.FacetChart:
    """One panel a value of `by`: numbers in their order, texts in that of the data; the y axis is shared."""
    order = list(dict.fromkeys(row[by] for row in data.values))
    if not any(isinstance(value, str) for value in order):
        order.sort(key=lambda value: (value is None, value))
    facet = alt.Facet(f"{by}:N", title=title, sort=order, header=alt.Header(labelLimit=300, labelFontWeight="bold"))
    chart = layers.properties(width=width, height=height).facet(facet=facet, columns=columns, data=data)
    shared: alt.FacetChart = chart.resolve_axis(x="independent")
    return shared
