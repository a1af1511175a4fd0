"""Bins of difficulty: the exact case C20, laws of the rules, agreement, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts_sim.agreement import agreement
from tts_sim.bins import Bins, fit_bins
from tts_sim.difficulty import difficulty_levels

C20 = [count / 16 for count in (0, 0, 0, 0, 1, 2, 2, 3, 5, 5, 6, 8, 8, 9, 11, 12, 13, 15, 16, 16)]
BY_VALUE = [5] * 4 + [4] * 4 + [3] * 3 + [2] * 5 + [1] * 4
BY_RANK = [5] * 4 + [4] * 4 + [3] * 4 + [2] * 4 + [1] * 4
VALUES = st.lists(st.sampled_from([i / 8 for i in range(9)]), min_size=5, max_size=40)


def sizes(levels: Any, num_bins: int = 5) -> list[int]:
    return [int((np.asarray(levels) == level).sum()) for level in range(1, num_bins + 1)]


def test_c20() -> None:
    by_value = fit_bins(C20)
    assert by_value.edges == pytest.approx([0.05, 0.2625, 0.5, 0.7625], abs=1e-12)
    assert by_value.levels(C20).tolist() == BY_VALUE
    assert sizes(BY_VALUE) == [4, 5, 3, 4, 4]
    assert fit_bins(C20, rule="rank").levels(C20).tolist() == BY_RANK
    liu = fit_bins(C20, rule="absolute")
    names = {1: "easy", 2: "medium", 3: "hard"}
    assert [names[level] for level in liu.levels(C20)] == ["hard"] * 5 + ["medium"] * 6 + ["easy"] * 9
    assert liu.levels([0.5, 0.1, 0.0999]).tolist() == [1, 2, 3]  # [.5, 1], [.1, .5), [0, .1)


@given(VALUES, st.integers(1, 5))
def test_ranks_make_equal_bins_in_the_order_given(values: list[float], num_bins: int) -> None:
    levels = fit_bins(values, num_bins, "rank").levels(values)
    counts = sizes(levels, num_bins)
    assert max(counts) - min(counts) <= 1
    order = np.argsort(values, kind="stable")  # ties: the first is the harder
    assert (np.diff(levels[order]) <= 0).all()


@given(VALUES, st.integers(1, 5), st.sampled_from(["value", "rank"]), st.floats(0.5, 4), st.floats(-3, 3))
def test_levels_follow_the_order_of_the_values(
    values: list[float], num_bins: int, rule: Any, scale: float, shift: float
) -> None:
    bins = fit_bins(values, num_bins, rule)
    levels = bins.levels(values)
    assert bins.num_bins == num_bins and levels.min() >= 1 and levels.max() <= num_bins
    for a, x in zip(levels, values, strict=True):
        for b, y in zip(levels, values, strict=True):
            assert not (x < y and a < b)
            assert rule == "rank" or x != y or a == b  # tied values share a bin
    assert all(bins.level(value) in levels[np.array(values) == value] for value in values)
    powers = [2.0 ** round(scale) * value for value in values]  # exact, so that no tie breaks
    assert (fit_bins(powers, num_bins, rule).levels(powers) == levels).all()


def test_a_held_out_tie_goes_where_most_of_its_kind_went() -> None:
    values = [0.0, 0.25, 0.25, 0.25, 0.25, 1.0]
    bins = fit_bins(values, 2, "rank")  # two of the four ties below, two above
    assert bins == Bins("rank", (0.25,), (0.5,))
    assert bins.levels(values).tolist() == [2, 2, 2, 1, 1, 1]
    assert bins.levels([0.25, 0.25]).tolist() == [2, 1]
    mostly = fit_bins([0.25, 0.25, 0.25, 1.0, 1.0, 1.0, 1.0, 1.0], 2, "rank")  # one of five ones below
    assert mostly.level(1.0) == 1 and mostly.level(0.25) == 2


def test_many_ties_leave_bins_empty() -> None:
    values = [0.0] * 7 + [0.5, 0.75, 1.0]
    assert sizes(fit_bins(values).levels(values)) == [2, 8, 0, 0, 0]  # on three edges at once: above them
    assert sizes(fit_bins(values, rule="rank").levels(values)) == [2] * 5


def test_levels_of_a_handful() -> None:
    assert difficulty_levels({}) == {}
    assert difficulty_levels({"a": 0.5}) == {"a": 1}
    assert difficulty_levels({"a": 0.25, "b": 0.75}) == {"a": 5, "b": 1}
    assert list(difficulty_levels(dict(zip(map(str, range(20)), C20, strict=True))).values()) == BY_VALUE


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_bins([0.5] * 4), "4 questions are too few for 5 bins"),
        (lambda: fit_bins([0.5] * 4, rule="rank"), "4 questions are too few for 5 bins"),
        (lambda: fit_bins([0.5, math.nan] * 4), "expected one finite number for each question"),
        (lambda: fit_bins(C20, 0), "num_bins 0: expected a whole number from 1"),
        (lambda: fit_bins(C20, rule="quantile"), "rule 'quantile': expected one of value, rank, absolute"),
        (lambda: fit_bins(C20, 5, "absolute"), "num_bins 5: 2 thresholds make 3 bins"),
        (lambda: fit_bins(C20, thresholds=[0.5]), "only for the rule absolute, not for value"),
        (lambda: fit_bins(C20, rule="absolute", thresholds=[0.5, 0.1]), "ascending order"),
        (lambda: Bins("rank", (0.5,)), "expected a share from 0 to 1 for each edge"),
        (lambda: Bins("value", (0.5,), (0.5,)), "expected a share from 0 to 1 for each edge"),
        (lambda: Bins("value", (math.inf,)), "expected finite numbers"),
        (lambda: fit_bins(C20).level(math.nan), "expected one finite number"),
    ],
)
def test_bad_bins(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_agreement() -> None:
    predicted = {"a": 1, "b": 1, "c": 2, "d": 2, "e": 2, "only here": 1}
    found = agreement(predicted, {"a": 1, "b": 2, "c": 2, "d": 2, "e": 1, "only there": 3}, 3)
    assert found.matrix.tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert found.share == 3 / 5
    assert found.precision[:2].tolist() == [1 / 2, 2 / 3] and math.isnan(found.precision[2])
    assert found.frame().to_dicts()[1:] == [
        {"predicted": 2, "num_questions": 3, "precision": 2 / 3, "level_1": 1, "level_2": 2, "level_3": 0},
        {"predicted": 3, "num_questions": 0, "precision": None, "level_1": 0, "level_2": 0, "level_3": 0},
    ]
    assert agreement(predicted, predicted).share == 1
    with pytest.raises(ValueError, match="share no question"):
        agreement({"a": 1}, {"b": 1})
    with pytest.raises(ValueError, match="level 4: expected levels from 1 to 3"):
        agreement({"a": 4}, {"a": 1}, 3)
