"""Accuracy by budget, over all questions or split by a group of them."""

from __future__ import annotations

import altair as alt
import polars as pl

from tts_sim.charts.marks import (
    CURVE,
    DETAILS,
    GROUPS,
    accuracy_axis,
    budget_axis,
    curve_of,
    lines,
    panels,
    rows_of,
    tips,
)
from tts_sim.charts.theme import HEIGHT, WIDTH, series
from tts_sim.outcomes import Outcomes


def accuracy_by_budget(
    outcomes: Outcomes | pl.DataFrame, *, by: str | None = None, width: int = WIDTH, height: int = HEIGHT
) -> alt.LayerChart | alt.FacetChart:
    """Lines of accuracy over the budget in generations (log2), one a strategy, with 95 % t intervals as bands.

    Takes Outcomes or their curve; `by` names a group and gives one small panel a group. Rows without a point estimate
    (support below .9) are left out: their bounds are in the tables.
    """
    shown = curve_of(outcomes, by)
    look = series(shown["strategy"].unique(maintain_order=True).to_list())
    fields = ["strategy", *([by] if by else []), "budget"]
    data = rows_of(shown, [*fields, *CURVE, *DETAILS])
    x = budget_axis(shown["budget"].to_list(), "budget (generations per question)" if by is None else "budget")
    layers = lines(x, accuracy_axis(), look, tips(shown, fields), "accuracy")
    if by is None:
        return layers.properties(data=data, width=width, height=height)
    title = GROUPS.get(by, by)
    return panels(layers, data, by, columns=3, width=width // 3 - 20, height=height // 2, title=title)
