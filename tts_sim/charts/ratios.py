"""A budget of revisions split between long chains and many chains."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import polars as pl

from tts_sim.charts.marks import CURVE, DETAILS, GROUPS, accuracy_axis, curve_of, lines, panels, rows_of, tips
from tts_sim.charts.theme import HEIGHT, WIDTH, ordered
from tts_sim.outcomes import Outcomes
from tts_sim.spec import parse_strategy
from tts_sim.strategies.revise import Revise

RATIO = "datum.value >= 1 ? format(datum.value, 'd') + ':1' : '1:' + format(1 / datum.value, 'd')"


def accuracy_by_ratio(
    outcomes: Outcomes | pl.DataFrame,
    *,
    by: str | None = None,
    budget: int | None = None,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> alt.LayerChart | alt.FacetChart:
    """Accuracy over the ratio sequential : parallel (log2), one panel a selection, with 95 % t intervals as bands.

    Reads the rows of `revise(…)`. One line a budget; with `by` (a group, such as difficulty) one line a group, at
    `budget` (default: the largest). Lines of budgets with fewer than three ratios are left out.
    Raises ValueError if nothing is left to draw. Source: Snell et al. 2024 (arXiv:2408.03314), Fig. 7.
    """
    shown = shaped(curve_of(outcomes, by)).with_columns(ratio=pl.col("sequential") / pl.col("parallel"))
    if by is not None:
        chosen = shown["budget"].max() if budget is None else budget
        shown = shown.filter(pl.col("budget") == chosen)
    elif budget is not None:
        shown = shown.filter(pl.col("budget") == budget)
    shown = shown.filter(pl.col("ratio").n_unique().over("budget") > 2).sort("ratio", maintain_order=True)
    if shown.is_empty():
        raise ValueError(
            "outcomes without three ratios at one budget: replay revise(ratio=a:b) or revise(sequential=S)."
        )
    line = by or "budget"
    look = ordered(shown[line].drop_nulls().unique().sort().to_list(), line, GROUPS.get(line, line))
    fields = ["selection", "budget", *([by] if by else []), "split", "parallel", "sequential"]
    top = int(shown["ratio"].log(2).abs().max() or 0)  # type: ignore[arg-type]
    ticks = [2.0**power for power in range(-top, top + 1) if power % 2 == 0]
    x = alt.X(
        "ratio:Q",
        scale=alt.Scale(type="log", base=2),
        axis=alt.Axis(values=ticks, labelExpr=RATIO),
        title="sequential : parallel",
    )
    layers = lines(x, accuracy_axis(), look, tips(shown, fields), "accuracy")
    data = rows_of(shown, [*fields, "ratio", *CURVE, *DETAILS])
    if shown["selection"].n_unique() < 2:
        return layers.properties(data=data, width=width, height=height)
    half = width // 2 - 20
    return panels(layers, data, "selection", columns=2, width=half, height=height * 4 // 5, title=None)


def shaped(curve: pl.DataFrame) -> pl.DataFrame:
    """The rows of `revise(…)` with what their spec says at their budget, one row a shape.

    Columns selection, parallel (chains), sequential (attempts of each) and split, the ratio sequential:parallel as
    text. `curve` is that of marks.curve_of.
    """
    found = []
    for spec, budget in curve.select("spec", "budget").unique(maintain_order=True).iter_rows():
        strategy = parse_strategy(spec)
        if not isinstance(strategy.search, Revise):
            continue
        parallel, sequential = strategy.search.shape_at(budget)
        across = f", across={strategy.search.across}" if strategy.search.across else ""
        shared = math.gcd(parallel, sequential)
        split = f"{sequential // shared}:{parallel // shared}"
        found.append((spec, budget, f"{strategy.selection}{across}", parallel, sequential, split))
    schema: dict[str, Any] = {
        "spec": pl.String, "budget": curve.schema["budget"], "selection": pl.String, "parallel": pl.Int64,
        "sequential": pl.Int64, "split": pl.String,
    }  # fmt: skip
    shapes = pl.DataFrame(found, schema=schema, orient="row")
    return curve.join(shapes, on=["spec", "budget"], maintain_order="left")
