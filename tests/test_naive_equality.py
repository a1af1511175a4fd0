"""The engine against the readable specification: exactly the same numbers."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import forests, naive
from tts_sim.demand import demand
from tts_sim.errors import CacheExhausted
from tts_sim.forest import Forest
from tts_sim.replay import replay

SELECTIONS = ["majority", "best", "weighted", "oracle", "weighted(agg=min)", "best(agg=mean)", "weighted(agg=prod)"]
TREE_SPECS = [f"{search}+{selection}" for search in ("sample", "beam(width=2)", "beam(width=4)", "beam(width=sqrt)")
              for selection in SELECTIONS]  # fmt: skip
VOTES = ["sample+majority", "sample+weighted", "sample+best", "sample+oracle"]
CHECKED = ["lower", "upper", "supported", "variance", "tokens", "critical_tokens", "missing", "exhausted", "accuracy"]


def assert_equal(
    case: forests.Case, specs: list[str], budgets: list[int], trials: int, seed: int, reuse: bool = False
) -> None:
    """Replays are the very same; closed forms agree with fractions."""
    forest = forests.to_forest(case)
    run = naive.read(case.questions, case.root_pool, case.step_pool, "prm")
    policy: Any = {"on_exhausted": "reuse"} if reuse else {"method": "monte-carlo"}
    rows = replay(forest, specs, budgets, verifier="prm", trials=trials, seed=seed, **policy).frame
    for spec in specs:
        checked = [*CHECKED, "within"] if spec.startswith("sample") else CHECKED
        expected = naive.replay(run, spec, budgets, trials=trials, seed=seed, policy="reuse" if reuse else "refuse")
        for row in rows.filter(strategy=spec).iter_rows(named=True):
            question, budget = row["question_id"], row["budget"]
            figures = {name: row[name] for name in checked}
            assert figures == {name: expected[question, budget][name] for name in checked}, (spec, question, budget)
    if not reuse:
        assert_exact(case, [spec for spec in specs if spec.startswith("sample")], budgets, trials, seed)


def assert_exact(case: forests.Case, specs: list[str], budgets: list[int], trials: int, seed: int) -> None:
    """Figures that are known without chance, against counting subsets; the others as in replays."""
    if not specs:
        return
    run = naive.read(case.questions, case.root_pool, case.step_pool, "prm")
    forest = forests.to_forest(case)
    drawn = replay(forest, specs, budgets, verifier="prm", trials=trials, seed=seed, method="monte-carlo").frame
    rows = replay(forest, specs, budgets, verifier="prm", trials=trials, seed=seed).frame
    for row, other in zip(rows.iter_rows(named=True), drawn.iter_rows(named=True), strict=True):
        question, spec, budget = row["question_id"], row["strategy"], row["budget"]
        complete = all(state == "complete" for _, _, state in naive.pool_of(run, run.prompts[question]))
        assert (row["method"] == "exact") == (complete and "weighted" not in spec), (spec, question, budget)
        if row["method"] != "exact":
            costs = ("tokens", "verifier_tokens", "critical_tokens") if complete else ()
            assert {key: row[key] for key in row if key not in costs} == {k: other[k] for k in other if k not in costs}
        if complete:
            value, tokens, critical = naive.exact(run, question, spec, budget)
            assert row["tokens"] == pytest.approx(float(tokens), rel=1e-12)
            assert row["critical_tokens"] == pytest.approx(float(critical), rel=1e-12)
            if row["method"] == "exact":
                assert row["accuracy"] == pytest.approx(float(value), abs=1e-12), (spec, row)
                assert (row["supported"], row["variance"], row["trials"]) == (1.0, 0.0, 0)


@pytest.mark.parametrize("case", forests.AWKWARD, ids=lambda case: case.name)
def test_awkward_forests(case: forests.Case) -> None:
    pools = forests.to_forest(case).root_pools()
    assert_equal(case, TREE_SPECS, [n for n in (1, 2, 3, 4) if n <= pools.min()], 20, 7)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), recorded=st.booleans(), holes=st.booleans(), continuous=st.booleans())
def test_random_trees(seed: int, recorded: bool, holes: bool, continuous: bool) -> None:
    case = forests.random_case(seed, recorded=recorded, holes=holes, continuous=continuous)
    pool = int(forests.to_forest(case).root_pools().min())
    assert_equal(case, TREE_SPECS, [n for n in (1, 2, 4, 7, 8) if n <= pool], 6, seed)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), recorded=st.booleans(), holes=st.booleans())
def test_draws_with_replacement(seed: int, recorded: bool, holes: bool) -> None:
    case = forests.random_case(seed, recorded=recorded, holes=holes)
    assert_equal(case, [f"sample+{selection}" for selection in SELECTIONS], [1, 3, 20], 10, seed, reuse=True)


BUDGETS = [[1, 2, 4, 8, 16, 32], [3, 6, 12, 36], [1, 2, 3, 5, 7, 11, 13, 40], [2, 6, 7, 21], list(range(1, 41))]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_answers=st.sampled_from([1, 2, 5, 30]),
    scores=st.sampled_from(["dyadic", "random", "tiny", "zeros", "same"]),
    budgets=st.sampled_from(BUDGETS),
)
def test_blocks_of_every_size(seed: int, num_answers: int, scores: str, budgets: list[int]) -> None:
    """Every way in which the kernel votes: few draws or many, parts added up exactly or anew, ties and none."""
    chance = random.Random(seed)
    draw_score = {
        "dyadic": lambda: chance.randrange(1, 9) / 8,
        "random": chance.random,
        "tiny": lambda: chance.random() * 10.0 ** -chance.randrange(30),
        "zeros": lambda: float(chance.randrange(2)),
        "same": lambda: 0.3,
    }[scores]
    pool = chance.choice([40, 41, 47, 64])
    entries: list[Any] = [
        (f"B{number}" if (number := chance.randrange(-1, num_answers)) > 0 else "A" if number == 0 else None,
         draw_score())
        for _ in range(pool)
    ]  # fmt: skip
    case = forests.Case("blocks", [forests.star(f"q{seed}", entries)])
    run = naive.read(case.questions, None, None, "prm")
    rows = replay(forests.to_forest(case), VOTES, budgets, verifier="prm", trials=9, seed=seed, method="monte-carlo")
    for spec in VOTES:
        expected = naive.replay(run, spec, budgets, trials=9, seed=seed)
        for row in rows.frame.filter(strategy=spec).iter_rows(named=True):
            figures = expected[row["question_id"], row["budget"]]
            assert {name: row[name] for name in (*CHECKED, "within")} == figures, (spec, row["budget"])


@pytest.mark.parametrize("seed", range(4))
def test_sums_that_depend_on_the_order(seed: int) -> None:
    """1 + 2^-53 is 1, but 1 + (2^-53 + 2^-53) is more: votes add up in the order of the draws, not part by part."""
    chance = random.Random(seed)
    entries: list[Any] = [(chance.choice("ABC"), chance.choice([1.0] + [2.0**-53] * 6)) for _ in range(64)]
    case = forests.Case("uneven", [forests.star(f"q{seed}", entries)])
    assert_equal(case, ["sample+weighted"], [1, 2, 4, 8, 16, 32, 64], 16, seed)


@pytest.mark.parametrize(("distinct", "recorded"), [(True, True), (False, False)])
def test_hundreds_of_candidates(distinct: bool, recorded: bool) -> None:
    """Beyond a few hundred candidates beams are ranked by a heap, whether scores tie or not."""
    grower = forests.Grower()
    for draw in range(300):
        first = grower.add(None, draw, 3, (draw * 37 % 300) / 512 if distinct else draw % 3 / 4)
        for place in range(3):
            grower.add(first, place, 1 + place, (draw * 7 + place) % 64 / 64, answer="ABCD"[(draw + 3 * place) % 4])
    pools = (300, 3) if recorded else (None, None)
    case = forests.Case("wide", [grower.question("wide")], "steps", *pools)
    assert_equal(case, [f"beam(width={width})+weighted" for width in (1, 2, 3)], [256, 257, 300], 2, 11)


def assert_same_demand(case: forests.Case, specs: list[str], budgets: list[int], trials: int, seed: int) -> int:
    run = naive.read(case.questions, case.root_pool, case.step_pool, "prm")
    rows = demand(forests.to_forest(case), specs, budgets, trials=trials, seed=seed)
    offsets, offset = {}, 0
    for question in case.questions:
        offsets[question["question_id"]] = offset
        offset += 1 + max((node["id"] for node in question["nodes"]), default=0)
    listed = [
        (q, None if node is None else node - offsets[q], naive.GREEDY if greedy else draw)
        for q, node, draw, greedy in rows.iter_rows()
    ]
    assert len(set(listed)) == len(listed)
    assert set(listed) == naive.demand(run, specs, budgets, trials=trials, seed=seed)
    return len(listed)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.5, 0.9, 0.98, 1.0]))
def test_demand_of_trees(seed: int, share: float) -> None:
    case = forests.cut(forests.random_case(seed, recorded=True), seed, share)
    for specs in (["sample+majority"], ["beam(width=2)+weighted"], ["sample+best", "beam(width=4)+best"]):
        assert_same_demand(case, specs, [1, 4, 8], 4, seed)
    for reading in ("absorb", "shrink", "pool"):
        assert_same_demand(case, [f"beam(width=2,finished={reading})+best"], [4], 3, seed)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.7, 1.0]), rolled=st.sampled_from([0.0, 0.6, 0.95]))
def test_demand_of_lookahead(seed: int, share: float, rolled: float) -> None:
    case = forests.with_rollouts(forests.cut(forests.random_case(seed, recorded=True), seed, share), seed, rolled)
    assert_same_demand(case, ["lookahead(width=2,steps=1)+best", "lookahead(width=4,steps=3)+best"], [4, 16], 3, seed)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_demand_of_chains(seed: int, share: float) -> None:
    case = forests.cut(forests.random_chains(seed, recorded=True), seed, share)
    assert_same_demand(case, ["revise(sequential=2)+weighted", "revise(ratio=1:1)+majority"], [4], 4, seed)


def test_lone_prompt_holds_nothing() -> None:
    forest: Forest = forests.to_forest(forests.LONE)
    with pytest.raises(CacheExhausted, match=r"1 of 1 questions hold fewer than 1 samples \(first: 'lone', 0\)"):
        replay(forest, ["sample+majority"], [1], seed=0)
