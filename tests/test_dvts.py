"""`dvts`: equal to its specification, right on trees small enough to count out, and its laws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import forests, naive, naive_dvts
from tests.independence import assert_rows_stand_alone
from tts_sim.demand import demand
from tts_sim.errors import CacheExhausted, ScoreMissing
from tts_sim.replay import replay
from tts_sim.spec import parse_strategy
from tts_sim.strategies.plan import OnExhausted

SELECTIONS = ["majority", "best", "weighted", "oracle", "weighted(agg=min)", "best(agg=mean)", "weighted(agg=prod)"]
SEARCHES = ["dvts(width=1)", "dvts(width=2)", "dvts(width=4)", "dvts(width=2,outputs=best)", "dvts(width=sqrt)"]
SPECS = [f"{search}+{selection}" for search in SEARCHES for selection in SELECTIONS]
CHECKED = [
    "accuracy", "lower", "upper", "supported", "variance", "within", "generations", "tokens", "critical_tokens",
    "calls", "prefix_tokens", "borrowed", "missing", "exhausted",
]  # fmt: skip


def assert_equal(
    case: forests.Case, specs: list[str], budgets: list[int], trials: int, seed: int, policy: OnExhausted = "bounds"
) -> None:
    run = naive.read(case.questions, case.root_pool, case.step_pool, "prm")
    rows = replay(
        forests.to_forest(case), specs, budgets, verifier="prm", trials=trials, seed=seed, on_exhausted=policy
    ).frame
    for spec in specs:
        expected = naive_dvts.replay(run, spec, budgets, trials=trials, seed=seed, on_exhausted=policy)
        for row in rows.filter(strategy=spec).iter_rows(named=True):
            figures = {name: row[name] for name in CHECKED}
            at = (row["question_id"], row["budget"])
            assert figures == {name: expected[at][name] for name in CHECKED}, (spec, at)


@pytest.mark.parametrize("policy", ["bounds", "reuse", "borrow"])
@pytest.mark.parametrize(
    "case", [case for case in forests.AWKWARD if case.name != "unscored abstentions"], ids=lambda case: case.name
)
def test_awkward_forests(case: forests.Case, policy: OnExhausted) -> None:
    assert_equal(case, SPECS, [1, 2, 4], 20, 7, policy)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6), recorded=st.booleans(), holes=st.booleans(), continuous=st.booleans(),
    policy=st.sampled_from(["bounds", "reuse", "borrow"]),
)  # fmt: skip
def test_random_trees(seed: int, recorded: bool, holes: bool, continuous: bool, policy: OnExhausted) -> None:
    case = forests.random_case(seed, recorded=recorded, holes=holes, continuous=continuous)
    assert_equal(case, SPECS, [1, 2, 4, 16], 6, seed, policy)


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
        assert set(listed) == naive_dvts.demand(run, f"{search}+best", [1, 4], trials=4, seed=seed)


C11 = [  # the tree of case C11
    (0.75, [("A", 0.875), ("B", 0.5), ("A", 0.25)]),
    (0.625, [("B", 0.75), ("A", 0.625), ("C", 0.125)]),
    (0.625, [("C", 0.25), ("B", 0.875), ("B", 0.375)]),
    (0.5, [("A", 1.0), ("A", 0.75), ("B", 0.125)]),
    (0.25, [("C", 0.5), ("A", 0.25), ("A", 0.125)]),
]
Leaf = tuple[str | None, float]


def selected(selection: str, leaves: Sequence[Leaf]) -> Fraction:
    """What a selection makes of answers with dyadic scores, exactly."""
    leaves = [leaf for leaf in leaves if leaf[0] is not None]
    if selection == "oracle":
        return Fraction(any(answer == "A" for answer, _ in leaves))
    if selection == "best":
        tied = [answer for answer, score in leaves if score == max(other for _, other in leaves)]
    else:
        sums: dict[str | None, float] = {}
        for answer, score in leaves:
            sums[answer] = sums.get(answer, 0.0) + (score if selection == "weighted" else 1.0)
        tied = [answer for answer in sums if sums[answer] == max(sums.values())]
    return Fraction(sum(answer == "A" for answer in tied), len(tied)) if tied else Fraction(0)


def counted_out(tree: Sequence[tuple[float, Any]], n: int, width: int, outputs: str, selection: str) -> Fraction:
    """The mean over all orders of the first steps, all choices among ties and all subsets of children: exact.

    For trees of two steps; a first step whose children are a str ends with that answer.
    """

    def gives(siblings: Sequence[int]) -> list[tuple[Fraction, list[Leaf]]]:
        """What a subtree with these first steps can give out, and with which probability."""
        tied = [i for i in siblings if tree[i][0] == max(tree[j][0] for j in siblings)]
        outcomes = []
        for kept in tied:
            score, children = tree[kept]
            if isinstance(children, str):
                ended: list[Leaf] = [(c if isinstance(c, str) else None, s) for s, c in (tree[i] for i in siblings)]
                outcomes.append((Fraction(1, len(tied)), ended if outputs == "all" else [(children, score)]))
                continue
            subsets = list(itertools.combinations(children, width))
            for subset in subsets:
                best = [leaf for leaf in subset if leaf[1] == max(score for _, score in subset)]
                for leaf in best:
                    share = Fraction(1, len(tied) * len(subsets) * len(best))
                    outcomes.append((share, list(subset) if outputs == "all" else [leaf]))
        return outcomes

    total = Fraction(0)
    orders = list(itertools.permutations(range(len(tree)), n))
    for order in orders:
        blocks = [gives(order[start : start + width]) for start in range(0, n, width)]
        for together in itertools.product(*blocks):
            leaves = [leaf for _, leaves in together for leaf in leaves]
            total += math.prod((share for share, _ in together), start=Fraction(1)) * selected(selection, leaves)
    return total / len(orders)


EARLY = [(0.625, "A"), *C11[:1], *C11[2:4]]  # the tree of case C14


@pytest.mark.parametrize("tree", [C11, EARLY], ids=["C11", "C14"])
@pytest.mark.parametrize("outputs", ["all", "best"])
@pytest.mark.parametrize("selection", ["majority", "best", "weighted", "oracle"])
def test_counted_out(tree: list[Any], outputs: str, selection: str) -> None:
    case = forests.Case("counted", [forests.tree("q", tree)])
    spec = f"dvts(width=2,outputs={outputs})+{selection}"
    for row in replay(forests.to_forest(case), [spec], [2, 4], trials=100_000, seed=1).frame.iter_rows(named=True):
        expected = counted_out(tree, row["budget"], 2, outputs, selection)
        assert abs(row["accuracy"] - float(expected)) <= 4 * row["variance"] ** 0.5 + 1e-12, (row["budget"], expected)


def test_by_hand() -> None:
    """Two subtrees of two, every draw made, so that only which first steps meet is left to chance."""
    grower = forests.Grower()
    for draw, score in enumerate([0.75, 0.5, 0.25, 0.125]):
        first = grower.add(None, draw, 10 + draw, score)
        grower.add(first, 0, 1, 0.5, answer="A" if draw == 0 else "B")
        grower.add(first, 1, 2, 0.25, answer="C" if draw == 0 else "A")
    case = forests.Case("hand", [grower.question("q")])
    # The first step 0 wins its subtree: leaves A .5, C .25. The other is won by 1, 2 or (against none) by 1 or 2:
    # always leaves B .5, A .25. So A has .75 of weight against B's .5; two A of four; oracle 1; best: A and B tie.
    specs = [f"dvts(width=2)+{selection}" for selection in ("weighted", "majority", "oracle", "best")]
    frame = replay(forests.to_forest(case), specs, [2, 4], trials=64, seed=3).frame
    assert frame.filter(budget=4)["accuracy"].to_list() == [1.0, 1.0, 1.0, 0.5]
    [best_only] = replay(
        forests.to_forest(case), ["dvts(width=2,outputs=best)+majority"], [4], trials=64, seed=3
    ).frame["accuracy"]
    assert best_only == 0.5  # A of one subtree, B of the other
    row = frame.filter(budget=4).row(0, named=True)
    assert (row["generations"], row["calls"], row["variance"]) == (4.0, 8.0, 0.0)
    assert row["tokens"] == 46 + 6
    assert row["critical_tokens"] <= 13 + 2
    # one subtree: won by step 0 in half of the trials (A .5 against C .25: right), else B .5 against A .25: wrong;
    # the two blocks of a trial make that 1/2 exactly, and never agree: Var over new generations is .5² - 0
    one = frame.filter(budget=2, strategy=specs[0]).row(0, named=True)
    assert (one["accuracy"], one["variance"], one["within"]) == (0.5, 0.0, 0.25)


def test_unfinished_siblings_abstain_and_ended_ones_answer() -> None:
    """The kept first step has ended: its sibling has not, and has no answer."""
    grower = forests.Grower()
    grower.add(None, 0, 3, 0.75, answer="A")
    going = grower.add(None, 1, 4, 0.5)
    grower.add(going, 0, 5, 1.0, answer="B")
    grower.add(going, 1, 5, 1.0, answer="B")
    case = forests.Case("ended", [grower.question("q")])
    frame = replay(forests.to_forest(case), ["dvts(width=2)+majority", "dvts(width=2)+oracle"], [2], seed=0).frame
    assert frame["accuracy"].to_list() == [1.0, 1.0]
    assert frame["tokens"].to_list() == [7.0, 7.0]
    # with the scores the other way round, it is the answer that is left behind
    for node in case.questions[0]["nodes"][:2]:
        node["scores"]["prm"] = 1.25 - node["scores"]["prm"]
    assert replay(forests.to_forest(case), ["dvts(width=2)+oracle"], [2], seed=0).frame["accuracy"].to_list() == [0.0]


def test_forty_rounds() -> None:
    case = next(case for case in forests.AWKWARD if case.name == "long chains")
    row = replay(forests.to_forest(case), ["dvts(width=1)+oracle"], [4], trials=2, seed=0).frame.row(0, named=True)
    assert (row["accuracy"], row["calls"], row["tokens"]) == (0.0, 160.0, 4 * 820.0)


def test_width_1_is_sampling() -> None:
    """Independent chains: the same draws, the same answers; blocks only average more of them."""
    case = forests.Case("chains", [forests.comb("q", 1, 8)])
    forest = forests.to_forest(case)
    for selection in ("majority", "weighted"):
        specs = [f"dvts(width=1)+{selection}", f"sample+{selection}"]
        frame = replay(forest, specs, [8], trials=16, seed=2, method="monte-carlo").frame
        assert frame["accuracy"][0] == frame["accuracy"][1]
        frame = replay(forest, specs, [1, 3, 8], trials=20_000, seed=2, method="monte-carlo").frame
        for budget in (1, 3):
            left, right = frame.filter(budget=budget).iter_rows(named=True)
            slack = 4 * (left["variance"] + right["variance"]) ** 0.5 + 1e-12
            assert abs(left["accuracy"] - right["accuracy"]) <= slack


def test_width_1_has_the_law_of_sampling_in_deep_trees() -> None:
    """Fully enumerated: each first step leads to one of its leaves, as a sample does, though not always to draw 0."""
    for n in (1, 2):
        assert counted_out(C11, n, 1, "all", "weighted") == counted_out(C11, n, 1, "best", "weighted")
    mean = Fraction(sum(answer == "A" for _, leaves in C11 for answer, _ in leaves), 15)
    assert counted_out(C11, 1, 1, "all", "weighted") == mean


def test_smaller_budgets_are_unbiased_blocks() -> None:
    """A budget's expectation does not depend on which larger ones are replayed with it; its variance falls."""
    case = forests.random_case(11, continuous=True)
    forest = forests.to_forest(case)
    alone = replay(forest, ["dvts(width=2)+weighted"], [2], trials=20_000, seed=1).frame
    among = replay(forest, ["dvts(width=2)+weighted"], [2, 8], trials=20_000, seed=1).frame.filter(budget=2)
    for left, right in zip(alone.iter_rows(named=True), among.iter_rows(named=True), strict=True):
        slack = 4 * (left["variance"] + right["variance"]) ** 0.5 + 1e-12
        assert abs(left["accuracy"] - right["accuracy"]) <= slack
        assert right["variance"] <= left["variance"] * 0.5 + 1e-12
        assert left["within"] is None and right["within"] is not None


def test_threads_and_other_questions_change_no_bit() -> None:
    questions = [question for seed in range(6) for question in forests.random_case(seed, continuous=True).questions]
    case = forests.Case("many", questions)
    assert_rows_stand_alone(case, SPECS, [1, 4, 16], [4, 0, 7], trials=16, on_exhausted="bounds")


def test_specs() -> None:
    for spec, canonical in {
        "dvts+majority": "dvts(width=4)+majority",
        "dvts(outputs=all,width=2)+best": "dvts(width=2)+best",
        "dvts(width=sqrt,outputs=best)+oracle": "dvts(width=sqrt,outputs=best)+oracle",
    }.items():
        assert str(parse_strategy(spec)) == canonical
        assert parse_strategy(canonical) == parse_strategy(spec)
    with pytest.raises(ValueError, match="outputs=some: expected one of all, best"):
        parse_strategy("dvts(outputs=some)+best")
    with pytest.raises(ValueError, match="width=0: expected a whole number from 1, or sqrt"):
        parse_strategy("dvts(width=0)+best")


def test_what_is_refused() -> None:
    forest = forests.to_forest(forests.Case("c", [forests.tree("q", C11)]))
    with pytest.raises(ValueError, match=r"budget 6: dvts\(width=4\) needs a multiple of 4\."):
        replay(forest, ["dvts+majority"], [2, 6], seed=0)
    with pytest.raises(ValueError, match=r"budget 8: dvts\(width=sqrt\) needs a multiple of its width there, 3\."):
        replay(forest, ["dvts(width=sqrt)+majority"], [8], seed=0)
    with pytest.raises(CacheExhausted, match=r"1 of 1 questions hold fewer than 8 first steps \(first: 'q', 5\)"):
        replay(forest, ["dvts+majority"], [8], seed=0)
    with pytest.raises(ValueError, match="replays step trees"):
        replay(forests.to_forest(forests.random_chains(2)), ["dvts+majority"], [4], seed=0)
    unscored = next(case for case in forests.AWKWARD if case.name == "unscored abstentions")
    with pytest.raises(ScoreMissing, match="covers 2 of 4 nodes"):
        replay(forests.to_forest(unscored), ["dvts(width=2)+majority"], [4], seed=0)
