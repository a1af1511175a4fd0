"""Roles: difficulty and evaluation share no draw, and each part is what a run of those draws alone would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests import forests, naive
from tests.forests import Case, Question
from tests.parts import POOL, listed, only, rest, run_of_trees, stays
from tests.verification import markov
from tts_sim.difficulty import pass_at_1
from tts_sim.errors import CacheExhausted, ScoreMissing
from tts_sim.forest import Forest
from tts_sim.replay import replay
from tts_sim.roles import oracle_difficulty, predicted_difficulty, replay_apart, split_roles

BEAMS = ["beam(width=4)+weighted", "beam(width=sqrt)+majority"]
FLAT = ["sample+best", "sample+majority", "sample+weighted", "sample+oracle", "adaptive+majority"]


def asked_for(case: Case, n: int, trials: int, seed: int) -> dict[str, set[int]]:
    """Root draws of a recorded run that trials of a tree search with n first steps ask for."""
    assert case.root_pool is not None
    return {
        question["question_id"]: {
            draw
            for trial in range(trials)
            for draw in naive.first_draws(naive.trial_key(seed, question["question_id"], trial), case.root_pool, n)
        }
        for question in case.questions
    }


def split_naively(case: Case, asked: dict[str, set[int]], wanted: int) -> tuple[dict[str, list[int]], int]:
    """Difficulty draws of every question, and how many are left to evaluate."""
    assert case.root_pool is not None
    chosen = {
        name: [draw for draw in range(case.root_pool) if draw not in touched][-min(wanted, case.root_pool // 2) :]
        for name, touched in asked.items()
    }
    return chosen, case.root_pool - max(map(len, chosen.values()))


def rows(forest: Forest, specs: Sequence[str], budgets: Sequence[int], **more: Any) -> pl.DataFrame:
    return replay(forest, specs, budgets, seed=3, **{"trials": 5, **more}).frame


# ------------------------------------------------------------------------------------------------- who gets which draw
@pytest.mark.parametrize(("budgets", "trials"), [([4, 8], 3), ([2], 9), ([16], 2)])
def test_difficulty_takes_the_highest_draws_that_no_trial_of_a_tree_search_asks_for(
    budgets: list[int], trials: int
) -> None:
    for seed in range(4):
        case = run_of_trees(seed)
        chosen, size = split_naively(case, asked_for(case, max(budgets), trials, seed), 24)
        roles = split_roles(
            forests.to_forest(case), [*BEAMS, *FLAT], budgets, trials=trials, seed=seed, difficulty_draws=24
        )
        assert listed(roles) == chosen
        assert roles.evaluation.root_pools().tolist() == [size] * 2


def test_a_lookahead_asks_for_a_share_of_its_budget_and_dvts_for_all_of_it() -> None:
    case = run_of_trees(5)
    for spec, n in (("lookahead(width=2,steps=3)+majority", 3), ("dvts(width=4)+majority", 12), ("rebase+best", 12)):
        chosen, _ = split_naively(case, asked_for(case, n, 4, 0), 16)
        roles = split_roles(forests.to_forest(case), [spec], [4, 12], trials=4, seed=0, difficulty_draws=16)
        assert listed(roles) == chosen


def test_without_tree_searches_the_last_draws_estimate_difficulty() -> None:
    forest = forests.to_forest(run_of_trees(1))
    for wanted, got in ((8, 8), (1, 1), (24, 24), (32, 24)):  # half of 48 at most
        roles = split_roles(forest, ["sample+best"], [4], seed=0, difficulty_draws=wanted)
        assert listed(roles) == {name: list(range(POOL - got, POOL)) for name in forest.question_ids}
        assert roles.evaluation.root_pool == POOL - got


@pytest.mark.parametrize("spec", [*BEAMS, "lookahead(width=2,steps=1)+best", "dvts(width=2)+weighted", "rebase+best"])
@pytest.mark.parametrize("on_exhausted", ["refuse", "bounds", "borrow"])
def test_tree_searches_do_not_miss_the_draws_of_difficulty(spec: str, on_exhausted: Any) -> None:
    case = run_of_trees(2)
    forest, more = forests.to_forest(case), {"trials": 3, "on_exhausted": on_exhausted}
    roles = split_roles(forest, [spec], [4, 8], seed=3, difficulty_draws=16, **more)
    left = {name: [draw for draw in range(POOL) if draw not in draws] for name, draws in listed(roles).items()}
    without = forests.to_forest(
        replace(
            case,
            questions=[
                {**question, "nodes": [node for node in question["nodes"] if stays(question, node, left)]}
                for question in case.questions
            ],
        )
    )
    whole = rows(roles.trees, [spec], [4, 8], **more)
    assert whole.equals(rows(without, [spec], [4, 8], **more))
    assert whole["supported"].max() == 1
    if on_exhausted == "borrow":  # nor do they hang where a node could lend them to another
        prompts = roles.trees.trees.question_start[:-1]
        children = roles.trees.trees.child_stop[prompts] - roles.trees.trees.child_start[prompts]
        assert children.tolist() == [POOL - len(draws) for draws in roles.draws.values()]


def test_draws_with_replacement_are_kept_apart_too() -> None:
    case = run_of_trees(7)
    n, trials, seed = 4, 3, 3
    asked = {
        name: {
            (naive.mix(naive.trial_key(seed, name, trial), naive.PERMUTE + i) >> 32) * POOL >> 32
            for trial in range(trials)
            for i in range(n)
        }
        for name in (question["question_id"] for question in case.questions)
    }
    roles = split_roles(
        forests.to_forest(case), BEAMS, [n], trials=trials, seed=seed, difficulty_draws=16, on_exhausted="reuse"
    )
    assert listed(roles) == split_naively(case, asked, 16)[0]


def test_the_split_does_not_look_at_what_was_sampled() -> None:
    case, other = run_of_trees(4), run_of_trees(6)
    renamed = replace(
        other,
        questions=[
            {**question, "question_id": name["question_id"]}
            for question, name in zip(other.questions, case.questions, strict=True)
        ],
    )
    first, second = (split_roles(forests.to_forest(one), BEAMS, [4], trials=3, seed=0) for one in (case, renamed))
    assert listed(first) == listed(second)


# --------------------------------------------------------------------------------------- what the parts are made of
@pytest.mark.parametrize("recorded", [True, False])
def test_flat_searches_see_a_run_of_the_other_draws_alone(recorded: bool) -> None:
    for seed in range(3):
        case = run_of_trees(seed, recorded=recorded, pool=20)
        roles = split_roles(forests.to_forest(case), FLAT, [8], seed=0, difficulty_draws=8)
        assert listed(roles) == {question["question_id"]: list(range(12, 20)) for question in case.questions}
        expected = forests.to_forest(only(case, rest(case, listed(roles), 12), 12 if recorded else None))
        assert rows(roles.evaluation, FLAT, [1, 3, 8, 12]).equals(rows(expected, FLAT, [1, 3, 8, 12]))


def test_an_imported_run_evaluates_tree_searches_on_the_other_draws_too() -> None:
    case = run_of_trees(3, recorded=False, pool=20)
    specs = [*BEAMS, "lookahead(width=2,steps=1)+best", "rebase+weighted"]
    roles = split_roles(forests.to_forest(case), specs, [4], trials=500, seed=0, difficulty_draws=8)
    expected = forests.to_forest(only(case, rest(case, listed(roles), None), None))
    assert rows(roles.trees, specs, [4]).equals(rows(expected, specs, [4]))


def test_questions_of_an_imported_run_keep_all_that_they_have() -> None:
    case = run_of_trees(3, recorded=False, pool=16)
    short = {**case.questions[1], "nodes": [n for n in case.questions[1]["nodes"] if n["parent"] or n["draw"] < 12]}
    case = forests.cut(replace(case, questions=[case.questions[0], short]), 0, 1.0)  # without what hangs in the air
    roles = split_roles(forests.to_forest(case), seed=0, difficulty_draws=6)
    assert listed(roles) == {"q3-0": list(range(10, 16)), "q3-1": list(range(6, 12))}
    assert roles.evaluation.root_pools().tolist() == [10, 6]


def test_what_a_recording_lacks_is_lacking_in_the_part() -> None:
    case = forests.cut(run_of_trees(2), 1, 0.9)
    forest = forests.to_forest(case)
    roles = split_roles(forest, seed=0, difficulty_draws=8)
    complete = {
        name: [place for place in range(POOL) if forest.solutions().state[q * POOL + place] == 0]
        for q, name in enumerate(forest.question_ids)
    }
    assert listed(roles) == {name: draws[-8:] for name, draws in complete.items()}
    expected = forests.to_forest(only(case, rest(case, listed(roles), POOL - 8), POOL - 8))
    more = {"on_exhausted": "bounds"}
    found = rows(roles.evaluation, FLAT, [1, 4], **more)
    assert found.equals(rows(expected, FLAT, [1, 4], **more))
    assert ((found["supported"] > 0) & (found["supported"] < 1)).any()


def test_revisions_alone_part_with_their_last_chains() -> None:
    for recorded in (True, False):
        case = forests.random_chains(1, recorded=recorded)
        num = sum(node["parent"] is None for node in case.questions[0]["nodes"])
        roles = split_roles(forests.to_forest(case), ["revise(sequential=2)+majority"], [4], seed=0, difficulty_draws=4)
        left = {question["question_id"]: list(range(num - 4)) for question in case.questions}
        expected = forests.to_forest(only(case, left, num - 4 if recorded else None))
        specs = ["revise(sequential=2)+weighted", "revise(sequential=1)+majority"]
        assert rows(roles.evaluation, specs, [2, 4]).equals(rows(expected, specs, [2, 4]))
        assert oracle_difficulty(roles) == {
            question["question_id"]: sum(
                node["answer"] == question["gold"]
                for node in question["nodes"]
                if node["parent"] is None and node["draw"] >= num - 4
            )
            / 4
            for question in case.questions
        }


# ---------------------------------------------------------------------------------------------------- difficulty
def test_both_difficulties_are_means_over_the_draws_apart() -> None:
    entries: list[Any] = [("A", 0.5), ("B", 0.25), (None, 0.125), ("A", 1.0), ("B", 0.75), ("A", 0.0)]
    forest = forests.to_forest(Case("star", [forests.star("q", entries)]))
    roles = split_roles(forest, seed=0, difficulty_draws=3)
    assert listed(roles) == {"q": [3, 4, 5]}
    assert oracle_difficulty(roles) == {"q": float(Fraction(2, 3))}
    assert predicted_difficulty(roles) == predicted_difficulty(roles, "prm") == {"q": 1.75 / 3}


@pytest.mark.parametrize("recorded", [True, False])
def test_what_evaluates_does_not_move_difficulty_nor_the_other_way_round(recorded: bool) -> None:
    case = run_of_trees(8, recorded=recorded)
    more: dict[str, Any] = {"trials": 3, "seed": 3, "difficulty_draws": 16}
    before = replay_apart(forests.to_forest(case), [*BEAMS, *FLAT], [4, 8], **more)

    def changed(of_difficulty: bool) -> Any:
        def overwritten(question: Question, node: dict[str, Any]) -> dict[str, Any]:
            if stays(question, node, listed(before.roles)) != of_difficulty:
                return node
            return {**node, "scores": {"prm": 0.875}, **({"answer": "A"} if "answer" in node else {})}

        questions = [{**q, "nodes": [overwritten(q, node) for node in q["nodes"]]} for q in case.questions]
        return replay_apart(forests.to_forest(replace(case, questions=questions)), [*BEAMS, *FLAT], [4, 8], **more)

    other_difficulty, other_outcomes = changed(True), changed(False)
    assert other_difficulty.outcomes.frame.equals(before.outcomes.frame)
    assert set(other_difficulty.oracle.values()) == {1.0} != set(before.oracle.values())
    assert other_outcomes.oracle == before.oracle
    assert other_outcomes.predicted == before.predicted
    assert not other_outcomes.outcomes.frame.equals(before.outcomes.frame)


def test_noise_is_shared_by_difficulty_and_accuracy_only_where_samples_are() -> None:
    """All questions are equally hard, so whatever varies together is noise of the same samples."""
    forest = markov.trees(markov.TREES, questions=4000, roots=24, children=2, seed=3)
    recorded = replace(forest, root_pool=24, step_pool=2, _kept={})
    specs = ["sample+majority", "beam(width=2)+weighted"]
    more: dict[str, Any] = {"trials": 2, "seed": 0, "method": "monte-carlo"}
    apart = replay_apart(recorded, specs, [4], difficulty_draws=10, **more)
    whole = replay(recorded, specs, [4], **more).frame
    assert apart.predicted is not None
    for spec in specs:
        found = apart.outcomes.frame.filter(strategy=spec)
        for difficulty in (apart.oracle, apart.predicted):
            assert abs(covariance(found, difficulty)) < 4
        shared = replay(forest, specs, [4], **more).frame.filter(strategy=spec)
        assert covariance(shared, pass_at_1(forest)) > 8
        assert len(found) == len(whole.filter(strategy=spec)) == 4000


def covariance(rows: pl.DataFrame, difficulty: dict[str, float]) -> float:
    """In standard errors, over questions."""
    values = rows["accuracy"].to_numpy()
    easy = np.array([difficulty[name] for name in rows["question_id"]])
    products = (values - values.mean()) * (easy - easy.mean())
    return float(products.mean() / products.std() * np.sqrt(len(products)))


# --------------------------------------------------------------------------------------------------- replays of both
def test_each_strategy_is_replayed_on_its_own_forest() -> None:
    trees, chains = run_of_trees(1), forests.random_chains(1)
    chains = replace(
        chains,
        questions=[
            {**question, "question_id": f"q1-{q}"} for q, question in enumerate([*chains.questions, *chains.questions])
        ][:2],
    )
    steps, revisions = forests.to_forest(trees), forests.to_forest(chains)
    revise = "revise(sequential=2)+majority"
    budgets = {BEAMS[0]: [4, 8], "sample+majority": [1, 8], revise: [2]}
    apart = replay_apart([revisions, steps], list(budgets), budgets, trials=3, seed=3, difficulty_draws=16)
    expected = {
        BEAMS[0]: rows(steps, [BEAMS[0]], [4, 8], trials=3),
        "sample+majority": rows(apart.roles.evaluation, ["sample+majority"], [1, 8], trials=3),
        revise: rows(revisions, [revise], [2], trials=3),
    }
    for spec, frame in expected.items():
        assert apart.outcomes.frame.filter(strategy=spec).equals(frame)
    assert apart.oracle == oracle_difficulty(apart.roles)
    assert set(apart.outcomes.groups["difficulty"]) == set(steps.question_ids)


def test_a_run_without_scores_has_no_predicted_difficulty() -> None:
    star = Case("star", [forests.star("q", [("A", None), ("B", None)] * 4)])
    assert replay_apart(forests.to_forest(star), ["sample+majority"], [2], seed=0, difficulty_draws=4).predicted is None


# ------------------------------------------------------------------------------------------------------- bad input
def test_too_few_draws_say_what_to_do() -> None:
    forest = forests.to_forest(run_of_trees(0))
    with pytest.raises(
        ValueError, match=r"fewer than 8 solutions that no trial of beam.*Lower their trials or budgets"
    ):
        split_roles(forest, BEAMS, [16], trials=20, seed=0)
    with pytest.raises(ValueError, match=r"no trial of beam"):
        split_roles(forest, BEAMS, [POOL], trials=1, seed=0)
    with pytest.raises(ValueError, match=r"2 of 2 questions .* fewer than 16 solutions.*Record more"):
        split_roles(forests.to_forest(run_of_trees(0, pool=12)), seed=0)
    with pytest.raises(ValueError, match=r"1 of 1 questions .*'lone', 0"):
        split_roles(forests.to_forest(forests.LONE), seed=0)


@pytest.mark.parametrize("wanted", [0, -1, 1.5, True])
def test_difficulty_needs_a_whole_number_of_draws(wanted: Any) -> None:
    with pytest.raises(ValueError, match=rf"difficulty_draws {wanted}: expected a whole number"):
        split_roles(forests.to_forest(run_of_trees(0)), seed=0, difficulty_draws=wanted)


def test_budgets_stop_where_the_draws_that_evaluate_do() -> None:
    forest = forests.to_forest(run_of_trees(0))
    assert len(replay_apart(forest, ["sample+majority"], [24], seed=0).outcomes.frame) == 2
    with pytest.raises(CacheExhausted, match=r"sample\+majority at budget 25: 2 of 2 .*'q0-0', 24 and 24"):
        replay_apart(forest, ["sample+majority"], [25], seed=0)
    bounds = replay_apart(forest, ["sample+majority"], [25], seed=0, on_exhausted="bounds").outcomes.frame
    assert (bounds["supported"] == 0).all()


def test_a_solution_without_a_score_is_an_error() -> None:
    star = Case("star", [forests.star("q", [("A", 0.5)] * 6 + [(None, None)] * 2)])
    roles = split_roles(forests.to_forest(star), seed=0, difficulty_draws=4)
    with pytest.raises(ScoreMissing, match=r"'prm' has not scored 2 of 4 solutions .*question 'q'"):
        predicted_difficulty(roles)
    with pytest.raises(ValueError, match=r"verifier 'other': not among"):
        predicted_difficulty(roles, "other")


def test_runs_and_budgets_must_fit_the_strategies() -> None:
    forest = forests.to_forest(run_of_trees(0))
    with pytest.raises(ValueError, match=r"forests: expected one run of steps.*got 2"):
        replay_apart([forest, forest], ["sample+best"], [1], seed=0)
    with pytest.raises(ValueError, match=r"revise.*needs a run of kind 'revisions'; got steps"):
        replay_apart(forest, ["revise(sequential=1)+best"], [1], seed=0)
    with pytest.raises(ValueError, match=r"budgets: none for sample\+best; they are given for sample\+majority"):
        replay_apart(forest, ["sample+best"], {"sample+majority": [1]}, seed=0)
    with pytest.raises(ValueError, match=r"verifier 'other'"):
        replay_apart(forest, ["sample+best"], [1], verifier="other", seed=0)
    with pytest.raises(ValueError, match=r"expected one of refuse"):
        split_roles(forest, seed=0, on_exhausted="never")  # type: ignore[arg-type]
