"""Revision chains: attempt by attempt, and one long chain against many short ones."""

from __future__ import annotations

import altair as alt
import polars as pl

from tts_sim.charts.marks import (
    CURVE,
    DETAILS,
    accuracy_axis,
    bounded,
    budget_axis,
    curve_of,
    layered,
    lines,
    require,
    rows_of,
    tips,
)
from tts_sim.charts.ratios import shaped
from tts_sim.charts.theme import COLOURS, HEIGHT, WIDTH, series
from tts_sim.outcomes import Outcomes

TURNS = {"right_turned_wrong": "right turned wrong", "wrong_turned_right": "wrong turned right"}


def right_by_attempt(steps: pl.DataFrame, *, width: int = WIDTH, height: int = HEIGHT) -> alt.LayerChart:
    """Share of chains whose attempt is right (pass@1), by attempt, with 95 % t intervals over questions as a band.

    Takes the frame of `revision_steps`. Raises ValueError for another frame.
    """
    columns = ["attempt", "pass_at_1", "se", "ci_low", "ci_high", "num_chains", "num_questions"]
    require(steps, columns, "revision_steps")
    shown = bounded(steps.filter(pl.col("attempt").is_not_null()), "pass_at_1").filter(
        pl.col("pass_at_1").is_not_null()
    )
    base = alt.Chart().encode(
        x=alt.X("attempt:Q", title="attempt of a chain", axis=alt.Axis(tickMinStep=1, format="d"))
    )
    tooltip = tips(shown, ["attempt", "num_chains"], "pass_at_1")
    band = base.mark_area(opacity=0.15, color=COLOURS[0]).encode(y=alt.Y("ci_low:Q", title="pass@1"), y2="ci_high:Q")
    line = base.mark_line(strokeWidth=2, color=COLOURS[0]).encode(y=accuracy_axis("pass_at_1", "pass@1", zero=True))
    point = base.mark_point(filled=True, size=40, opacity=1, color=COLOURS[0]).encode(y="pass_at_1:Q", tooltip=tooltip)
    return layered(band, line, point).properties(data=rows_of(shown, columns), width=width, height=height)


def turned_by_attempt(
    steps: pl.DataFrame, *, fewest: int = 20, width: int = WIDTH, height: int = HEIGHT
) -> alt.LayerChart:
    """Share of right attempts that the next one turned wrong, and of wrong ones turned right, by attempt.

    Takes the frame of `revision_steps`; bands are its bootstrap intervals (95 %), the dashed rules the shares over all
    attempts. Shares of fewer than `fewest` attempts are left out. Raises ValueError for another frame.
    """
    columns = ["attempt", *[column for turn in TURNS for column in (turn, f"{turn}_low", f"{turn}_high")]]
    require(steps, [*columns, "num_right", "num_wrong"], "revision_steps")
    shown = pl.concat(
        steps.select(
            "attempt",
            turn=pl.lit(name),
            share=pl.col(turn),
            ci_low=pl.col(f"{turn}_low"),
            ci_high=pl.col(f"{turn}_high"),
            attempts=pl.col(turn.replace("right_turned_wrong", "num_right").replace("wrong_turned_right", "num_wrong")),
        )
        for turn, name in TURNS.items()
    )
    shown = bounded(shown, "share").filter(pl.col("share").is_not_null() & (pl.col("attempts") >= fewest))
    look = series(list(TURNS.values()), "turn")
    by_attempt, overall = shown.filter(pl.col("attempt").is_not_null()), shown.filter(pl.col("attempt").is_null())
    fields = ["turn", "attempt", "attempts"]
    x = alt.X("attempt:Q", title="attempt that is revised", axis=alt.Axis(tickMinStep=1, format="d"))
    y = accuracy_axis("share", "share of attempts", zero=True)
    layers = lines(x, y, look, tips(by_attempt, fields, "share"), "share of attempts")
    rule = (
        alt.Chart(rows_of(overall, ["turn", "share", "ci_low", "ci_high", "attempts"]))
        .mark_rule(strokeDash=[3, 3], strokeWidth=1.5)
        .encode(y="share:Q", color=look.color, tooltip=tips(overall, ["turn", "attempts"], "share"))
    )
    data = rows_of(by_attempt, [*fields, "share", "ci_low", "ci_high"])
    return layered(layers.properties(data=data), rule).properties(width=width, height=height)


def sequential_against_parallel(
    outcomes: Outcomes | pl.DataFrame, *, width: int = WIDTH, height: int = HEIGHT
) -> alt.LayerChart:
    """Accuracy by budget n of one chain of n attempts and of n chains of one, by selection, with 95 % t intervals.

    Reads the rows of `revise(…)` whose shape at their budget is n × 1 or 1 × n. Raises ValueError if there is none.
    """
    shown = shaped(curve_of(outcomes)).filter((pl.col("parallel") == 1) | (pl.col("sequential") == 1))
    if shown.is_empty():
        raise ValueError("outcomes without a chain of n attempts and without n chains of one: replay revise(…).")
    forms = {"sequential: one chain": pl.col("parallel") == 1, "parallel: first attempts": pl.col("sequential") == 1}
    shown = pl.concat(
        shown.filter(rule).with_columns(strategy=pl.format("{}, {}", pl.lit(form), "selection"))
        for form, rule in forms.items()
    )
    names = shown["strategy"].unique().sort().to_list()
    fields = ["strategy", "parallel", "sequential", "budget"]
    layers = lines(
        budget_axis(shown["budget"].to_list(), "attempts per question"),
        accuracy_axis(),
        series(names, columns=2),
        tips(shown, fields),
        "accuracy",
    )
    return layers.properties(data=rows_of(shown, [*fields, *CURVE, *DETAILS]), width=width, height=height)
