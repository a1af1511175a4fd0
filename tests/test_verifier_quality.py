"""Accuracy, AUC and calibration of verifiers, against plain loops over solutions and pairs of them."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache import open_cache
from cache.query import run_sql
from tests import forests
from tests.command import tts_sim, write_jsonl
from tts_sim.difficulty import difficulty_levels, pass_at_1
from tts_sim.forest import Forest
from tts_sim.load import load_forest
from tts_sim.verifier_quality import calibration, verifier_quality
from tts_sim.verifiers import with_verifiers

SEEDS = st.integers(0, 10**6)
Solution = tuple[str, float, bool]  # question, score, right


def solutions(case: forests.Case, agg: str = "last") -> list[Solution]:
    """Scored solutions as the case has them: root draws followed along draw 0, or every sampled attempt."""
    found = []
    for question in case.questions:
        children: dict[Any, list[dict[str, Any]]] = {}
        for node in question["nodes"]:
            if not node.get("greedy"):
                children.setdefault(node["parent"], []).append(node)
        for group in children.values():
            group.sort(key=lambda node: node["draw"])
        for first in children.get(None, []):
            path = [first]
            while children.get(path[-1]["id"]):
                path.append(children[path[-1]["id"]][0])
            ends = [[node] for node in path] if case.kind == "revisions" else [path]
            for steps in ends:
                scores = [node.get("scores", {}).get("prm", math.nan) for node in steps]
                value = {"last": scores[-1], "min": min(scores), "prod": math.prod(scores),
                         "mean": sum(scores) / len(scores)}[agg]  # fmt: skip
                if "answer" in steps[-1] and not any(map(math.isnan, scores)):
                    found.append((question["question_id"], value, steps[-1]["answer"] == question["gold"]))
    return found


def area(rated: list[Solution]) -> tuple[float, int]:
    """Pairs of a right and a wrong solution that the right one wins, ties half, and how many there are."""
    right, wrong = ([score for _, score, correct in rated if correct is side] for side in (True, False))
    pairs = list(itertools.product(right, wrong))
    return sum((a > b) + 0.5 * (a == b) for a, b in pairs), len(pairs)


def expected(rated: list[Solution]) -> dict[str, Any]:
    """The figures of a group, by loops."""
    by_question: dict[str, list[Solution]] = {}
    for solution in rated:
        by_question.setdefault(solution[0], []).append(solution)
    wins = [area(group) for group in by_question.values()]
    areas = [won / pairs for won, pairs in wins if pairs]
    tenths: dict[int, list[Solution]] = {}
    for solution in rated:
        tenths.setdefault(min(9, int(solution[1] * 10)), []).append(solution)
    won, pairs = area(rated)
    return {
        "num_solutions": len(rated),
        "num_questions": len(by_question),
        "num_mixed": len(areas),
        "mean_correct": statistics.fmean(right for _, _, right in rated) if rated else None,
        "mean_score": statistics.fmean(score for _, score, _ in rated) if rated else None,
        "accuracy": statistics.fmean((score > 0.5) == right for _, score, right in rated) if rated else None,
        "auc": won / pairs if pairs else None,
        "auc_within": statistics.fmean(areas) if areas else None,
        "auc_within_se": statistics.stdev(areas) / math.sqrt(len(areas)) if len(areas) > 1 else None,
        "auc_within_pairs": sum(won for won, _ in wins) / sum(pairs for _, pairs in wins) if areas else None,
        "brier": statistics.fmean((score - right) ** 2 for _, score, right in rated) if rated else None,
        "calibration_error": sum(
            abs(sum(score for _, score, _ in group) - sum(right for _, _, right in group)) for group in tenths.values()
        )
        / len(rated)
        if rated
        else None,
    }


def many(seed: int, num: int = 5, kind: str = "steps") -> forests.Case:
    """The questions of several random cases."""
    make = forests.random_case if kind == "steps" else forests.random_chains
    return forests.Case("many", [q for i in range(num) for q in make(seed + i).questions], kind)


def agree(row: dict[str, Any], figures: dict[str, Any]) -> None:
    for name, value in figures.items():
        assert row[name] == (value if value is None else pytest.approx(value, abs=1e-6)), name


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, agg=st.sampled_from(["last", "min", "prod", "mean"]), kind=st.sampled_from(["steps", "revisions"]))
def test_figures_by_loops(seed: int, agg: Any, kind: str) -> None:
    case = many(seed, kind=kind)
    forest = forests.to_forest(case)
    [row] = verifier_quality(forest, ["prm"], agg=agg).to_dicts()
    agree(row, expected(solutions(case, agg)))
    rates = pass_at_1(forest)
    assert row["pass_at_1"] == pytest.approx(statistics.fmean(rates.values()))
    assert (row["run"], row["verifier"], row["num_unscored"]) == ("many", "prm", 0)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, by=st.sampled_from(["level", "difficulty"]))
def test_groups_are_figured_alone(seed: int, by: Any) -> None:
    case = many(seed)
    forest = forests.to_forest(case)
    group_of: dict[str, Any] = dict(zip(forest.question_ids, forest.levels, strict=True))
    if by == "difficulty":
        group_of = {name: None for name in forest.question_ids} | difficulty_levels(pass_at_1(forest))
    table = verifier_quality(forest, by=by)
    groups = sorted({group for group in group_of.values() if group is not None})
    assert table[by].to_list() == groups + [None] * (None in group_of.values())
    rated = solutions(case)
    rates = pass_at_1(forest)
    for row in table.iter_rows(named=True):
        agree(row, expected([solution for solution in rated if group_of[solution[0]] == row[by]]))
        members = [rate for name, rate in rates.items() if group_of[name] == row[by]]
        assert row["pass_at_1"] == (pytest.approx(statistics.fmean(members)) if members else None)
    tenths = calibration(forest, by=by)
    for row in table.iter_rows(named=True):
        cells = tenths.filter(pl.col(by).eq_missing(row[by]))
        assert cells["num_solutions"].sum() == row["num_solutions"]


def star(name: str, entries: list[tuple[str | None, float | None]], level: Any = None) -> forests.Question:
    return {**forests.star(name, entries), "level": level}


def quality(entries: list[tuple[str | None, float | None]]) -> dict[str, Any]:
    forest = forests.to_forest(forests.Case("one", [star("q", entries)]))
    return verifier_quality(forest).row(0, named=True)


def test_by_hand() -> None:
    row = quality([("A", 0.75), ("B", 0.75), ("A", 0.25), ("C", 0.125), (None, 0.5)])
    # pairs: .75 against .75 .125 .5, .25 against the same: 0.5 + 1 + 1 + 0 + 1 + 0
    assert row["auc"] == row["auc_within"] == row["auc_within_pairs"] == 3.5 / 6
    assert row["accuracy"] == 3 / 5 and row["pass_at_1"] == row["mean_correct"] == 0.4
    assert row["mean_score"] == 2.375 / 5 and row["auc_within_se"] is None
    assert row["brier"] == (0.0625 + 0.5625 + 0.5625 + 0.015625 + 0.25) / 5
    assert row["calibration_error"] == pytest.approx((abs(1.5 - 1) + 0.75 + 0.125 + 0.5) / 5)


def test_what_cannot_be_had_is_null() -> None:
    row = quality([("A", 0.5), ("A", 0.75)])
    assert (row["auc"], row["auc_within"], row["auc_within_pairs"], row["num_mixed"]) == (None, None, None, 0)
    assert row["accuracy"] == 0.5 and row["num_questions"] == 1
    row = quality([("A", None), ("B", None)] + [("A", 0.5)] * 2)
    assert (row["num_solutions"], row["num_unscored"], row["pass_at_1"], row["mean_correct"]) == (2, 2, 0.75, 1)
    silent = forests.to_forest(forests.Case("silent", [star("q", [("A", 0.5)]), star("r", [("A", None)] * 3, 2)]))
    unscored = verifier_quality(silent, by="level").row(0, named=True)
    assert (unscored["level"], unscored["num_questions"], unscored["num_unscored"]) == (2, 0, 3)
    assert unscored["mean_score"] is None and unscored["accuracy"] is None and unscored["pass_at_1"] == 1
    dead = forests.to_forest(forests.AWKWARD[10])  # a first step that nobody went on from
    assert verifier_quality(dead)["num_solutions"].to_list() == [3]


def test_logits_have_an_order_but_no_probabilities() -> None:
    entries: list[Any] = [("A", 3.0), ("B", -2.0), ("A", 0.5), ("B", 1.0)]
    forest = forests.to_forest(forests.Case("logits", [star("q", entries)]))
    row = verifier_quality(forest).row(0, named=True)
    assert row["auc"] == 0.75 and row["mean_score"] == 0.625
    assert [row[name] for name in ("accuracy", "brier", "calibration_error")] == [None] * 3
    table = calibration(forest)
    assert table["decile"].to_list() == [1, 6, 7, 10]
    assert (table["score_from"][0], table["score_to"][-1]) == (-2, 3)
    more = verifier_quality(with_verifiers(forest, ["sigmoid(prm)"], seed=0))
    assert more["auc"].to_list() == [0.75, 0.75] and more["accuracy"].to_list() == [None, 0.75]


def test_greedy_attempts_and_what_follows_them_are_no_samples() -> None:
    grower = forests.Grower()
    first = grower.add(None, 0, 2, 0.5, answer="A")
    grower.add(first, 0, 2, 0.25, answer="B")
    greedy = grower.add(first, 0, 2, 0.75, answer="A", greedy=True)
    grower.add(grower.add(greedy, 0, 2, 0.75, answer="A"), 0, 2, 0.75, answer="A")
    grower.add(None, 0, 2, 0.75, answer="A", greedy=True)
    forest = forests.to_forest(forests.Case("greedy", [grower.question("q")], "revisions"))
    row = verifier_quality(forest).row(0, named=True)
    assert (row["num_solutions"], row["mean_score"], row["auc"]) == (2, 0.375, 1)


def several(seed: int, num: int = 40) -> Forest:
    """Questions of their own ease, judged by a verifier that is right about each solution's chance."""
    chance = random.Random(seed)
    questions = []
    for i in range(num):
        scores = [chance.betavariate(2, 2) for _ in range(chance.choice([4, 8, 16]))]
        questions.append(star(f"q{i}", [("A" if chance.random() < score else "B", score) for score in scores]))
    return forests.to_forest(forests.Case("several", questions))


def test_a_calibrated_verifier_is_found_calibrated() -> None:
    table = calibration(several(4, num=600))
    assert table["num_solutions"].sum() > 5000 and table["decile"].to_list() == list(range(1, 11))
    gaps = (table["mean_correct"] - table["mean_score"]) / table["se"]
    assert gaps.abs().max() < 3.5  # type: ignore[operator]
    assert ((table["mean_score"] >= table["score_from"]) & (table["mean_score"] <= table["score_to"])).all()


def test_errors_of_calibration_go_by_question() -> None:
    """Ten copies of a solution are one: the error does not shrink with them."""
    entries: list[Any] = [("A", 0.55), ("B", 0.55), ("A", 0.55)]
    once = [star(f"q{i}", [entries[i]]) for i in range(3)]
    copied = [star(f"q{i}", [entries[i]] * 10) for i in range(3)]
    for rows in (once, copied):
        assert calibration(forests.to_forest(forests.Case("c", rows)))["se"].to_list() == pytest.approx([1 / 3])
    assert calibration(forests.to_forest(forests.Case("c", once[:1])))["se"].to_list() == [None]


def test_calibration_error_of_the_mean_is_as_wide_as_its_spread() -> None:
    tables = [calibration(several(seed)).filter(pl.col("decile") == 5) for seed in range(200)]
    spread = statistics.stdev(table["mean_correct"][0] for table in tables)
    assert statistics.fmean(table["se"][0] for table in tables) == pytest.approx(spread, rel=0.15)


def test_calibration_agrees_with_the_view_of_the_cache(tmp_path: Path) -> None:
    case = forests.Case("r", [forests.star(f"q{i}", [("A", s / 7), ("B", (s + i) % 8 / 7)])
                              for i, s in enumerate([0, 1, 3, 4, 6, 7])])  # fmt: skip
    file = write_jsonl(tmp_path / "r.jsonl", [{k: v for k, v in q.items() if v is not None} for q in case.questions])
    assert tts_sim("import", "native", file, "--into", tmp_path / "r.duckdb").status == 0
    with open_cache(tmp_path / "r.duckdb") as cache:
        view = run_sql(cache, "FROM calibration ORDER BY decile")
        table = calibration(load_forest(cache))
    shared = ["decile", "score_from", "score_to", "num_solutions", "mean_score", "mean_correct"]
    for left, right in zip(view.select(shared).rows(), table.select(shared).rows(), strict=True):
        assert left == pytest.approx(right)


def test_several_verifiers_and_levels_of_any_kind() -> None:
    forest = with_verifiers(several(1), ["random", "flip(prm)"], seed=0)
    assert verifier_quality(forest)["verifier"].to_list() == ["prm", "random", "flip(prm)"]
    assert verifier_quality(forest, ["random", "prm"])["verifier"].to_list() == ["random", "prm"]
    odd = replace(forest, levels=(1, "hard", None, *([2] * 37)))
    table = verifier_quality(odd, ["prm"], by="level")
    assert table["level"].to_list() == ["1", "2", "hard", None]
    unlevelled = verifier_quality(forest, ["prm", "random"], by="level")
    assert unlevelled["level"].to_list() == [None, None]


def test_refusals() -> None:
    forest = several(1)
    for make in (verifier_quality, calibration):
        with pytest.raises(ValueError, match="verifier 'orm': not among those that scored run 'several'; known: prm"):
            make(forest, ["orm"])
        with pytest.raises(ValueError, match="agg=max: expected one of last, min, prod, mean"):
            make(forest, agg="max")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="by='subject': expected level or difficulty"):
            make(forest, by="subject")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="no verifier has scored run 'lone prompt'"):
            make(forests.to_forest(forests.LONE))
