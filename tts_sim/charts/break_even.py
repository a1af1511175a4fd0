"""Up to which workload a small model with test-time compute is the better buy."""

from __future__ import annotations

import math

import altair as alt
import polars as pl

from tts_sim.charts.exchange import levels_of, short
from tts_sim.charts.marks import GROUPS, layered, panels, require, rows_of
from tts_sim.charts.theme import ALL, WIDTH, ordered

COLUMNS = ["bin", "convention", "x_star", "r_star", "r_low", "r_high"]
KINDS = {"never": "triangle-left", "up to R*": "circle", "at every R": "triangle-right"}


def break_even_ratios(table: pl.DataFrame, *, width: int = WIDTH, row: int = 34) -> alt.LayerChart | alt.FacetChart:
    """R*, up to which test-time compute is the better buy, by difficulty, with 95 % intervals; a panel a convention.

    Takes the frame of `break_even`. 0 (never) and ∞ (at every R) stand at the ends of the axis, as triangles.
    Raises ValueError for another frame.
    """
    require(table, COLUMNS, "break_even")
    shown = table.with_columns(pl.selectors.float().fill_nan(None)).filter(pl.col("r_star").is_not_null())
    shown = shown.with_columns(pl.col("bin").cast(pl.String).fill_null(ALL))
    ratios = ["r_star", "r_low", "r_high"]
    finite = [value for name in ratios for value in shown[name].drop_nulls() if value > 0 and math.isfinite(value)]
    low = 10.0 ** (math.floor(math.log10(min(finite, default=1))) - 1)
    high = 10.0 ** (math.ceil(math.log10(max(finite, default=1))) + 1)
    kinds = list(KINDS)
    shown = shown.with_columns(
        *[pl.coalesce(name, "r_star").clip(low, high).alias(f"{name}_at") for name in ratios],
        *[pl.col(name).map_elements(short, pl.String).alias(f"{name}_is") for name in ratios],
        verdict=pl.when(pl.col("r_star") == 0)
        .then(pl.lit(kinds[0]))
        .otherwise(pl.when(pl.col("r_star").is_infinite()).then(pl.lit(kinds[2])).otherwise(pl.lit(kinds[1]))),
    )
    bins = levels_of(shown)
    colour = alt.Color("bin:N", scale=ordered(bins, "bin", "").scale, legend=None)
    x = alt.X(
        "r_star_at:Q",
        scale=alt.Scale(type="log", domain=[low, high]),
        axis=alt.Axis(
            values=[10.0**power for power in range(round(math.log10(low)), round(math.log10(high)) + 1)],
            format="~g",
            labelOverlap="greedy",
            labelSeparation=4,
        ),
        title="break-even R",
    )
    base = alt.Chart().encode(y=alt.Y("bin:N", title=GROUPS["bin"], sort=bins), color=colour)
    reach = base.mark_rule(strokeWidth=3, opacity=0.5).encode(
        x=alt.X("r_low_at:Q", title="break-even R"), x2="r_high_at:Q"
    )
    legend = alt.Legend(title="test-time compute is the better buy", orient="top", titleLimit=400)
    point = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=x,
        shape=alt.Shape("verdict:N", scale=alt.Scale(domain=kinds, range=list(KINDS.values())), legend=legend),
        tooltip=[
            alt.Tooltip("bin:N", title=GROUPS["bin"]),
            alt.Tooltip("convention:N"),
            alt.Tooltip("r_star_is:N", title="R*"),
            alt.Tooltip("r_low_is:N", title="95 % from"),
            alt.Tooltip("r_high_is:N", title="95 % to"),
            alt.Tooltip("x_star:Q", format=".4~g", title="samples that equal the larger model"),
        ],
    )
    kept = [f"{name}_{kind}" for name in ratios for kind in ("at", "is")]
    layers, data = layered(reach, point), rows_of(shown, ["bin", "convention", "x_star", "verdict", *kept])
    conventions, height = shown["convention"].n_unique(), row * max(1, len(bins))
    if conventions < 2:
        return layers.properties(data=data, width=width, height=height)
    each = width // min(3, conventions) - 20
    return panels(layers, data, "convention", columns=3, width=each, height=height, title=None)
