"""Beam search in all its readings, lookahead, and what stands in for draws that are not cached."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import forests, naive
from tts_sim.errors import CacheExhausted, ScoreMissing
from tts_sim.replay import replay
from tts_sim.strategies.plan import OnExhausted

READINGS = [f"beam(width={width}{finished})" for width in (1, 2, 4, "sqrt")
            for finished in ("", ",finished=absorb", ",finished=shrink", ",finished=pool")]  # fmt: skip
LOOKAHEADS = ["lookahead(width=2,steps=1)", "lookahead(width=sqrt,steps=1)", "lookahead(width=2,steps=3)"]
SELECTIONS = ["majority", "best", "weighted(agg=min)", "oracle"]
READING_SPECS = [f"{search}+{selection}" for search in READINGS for selection in SELECTIONS]
LOOKAHEAD_SPECS = [f"{search}+{selection}" for search in LOOKAHEADS for selection in SELECTIONS]
COSTS = ("generations", "tokens", "critical_tokens", "calls", "prefix_tokens")


def expected(run: naive.Run, spec: str, question: str, budget: int, trials: int, seed: int, policy: str) -> Any:
    """Figures of one row."""
    values: list[float] = []
    costs = [0] * 6
    missing = exhausted = 0
    for trial in range(trials):
        try:
            found, value = naive.run_trial(run, question, spec, budget, seed, trial, policy)
        except naive.Missing:
            missing += 1
        except naive.Exhausted:
            exhausted += 1
        else:
            values.append(value)
            spent = (found.generations, found.tokens, found.critical, found.calls, found.prefix, found.borrowed)
            costs = [total + more for total, more in zip(costs, spent, strict=True)]
    figures = naive.summary(values, trials, costs[1], costs[2], missing, exhausted)
    count = len(values)
    figures |= {name: total / count if count else None for name, total in zip(COSTS, costs, strict=False)}
    figures["borrowed"] = costs[5] / costs[3] if count else 0.0
    return figures


def assert_equal(
    case: forests.Case, specs: list[str], budgets: list[int], trials: int, seed: int, policy: OnExhausted = "bounds"
) -> None:
    run = naive.read(case.questions, case.root_pool, case.step_pool, "prm")
    rows = replay(
        forests.to_forest(case), specs, budgets, verifier="prm", trials=trials, seed=seed, on_exhausted=policy
    ).frame
    for row in rows.iter_rows(named=True):
        figures = expected(run, row["strategy"], row["question_id"], row["budget"], trials, seed, policy)
        assert {name: row[name] for name in figures} == figures, (row["strategy"], row["question_id"], row["budget"])


@pytest.mark.parametrize("case", forests.AWKWARD, ids=lambda case: case.name)
def test_readings_on_awkward_forests(case: forests.Case) -> None:
    for policy in ("bounds", "reuse", "borrow"):
        specs = [f"{search}+weighted" for search in READINGS]
        if case.name == "unscored abstentions":  # where ended candidates compete, they need a score
            specs = [spec for spec in specs if "absorb" not in spec and "shrink" not in spec]
        assert_equal(case, specs, [1, 2, 3, 4], 3, 7, policy)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6), recorded=st.booleans(), holes=st.booleans(), continuous=st.booleans(),
    policy=st.sampled_from(["bounds", "reuse", "borrow"]),
)  # fmt: skip
def test_readings_on_random_trees(
    seed: int, recorded: bool, holes: bool, continuous: bool, policy: OnExhausted
) -> None:
    case = forests.random_case(seed, recorded=recorded, holes=holes, continuous=continuous)
    specs = random.Random(seed).sample(READING_SPECS, 6)
    assert_equal(case, specs, [1, 2, 4, 7, 8], 3, seed, policy)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6), recorded=st.booleans(), holes=st.booleans(), share=st.sampled_from([0.9, 1.0]),
    policy=st.sampled_from(["bounds", "reuse", "borrow"]),
)  # fmt: skip
def test_lookahead_on_random_trees(seed: int, recorded: bool, holes: bool, share: float, policy: OnExhausted) -> None:
    case = forests.with_rollouts(forests.random_case(seed, recorded=recorded, holes=holes), seed, share)
    specs = random.Random(seed).sample(LOOKAHEAD_SPECS, 3)
    assert_equal(case, specs, [4, 8, 16, 32], 3, seed, policy)


def figures(case: forests.Case, spec: str, budget: int, trials: int = 20_000, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"trials": trials, "seed": 1, **more}
    return replay(forests.to_forest(case), [spec], [budget], **given).frame.row(0, named=True)


def assert_near(row: dict[str, Any], value: Fraction) -> None:
    assert abs(row["accuracy"] - float(value)) <= 4 * row["variance"] ** 0.5 + 1e-12, (row, value)


EARLY = next(case for case in forests.AWKWARD if case.name == "early ends")
C14 = {
    "": ((5, 6), (7, 9), 4),
    ",finished=absorb": ((23, 36), (13, 18), None),
    ",finished=shrink": ((13, 18), (13, 18), None),
    ",finished=pool": ((11, 18), (5, 9), 5),
}


@pytest.mark.parametrize("finished", C14)
def test_c14_early_ends(finished: str) -> None:
    weighted, best, generations = C14[finished]
    for selection, value in (("weighted", weighted), ("best", best)):
        row = figures(EARLY, f"beam(width=2{finished})+{selection}", 4)
        assert_near(row, Fraction(*value))
        assert row["method"] == "monte-carlo"
        if generations is not None:
            assert row["generations"] == generations


def test_what_the_readings_spend() -> None:
    """The root solution A ends at once; kept or not, each of two parents sends two children."""
    sure = forests.tree("q", [(0.625, "A"), *[(score, [("A", 0.5), ("B", 0.5)]) for score in (0.75, 0.5, 0.25)]])
    costs = {}
    for finished in ("freeze", "absorb", "shrink", "pool"):
        row = figures(forests.Case("q", [sure]), f"beam(width=2,finished={finished})+best", 4, 8)
        costs[finished] = (row["generations"], row["tokens"], row["calls"])
    assert costs == {
        "freeze": (4, 16 + 6, 7),  # three children: two of the first, one of the second
        "absorb": (3, 16 + 4, 6),  # two children and two copies
        "shrink": (3, 16 + 4, 6),  # two children, of which one keeps a place
        "pool": (5, 16 + 8, 8),  # four children
    }


def enumerated(tree: list[dict[str, Any]], n: int, width: int, selection: str) -> Fraction:
    """Expected accuracy of lookahead by one step on a tree of two levels, over all draws and orders of ties."""

    def mean(values: list[Fraction]) -> Fraction:
        return sum(values, Fraction(0)) / len(values)

    outcomes = []
    for first in itertools.permutations(tree, n):
        ranked = [
            order for order in itertools.permutations(first)
            if all(a["greedy_lookahead_score"] >= b["greedy_lookahead_score"] for a, b in itertools.pairwise(order))
        ]  # fmt: skip
        by_order = []
        for order in ranked:
            kept = order[: math.ceil(n / width)]
            drawn = itertools.product(*(itertools.permutations(node["children"], width) for node in kept))
            leaves = [[leaf for children in choice for leaf in children][:n] for choice in drawn]
            by_order.append(mean([chosen(answers, selection) for answers in leaves]))
        outcomes.append(mean(by_order))
    return mean(outcomes)


def chosen(leaves: list[dict[str, Any]], selection: str) -> Fraction:
    if selection == "oracle":
        return Fraction(any(leaf["answer"] == "A" for leaf in leaves))
    sums: dict[str, float] = {}
    for leaf in leaves:
        weight = 1.0 if selection == "majority" else leaf["score"]
        before = sums.get(leaf["answer"], 0.0)
        sums[leaf["answer"]] = max(before, weight) if selection == "best" else before + weight
    if selection == "best":
        tied = [leaf["answer"] for leaf in leaves if leaf["score"] == max(sums.values())]
    else:
        tied = [answer for answer in sums if sums[answer] == max(sums.values())]
    return Fraction(tied.count("A"), len(tied))


C11_TREE = [
    (0.75, 0.5, [(0.875, "A"), (0.5, "B"), (0.25, "A")]),
    (0.625, 0.75, [(0.75, "B"), (0.625, "A"), (0.125, "C")]),
    (0.625, 0.875, [(0.25, "C"), (0.875, "B"), (0.375, "B")]),
    (0.5, 1.0, [(1.0, "A"), (0.75, "A"), (0.125, "B")]),
    (0.25, 0.125, [(0.5, "C"), (0.25, "A"), (0.125, "A")]),
]


@pytest.mark.parametrize("ties", [False, True])
def test_lookahead_on_the_tree_of_c11(ties: bool) -> None:
    """By brute force over all draws: each first step has a greedy child with the score that the case gives."""
    grower = forests.Grower()
    tree = []
    for draw, (score, ahead, leaves) in enumerate(C11_TREE):
        ahead = 0.875 if ties and ahead == 0.75 else ahead
        first = grower.add(None, draw, 4, score)
        grower.add(first, 0, 3, ahead, greedy=True, answer="B")
        for place, (leaf, answer) in enumerate(leaves):
            grower.add(first, place, 2, leaf, answer=answer)
        children = [{"score": leaf, "answer": answer} for leaf, answer in leaves]
        tree.append({"greedy_lookahead_score": ahead, "children": children})
    case = forests.Case("c11", [grower.question("q")])
    for selection in ("weighted", "best", "majority", "oracle"):
        for n in (2, 4):
            row = figures(case, f"lookahead(width=2,steps=1)+{selection}", 2 * n)
            assert_near(row, enumerated(tree, n, 2, selection))
            assert (row["generations"], row["supported"]) == (2 * n, 1.0)
            assert (row["tokens"], row["critical_tokens"], row["calls"]) == (n * (4 + 3 + 2), 4 + 3 + 2, 3 * n)
            assert row["prefix_tokens"] == n * 4 + n * 4


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_lookahead_by_no_step_is_beam(seed: int) -> None:
    forest = forests.to_forest(forests.random_case(seed))
    for width in (2, "sqrt"):
        specs = [f"lookahead(width={width},steps=0)+weighted", f"beam(width={width})+weighted"]
        frame = replay(forest, specs, [1, 4, 8], trials=8, seed=seed).frame.drop("strategy")
        assert frame[: len(frame) // 2].equals(frame[len(frame) // 2 :])


def test_lookahead_budgets() -> None:
    case = forests.with_rollouts(forests.random_case(3), 3, 1.0)
    with pytest.raises(ValueError, match=r"budget 6: lookahead\(width=4,steps=3\) needs a multiple of 4\."):
        figures(case, "lookahead+best", 6)
    with pytest.raises(CacheExhausted, match="fewer than 64 first steps"):
        figures(case, "lookahead(steps=1)+best", 128, on_exhausted="refuse")


def test_lookahead_needs_the_score_at_the_end_of_a_rollout() -> None:
    grower = forests.Grower()
    for draw in range(2):
        first = grower.add(None, draw, 1, 0.5)
        grower.add(first, 0, 1, None, greedy=True, answer="A")
        grower.add(first, 0, 1, 0.5, answer="A")
    with pytest.raises(ScoreMissing, match="covers 4 of 6 nodes"):
        figures(forests.Case("gap", [grower.question("q")]), "lookahead(width=1,steps=1)+majority", 4)


C16 = {"majority": (Fraction(73, 125), Fraction(67, 125)), "oracle": (Fraction(93, 125), Fraction(241, 375))}


@pytest.mark.parametrize("selection", C16)
def test_c16_reuse_is_biased_and_fresh_draws_are_not(selection: str) -> None:
    """Random caches of C16, one question each: means over them against the exact expectations, and reuse's bias."""
    chance = random.Random(5)
    questions = []
    for q in range(6000):
        shape: list[Any] = []
        for _ in range(3):
            good = chance.random() < 0.4
            right = 0.8 if good else 0.2
            leaves = [("A" if chance.random() < right else "B", 0.5) for _ in range(3)]
            shape.append((0.75 if good else 0.25, leaves))
        questions.append(forests.tree(f"q{q}", shape))
    case = forests.to_forest(forests.Case("c16", questions))
    policies: list[tuple[OnExhausted, str]] = [("bounds", "monte-carlo"), ("reuse", "plugin")]
    for (policy, method), value in zip(policies, C16[selection], strict=True):
        frame = replay(case, [f"beam(width=2)+{selection}"], [2], trials=20, seed=3, on_exhausted=policy).frame
        accuracy = frame["accuracy"].to_numpy()
        error = accuracy.std() / len(accuracy) ** 0.5
        assert abs(accuracy.mean() - float(value)) <= 4 * error
        assert set(frame["method"]) == {method}
        assert (frame["supported"] == 1).all()


def test_borrowed_draws_are_counted_and_labelled() -> None:
    shape: list[Any] = [(0.75, [("A", 0.5)]), (0.5, [("B", 0.5), ("B", 0.25)]), (0.625, [("A", 0.5), ("A", 0.25)])]
    case = forests.Case("lent", [forests.tree("q", shape)])
    row = figures(case, "beam(width=3)+majority", 3, 50, on_exhausted="borrow")
    assert (row["supported"], row["method"]) == (1.0, "imputed")  # two of three: from the step with .625, not .5
    assert (row["accuracy"], row["borrowed"]) == (1.0, 2 / 6)
    assert figures(case, "beam(width=3)+majority", 3, 50, on_exhausted="bounds")["exhausted"] == 1.0
    row = figures(case, "beam(width=4)+majority", 4, 50, on_exhausted="borrow")  # nobody lends to a prompt
    assert (row["supported"], row["exhausted"], row["borrowed"], row["method"]) == (0.0, 1.0, 0.0, "bounds")
