"""Revisions attempt by attempt, against numbers by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tests import forests
from tts_sim.revision_steps import revision_steps

FOUR = ["BAAB", "ACBA", "CCAA", "ABBC"]  # the chains of case C18; A is right
TWO = ["AB", "A", "-A"]  # - has no answer


def question(name: str, chains: list[str]) -> forests.Question:
    return forests.chains(name, [[(None if letter == "-" else letter, 0.5) for letter in chain] for chain in chains])


def steps(*questions: forests.Question, **more: Any) -> list[dict[str, Any]]:
    settings: dict[str, Any] = {"seed": 1, **more}
    return revision_steps(forests.to_forest(forests.Case("c", list(questions), "revisions")), **settings).to_dicts()


def test_c18() -> None:
    rows = steps(question("q", FOUR))
    assert [row["attempt"] for row in rows] == [1, 2, 3, 4, None]
    assert [row["pass_at_1"] for row in rows] == [0.5, 0.25, 0.5, 0.5, None]
    assert [row["right_turned_wrong"] for row in rows] == [1.0, 0.0, 0.5, None, 3 / 5]
    assert [row["num_right"] for row in rows] == [2, 1, 2, 0, 5]
    assert [row["wrong_turned_right"] for row in rows] == [0.5, 1 / 3, 0.5, None, 3 / 7]
    assert [row["num_wrong"] for row in rows] == [2, 3, 2, 0, 7]
    assert {row[name] for row in rows for name in ("se", "ci_low", "right_turned_wrong_low")} == {None}  # one question


def test_means_over_questions_and_pooled_steps() -> None:
    rows = steps(question("q", FOUR), question("r", TWO), forests.lone_prompt())
    first, second, third = rows[:3]
    assert first["pass_at_1"] == pytest.approx(float((Fraction(1, 2) + Fraction(2, 3)) / 2))
    assert first["se"] == pytest.approx(1 / 12)  # half the difference of two
    assert (first["ci_low"] + first["ci_high"]) / 2 == pytest.approx(first["pass_at_1"])
    assert first["ci_high"] - first["ci_low"] == pytest.approx(2 * 12.7062047 / 12)
    assert (first["num_questions"], first["num_chains"]) == (2, 7)
    assert second["pass_at_1"] == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert (third["num_questions"], third["num_chains"], third["se"]) == (1, 4, None)
    assert first["right_turned_wrong"] == 1.0 and first["num_right"] == 3  # a chain of one attempt turns nothing
    assert first["wrong_turned_right"] == pytest.approx(2 / 3)
    assert rows[-1]["right_turned_wrong"] == pytest.approx(4 / 6)
    assert rows[-1]["wrong_turned_right"] == pytest.approx(4 / 8)
    assert (rows[-1]["num_questions"], rows[-1]["num_chains"]) == (2, 7)


def test_the_bootstrap_resamples_questions() -> None:
    """Twenty questions of which each is all one way or the other: the interval is that of their share."""
    questions = [question(f"q{i}", ["AB"] if i < 6 else ["AA"]) for i in range(20)]
    overall = steps(*questions)[-1]
    assert overall["right_turned_wrong"] == 0.3
    error = (0.3 * 0.7 / 20) ** 0.5
    assert overall["right_turned_wrong_low"] == pytest.approx(0.3 - 1.96 * error, abs=0.03)
    assert overall["right_turned_wrong_high"] == pytest.approx(0.3 + 1.96 * error, abs=0.03)
    assert overall["wrong_turned_right"] is None and overall["num_wrong"] == 0
    assert steps(*questions)[-1] == overall != steps(*questions, seed=2)[-1]
    twice = [question(f"q{i}", ["AB"] * 4 if i < 6 else ["AA"] * 4) for i in range(20)]
    assert steps(*twice)[-1]["right_turned_wrong_low"] == overall["right_turned_wrong_low"]  # questions, not chains


def test_other_runs() -> None:
    with pytest.raises(ValueError, match="run 'one chain' is of kind 'steps'"):
        revision_steps(forests.to_forest(forests.AWKWARD[1]), seed=0)
    assert steps(forests.lone_prompt())[0]["pass_at_1"] is None
    assert np.isclose(steps(question("q", ["A"]), question("r", ["B"]))[0]["pass_at_1"], 0.5)
