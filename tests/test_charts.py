"""Every chart: drawn with marks, intervals and tooltips, series told apart without colour, bad frames refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import altair as alt
import polars as pl
import pytest
import vl_convert

import tts_sim
from tests import forests, frames
from tts_sim import charts
from tts_sim.charts.theme import COLOURS, ramp, series
from tts_sim.outcomes import Outcomes

CHARTS: dict[str, Callable[[], Any]] = {
    "accuracy_by_budget": lambda: charts.accuracy_by_budget(frames.curve()),
    "accuracy_by_budget, by": lambda: charts.accuracy_by_budget(frames.curve(True), by="difficulty"),
    "accuracy_by_difficulty": lambda: charts.accuracy_by_difficulty(frames.curve(True)),
    "accuracy_by_cost": lambda: charts.accuracy_by_cost(frames.curve()),
    "support": lambda: charts.support(frames.curve()),
    "policy_by_budget": lambda: charts.policy_by_budget(frames.policy_curves()),
    "policy_by_budget, cost": lambda: charts.policy_by_budget(
        frames.policy_curves().filter(pl.col("difficulty") == "oracle"), x="cost"
    ),
    "policy_choices": lambda: charts.policy_choices(frames.choices()),
    "right_by_attempt": lambda: charts.right_by_attempt(frames.steps()),
    "turned_by_attempt": lambda: charts.turned_by_attempt(frames.steps()),
    "sequential_against_parallel": lambda: charts.sequential_against_parallel(frames.revisions()),
    "accuracy_by_ratio": lambda: charts.accuracy_by_ratio(frames.revisions()),
    "accuracy_by_ratio, by": lambda: charts.accuracy_by_ratio(frames.revisions(True), by="difficulty"),
    "exchange_curves": lambda: charts.exchange_curves(frames.small_curve(), frames.exchange()),
    "exchange_differences": lambda: charts.exchange_differences(frames.exchange()),
    "break_even_ratios": lambda: charts.break_even_ratios(frames.break_even()),
    "calibration_curve": lambda: charts.calibration_curve(frames.calibration()),
    "accuracy_by_verifier": lambda: charts.accuracy_by_verifier(frames.judged()),
}
INTERVALS = {"area", "rule"}
WITHOUT_INTERVALS = {"support", "policy_choices"}  # shares of replays, and cells that have it in their tooltips


def parts(spec: Any) -> Iterator[dict[str, Any]]:
    """Every object of a specification, data left out."""
    if isinstance(spec, dict):
        yield spec
        for key, value in spec.items():
            if key not in ("datasets", "data"):
                yield from parts(value)
    elif isinstance(spec, list):
        for value in spec:
            yield from parts(value)


def marks(spec: dict[str, Any]) -> list[str]:
    return [part["mark"]["type"] for part in parts(spec) if isinstance(part.get("mark"), dict)]


def drawn(chart: Any) -> str:
    return str(vl_convert.vegalite_to_svg(chart.to_dict()))


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_drawn_with_tooltips_and_intervals(name: str) -> None:
    chart = CHARTS[name]()
    spec = chart.to_dict()
    svg = drawn(chart)
    assert "<script" not in svg and "<b>" not in svg
    assert len(re.findall(r'aria-roledescription="(?:point|rect|bar|rule mark|square|circle)', svg)) > 2
    assert any("tooltip" in part for part in parts(spec))
    assert name in WITHOUT_INTERVALS or INTERVALS & set(marks(spec))
    rows = [row for values in spec["datasets"].values() for row in values]
    assert rows and "NaN" not in json.dumps(spec["datasets"])


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_belongs_to_the_library(name: str) -> None:
    function = getattr(tts_sim.charts, name.partition(",")[0])
    assert function.__name__ in charts.__all__ and function.__doc__


def test_every_public_chart_is_tested() -> None:
    tested = {name.partition(",")[0] for name in CHARTS}
    assert tested | {"costs_by_strategy"} == set(charts.__all__)


def test_rows_without_a_figure_are_left_out_and_names_are_those_that_people_use() -> None:
    spec = charts.accuracy_by_budget(frames.curve()).to_dict()
    (values,) = spec["datasets"].values()
    assert len(values) == 7
    assert {value["strategy"] for value in values} == {"majority", frames.HOSTILE.replace("+", " + ")}
    assert marks(spec) == ["area", "line", "point"]
    assert all(value["ci_low"] is not None for value in values)


def test_one_strategy_under_two_verifiers_is_two_lines() -> None:
    spec = charts.accuracy_by_budget(frames.judged()).to_dict()
    (values,) = spec["datasets"].values()
    assert {value["strategy"] for value in values} == {
        "weighted best-of-N, prm", "weighted best-of-N, random", "best-of-N, prm", "best-of-N, random", "majority",
    }  # fmt: skip


def test_series_differ_in_more_than_colour() -> None:
    names = [f"strategy {number}" for number in range(len(COLOURS))]
    look = series(names)
    shapes = look.shapes.to_dict()["range"]
    assert len(set(look.scale.to_dict()["range"])) == len(set(shapes)) == len(names)
    usual = series(["beam(width=4) + weighted", "majority"]).scale.to_dict()
    assert usual == {"domain": ["beam(width=4) + weighted", "majority"], "range": [COLOURS[4], COLOURS[0]]}
    assert len(series([*names, "one more"]).scale.to_dict()["range"]) == len(names) + 1


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_a_ramp_gets_lighter(count: int) -> None:
    def luminance(colour: str) -> float:
        return sum(w * int(colour[place : place + 2], 16) for w, place in ((0.2126, 1), (0.7152, 3), (0.0722, 5)))

    light = [luminance(colour) for colour in ramp(count)]
    assert len(light) == count and light == sorted(light) and light[-1] < 200


def test_bars_stand_at_budgets_that_all_strategies_have() -> None:
    given = frames.curve(True)
    spec = charts.accuracy_by_difficulty(given).to_dict()
    (values,) = spec["datasets"].values()
    assert {value["budget"] for value in values} == {2, 4, 8}
    more = pl.concat(
        given.with_columns(budget=pl.col("budget") * factor, accuracy=pl.lit(0.5)) for factor in (1, 4, 16, 64)
    )
    (values,) = charts.accuracy_by_difficulty(more).to_dict()["datasets"].values()
    assert {value["budget"] for value in values} == {4, 16, 64, 256}  # those of the paper
    (values,) = charts.accuracy_by_difficulty(given, ["sample+majority"], [1]).to_dict()["datasets"].values()
    assert {(value["strategy"], value["budget"]) for value in values} == {("majority", 1)}
    with pytest.raises(ValueError, match="no budget at which"):
        charts.accuracy_by_difficulty(given, ["sample+majority"], [3])


def test_a_line_without_a_difficulty_stands_in_each_panel() -> None:
    (values,) = charts.policy_by_budget(frames.policy_curves()).to_dict()["datasets"].values()
    panels = {value["chooses_by"] for value in values if value["line"] == "weighted best-of-N"}
    assert panels == {"oracle", "predicted"}
    only = frames.policy_curves().with_columns(difficulty=pl.lit(None, pl.String))
    assert isinstance(charts.policy_by_budget(only), alt.LayerChart)


def test_ratios_are_those_of_the_shape() -> None:
    (values,) = charts.accuracy_by_ratio(frames.revisions()).to_dict()["datasets"].values()
    assert {(value["split"], value["ratio"]) for value in values} == {("1:4", 0.25), ("1:1", 1.0), ("4:1", 4.0)}
    assert {value["selection"] for value in values} == {"weighted", "majority"}
    spec = charts.sequential_against_parallel(frames.revisions()).to_dict()
    (values,) = spec["datasets"].values()
    forms = {(value["strategy"], value["parallel"], value["sequential"]) for value in values}
    assert ("sequential: one chain, weighted", 1, 4) in forms
    assert ("parallel: first attempts, majority", 4, 1) in forms
    assert not any(parallel == sequential == 2 for _, parallel, sequential in forms)


def test_shares_of_few_attempts_are_left_out() -> None:
    spec = charts.turned_by_attempt(frames.steps()).to_dict()
    rows = [row for values in spec["datasets"].values() for row in values]
    assert not any(row["turn"] == "wrong turned right" and row["attempt"] == 3 for row in rows if "attempt" in row)


def test_stars_stand_at_x_and_hollow_ones_are_said_to_be() -> None:
    spec = charts.exchange_curves(frames.small_curve(), frames.exchange(), convention="snell-v1").to_dict()
    rows = [row for values in spec["datasets"].values() for row in values]
    stars = [row for row in rows if "large" in row]
    assert {row["convention"] for row in stars} == {"snell-v1"} and {row["bin"] for row in stars} == {"1", "2"}
    assert {(row["R"], row["budget"], row["status"]) for row in stars} == {
        (0.16, 8.0, "beyond cache"), (0.79, 2.0, "inside"), (22.0, 0.5, "below one sample"),
    }  # fmt: skip
    assert {row["label"] for row in rows if "label" in row} == {"R = 0.16", "R = 0.79", "R = 22"}
    overall = charts.exchange_curves(frames.small_curve(), frames.exchange().filter(pl.col("bin").is_null())).to_dict()
    assert {row["bin"] for values in overall["datasets"].values() for row in values if "bin" in row} >= {"all"}


def test_break_even_says_never_and_always() -> None:
    (values,) = charts.break_even_ratios(frames.break_even()).to_dict()["datasets"].values()
    verdicts = {value["bin"]: value["verdict"] for value in values}
    assert verdicts == {"all": "up to R*", "1": "at every R", "2": "never", "3": "up to R*"}
    assert {value["bin"]: value["r_star_is"] for value in values}["1"] == "∞"


def test_costs_of_outcomes() -> None:
    forest = forests.to_forest(forests.random_case(3))
    outcomes = tts_sim.replay(forest, ["sample+majority", "sample+oracle"], [1], seed=0)
    spec = charts.costs_by_strategy(outcomes).to_dict()
    (values,) = spec["datasets"].values()
    assert {value["strategy"] for value in values} == {"majority", "coverage (pass@N)"}
    assert {value["unit"] for value in values} == {"tokens generated", "critical tokens (longest chain)"}
    assert all(value["ci_low"] <= value["cost"] <= value["ci_high"] for value in values)
    with pytest.raises(ValueError, match="budget 3"):
        charts.costs_by_strategy(outcomes, budget=3)
    one = charts.accuracy_by_budget(outcomes).to_dict()
    (values,) = one["datasets"].values()
    assert len(values) == 2
    single = Outcomes(outcomes.frame.filter(strategy="sample+majority"), outcomes.groups)
    table = frames.exchange()
    drawn_lines = charts.exchange_curves(single, table).to_dict()["datasets"].values()
    levels = set(single.groups["difficulty"].values())
    assert {row["bin"] for rows in drawn_lines for row in rows if "se" in row and "R" not in row} <= set(
        map(str, levels)
    )
    with pytest.raises(ValueError, match="holds 2 strategies"):
        charts.exchange_curves(outcomes, table)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: charts.accuracy_by_budget(frames.curve().drop("accuracy")), "frame without accuracy"),
        (lambda: charts.accuracy_by_budget(frames.curve(), by="difficulty"), "frame without difficulty"),
        (lambda: charts.accuracy_by_cost(frames.curve(), units=["euros"]), "frame without euros"),
        (lambda: charts.accuracy_by_cost(frames.revisions()), "without a cost"),
        (lambda: charts.policy_by_budget(frames.curve()), "expected the columns of policy_curves"),
        (lambda: charts.policy_by_budget(frames.policy_curves(), x="tokens"), "x='tokens': expected budget or cost"),
        (lambda: charts.policy_choices(frames.curve()), "without level"),
        (lambda: charts.right_by_attempt(frames.curve()), "without attempt"),
        (lambda: charts.turned_by_attempt(frames.curve()), "without attempt"),
        (lambda: charts.sequential_against_parallel(frames.judged()), "replay revise"),
        (lambda: charts.accuracy_by_ratio(frames.revisions(), budget=2), "three ratios"),
        (lambda: charts.exchange_curves(frames.small_curve(), frames.curve()), "exchange_table"),
        (lambda: charts.exchange_curves(frames.curve(), frames.exchange()), "without bin"),
        (lambda: charts.exchange_curves(frames.small_curve(), frames.exchange(), convention="new"), "'new'"),
        (lambda: charts.exchange_differences(frames.curve()), "exchange_table"),
        (lambda: charts.break_even_ratios(frames.exchange()), "without x_star"),
        (lambda: charts.calibration_curve(frames.curve()), "calibration"),
        (lambda: charts.accuracy_by_verifier(frames.judged().filter(strategy="sample+majority")), "uses a verifier"),
        (lambda: charts.support(frames.judged()), "Outcomes.curve"),
    ],
)
def test_bad_frames_are_refused(draw: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw()
