"""`rebase`: equal to its specification, right on trees small enough to count out, and its laws."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import forests, naive, naive_rebase
from tests.independence import assert_rows_stand_alone
from tests.test_dvts import C11, CHECKED, SELECTIONS, Leaf, selected
from tts_sim.demand import demand
from tts_sim.errors import CacheExhausted, ScoreMissing
from tts_sim.replay import replay
from tts_sim.spec import parse_strategy
from tts_sim.strategies.plan import OnExhausted
from tts_sim.strategies.rebase import Rebase

SEARCHES = [
    "rebase(temperature=0.1)", "rebase(temperature=0.5)", "rebase(temperature=0.5,rounding=round)",
    "rebase(temperature=3)", "rebase(temperature=3,rounding=round)",
]  # fmt: skip
SPECS = [f"{search}+{selection}" for search in SEARCHES for selection in SELECTIONS]


def assert_equal(
    case: forests.Case, specs: list[str], budgets: list[int], trials: int, seed: int, policy: OnExhausted = "bounds"
) -> None:
    run = naive.read(case.questions, case.root_pool, case.step_pool, "prm")
    rows = replay(
        forests.to_forest(case), specs, budgets, verifier="prm", trials=trials, seed=seed, on_exhausted=policy
    ).frame
    for spec in specs:
        expected = naive_rebase.replay(run, spec, budgets, trials=trials, seed=seed, on_exhausted=policy)
        for row in rows.filter(strategy=str(parse_strategy(spec))).iter_rows(named=True):
            figures = {name: row[name] for name in CHECKED}
            at = (row["question_id"], row["budget"])
            assert figures == {name: expected[at][name] for name in CHECKED}, (spec, at)


@pytest.mark.parametrize("policy", ["bounds", "reuse", "borrow"])
@pytest.mark.parametrize("case", forests.AWKWARD, ids=lambda case: case.name)
def test_awkward_forests(case: forests.Case, policy: OnExhausted) -> None:
    assert_equal(case, SPECS, [1, 2, 3, 4], 20, 7, policy)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6), recorded=st.booleans(), holes=st.booleans(), continuous=st.booleans(),
    policy=st.sampled_from(["bounds", "reuse", "borrow"]),
)  # fmt: skip
def test_random_trees(seed: int, recorded: bool, holes: bool, continuous: bool, policy: OnExhausted) -> None:
    case = forests.random_case(seed, recorded=recorded, holes=holes, continuous=continuous)
    assert_equal(case, SPECS, [1, 2, 4, 7, 16], 6, seed, policy)


@pytest.mark.parametrize("continuous", [True, False])
def test_wide_trees(continuous: bool) -> None:
    """Every share is served here: pools are as large as the budget."""
    chance = random.Random(4)
    grower = forests.Grower()

    def score() -> float:
        return chance.random() if continuous else chance.randrange(9) / 8

    for draw in range(24):
        first = grower.add(None, draw, draw % 5, score())
        for place in range(24):
            if chance.random() < 0.4:
                grower.add(first, place, 2, score(), answer=chance.choice("ABC"))
                continue
            second = grower.add(first, place, place % 7, score())
            for last in range(24):
                grower.add(second, last, 1, score(), answer=chance.choice("ABCD"))
    case = forests.Case("wide", [grower.question("wide")], "steps", 24, 24)
    assert_equal(case, SPECS, [5, 16, 24], 6, 11)
    frame = replay(forests.to_forest(case), SPECS, [5, 16, 24], trials=6, seed=11).frame
    assert frame["supported"].to_list() == [1.0] * len(frame)
    remainder = frame.filter(~pl.col("strategy").str.contains("round"))
    assert (remainder["generations"] == remainder["budget"]).all()
    assert (frame["generations"] <= frame["budget"]).all()
    assert (frame["generations"] < frame["budget"]).any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.5, 0.9, 0.98, 1.0]))
def test_demand(seed: int, share: float) -> None:
    case = forests.cut(forests.random_case(seed, recorded=True), seed, share)
    run = naive.read(case.questions, case.root_pool, case.step_pool, "prm")
    for search in SEARCHES:
        rows = demand(forests.to_forest(case), [f"{search}+best"], [1, 4], trials=4, seed=seed)
        offsets, offset = {}, 0
        for question in case.questions:
            offsets[question["question_id"]] = offset
            offset += 1 + max((node["id"] for node in question["nodes"]), default=0)
        listed = [
            (q, None if node is None else node - offsets[q], draw)
            for q, node, draw in rows.select("question_id", "node_id", "draw").iter_rows()
        ]
        assert len(set(listed)) == len(listed)
        assert set(listed) == naive_rebase.demand(run, f"{search}+best", [1, 4], trials=4, seed=seed)


HALVING = 0.25 / math.log(2)  # a score lower by a quarter halves the weight


@pytest.mark.parametrize(
    ("scores", "budget", "temperature", "remainder", "rounded"),
    [
        ([0.75, 0.5, 0.5, 0.25], 4, HALVING, [2, 1, 1, 0], [2, 1, 1, 0]),  # 1.78 .89 .89 .44
        ([0.75, 0.75, 0.0], 3, HALVING, [2, 1, 0], [1, 1, 0]),  # 1.41 1.41 .18: equal remainders, the first by chance
        ([0.75, 0.75, -999.0], 3, HALVING, [2, 1, 0], [2, 1, 0]),  # 1.5 1.5 0: twice 2 would be one too many
        ([0.5, 0.75, 0.25], 7, HALVING, [2, 4, 1], [2, 4, 1]),
        ([0.2, 0.9], 2, 0.1, [0, 2], [0, 2]),  # .7 of reward: 1 to 1100
        ([0.5, 0.7], 50, 0.1, [6, 44], [6, 44]),  # .2 of reward: 88 % (statistics 2.6)
        ([0.9, 0.1, 0.5], 3, 1e9, [1, 1, 1], [1, 1, 1]),
        ([0.3], 5, 0.1, [5], [5]),
    ],
)
def test_shares_by_hand(
    scores: list[float], budget: int, temperature: float, remainder: list[int], rounded: list[int]
) -> None:
    ties = list(range(len(scores)))
    assert naive_rebase.shares(scores, ties, budget, temperature, "remainder") == remainder
    assert naive_rebase.shares(scores, ties, budget, temperature, "round") == rounded


def counted_out(n: int, temperature: float, selection: str) -> tuple[Fraction, Fraction]:
    """Value and supported share on the tree of C11 over all first steps, chances among ties and children: exact."""
    outcomes = []
    for firsts in itertools.combinations(range(len(C11)), n):
        for ties in itertools.permutations(range(n)):
            given = naive_rebase.shares([C11[i][0] for i in firsts], ties, n, temperature, "remainder")
            if max(given) > 3:
                outcomes.append((Fraction(0), Fraction(0)))
                continue
            values = []
            for chosen in itertools.product(
                *(itertools.combinations(C11[i][1], count) for i, count in zip(firsts, given, strict=True))
            ):
                leaves: list[Leaf] = [leaf for group in chosen for leaf in group]
                values.append(selected(selection, leaves))
            outcomes.append((sum(values, Fraction(0)) / len(values), Fraction(1)))
    number = len(outcomes)
    return sum((v for v, _ in outcomes), Fraction(0)) / number, sum((s for _, s in outcomes), Fraction(0)) / number


@pytest.mark.parametrize("selection", ["majority", "best", "weighted", "oracle"])
@pytest.mark.parametrize("temperature", [0.1, 0.25])
def test_counted_out(selection: str, temperature: float) -> None:
    forest = forests.to_forest(forests.Case("C11", [forests.tree("q", C11)]))
    frame = replay(forest, [f"rebase(temperature={temperature})+{selection}"], [2, 3, 4], trials=100_000, seed=1).frame
    for row in frame.iter_rows(named=True):
        expected, supported = counted_out(row["budget"], temperature, selection)
        assert supported > 0
        reach = 4 * (0.25 / 100_000) ** 0.5
        assert abs(row["supported"] - float(supported)) <= (reach if supported < 1 else 0.0)
        assert abs(row["lower"] - float(expected)) <= reach


def test_by_hand() -> None:
    """One first step ends; the better of the two others sends both children, the last one is dropped."""
    grower = forests.Grower()
    grower.add(None, 0, 7, 0.25, answer="B")
    good, bad = grower.add(None, 1, 3, 0.9), grower.add(None, 2, 4, 0.2)
    for draw, answer in enumerate("AA"):
        grower.add(good, draw, 5 + draw, 0.5, answer=answer)
        grower.add(bad, draw, 9, 0.5, answer="B")
    forest = forests.to_forest(forests.Case("hand", [grower.question("q")]))
    row = replay(forest, ["rebase+majority"], [3], trials=16, seed=0).frame.row(0, named=True)
    figures = {name: row[name] for name in ("accuracy", "variance", "generations", "tokens", "critical_tokens")}
    assert figures == {"accuracy": 1.0, "variance": 0.0, "generations": 3.0, "tokens": 25.0, "critical_tokens": 13.0}
    assert (row["calls"], row["prefix_tokens"]) == (5.0, 6.0)
    # even sharing: each of the two sends one, and the answer B wins
    even = replay(forest, ["rebase(temperature=1e9)+majority"], [3], trials=16, seed=0).frame.row(0, named=True)
    assert (even["accuracy"], even["critical_tokens"]) == (0.0, 16.0) and 28.0 <= even["tokens"] <= 29.0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), recorded=st.booleans())
def test_even_sharing_is_a_beam_of_width_1(seed: int, recorded: bool) -> None:
    """As hot as can be, every candidate sends one child, whatever its score: the same draws as a beam of width 1."""
    forest = forests.to_forest(forests.random_case(seed, recorded=recorded))
    for selection in ("majority", "weighted", "oracle"):  # scores are dyadic: sums do not depend on their order
        left = replay(forest, [f"rebase(temperature=1e300)+{selection}"], [1, 3, 8], trials=8, seed=seed).frame
        right = replay(forest, [f"beam(width=1)+{selection}"], [1, 3, 8], trials=8, seed=seed).frame
        for name in ("supported", "generations", "tokens", "critical_tokens", "calls", "prefix_tokens"):
            assert left[name].to_list() == right[name].to_list()
        assert left["accuracy"].fill_null(-1.0).to_list() == pytest.approx(right["accuracy"].fill_null(-1.0).to_list())


def test_forty_rounds() -> None:
    case = next(case for case in forests.AWKWARD if case.name == "long chains")
    row = replay(forests.to_forest(case), ["rebase+oracle"], [4], trials=2, seed=0).frame.row(0, named=True)
    assert (row["accuracy"], row["calls"], row["tokens"]) == (0.0, 160.0, 4 * 820.0)


def test_threads_and_other_questions_change_no_bit() -> None:
    questions = [question for seed in range(6) for question in forests.random_case(seed, continuous=True).questions]
    case = forests.Case("many", questions)
    assert_rows_stand_alone(case, SPECS, [1, 4, 8], [4, 0, 7], trials=16)


def test_specs() -> None:
    for spec, canonical in {
        "rebase+majority": "rebase(temperature=0.1)+majority",
        "rebase(temperature=.50)+best": "rebase(temperature=0.5)+best",
        "rebase(temperature=2)+best": "rebase(temperature=2)+best",
        "rebase(temperature=1e20)+best": "rebase(temperature=1e20)+best",
        "rebase(temperature=0.00001)+best": "rebase(temperature=1e-05)+best",
        "rebase(rounding=round)+best": "rebase(temperature=0.1,rounding=round)+best",
        "rebase(rounding=remainder)+best": "rebase(temperature=0.1)+best",
    }.items():
        assert str(parse_strategy(spec)) == canonical
        assert parse_strategy(canonical) == parse_strategy(spec)
    assert Rebase(temperature=2) == Rebase(temperature=2.0)
    wrong: Any
    for wrong in ("temperature=0", "temperature=-1", "temperature=hot", "temperature=1e999", "temperature=1:2"):
        with pytest.raises(ValueError, match="expected a number above 0"):
            parse_strategy(f"rebase({wrong})+best")
    with pytest.raises(ValueError, match="rounding=up: expected one of remainder, round"):
        parse_strategy("rebase(rounding=up)+best")


def test_what_is_refused() -> None:
    forest = forests.to_forest(forests.Case("c", [forests.tree("q", C11)]))
    with pytest.raises(CacheExhausted, match=r"1 of 1 questions hold fewer than 8 first steps \(first: 'q', 5\)"):
        replay(forest, ["rebase+majority"], [8], seed=0)
    with pytest.raises(ValueError, match="replays step trees"):
        replay(forests.to_forest(forests.random_chains(2)), ["rebase+majority"], [4], seed=0)
    steps = forests.Case("steps", [forests.chain("q", 3, roots=4)])
    for node in steps.questions[0]["nodes"][:2]:
        del node["scores"]
    with pytest.raises(ScoreMissing, match="covers 10 of 12 nodes"):
        replay(forests.to_forest(steps), ["rebase+majority"], [4], seed=0)
