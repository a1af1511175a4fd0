"""Strategies side by side at each level of difficulty."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl

from tts_sim.charts.marks import CURVE, DETAILS, GROUPS, accuracy_axis, curve_of, layered, panels, rows_of, tips
from tts_sim.charts.theme import PANEL, series, strategy_name
from tts_sim.outcomes import Outcomes

PAPER_BUDGETS = (4, 16, 64, 256)  # Snell et al. 2024 (arXiv:2408.03314), Fig. 3 right


def accuracy_by_difficulty(
    outcomes: Outcomes | pl.DataFrame,
    strategies: Sequence[str] | None = None,
    budgets: Sequence[int] | None = None,
    *,
    by: str = "difficulty",
    width: int = PANEL,
    height: int = 200,
) -> alt.FacetChart:
    """One panel a level, in it a group of bars a budget and a bar a strategy, with 95 % intervals as lines.

    `strategies` (specs; default: all) chooses and orders the bars. `budgets`: default those of the paper's figure
    (4, 16, 64, 256) that every strategy has if there are three or more, else all that every strategy has.
    Raises ValueError if nothing is left to draw.
    """
    shown = curve_of(outcomes, by)
    if strategies is not None:
        names = [strategy_name(spec) for spec in strategies]
        shown = shown.filter(pl.col("strategy").is_in(names))
    else:
        names = shown["strategy"].unique(maintain_order=True).to_list()
    budgets = _common(shown) if budgets is None else budgets
    shown = shown.filter(pl.col("budget").is_in(list(budgets)))
    if shown.is_empty():
        raise ValueError(f"strategies {names}: no budget at which all of them have a figure.")
    look = series([name for name in names if name in shown["strategy"]])
    fields = ["strategy", by, "budget"]
    data = rows_of(shown, [*fields, *CURVE, *DETAILS])
    base = alt.Chart().encode(
        x=alt.X("budget:O", title="budget", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("strategy:N", scale=alt.Scale(domain=look.domain)),
    )
    bar = base.mark_bar().encode(
        y=accuracy_axis(zero=True), color=look.color, tooltip=tips(shown, fields), opacity=alt.value(0.85)
    )
    reach = base.mark_rule(strokeWidth=1.5, color="#24292f").encode(
        y=alt.Y("ci_low:Q", title="accuracy"), y2="ci_high:Q"
    )
    title = GROUPS.get(by, by)
    return panels(layered(bar, reach), data, by, columns=5, width=width, height=height, title=title)


def _common(shown: pl.DataFrame) -> list[int]:
    """See accuracy_by_difficulty."""
    held = [set(group["budget"].to_list()) for _, group in shown.group_by("strategy")]
    common = sorted(set.intersection(*held)) if held else []
    paper = [budget for budget in common if budget in PAPER_BUDGETS]
    return paper if len(paper) > 2 else common
