"""Verifiers: whether their scores are probabilities, and what a worse one costs."""

from __future__ import annotations

import altair as alt
import polars as pl

from tts_sim.charts.marks import (
    CURVE,
    DETAILS,
    accuracy_axis,
    bounded,
    budget_axis,
    layered,
    lines,
    panels,
    require,
    rows_of,
    tips,
)
from tts_sim.charts.theme import HEIGHT, WIDTH, series, strategy_name
from tts_sim.intervals import t_quantile
from tts_sim.outcomes import Outcomes

NONE = "none (majority)"


def calibration_curve(bins: pl.DataFrame, *, width: int = HEIGHT, height: int = HEIGHT) -> alt.LayerChart:
    """Share of right solutions over their mean score, by tenth of the score, one line a verifier.

    Takes the frame of `tts_sim.calibration`. Rules are 95 % t intervals over questions, the size of a point says how
    many solutions it holds, and on the diagonal a score is a probability. Raises ValueError for another frame.
    """
    columns = ["verifier", "decile", "num_solutions", "num_questions", "mean_score", "mean_correct", "se"]
    require(bins, columns, "calibration")
    counts = bins["num_questions"].unique().to_list()
    reach = {n: t_quantile(0.975, n - 1) for n in counts if n > 1}
    half = pl.col("num_questions").replace_strict(reach, default=None, return_dtype=pl.Float64) * pl.col("se")
    shown = bounded(
        bins.with_columns(ci_low=pl.col("mean_correct") - half, ci_high=pl.col("mean_correct") + half), "mean_correct"
    )
    look = series(shown["verifier"].unique(maintain_order=True).to_list(), "verifier")
    low, high = min(0.0, float(shown["mean_score"].min())), max(1.0, float(shown["mean_score"].max()))  # type: ignore[arg-type]
    base = alt.Chart().encode(
        x=alt.X("mean_score:Q", title="mean score", scale=alt.Scale(domain=[low, high])), color=look.color
    )
    y = accuracy_axis("mean_correct", "share of right solutions", zero=True)
    rule = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("ci_low:Q", title="share of right solutions"), y2="ci_high:Q")
    line = base.mark_line(strokeWidth=1.5).encode(y=y, strokeDash=look.dash)
    point = base.mark_point(filled=True, opacity=1).encode(
        y=y,
        shape=look.shape,
        size=alt.Size(
            "num_solutions:Q",
            title="solutions",
            scale=alt.Scale(range=[20, 300]),
            legend=alt.Legend(orient="right", tickCount=3, symbolFillColor="#57606a", symbolStrokeWidth=0),
        ),
        tooltip=[
            *tips(shown, ["verifier", "decile", "num_solutions"], "mean_correct"),
            alt.Tooltip("mean_score:Q", format=".3f", title="mean score"),
        ],
    )
    ends = alt.InlineData(values=[{"mean_score": 0, "mean_correct": 0}, {"mean_score": 1, "mean_correct": 1}])
    diagonal = alt.Chart(ends).mark_line(color="#8c959f", strokeDash=[3, 3], strokeWidth=1)
    diagonal = diagonal.encode(x="mean_score:Q", y="mean_correct:Q")
    layers = layered(rule, line, point).properties(data=rows_of(shown, [*columns, "run", "ci_low", "ci_high"]))
    return layered(diagonal, layers).properties(width=width, height=height)


def accuracy_by_verifier(
    outcomes: Outcomes | pl.DataFrame, *, width: int = WIDTH, height: int = HEIGHT
) -> alt.LayerChart | alt.FacetChart:
    """Accuracy over the budget, one line a verifier and one panel a strategy that uses it, with 95 % t intervals.

    `outcomes` hold the same strategies judged by several verifiers; majority, where it is there, is drawn in every
    panel. Raises ValueError if no strategy uses a verifier. Source: Snell et al. 2024 (arXiv:2408.03314), App. K.
    """
    curve = outcomes.curve() if isinstance(outcomes, Outcomes) else outcomes
    require(curve, ["strategy", "verifier", "budget", *CURVE], "Outcomes.curve")
    curve = bounded(curve).filter(pl.col("accuracy").is_not_null())
    judged = curve.filter(pl.col("verifier").is_not_null())
    if judged.is_empty():
        raise ValueError("outcomes without a strategy that uses a verifier.")
    specs = judged["strategy"].unique(maintain_order=True).to_list()
    majority = curve.filter(pl.col("verifier").is_null() & (pl.col("strategy") == "sample+majority"))
    majority = majority.with_columns(verifier=pl.lit(NONE))
    shown = pl.concat([judged, *[majority.with_columns(strategy=pl.lit(spec)) for spec in specs]])
    shown = shown.with_columns(strategy=pl.col("strategy").map_elements(strategy_name, return_dtype=pl.String))
    look = series(shown["verifier"].unique(maintain_order=True).to_list(), "verifier")
    fields = ["verifier", "strategy", "budget"]
    data = rows_of(shown, [*fields, *CURVE, *DETAILS])
    layers = lines(budget_axis(shown["budget"].to_list()), accuracy_axis(), look, tips(shown, fields), "accuracy")
    if len(specs) == 1:
        return layers.properties(data=data, width=width, height=height)
    half = width // 2 - 20
    return panels(layers, data, "strategy", columns=2, width=half, height=height * 4 // 5, title=None)
