"""Replays: methods, costs, support, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests import forests
from tts_sim.demand import demand
from tts_sim.errors import CacheExhausted, ScoreMissing
from tts_sim.outcomes import COLUMNS
from tts_sim.replay import replay

STAR = forests.Case("star", [forests.star("q", [("A", 0.5), ("B", 0.75), ("A", 0.25), (None, 1.0)])])
CHAINS = forests.random_chains(2)


def row(case: forests.Case, spec: str, budget: int, **more: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"trials": 16, "seed": 0, **more}
    return replay(forests.to_forest(case), [spec], [budget], **settings).frame.row(0, named=True)


def test_columns_and_methods() -> None:
    outcomes = replay(forests.to_forest(STAR), ["sample+best", "sample+weighted", "sample+majority"], [1, 2], seed=0)
    assert outcomes.frame.columns == COLUMNS
    assert outcomes.frame["method"].to_list() == ["exact"] * 2 + ["monte-carlo"] * 2 + ["exact"] * 2
    assert outcomes.frame["trials"].to_list() == [0, 0, 256, 256, 0, 0]
    assert outcomes.frame["verifier"].to_list() == ["prm"] * 4 + [None, None]
    assert (outcomes.frame["verifier_tokens"] == outcomes.frame["tokens"]).to_list() == [True] * 4 + [False] * 2


def test_c14_early_ends() -> None:
    case = next(case for case in forests.AWKWARD if case.name == "early ends")  # case C14, freeze
    for spec, expected in (("beam(width=2)+weighted", 5 / 6), ("beam(width=2)+best", 7 / 9)):
        figures = row(case, spec, 4, trials=20_000)
        assert abs(figures["accuracy"] - expected) <= 4 * figures["variance"] ** 0.5
        assert (figures["generations"], figures["supported"]) == (4.0, 1.0)


def test_best_on_one_score_missing_names_the_verifier() -> None:
    case = forests.Case("gap", [forests.star("q", [("A", 0.5), ("B", None), ("C", 0.25)])])
    with pytest.raises(ScoreMissing, match="verifier 'prm' covers 2 of 3 nodes of run 'gap'; question 'q' needs one"):
        row(case, "sample+weighted", 1)
    assert row(case, "sample+majority", 1)["method"] == "exact"
    unparsable = forests.Case("fine", [forests.star("q", [("A", 0.5), (None, None)])])
    assert row(unparsable, "sample+best", 2)["accuracy"] == 1.0  # what abstains needs no score
    steps = forests.Case("steps", [forests.chain("q", 3, roots=4)])
    for node in steps.questions[0]["nodes"][:2]:
        del node["scores"]
    with pytest.raises(ScoreMissing, match="covers 10 of 12 nodes"):
        row(steps, "beam(width=2)+majority", 4)


@pytest.mark.parametrize(
    ("case", "spec", "budget", "error", "message"),
    [
        (STAR, "sample+majority", 5, CacheExhausted, r"1 of 1 questions hold fewer than 5 samples \(first: 'q', 4\)"),
        (STAR, "beam(width=2)+best", 8, CacheExhausted, "fewer than 8 first steps"),
        (CHAINS, "revise(sequential=8)+best", 32, CacheExhausted, "fewer than 4 chains of 8 attempts"),
        (CHAINS, "sample+majority", 1, ValueError, "sample replays step trees.*is of kind 'revisions'"),
        (STAR, "revise(sequential=1)+majority", 1, ValueError, "replays revision chains, a run of kind 'revisions'"),
        (CHAINS, "revise(sequential=2)+majority", 3, ValueError, "budget 3.*needs a multiple of 2"),
        (STAR, "sample+majority", 0, ValueError, "budget 0: expected a whole number of generations, from 1"),
        (STAR, "sample+majority", True, ValueError, "budget True"),
        (STAR, "sample+majority", 1.5, ValueError, "budget 1.5"),
    ],
)
def test_refusals(case: forests.Case, spec: str, budget: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        row(case, spec, budget)


def test_bad_arguments() -> None:
    forest = forests.to_forest(STAR)
    with pytest.raises(ValueError, match="verifier 'orm': not among those that scored run 'star'; known: prm"):
        replay(forest, ["sample+best"], [1], verifier="orm", seed=0)
    with pytest.raises(ValueError, match="trials 0"):
        replay(forest, ["sample+best"], [1], trials=0, seed=0)
    with pytest.raises(ValueError, match="seed -1"):
        replay(forest, ["sample+best"], [1], seed=-1)
    with pytest.raises(ValueError, match="budgets: expected at least one"):
        replay(forest, ["sample+best"], [], seed=0)
    with pytest.raises(ValueError, match="strategies: expected at least one"):
        replay(forest, [], [1], seed=0)
    negative = forests.to_forest(forests.Case("n", [forests.star("q", [("A", -0.5), ("B", 0.75)])]))
    with pytest.raises(ValueError, match="negative scores"):
        replay(negative, ["sample+weighted"], [1], seed=0)
    assert replay(negative, ["sample+best"], [2], seed=0).frame["accuracy"].to_list() == [0.0]
    with pytest.raises(ValueError, match="was imported"):
        demand(forest, ["sample+best"], [1], seed=0)


def test_support_between_nothing_and_everything() -> None:
    case = forests.cut(forests.random_case(5, recorded=True), 5, 0.97)
    for figures in replay(forests.to_forest(case), ["sample+majority"], [1, 4], trials=200, seed=1).frame.to_dicts():
        assert figures["upper"] - figures["lower"] == pytest.approx(1 - figures["supported"])
        assert figures["missing"] == pytest.approx(1 - figures["supported"])
        assert (figures["accuracy"] is None) == (figures["supported"] < 0.9) == (figures["method"] == "bounds")


def test_recorded_trials_are_the_default_of_tree_searches() -> None:
    from dataclasses import replace

    forest = replace(forests.to_forest(forests.AWKWARD[3]), recorded={"demand": {"trials": 4}})
    frame = replay(forest, ["beam(width=2)+weighted", "sample+weighted"], [2], seed=0).frame
    assert frame["trials"].to_list() == [4, 256]


def test_a_filled_demand_is_supported_and_asks_for_nothing() -> None:
    whole = forests.random_case(11, recorded=True)
    specs, budgets = ["beam(width=2)+weighted", "sample+majority"], [2, 8]
    kept: dict[str, set[int]] = {question["question_id"]: set() for question in whole.questions}
    for _ in range(10):
        questions = [
            {**question, "nodes": [node for node in question["nodes"] if node["id"] in kept[question["question_id"]]]}
            for question in whole.questions
        ]
        forest = forests.to_forest(forests.Case("filling", questions, "steps", whole.root_pool, whole.step_pool))
        missing = demand(forest, specs, budgets, trials=3, seed=9)
        if not len(missing):
            break
        offset = 0
        for question, part in zip(whole.questions, questions, strict=True):
            for name, node, draw, _ in missing.iter_rows():
                if name == question["question_id"]:
                    parent = None if node is None else node - offset
                    added = [n["id"] for n in question["nodes"] if (n["parent"], n["draw"]) == (parent, draw)
                             and not n.get("greedy")]  # fmt: skip
                    assert len(added) == 1 and added[0] not in kept[name]
                    kept[name].add(added[0])
            offset += 1 + max((node["id"] for node in part["nodes"]), default=0)
    else:
        raise AssertionError("the demand does not end")
    frame = replay(forest, specs, budgets, trials=3, seed=9).frame
    assert set(frame["supported"]) == {1.0}
