"""Curves: means over questions with their intervals."""

from __future__ import annotations

import math
import statistics

import pytest

from tests import forests
from tts_sim.bands import with_bands
from tts_sim.intervals import t_interval
from tts_sim.outcomes import combine
from tts_sim.replay import replay


def four() -> forests.Case:
    """Questions with pass@1 of 1, 3/4, 1/2 and 0."""
    questions = [forests.star(f"q{i}", [("A" if k < right else f"B{k}", 0.5) for k in range(4)])
                 for i, right in enumerate((4, 3, 2, 0))]  # fmt: skip
    for level, question in enumerate(questions):
        question["level"] = 1 + level // 2
    return forests.Case("four", questions)


def test_mean_and_interval() -> None:
    outcomes = replay(forests.to_forest(four()), ["sample+oracle"], [1, 2], seed=0)
    curve = outcomes.curve()
    row = curve.row(0, named=True)
    values = [1.0, 0.75, 0.5, 0.0]
    assert row["accuracy"] == pytest.approx(statistics.mean(values))
    assert row["se"] == pytest.approx(statistics.stdev(values) / 2)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(t_interval(row["accuracy"], row["se"], 4))
    assert t_interval(0.0, 1.0, 4)[1] == pytest.approx(3.182446305284263)
    assert (row["num_questions"], row["se_mc"], row["method"]) == (4, 0.0, "exact")
    assert "question_id" not in curve.columns


def test_groups() -> None:
    outcomes = replay(forests.to_forest(four()), ["sample+oracle", "sample+majority"], [1, 2], seed=0)
    by_level = outcomes.curve(by="level").filter(strategy="sample+oracle", budget=1)
    assert by_level["level"].to_list() == [1, 2]
    assert by_level["accuracy"].to_list() == pytest.approx([0.875, 0.25])
    by_difficulty = outcomes.curve(by="difficulty").filter(strategy="sample+oracle", budget=1)
    assert by_difficulty["difficulty"].to_list() == [1, 2, 4, 5]
    assert by_difficulty["se"].to_list() == [None] * 4
    named = outcomes.curve(groups={"q0": "x", "q1": "y", "q2": "x", "q3": "y"})
    assert named.columns[:5] == ["run", "strategy", "verifier", "group", "budget"]
    assert named["strategy"].to_list() == ["sample+oracle"] * 4 + ["sample+majority"] * 4
    with pytest.raises(ValueError, match="by='size': expected level or difficulty"):
        outcomes.curve(by="size")  # type: ignore[arg-type]


def test_one_question_has_no_interval() -> None:
    case = forests.Case("one", [forests.star("q", [("A", 0.5), ("B", 0.5)])])
    row = replay(forests.to_forest(case), ["sample+majority"], [1], trials=9, seed=0).curve().row(0, named=True)
    assert (row["se"], row["ci_low"], row["ci_high"], row["num_questions"]) == (None, None, None, 1)
    assert row["se_mc"] == pytest.approx(math.sqrt(row["variance"]))


def test_bounds_below_nine_tenths() -> None:
    case = next(case for case in forests.AWKWARD if case.name == "dead ends")
    row = replay(forests.to_forest(case), ["beam(width=2)+weighted"], [4], trials=50, seed=0).curve().row(0, named=True)
    assert row["method"] == "bounds" and row["accuracy"] is None
    assert row["lower"] <= row["upper"] == pytest.approx(row["lower"] + 1 - row["supported"])


def test_one_weak_question_does_not_hide_the_mean() -> None:
    """Aggregated support counts: one question of twelve without support leaves .917."""
    good = [forests.star(f"q{i}", [("A", 0.5)] * 4) for i in range(11)]
    case = forests.Case("weak", [*good, forests.tree("w", [(0.5, [])] * 4)])
    row = replay(forests.to_forest(case), ["sample+majority"], [2], trials=4, seed=0).curve().row(0, named=True)
    assert row["accuracy"] == 1.0 and row["supported"] == pytest.approx(11 / 12)
    assert (row["lower"], row["upper"]) == pytest.approx((11 / 12, 1.0))


def test_combine() -> None:
    steps = replay(forests.to_forest(four()), ["sample+oracle"], [1], seed=0)
    chains = replay(forests.to_forest(forests.random_chains(3)), ["revise(sequential=1)+majority"], [1], seed=0)
    both = combine([steps, chains])
    assert len(both.frame) == len(steps.frame) + len(chains.frame)
    assert both.groups["level"]["q3"] == 2
    assert both.curve()["strategy"].to_list() == ["sample+oracle", "revise(sequential=1)+majority"]


def test_bands_hold_for_all_budgets_at_once() -> None:
    questions = [forests.star(f"q{i}", [("A" if k < i % 5 else f"B{k}", 0.5) for k in range(4)]) for i in range(40)]
    outcomes = replay(forests.to_forest(forests.Case("forty", questions)), ["sample+oracle"], [1, 2, 4], seed=0)
    curve = with_bands(outcomes.curve(), outcomes)
    wider = (curve["band_high"] - curve["band_low"]) / (curve["ci_high"] - curve["ci_low"])
    assert wider.n_unique() == 1 or wider.max() - wider.min() < 1e-9  # type: ignore[operator]
    assert 1.0 < wider[0] < 1.3
    one = forests.to_forest(forests.Case("one", questions[:1]))
    alone = replay(one, ["sample+oracle"], [1], seed=0)
    assert with_bands(alone.curve(), alone)["band_low"].to_list() == [None]
