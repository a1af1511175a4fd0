"""`adaptive`: equal to its specification, right where it can be counted out, and its laws."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import forests, naive, naive_adaptive
from tests.independence import assert_rows_stand_alone
from tests.test_dvts import CHECKED, SELECTIONS, Leaf, selected
from tts_sim.demand import demand
from tts_sim.errors import CacheExhausted, ScoreMissing
from tts_sim.replay import replay
from tts_sim.spec import parse_strategy
from tts_sim.strategies.adaptive import least_leads
from tts_sim.strategies.plan import OnExhausted

SEARCHES = ["adaptive(confidence=0.95)", "adaptive(confidence=0.7)", "adaptive(confidence=1)"]
SPECS = [f"{search}+{selection}" for search in SEARCHES for selection in SELECTIONS]


def assert_equal(
    case: forests.Case, specs: list[str], budgets: list[int], trials: int, seed: int, policy: OnExhausted = "bounds"
) -> None:
    run = naive.read(case.questions, case.root_pool, case.step_pool, "prm")
    rows = replay(
        forests.to_forest(case), specs, budgets, verifier="prm", trials=trials, seed=seed, on_exhausted=policy
    ).frame
    for spec in specs:
        expected = naive_adaptive.replay(run, spec, budgets, trials=trials, seed=seed, on_exhausted=policy)
        for row in rows.filter(strategy=spec).iter_rows(named=True):
            figures = {name: row[name] for name in CHECKED}
            at = (row["question_id"], row["budget"])
            assert figures == {name: expected[at][name] for name in CHECKED}, (spec, at)


@pytest.mark.parametrize("policy", ["bounds", "reuse"])
@pytest.mark.parametrize("case", forests.AWKWARD, ids=lambda case: case.name)
def test_awkward_forests(case: forests.Case, policy: OnExhausted) -> None:
    assert_equal(case, SPECS, [1, 2, 3, 4, 7], 20, 7, policy)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6), recorded=st.booleans(), holes=st.booleans(), continuous=st.booleans(),
    policy=st.sampled_from(["bounds", "reuse"]),
)  # fmt: skip
def test_random_trees(seed: int, recorded: bool, holes: bool, continuous: bool, policy: OnExhausted) -> None:
    case = forests.random_case(seed, recorded=recorded, holes=holes, continuous=continuous)
    assert_equal(case, SPECS, [1, 2, 4, 7, 16], 6, seed, policy)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.5, 0.9, 0.98, 1.0]))
def test_demand(seed: int, share: float) -> None:
    case = forests.cut(forests.random_case(seed, recorded=True), seed, share)
    run = naive.read(case.questions, case.root_pool, case.step_pool, "prm")
    for search in SEARCHES:
        rows = demand(forests.to_forest(case), [f"{search}+majority"], [1, 7], trials=4, seed=seed)
        offsets, offset = {}, 0
        for question in case.questions:
            offsets[question["question_id"]] = offset
            offset += 1 + max((node["id"] for node in question["nodes"]), default=0)
        listed = [
            (q, None if node is None else node - offsets[q], draw)
            for q, node, draw in rows.select("question_id", "node_id", "draw").iter_rows()
        ]
        assert len(set(listed)) == len(listed)
        assert set(listed) == naive_adaptive.demand(run, f"{search}+majority", [1, 7], trials=4, seed=seed)


@pytest.mark.parametrize("confidence", [0.51, 0.75, 0.9, 0.9375, 0.95, 0.99, 1.0])
def test_least_leads(confidence: float) -> None:
    """The table is the criterion: 15/16 is reached by 3 to 0, .95 takes 4 to 0."""
    for most in (1, 2, 7, 40):
        leads = least_leads(confidence, most)
        assert leads.shape == (most // 2 + 1,)
        for b, lead in enumerate(leads):
            enough = [a for a in range(b, most - b + 1) if naive_adaptive.settled(a, b, confidence)]
            assert lead == min(enough, default=most + 1), (most, b)
    assert least_leads(0.9375, 40)[0] == 3
    assert least_leads(0.95, 40)[:4].tolist() == [4, 6, 8, 9]
    assert naive_adaptive.settled(3, 0, 0.9375) and not naive_adaptive.settled(3, 0, 0.9376)


def test_by_hand() -> None:
    """All agree: four are drawn, whatever the budget beyond; what cannot be parsed costs and settles nothing."""
    same = forests.to_forest(forests.Case("same", [forests.star("q", [("A", 0.5)] * 9)]))
    frame = replay(same, ["adaptive+majority"], [1, 3, 4, 9], trials=16, seed=0).frame
    assert frame["generations"].to_list() == [1.0, 3.0, 4.0, 4.0]
    assert frame["calls"].to_list() == [1.0, 3.0, 4.0, 4.0]
    assert frame["budget"].to_list() == [1, 3, 4, 9]
    assert frame["accuracy"].to_list() == [1.0] * 4
    assert (frame["critical_tokens"] == frame["tokens"]).all()
    mute = forests.to_forest(forests.Case("mute", [forests.star("q", [(None, 0.5)] * 9)]))
    row = replay(mute, ["adaptive+majority"], [9], trials=4, seed=0).frame.row(0, named=True)
    assert (row["accuracy"], row["generations"]) == (0.0, 9.0)
    two = forests.to_forest(forests.Case("two", [forests.star("q", [("A", 0.5)] * 4 + [(None, 0.5)])]))
    row = replay(two, ["adaptive+majority"], [5], trials=10_000, seed=0).frame.row(0, named=True)
    assert abs(row["generations"] - 4.8) < 4 * (0.16 / 10_000) ** 0.5  # one more unless the mute one would come last


@pytest.mark.parametrize("selection", ["majority", "best", "weighted", "oracle"])
def test_counted_out(selection: str) -> None:
    """Accuracy and cost over all orders of a cache that the budget exhausts, exactly; a smaller budget as well."""
    leaves: list[Leaf] = [("A", 0.5), ("A", 0.25), ("A", 0.125), ("B", 0.75), ("B", 0.5), ("C", 0.125), (None, 1.0)]
    forest = forests.to_forest(forests.Case("c", [forests.star("q", leaves)]))
    spec = f"adaptive(confidence=0.8)+{selection}"
    for row in replay(forest, [spec], [3, 5, 7], trials=100_000, seed=1).frame.iter_rows(named=True):
        value, cost = Fraction(0), Fraction(0)
        orders = list(itertools.permutations(leaves, row["budget"]))
        for order in orders:
            drawn = 0
            for drawn in range(1, row["budget"] + 1):
                votes = Counter(answer for answer, _ in order[:drawn] if answer is not None)
                first, second = [*sorted(votes.values(), reverse=True), 0, 0][:2]
                if naive_adaptive.settled(first, second, 0.8):
                    break
            value += selected(selection, order[:drawn])
            cost += drawn
        assert abs(row["accuracy"] - float(value / len(orders))) <= 4 * row["variance"] ** 0.5
        assert abs(row["generations"] - float(cost / len(orders))) <= 4 * row["budget"] / 2 / 100_000**0.5


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), recorded=st.booleans())
def test_never_stopping_is_sampling(seed: int, recorded: bool) -> None:
    """The same stream of draws: at the whole pool, where each trial of `sample` holds one block, the very values."""
    forest = forests.to_forest(forests.random_case(seed, recorded=recorded))
    pool = int(forest.root_pools().min())
    for selection in ("majority", "weighted"):
        specs = [f"adaptive(confidence=1)+{selection}", f"sample+{selection}"]
        left, right = replay(forest, specs, [pool], trials=8, seed=seed, method="monte-carlo").frame.partition_by(
            "strategy", maintain_order=True
        )
        for name in ("accuracy", "generations", "tokens", "supported"):
            assert left[name].to_list() == right[name].to_list()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_never_costs_more_than_the_budget(seed: int) -> None:
    forest = forests.to_forest(forests.random_case(seed))
    frame = replay(forest, ["adaptive(confidence=0.8)+majority"], [1, 2, 4, 8], trials=16, seed=seed).frame
    assert (frame["generations"] <= frame["budget"]).all()
    rising = frame.sort("question_id", "budget").partition_by("question_id")
    assert all((part["generations"].diff().drop_nulls() >= 0).all() for part in rising)


def test_a_settled_trial_needs_no_further_draw() -> None:
    """Draws that are missing after the stop do not matter; before it, all that are surely needed are asked for."""
    grower = forests.Grower()
    for draw in range(4):
        grower.add(None, draw, 2, 0.5, answer="A")
    case = forests.Case("part", [grower.question("q")], "steps", 6, 1)
    forest = forests.to_forest(case)
    frame = replay(forest, ["adaptive+majority"], [6], trials=4000, seed=0).frame
    row = frame.row(0, named=True)
    assert row["supported"] == pytest.approx(1 / 15, abs=4 * (0.0625 / 4000) ** 0.5)  # both holes come last
    assert row["missing"] == 1 - row["supported"]
    assert demand(forest, ["adaptive+majority"], [6], trials=50, seed=0)["draw"].to_list() == [4, 5]
    empty = forests.to_forest(forests.Case("none", [forests.Grower().question("q")], "steps", 40, 1))
    assert len(demand(empty, ["adaptive+majority"], [40], trials=1, seed=0)) == 4


def test_threads_and_other_questions_change_no_bit() -> None:
    questions = [question for seed in range(6) for question in forests.random_case(seed, continuous=True).questions]
    case = forests.Case("many", questions)
    assert_rows_stand_alone(case, SPECS, [1, 4, 8], [4, 0, 7], trials=16)


def test_specs() -> None:
    for spec, canonical in {
        "adaptive+majority": "adaptive(confidence=0.95)+majority",
        "adaptive(confidence=.990)+best": "adaptive(confidence=0.99)+best",
        "adaptive(confidence=1.0)+best": "adaptive(confidence=1)+best",
    }.items():
        assert str(parse_strategy(spec)) == canonical
        assert parse_strategy(canonical) == parse_strategy(spec)
    assert not parse_strategy("adaptive+majority").uses_scores
    assert parse_strategy("adaptive+weighted").uses_scores
    for wrong in ("confidence=0.5", "confidence=95", "confidence=-1", "confidence=high", "confidence=1:2"):
        with pytest.raises(ValueError, match=r"expected a number above 0\.5, up to 1"):
            parse_strategy(f"adaptive({wrong})+best")


def test_what_is_refused() -> None:
    forest = forests.to_forest(forests.Case("c", [forests.star("q", [("A", 0.5), ("B", None), ("C", 0.25)])]))
    with pytest.raises(CacheExhausted, match=r"1 of 1 questions hold fewer than 8 samples \(first: 'q', 3\)"):
        replay(forest, ["adaptive+majority"], [8], seed=0)
    with pytest.raises(ValueError, match=r"on_exhausted='borrow': .*knows refuse, bounds, reuse"):
        replay(forest, ["adaptive+majority"], [2], seed=0, on_exhausted="borrow")
    with pytest.raises(ValueError, match="replays step trees of independent solutions"):
        replay(forests.to_forest(forests.random_chains(2)), ["adaptive+majority"], [4], seed=0)
    with pytest.raises(ScoreMissing, match="covers 2 of 3 nodes"):
        replay(forest, ["adaptive+weighted"], [3], seed=0)
    assert np.isfinite(replay(forest, ["adaptive+majority"], [3], seed=0).frame["accuracy"][0])
