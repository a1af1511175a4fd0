"""Laws that hold on any cache (statistics §7): no figure to compare with, only relations between replays."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import forests
from tests.independence import assert_rows_stand_alone
from tts_sim.difficulty import pass_at_1
from tts_sim.replay import replay

VALUES = ["majority", "best", "weighted", "oracle"]
SEEDS = st.integers(0, 10**6)


def flat(seed: int, num: int = 7, scores: Any = None) -> forests.Case:
    """One question of `num` one-step solutions with few answers and dyadic scores."""
    chance = random.Random(seed)
    entries = [(chance.choice(["A", "B", "C", None]), (chance.randrange(8) + 1) / 8) for _ in range(num)]
    if scores is not None:
        entries = [(answer, scores(i, answer, score)) for i, (answer, score) in enumerate(entries)]
    return forests.Case("flat", [forests.star(f"q{seed}", entries)])


def column(case: forests.Case, spec: str, budgets: list[int], trials: int = 64, **more: Any) -> list[float]:
    frame = replay(forests.to_forest(case), [spec], budgets, trials=trials, seed=3, **more).frame
    return frame["accuracy"].to_list()


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_one_sample_is_mean_accuracy(seed: int) -> None:
    case = flat(seed)
    [expected] = pass_at_1(forests.to_forest(case)).values()
    for selection in VALUES:
        for method in ("auto", "monte-carlo"):
            assert column(case, f"sample+{selection}", [1], method=method) == pytest.approx([expected], abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_constant_scores_make_a_majority(seed: int) -> None:
    case = flat(seed, scores=lambda i, answer, score: 0.3)
    budgets = [1, 2, 3, 5, 7]
    weighted = column(case, "sample+weighted", budgets)
    assert weighted == column(case, "sample+majority", budgets, method="monte-carlo")


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_distinct_answers_make_best_of_n(seed: int) -> None:
    chance = random.Random(seed)
    entries: list[Any] = [("A" if i == 2 else f"B{i}", chance.random()) for i in range(8)]
    case = forests.Case("distinct", [forests.star(f"q{seed}", entries)])
    weighted = column(case, "sample+weighted", [1, 3, 5])
    assert weighted == column(case, "sample+best", [1, 3, 5], method="monte-carlo")


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_monotone_maps_of_scores_leave_the_best(seed: int) -> None:
    plain, mapped = flat(seed), flat(seed, scores=lambda i, answer, score: score**7)
    budgets = list(range(1, 8))
    assert column(plain, "sample+best", budgets) == column(mapped, "sample+best", budgets)


def test_monotone_maps_of_scores_change_weighted_votes() -> None:
    entries: list[Any] = [("A", 0.5), ("A", 0.5), ("B", 0.75)]
    plain = forests.Case("p", [forests.star("q", entries)])
    mapped = forests.Case("m", [forests.star("q", [(answer, score**7) for answer, score in entries])])
    assert (column(plain, "sample+weighted", [3]), column(mapped, "sample+weighted", [3])) == ([1.0], [0.0])


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, method=st.sampled_from(["auto", "monte-carlo"]))
def test_order_of_rows_is_irrelevant(seed: int, method: Any) -> None:
    case = forests.random_case(seed, continuous=True)
    specs = [f"sample+{name}" for name in VALUES]

    def outcome(case: forests.Case) -> pl.DataFrame:
        return replay(forests.to_forest(case), specs, [1, 4, 8], trials=16, seed=seed, method=method).frame

    shuffled = []
    for question in case.questions:
        nodes = list(question["nodes"])
        random.Random(seed).shuffle(nodes)
        shuffled.append({**question, "nodes": nodes})
    other = forests.Case(case.name, shuffled, case.kind, case.root_pool, case.step_pool)
    assert outcome(case).equals(outcome(other))


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_doubled_rows_leave_the_plug_in(seed: int) -> None:
    """With replacement, a pool in which every row stands twice is the same pool; without, it is another one."""
    chance = random.Random(seed)
    entries: list[Any] = [("A", 0.875)] + [(chance.choice("ABC"), (1 + chance.randrange(8)) / 8) for _ in range(4)]
    entries.append(("B", 0.75))
    once = forests.Case("once", [forests.star("q", entries)])
    twice = forests.Case("twice", [forests.star("q", [entry for entry in entries for _ in range(2)])])
    for name in VALUES:
        again = [column(case, f"sample+{name}", [2, 3, 6, 9], on_exhausted="reuse") for case in (once, twice)]
        assert again[0] == again[1]
    assert column(once, "sample+oracle", [2]) != column(twice, "sample+oracle", [2])


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_perfect_scores_make_coverage(seed: int) -> None:
    case = flat(seed, scores=lambda i, answer, score: 1.0 if answer == "A" else 0.25)
    budgets = list(range(1, 8))
    assert column(case, "sample+best", budgets) == pytest.approx(column(case, "sample+oracle", budgets), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_everything_sampled_has_no_variance(seed: int) -> None:
    case = flat(seed)
    specs = [f"sample+{name}" for name in VALUES]
    rows = replay(forests.to_forest(case), specs, [7], trials=32, seed=seed, method="monte-carlo").frame
    assert rows["variance"].to_list() == [0.0] * 4


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_coverage_bounds_every_selection_and_never_falls(seed: int) -> None:
    case = forests.random_case(seed)
    specs = [f"beam(width=2)+{name}" for name in VALUES]
    frame = replay(forests.to_forest(case), specs, [1, 2, 4], trials=16, seed=seed).frame
    table = frame.select("question_id", "budget", "strategy", "lower").pivot("strategy", values="lower")
    assert all((table[spec] <= table["beam(width=2)+oracle"] + 1e-12).all() for spec in specs)
    for method, names in (("auto", ["majority", "best", "oracle"]), ("monte-carlo", VALUES)):
        curves = {name: column(flat(seed), f"sample+{name}", list(range(1, 8)), method=method) for name in names}
        for curve in curves.values():
            assert all(value <= top + 1e-12 for value, top in zip(curve, curves["oracle"], strict=True))
    exact = replay(forests.to_forest(flat(seed)), ["sample+oracle"], list(range(1, 8)), seed=0).frame["accuracy"]
    assert (exact.diff().drop_nulls() >= -1e-12).all()


def test_threads_and_other_questions_change_no_bit() -> None:
    questions = [question for seed in range(6) for question in forests.random_case(seed, continuous=True).questions]
    case = forests.Case("many", questions)
    specs = [f"{search}+{name}" for search in ("sample", "beam(width=2)", "beam(width=sqrt)") for name in VALUES]
    assert_rows_stand_alone(case, specs, [1, 4, 8], [4, 0, 7], trials=32)


def test_chains_do_not_depend_on_other_questions() -> None:
    questions = [question for seed in range(4) for question in forests.random_chains(1000 + 2 * seed).questions]
    case = forests.Case("chains", questions, "revisions")
    specs = ["revise(sequential=2)+weighted", "revise(ratio=1:1)+majority"]
    whole = replay(forests.to_forest(case), specs, [4], trials=16, seed=5).frame.sort("question_id", "strategy")
    part = replay(forests.to_forest(case, [2, 1]), specs, [4], trials=16, seed=5).frame.sort("question_id", "strategy")
    assert part.equals(whole.filter(pl.col("question_id").is_in(part["question_id"].unique().implode())))


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_beam_of_width_1_is_weighted_sampling(seed: int) -> None:
    """In distribution, on independent chains: their solutions end at different depths, and all are kept."""
    chance = random.Random(seed)
    grower = forests.Grower()
    for draw in range(8):
        parent = grower.add(None, draw, 1, chance.random())
        for _ in range(chance.randrange(3)):
            parent = grower.add(parent, 0, 1, chance.random())
        grower.add(parent, 0, 1, chance.randrange(8) / 8, answer=chance.choice("ABC"))
    forest = forests.to_forest(forests.Case("chains", [grower.question(f"q{seed}")]))
    beam, sample = (
        replay(forest, [spec], [1, 3, 8], trials=4096, seed=seed + place, method="monte-carlo").frame
        for place, spec in enumerate(["beam(width=1)+weighted", "sample+weighted"])
    )
    for left, right in zip(beam.iter_rows(named=True), sample.iter_rows(named=True), strict=True):
        error = (left["variance"] + right["variance"]) ** 0.5
        assert abs(left["accuracy"] - right["accuracy"]) <= 4.5 * error + 1e-12
        assert left["tokens"] == pytest.approx(right["tokens"], rel=0.1)
