"""Efficiency at equal accuracy: inverses by hand, censoring, coverage in a known world, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from tts_sim.arrays import Float64s
from tts_sim.efficiency import COLUMNS, _monotone, efficiency

BUDGETS = [1, 2, 4, 8, 16]


def frame(values: Float64s, budgets: Sequence[int] = BUDGETS) -> pl.DataFrame:
    """A line whose accuracies, shape (questions, budgets), are these."""
    names = np.repeat([f"q{q}" for q in range(len(values))], len(budgets))
    return pl.DataFrame({"question_id": names, "budget": np.tile(budgets, len(values)), "accuracy": values.ravel()})


def same(curve: Sequence[float], num_questions: int = 40, spread: float = 0.0) -> Float64s:
    """Questions that all have this curve, one half shifted up by `spread`, the other down."""
    sign = np.where(np.arange(num_questions) % 2, 1.0, -1.0)
    return np.asarray(curve)[None, :] + spread * sign[:, None]


BASE = [0.2, 0.3, 0.4, 0.5, 0.6]


def test_inverse_interpolation_by_hand() -> None:
    found = efficiency(frame(same([0.3, 0.45, 0.5, 0.6, 0.7])), frame(same(BASE)), seed=1, draws=50)
    assert found.frame.columns == list(COLUMNS)
    assert found.frame["ratio"].to_list() == pytest.approx([2, 2**2.5 / 2, 2, 2, 1])
    assert found.frame["bound"].to_list() == [None, None, None, None, ">="]
    assert found.frame["baseline"].to_list() == pytest.approx(BASE)
    assert found.frame["counted"].to_list() == [True] * 4 + [False]  # beyond the overlap
    assert found.budgets == (1, 2, 4, 8) and found.bound is None and found.reason is None
    assert found.ratio == pytest.approx(2 ** ((1 + 1.5 + 1 + 1) / 4))
    assert (found.ratio_low, found.ratio_high) == pytest.approx((found.ratio, found.ratio))
    assert found.num_questions == 40 and found.frame["censored"].to_list() == [0, 0, 0, 0, 1]


def test_censoring() -> None:
    baseline = frame(same(BASE))
    above = efficiency(frame(same([0.1, 0.2, 0.3, 0.5, 0.9])), baseline, anchors=[8, 16], draws=20)
    assert (above.bound, above.ratio, above.budgets) == (">=", pytest.approx(1), (8, 16))
    below = efficiency(frame(same([0.1, 0.2, 0.3, 0.5, 0.6])), baseline, anchors=[1, 16], draws=20)
    assert (below.bound, below.ratio) == ("<=", pytest.approx(1))
    assert efficiency(frame(same([0.1, 0.2, 0.3, 0.5, 0.9])), baseline, anchors=[1, 16], draws=20).bound == "?"
    nowhere = efficiency(frame(same([0.7, 0.8, 0.9, 0.9, 0.9])), baseline, draws=20)
    assert nowhere.ratio is None and nowhere.reason == "the curves do not overlap at any budget"
    assert nowhere.frame["bound"].to_list() == [">="] * 5 and nowhere.frame["ratio"][0] == pytest.approx(16)


def test_a_flat_baseline_says_nothing() -> None:
    random = np.random.default_rng(0)
    line, baseline = same(BASE) + random.normal(0, 0.1, (40, 5)), same([0.2, 0.41, 0.415, 0.42, 0.425])
    found = efficiency(frame(line), frame(baseline), draws=20)
    assert found.frame["ratio"].null_count() >= 2
    reason = found.frame.filter(pl.col("ratio").is_null())["reason"][0]
    assert "the baseline rises by 0.0050 per doubling there, less than 2 standard errors" in reason
    anchored = efficiency(frame(line), frame(baseline), anchors=[4], draws=20)
    assert anchored.ratio is None and anchored.reason is not None and "per doubling" in anchored.reason


def test_costs_rather_than_budgets() -> None:
    """The line's generations cost half: twice as efficient."""
    line = frame(same([0.3, 0.4, 0.5, 0.6, 0.6])).with_columns(cost=pl.col("budget") / 2)
    found = efficiency(line, frame(same(BASE)), anchors=[1, 2, 4], draws=20)
    assert found.ratio == pytest.approx(4) and found.budgets == (0.5, 1, 2)
    assert found.frame["baseline"].to_list() == pytest.approx([None, 0.2, 0.3, 0.4, 0.5])
    stuck = frame(same(BASE)).with_columns(cost=pl.col("budget").clip(upper_bound=8))
    assert efficiency(frame(same(BASE)), stuck, anchors=[1, 8], draws=20).ratio == pytest.approx(1)


def test_a_line_against_itself_needs_as_much() -> None:
    random = np.random.default_rng(3)
    values = np.cumsum(random.uniform(0.01, 0.2, (60, 5)), axis=1)
    found = efficiency(frame(values), frame(values), draws=100)
    assert (found.ratio, found.ratio_low, found.ratio_high) == pytest.approx((1, 1, 1))


@given(st.lists(st.lists(st.floats(0, 1), min_size=6, max_size=6), min_size=1, max_size=4))
def test_monotone_curves(rows: list[list[float]]) -> None:
    curves = np.array(rows)
    isotonic, running = _monotone(curves, "isotonic"), _monotone(curves, "max")
    for row, fitted in zip(curves, isotonic, strict=True):
        assert fitted == pytest.approx(isotonic_regression(row).x, abs=1e-9)
    assert (np.diff(running, axis=1) >= 0).all() and (running >= curves).all()
    assert (running[:, 0] == curves[:, 0]).all() and (running[:, -1] == curves.max(axis=1)).all()


def test_running_maximum() -> None:
    baseline = frame(same([0.2, 0.5, 0.3, 0.6, 0.7]))
    line = frame(same([0.2, 0.5, 0.55, 0.65, 0.7]))
    by_max = efficiency(line, baseline, monotone="max", draws=10, anchors=[4])
    assert by_max.ratio == pytest.approx(2**2.5 / 4)
    assert efficiency(line, baseline, draws=10, anchors=[2]).ratio == pytest.approx(2 ** (2 + 1 / 2) / 2)


def test_intervals_cover_and_narrow() -> None:
    """A line that is the baseline one doubling ahead, with noise of its own: log2 r is 1 (statistics: .94 to .95)."""
    random, budgets = np.random.default_rng(0), np.array([1, 2, 4, 8, 16, 32])
    width: dict[int, float] = {}
    for num_questions, reps in ((125, 300), (500, 60)):
        hits, widths, centres = 0, [], []
        for rep in range(reps):
            skill = random.normal(0, 1.5, (num_questions, 1))
            sides = [
                1 / (1 + np.exp(-(skill + 0.5 * (np.log2(budgets) + ahead) - 1.5)))
                + random.normal(0, 0.12, (num_questions, 1)) + random.normal(0, 0.05, (num_questions, len(budgets)))
                for ahead in (1, 0)
            ]  # fmt: skip
            found = efficiency(frame(sides[0], budgets), frame(sides[1], budgets), anchors=[4], draws=300, seed=rep)
            assert found.ratio is not None and found.ratio_low is not None and found.ratio_high is not None
            hits += found.ratio_low <= 2 <= found.ratio_high
            widths.append(math.log2(found.ratio_high / found.ratio_low))
            centres.append(math.log2(found.ratio))
        assert np.mean(centres) == pytest.approx(1, abs=0.05)
        width[num_questions] = float(np.mean(widths))
        if num_questions == 125:
            assert 0.915 <= hits / reps <= 0.98
    assert width[125] / width[500] == pytest.approx(2, rel=0.15)


def test_the_best_budget_would_flatter() -> None:
    """Why the summary is a mean: of equal true ratios the largest is above 1 by its noise."""
    random, means, largest = np.random.default_rng(5), [], []
    for rep in range(100):
        values = same([0.2, 0.3, 0.4, 0.5, 0.6], 60) + random.normal(0, 0.15, (60, 5))
        other = same([0.2, 0.3, 0.4, 0.5, 0.6], 60) + random.normal(0, 0.15, (60, 5))
        found = efficiency(frame(values), frame(other), anchors=[2, 4, 8], draws=1, seed=rep)
        if found.ratio is not None:
            means.append(math.log2(found.ratio))
            largest.append(math.log2(max(found.frame["ratio"].drop_nulls())))
    assert abs(np.mean(means)) < 0.06 and np.mean(largest) > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"monotone": "spline"}, "monotone 'spline': expected one of isotonic, max"),
        ({"anchors": [3]}, r"anchor 3: not a budget of the line; it has 1, 2, 4, 8, 16"),
        ({"anchors": []}, "anchors: expected at least one"),
        ({"seed": -1}, "seed -1"),
        ({"draws": 0}, "draws=0"),
    ],
)
def test_bad_arguments(options: dict[str, object], message: str) -> None:
    line = frame(same(BASE))
    with pytest.raises(ValueError, match=message):
        efficiency(line, line, **options)  # type: ignore[arg-type]


def test_bad_lines() -> None:
    line = frame(same(BASE))
    with pytest.raises(ValueError, match="holds one budget; expected at least two"):
        efficiency(line, line.filter(pl.col("budget") == 4))
    with pytest.raises(ValueError, match="share no question"):
        efficiency(line, line.with_columns(pl.col("question_id") + "x"))
    with pytest.raises(ValueError, match="a budget that costs nothing has no logarithm"):
        efficiency(line, line.with_columns(cost=pl.col("budget") - 1))
    alone = efficiency(frame(same(BASE, 1)), frame(same(BASE, 1)))
    assert (alone.ratio, alone.ratio_low) == (pytest.approx(1), None)
