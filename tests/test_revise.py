"""Revision chains: exact values, blocks of replays, laws, and what happens where chains run out."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import forests, naive, naive_revise
from tests.independence import assert_rows_stand_alone
from tts_sim import best_of_n, pass_at_k
from tts_sim.errors import CacheExhausted, ScoreMissing
from tts_sim.replay import replay

SELECTIONS = ("majority", "best", "weighted", "oracle")
ACROSS = ("", ",across=pooled", ",across=hierarchical", ",across=last")
SEEDS = st.integers(0, 10**6)


def specs(*shapes: str) -> list[str]:
    """These shapes with every `across` and every selection; those that are one strategy stand once."""
    every = [f"revise({shape}{across})+{name}" for shape in shapes for across in ACROSS for name in SELECTIONS]
    default = {"best": "hierarchical", "weighted": "hierarchical", "majority": "pooled", "oracle": "pooled"}
    return [spec for spec in every if f"across={default[spec.split('+')[1]]}" not in spec]


def few_chains(seed: int, *, recorded: bool = False) -> forests.Case:
    """Up to seven chains of uneven length, with few answers and fewer scores, so that everything ties somewhere."""
    chance = random.Random(seed)
    questions = []
    for q in range(chance.choice([1, 1, 2])):
        attempts: list[Any] = [
            [
                (chance.choice(["A", "B", "C", None]), chance.choice([0.0, 0.25, 0.5, 0.5, 1.0]))
                for _ in range(chance.choice([3, 3, 4]))
            ]
            for _ in range(chance.randint(4, 6))
        ]
        attempts += [[("A", 0.5)]] * chance.randint(0, 2)
        questions.append(forests.chains(f"f{seed}-{q}", attempts))
    return forests.Case(f"few {seed}", questions, "revisions", 9 if recorded else None, 1 if recorded else None)


def read(case: forests.Case) -> naive.Run:
    return naive.read(case.questions, case.root_pool, case.step_pool, "prm")


# --------------------------------------------------------------------------------------------- the specification
@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, recorded=st.booleans())
def test_exact_values_are_means_over_all_subsets(seed: int, recorded: bool) -> None:
    case = few_chains(seed, recorded=recorded)
    run, forest = read(case), forests.to_forest(case)
    for sequential, budgets in ((1, [1, 2, 3, 4]), (2, [2, 4, 6]), (3, [3, 6, 9, 12])):
        for row in replay(forest, specs(f"sequential={sequential}"), budgets, seed=0).frame.iter_rows(named=True):
            expected = naive_revise.exact(run, row["question_id"], row["strategy"], row["budget"])
            assert (row["method"], row["supported"], row["variance"]) == ("exact", 1.0, 0.0)
            for name, value in expected.items():
                if value is None:
                    assert row[name] is None, (name, row)
                else:
                    assert row[name] == pytest.approx(float(value), rel=1e-12, abs=1e-13), (name, row)


CHECKED = ["accuracy", "lower", "upper", "supported", "variance", "within", "tokens", "critical_tokens",
           "prefix_tokens", "exhausted"]  # fmt: skip


def assert_same_trials(case: forests.Case, wanted: list[str], budgets: list[int], seed: int, policy: Any) -> None:
    frame = replay(
        forests.to_forest(case), wanted, budgets, trials=5, seed=seed, method="monte-carlo", on_exhausted=policy
    ).frame
    for spec in wanted:
        expected = naive_revise.replay(read(case), spec, budgets, trials=5, seed=seed, reuse=policy == "reuse")
        for row in frame.filter(strategy=spec).iter_rows(named=True):
            figures = expected[row["question_id"], row["budget"]]
            assert {name: row[name] for name in CHECKED} == {name: figures[name] for name in CHECKED}, row
            if row["supported"]:
                assert row["generations"] == row["calls"] == row["budget"]


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, recorded=st.booleans())
def test_trials_are_those_of_the_specification(seed: int, recorded: bool) -> None:
    case = forests.random_chains(seed, recorded=recorded)
    assert_same_trials(case, specs("sequential=1", "sequential=2"), [2, 4], seed, "refuse")
    assert_same_trials(case, specs("ratio=1:1", "ratio=4:1"), [4], seed, "refuse")


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, policy=st.sampled_from(["bounds", "reuse"]))
def test_trials_where_chains_run_out(seed: int, policy: str) -> None:
    assert_same_trials(few_chains(seed), specs("sequential=2", "sequential=4"), [4, 12, 16], seed, policy)


# ------------------------------------------------------------------------------------------------- larger numbers
def many_chains(seed: int, num: int = 40, sequential: int = 3) -> forests.Case:
    chance = random.Random(seed)
    attempts = [
        [(chance.choice(["A", "B", "C", "D", None]), chance.randrange(17) / 16) for _ in range(sequential)]
        for _ in range(num)
    ]
    return forests.Case("many", [forests.chains(f"m{seed}", attempts)], "revisions")


def test_the_last_attempts_are_samples() -> None:
    """Closed forms where subsets are too many to go through: those of best of n and of pass@k."""
    case = many_chains(3)
    attempts = case.questions[0]["nodes"]
    last = [node for i, node in enumerate(attempts) if i % 3 == 2]
    scores = np.array([node["scores"]["prm"] if node["answer"] else np.nan for node in last])
    right = np.array([node["answer"] == "A" for node in last])
    wanted = ["revise(sequential=3,across=last)+best", "revise(sequential=3,across=last)+oracle"]
    budgets = [3 * n for n in (1, 2, 5, 19, 20, 21, 39, 40)]
    for row in replay(forests.to_forest(case), wanted, budgets, seed=0).frame.iter_rows(named=True):
        n = row["budget"] // 3
        best = row["strategy"].endswith("best")
        expected = best_of_n(scores, right, n) if best else pass_at_k(40, int(right.sum()), n)
        assert row["method"] == "exact"
        assert row["accuracy"] == pytest.approx(expected, abs=1e-12)
        assert (row["within"] is None) == (n > 20)
        if not best and n <= 20:
            failed, twice = 1 - expected, 1 - pass_at_k(40, int(right.sum()), 2 * n)
            assert row["within"] == pytest.approx(failed**2 - twice, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_trials_agree_with_exact_values(seed: int) -> None:
    forest = forests.to_forest(many_chains(seed, num=13))
    wanted, budgets = specs("sequential=3"), [3, 9, 15, 18, 33, 39]
    sure = replay(forest, wanted, budgets, seed=0).frame
    drawn = replay(forest, wanted, budgets, trials=4000, seed=seed, method="monte-carlo").frame
    known = 0
    for exact, row in zip(sure.iter_rows(named=True), drawn.iter_rows(named=True), strict=True):
        assert row["method"] == "monte-carlo"
        if exact["method"] == "exact":
            known += 1
            spread = exact["accuracy"] * (1 - exact["accuracy"])  # at most, for values in [0, 1]
            assert abs(row["accuracy"] - exact["accuracy"]) <= 4.5 * (spread / 4000) ** 0.5 + 1e-12, exact
            assert (row["within"] is None) == (exact["within"] is None)
            if exact["within"] is not None:
                assert row["within"] == pytest.approx(exact["within"], abs=0.02), exact
            for cost in ("tokens", "critical_tokens", "prefix_tokens"):
                assert row[cost] == pytest.approx(exact[cost], rel=0.02)
    assert known > len(sure) * 0.8


def test_what_is_too_much_to_go_through_is_drawn() -> None:
    wanted = ["revise(sequential=1)+majority", "revise(sequential=1)+best"]
    frame = replay(forests.to_forest(many_chains(5, num=64, sequential=1)), wanted, [1, 2, 8, 63, 64], seed=0).frame
    assert frame["method"].to_list() == ["exact"] * 2 + ["monte-carlo"] + ["exact"] * 7


# ----------------------------------------------------------------------------------------------------------- laws
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_one_attempt_per_chain_is_parallel_sampling(seed: int) -> None:
    chance = random.Random(seed)
    entries: list[Any] = [(chance.choice(["A", "B", "C", None]), chance.randrange(9) / 8) for _ in range(9)]
    stars = forests.to_forest(forests.Case("s", [forests.star("q", entries)]))
    chains = forests.to_forest(forests.Case("c", [forests.chains("q", [[entry] for entry in entries])], "revisions"))
    budgets = [1, 2, 3, 5, 9]
    for name in SELECTIONS:
        left = replay(stars, [f"sample+{name}"], budgets, trials=2000, seed=seed).frame
        for across in ACROSS:
            right = replay(chains, [f"revise(sequential=1{across})+{name}"], budgets, seed=seed).frame
            for sampled, revised in zip(left.iter_rows(named=True), right.iter_rows(named=True), strict=True):
                assert revised["method"] == "exact"
                reach = 4.5 * sampled["variance"] ** 0.5 + 1e-12
                assert abs(sampled["accuracy"] - revised["accuracy"]) <= reach, (name, across)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_all_chains_leave_nothing_to_chance(seed: int) -> None:
    """Hierarchical ones apart, where answers may tie inside a chain."""
    wanted = [spec for spec in specs("sequential=3") if "pooled" in spec or "last" in spec]
    case = many_chains(seed, num=11)
    frame = replay(forests.to_forest(case), wanted, [33], trials=20, seed=seed, method="monte-carlo").frame
    assert frame["variance"].to_list() == [0.0] * len(wanted)
    sure = replay(forests.to_forest(case), wanted, [33], seed=seed).frame
    assert frame["accuracy"].to_list() == pytest.approx(sure["accuracy"].to_list(), abs=1e-12)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_coverage_bounds_every_selection(seed: int) -> None:
    for across in ("pooled", "last"):
        wanted = [f"revise(sequential=2,across={across})+{name}" for name in SELECTIONS]
        frame = replay(forests.to_forest(few_chains(seed)), wanted, [2, 4, 6, 8], seed=0).frame
        most = frame.filter(pl.col("strategy").str.ends_with("oracle"))
        for row in frame.iter_rows(named=True):
            bound = most.filter(question_id=row["question_id"], budget=row["budget"])["accuracy"].item()
            assert row["accuracy"] <= bound + 1e-12


@pytest.mark.parametrize("method", ["auto", "monte-carlo"])
def test_threads_and_other_questions_change_no_bit(method: Any) -> None:
    questions = [question for seed in range(4) for question in forests.random_chains(1000 + 2 * seed).questions]
    case = forests.Case("chains", questions, "revisions")
    assert_rows_stand_alone(case, specs("sequential=2", "ratio=1:1"), [4], [2, 1], trials=16, method=method)


# --------------------------------------------------------------------------------------------- where chains run out
THREE = forests.Case(
    "three",
    [
        forests.chains("long", [[("A", 0.5), ("B", 0.25)], [("B", 0.75), ("A", 0.5)], [("A", 0.25), ("A", 0.125)]]),
        forests.chains("short", [[("A", 0.5), ("B", 0.75)], [("A", 0.5)], [("C", 0.25)]]),
    ],
    "revisions",
)


def test_too_few_chains_are_refused_or_bounded() -> None:
    forest, wanted = forests.to_forest(THREE), ["revise(sequential=2)+weighted", "revise(sequential=2)+majority"]
    message = r"1 of 2 questions hold fewer than 2 chains of 2 attempts \(first: 'short', 1\)"
    for method in ("auto", "monte-carlo"):
        with pytest.raises(CacheExhausted, match=message):
            replay(forest, wanted, [4], seed=0, method=method)
        frame = replay(forest, wanted, [2, 4], seed=0, method=method, on_exhausted="bounds").frame
        short = frame.filter(question_id="short", budget=4)
        assert (
            short.select("accuracy", "lower", "upper", "supported", "method", "exhausted").rows()
            == [(None, 0.0, 1.0, 0.0, "bounds", 1.0)] * 2
        )
        rest = frame.join(short, on=["question_id", "strategy", "budget"], how="anti")
        assert set(rest["method"]) == {"exact" if method == "auto" else "monte-carlo"}
        assert rest["supported"].to_list() == [1.0] * 6
    with pytest.raises(ValueError, match="on_exhausted='borrow': revise knows refuse, bounds, reuse"):
        replay(forest, wanted, [4], seed=0, on_exhausted="borrow")


@pytest.mark.parametrize("name", SELECTIONS)
def test_reuse_is_the_plug_in(name: str) -> None:
    run, spec = read(THREE), f"revise(sequential=2)+{name}"
    frame = replay(forests.to_forest(THREE), [spec], [2, 6, 8], trials=20_000, seed=4, on_exhausted="reuse").frame
    for row in frame.iter_rows(named=True):
        expected = naive_revise.plugged_in(run, row["question_id"], spec, row["budget"])
        assert (row["method"], row["supported"], row["within"]) == ("plugin", 1.0, None)
        assert abs(row["accuracy"] - float(expected)) <= 4.5 * row["variance"] ** 0.5 + 1e-12


def test_reuse_needs_one_chain() -> None:
    frame = replay(forests.to_forest(THREE), ["revise(sequential=3)+best"], [6], seed=0, on_exhausted="reuse").frame
    assert frame["method"].to_list() == ["bounds"] * 2 and frame["exhausted"].to_list() == [1.0] * 2


# ------------------------------------------------------------------------------------------------------------ scores
def test_scores_that_are_missing_or_negative() -> None:
    gap = forests.Case(
        "gap", [forests.chains("q", [[("A", 0.5), ("B", None)], [("B", 0.25), (None, None)]])], "revisions"
    )
    for method in ("auto", "monte-carlo"):
        for spec in ("revise(sequential=2)+best", "revise(sequential=2,across=last)+weighted"):
            with pytest.raises(ScoreMissing, match="covers 2 of 4 nodes of run 'gap'; question 'q' needs one"):
                replay(forests.to_forest(gap), [spec], [2], seed=0, method=method)
        free = ["revise(sequential=1)+best", "revise(sequential=2)+majority"]  # what is not asked needs no score
        assert not replay(forests.to_forest(gap), free, [2], seed=0, method=method).frame["accuracy"].has_nulls()
    negative = forests.Case("n", [forests.chains("q", [[("A", -0.5), ("B", -0.75)], [("B", 0.25)]])], "revisions")
    with pytest.raises(ValueError, match="gives negative scores, which cannot be summed into the vote of a chain"):
        replay(forests.to_forest(negative), ["revise(sequential=2)+best"], [2], seed=0)
    for across in ("pooled", "last"):
        frame = replay(forests.to_forest(negative), [f"revise(sequential=1,across={across})+best"], [1], seed=0).frame
        assert frame["accuracy"].to_list() == [0.5]


def test_a_question_without_chains_is_exhausted() -> None:
    case = forests.Case("lone", [forests.lone_prompt()], "revisions")
    with pytest.raises(CacheExhausted, match=r"fewer than 1 chains of 1 attempts \(first: 'lone', 0\)"):
        replay(forests.to_forest(case), ["revise(sequential=1)+oracle"], [1], seed=0)
    frame = replay(forests.to_forest(case), ["revise(sequential=1)+oracle"], [1], seed=0, on_exhausted="bounds").frame
    assert frame.select("accuracy", "lower", "upper").rows() == [(None, 0.0, 1.0)]
    assert math.isclose(frame["exhausted"].item(), 1.0)
