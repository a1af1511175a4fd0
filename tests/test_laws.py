"""Laws that hold on any cache (statistics §7): no figure to compare with, only relations between replays.

Each law is named by its number there. The others: 10 is about exchange; 11, flips of scores and of their complements,
is in test_verifiers; of 7, lookahead by no step is in test_beams, one attempt per chain in test_revise.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
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
BEAMS = [f"beam(width=2,finished={reading})" for reading in ("freeze", "absorb", "shrink", "pool")]
TREES = [
    "sample", *BEAMS, "lookahead(width=2,steps=1)", "dvts(width=2)", "dvts(width=2,outputs=best)", "rebase",
    "rebase(temperature=0.5,rounding=round)", "adaptive(confidence=0.8)",
]  # fmt: skip
CHAINS = [f"revise(sequential=2,across={across})" for across in ("hierarchical", "pooled", "last")]
Node = dict[str, Any]


def any_case(seed: int, search: str, **more: Any) -> forests.Case:
    """Random trees (with greedy steps, for lookahead), or random chains."""
    if search.startswith("revise"):
        return forests.random_chains(seed)
    return forests.with_rollouts(forests.random_case(seed, **more), seed, 1.0)


def changed(case: forests.Case, change: Callable[[Node], Node]) -> forests.Case:
    """The case with other scores or answers."""
    questions = [{**question, "nodes": [{**n, **change(n)} for n in question["nodes"]]} for question in case.questions]
    return replace(case, questions=questions)


def figures(case: forests.Case, search: str, selections: list[str], budget: int = 4, **more: Any) -> list[pl.DataFrame]:
    """What trials make of each selection, question by question; unsupported ones count as wrong."""
    given = {"trials": 12, "seed": 3, "method": "monte-carlo", "on_exhausted": "bounds"} | more
    specs = [f"{search}+{selection}" for selection in selections]
    frame = replay(forests.to_forest(case), specs, [budget], **given).frame
    assert (frame["supported"] > 0).any()
    return frame.select("strategy", "question_id", "lower", "supported", "tokens").partition_by(
        "strategy", maintain_order=True, include_key=False
    )


def coverage(case: forests.Case, search: str) -> pl.DataFrame:
    """Of all attempts, where chains would choose one each by their own votes."""
    return figures(case, search.replace("hierarchical", "pooled"), ["oracle"])[0]


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
@given(seed=SEEDS, search=st.sampled_from([*TREES, "revise(sequential=1,across=last)"]))
def test_one_candidate_leaves_nothing_to_select(seed: int, search: str) -> None:
    """Law 1."""
    one = 2 if "lookahead" in search else 1
    first, *others = figures(any_case(seed, search), search, [*VALUES, "best(agg=min)", "weighted(agg=prod)"], one)
    assert all(other.equals(first) for other in others)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_one_sample_is_mean_accuracy(seed: int) -> None:
    """Law 1."""
    case = flat(seed)
    [expected] = pass_at_1(forests.to_forest(case)).values()
    for selection in VALUES:
        for method in ("auto", "monte-carlo"):
            assert column(case, f"sample+{selection}", [1], method=method) == pytest.approx([expected], abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_constant_scores_make_a_majority(seed: int) -> None:
    """Law 2."""
    case = flat(seed, scores=lambda i, answer, score: 0.3)
    budgets = [1, 2, 3, 5, 7]
    weighted = column(case, "sample+weighted", budgets)
    assert weighted == column(case, "sample+majority", budgets, method="monte-carlo")


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, search=st.sampled_from([*TREES, *CHAINS]))
def test_constant_scores_make_a_majority_of_any_candidates(seed: int, search: str) -> None:
    """Law 2."""
    case = changed(any_case(seed, search), lambda node: {"scores": {"prm": 0.3}})
    weighted, majority = figures(case, search, ["weighted", "majority"])
    assert weighted.equals(majority)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, search=st.sampled_from([search for search in (*TREES, *CHAINS) if "absorb" not in search]))
def test_distinct_answers_make_the_best_of_any_candidates(seed: int, search: str) -> None:
    """Law 3, except where one candidate counts more than once."""
    case = changed(any_case(seed, search), lambda node: {"answer": f"{node['id']}"} if node.get("answer") else {})
    for question in case.questions:
        question["gold"] = random.Random(seed).choice(
            [n["answer"] for n in question["nodes"] if n.get("answer")] or "A"
        )
    weighted, best = figures(case, search, ["weighted", "best"])
    assert weighted.equals(best)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_distinct_answers_make_best_of_n(seed: int) -> None:
    """Law 3."""
    chance = random.Random(seed)
    entries: list[Any] = [("A" if i == 2 else f"B{i}", chance.random()) for i in range(8)]
    case = forests.Case("distinct", [forests.star(f"q{seed}", entries)])
    weighted = column(case, "sample+weighted", [1, 3, 5])
    assert weighted == column(case, "sample+best", [1, 3, 5], method="monte-carlo")


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_monotone_maps_of_scores_leave_the_best(seed: int) -> None:
    """Law 5."""
    plain, mapped = flat(seed), flat(seed, scores=lambda i, answer, score: score**7)
    budgets = list(range(1, 8))
    assert column(plain, "sample+best", budgets) == column(mapped, "sample+best", budgets)


@settings(max_examples=20, deadline=None)
@given(
    seed=SEEDS, search=st.sampled_from([search for search in (*TREES, *CHAINS[1:]) if not search.startswith("rebase")])
)
def test_monotone_maps_of_scores_leave_every_ranking(seed: int, search: str) -> None:
    """Law 5, where scores are compared and neither summed nor made into shares."""
    case = any_case(seed, search)
    mapped = changed(case, lambda node: {"scores": {"prm": node["scores"]["prm"] ** 3}})
    selections = ["best", "best(agg=min)", "majority", "oracle"]
    for plain, other in zip(figures(case, search, selections), figures(mapped, search, selections), strict=True):
        assert plain.equals(other)


def test_monotone_maps_of_scores_change_weighted_votes() -> None:
    """Law 5."""
    entries: list[Any] = [("A", 0.5), ("A", 0.5), ("B", 0.75)]
    plain = forests.Case("p", [forests.star("q", entries)])
    mapped = forests.Case("m", [forests.star("q", [(answer, score**7) for answer, score in entries])])
    assert (column(plain, "sample+weighted", [3]), column(mapped, "sample+weighted", [3])) == ([1.0], [0.0])


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, search=st.sampled_from([*TREES, *CHAINS]), method=st.sampled_from(["auto", "monte-carlo"]))
def test_order_of_rows_is_irrelevant(seed: int, search: str, method: Any) -> None:
    """Law 6."""
    case = any_case(seed, search, continuous=True)
    shuffled = []
    for question in case.questions:
        nodes = list(question["nodes"])
        random.Random(seed).shuffle(nodes)
        shuffled.append({**question, "nodes": nodes})
    specs = [f"{search}+{name}" for name in VALUES]
    outcomes = [
        replay(forests.to_forest(each), specs, [4, 8], trials=16, seed=seed, method=method, on_exhausted="bounds").frame
        for each in (case, replace(case, questions=shuffled))
    ]
    assert outcomes[0].equals(outcomes[1])


def doubled(case: forests.Case) -> forests.Case:
    """The case with every draw, and all that follows from it, made twice."""
    questions = []
    for question in case.questions:
        below: dict[int | None, list[Node]] = {}
        for node in question["nodes"]:
            below.setdefault(node["parent"], []).append(node)
        grown: list[Node] = []

        def grow(old: int | None, new: int | None, below: Any = below, grown: Any = grown) -> None:
            for node in sorted(below.get(old, []), key=lambda node: node.get("draw", 0)):
                once = node.get("greedy", False) or (case.kind == "revisions" and old is not None)
                for copy in range(1 if once else 2):
                    draw = node.get("draw", 0) if once else 2 * node["draw"] + copy
                    grown.append({**node, "id": len(grown) + 1, "parent": new, "draw": draw})
                    grow(node["id"], len(grown))

        grow(None, None)
        questions.append({**question, "nodes": grown})
    return replace(case, questions=questions)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, search=st.sampled_from([*TREES, *CHAINS]))
def test_doubled_draws_leave_the_plug_in_of_any_search(seed: int, search: str) -> None:
    """Law 12, for all n: the very same draws, since the number of a draw scales with the pool."""
    case = any_case(seed, search)
    for once, twice in zip(
        figures(case, search, VALUES, on_exhausted="reuse"),
        figures(doubled(case), search, VALUES, on_exhausted="reuse"),
        strict=True,
    ):
        assert once.equals(twice)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_doubled_rows_leave_the_plug_in(seed: int) -> None:
    """Law 12: with replacement, a pool in which every row stands twice is the same pool; without, it is another one."""
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
    """Law 4."""
    case = flat(seed, scores=lambda i, answer, score: 1.0 if answer == "A" else 0.25)
    budgets = list(range(1, 8))
    assert column(case, "sample+best", budgets) == pytest.approx(column(case, "sample+oracle", budgets), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, search=st.sampled_from([*TREES, *CHAINS]))
def test_perfect_scores_make_coverage_of_any_candidates(seed: int, search: str) -> None:
    """Law 4: what ends is scored as it is right; steps before are ranked as before."""
    case = changed(
        any_case(seed, search),
        lambda node: {"scores": {"prm": float(node["answer"] == "A")}} if "answer" in node else {},
    )
    assert figures(case, search, ["best"])[0].equals(coverage(case, search))


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_everything_sampled_has_no_variance(seed: int) -> None:
    """Law 8."""
    case = flat(seed)
    specs = [f"{search}+{name}" for search in ("sample", "adaptive(confidence=1)") for name in VALUES]
    rows = replay(forests.to_forest(case), specs, [7], trials=32, seed=seed, method="monte-carlo").frame
    assert rows["variance"].to_list() == [0.0] * 8


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, search=st.sampled_from([*TREES, *CHAINS]))
def test_coverage_bounds_every_selection(seed: int, search: str) -> None:
    """Law 9."""
    case = any_case(seed, search)
    oracle = coverage(case, search)
    for other in figures(case, search, [*VALUES[:3], "best(agg=mean)"]):
        assert (other["lower"] <= oracle["lower"] + 1e-12).all()
        assert other["supported"].equals(oracle["supported"])


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_coverage_never_falls(seed: int) -> None:
    """Law 9, and the exact curves with it."""
    budgets = list(range(1, 8))
    curves = {name: column(flat(seed), f"sample+{name}", budgets) for name in ("majority", "best", "oracle")}
    for curve in curves.values():
        assert all(value <= top + 1e-12 for value, top in zip(curve, curves["oracle"], strict=True))
    assert all(after >= before - 1e-12 for before, after in pairwise(curves["oracle"]))


def test_threads_and_other_questions_change_no_bit() -> None:
    """Law 13."""
    questions = [q for seed in range(6) for q in any_case(seed, "lookahead", continuous=True).questions]
    case = forests.Case("many", questions)
    specs = [f"{search}+{name}" for search in (*TREES, "beam(width=sqrt)") for name in VALUES]
    assert_rows_stand_alone(case, specs, [4, 8], [4, 0, 7], trials=32, on_exhausted="bounds")


def test_chains_do_not_depend_on_other_questions() -> None:
    questions = [question for seed in range(4) for question in forests.random_chains(1000 + 2 * seed).questions]
    case = forests.Case("chains", questions, "revisions")
    specs = ["revise(sequential=2)+weighted", "revise(ratio=1:1)+majority"]
    whole = replay(forests.to_forest(case), specs, [4], trials=16, seed=5).frame.sort("question_id", "strategy")
    part = replay(forests.to_forest(case, [2, 1]), specs, [4], trials=16, seed=5).frame.sort("question_id", "strategy")
    assert part.equals(whole.filter(pl.col("question_id").is_in(part["question_id"].unique().implode())))


@pytest.mark.parametrize("search", ["beam(width=1)", "dvts(width=1)", "rebase(temperature=1e300)"])
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_one_child_each_is_weighted_sampling(search: str, seed: int) -> None:
    """Law 7: in distribution, on independent chains: their solutions end at different depths, and all are kept."""
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
        for place, spec in enumerate([f"{search}+weighted", "sample+weighted"])
    )
    for left, right in zip(beam.iter_rows(named=True), sample.iter_rows(named=True), strict=True):
        error = (left["variance"] + right["variance"]) ** 0.5
        assert abs(left["accuracy"] - right["accuracy"]) <= 4.5 * error + 1e-12
        assert left["tokens"] == pytest.approx(right["tokens"], rel=0.1)
