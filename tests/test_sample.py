"""Independent samples: variance over new generations, what exhaustion means, forced replays."""

from __future__ import annotations

import itertools
import random
from typing import Any

import polars as pl
import pytest

from tests import forests, naive
from tts_sim.errors import CacheExhausted
from tts_sim.replay import replay

SPECS = ["sample+best", "sample+oracle", "sample+majority", "sample+weighted"]
ENTRIES: list[Any] = [("A", 0.5), ("B", 0.5), ("B", 0.75), (None, 1.0), ("A", 0.25), ("C", 0.75), ("A", 0.125)]
STAR = forests.Case("star", [forests.star("q", ENTRIES)])


def expected_products(spec: str, n: int) -> tuple[float, float]:
    """Mean value of a block, and mean product of two disjoint ones, over all pairs of subsets."""
    run = naive.read(STAR.questions, None, None, "prm")
    nodes = run.prompts["q"].children
    selection = spec.split("+")[1]

    def worth(subset: tuple[naive.Node, ...]) -> float:
        return naive.select(selection, subset, lambda node: node.score)

    blocks = [worth(subset) for subset in itertools.combinations(nodes, n)]
    pairs = [
        worth(one) * worth(other)
        for one in itertools.combinations(nodes, n)
        for other in itertools.combinations([node for node in nodes if node not in one], n)
    ]
    return sum(blocks) / len(blocks), sum(pairs) / len(pairs)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("spec", SPECS)
def test_variance_over_new_generations(spec: str, n: int) -> None:
    """U² less the mean product of disjoint blocks: exact for best and oracle, without bias for the others."""
    mean, product = expected_products(spec, n)
    forest = forests.to_forest(STAR)
    drawn = [replay(forest, [spec], [n], trials=32, seed=seed).frame["within"].item() for seed in range(40)]
    if spec in SPECS[:2]:
        assert drawn == pytest.approx([mean * mean - product] * 40, abs=1e-12)
    spread = pl.Series(drawn).std()
    assert isinstance(spread, float)
    assert abs(sum(drawn) / 40 - (mean * mean - product)) <= 4 * spread / 40**0.5 + 1e-12


def test_no_variance_is_given_where_it_cannot_be_told() -> None:
    frame = replay(forests.to_forest(STAR), SPECS, [3, 4], trials=8, seed=0).frame
    assert frame.filter(budget=4)["within"].null_count() == len(SPECS)
    assert frame.filter(budget=3)["within"].null_count() == 0
    curve = replay(forests.to_forest(STAR), SPECS, [3, 4], trials=8, seed=0).curve()
    assert curve.filter(budget=4)["se_fixed"].null_count() == len(SPECS)


def test_coverage_has_the_variance_of_its_closed_form() -> None:
    chance = random.Random(2)
    entries: list[Any] = [("A" if chance.random() < 0.2 else "B", 0.5) for _ in range(32)]
    wrong = sum(answer == "B" for answer, _ in entries)

    def all_wrong(n: int) -> float:
        share = 1.0
        for i in range(n):
            share *= max(wrong - i, 0) / (32 - i)
        return share

    case = forests.Case("s", [forests.star("q", entries)])
    frame = replay(forests.to_forest(case), ["sample+oracle"], [1, 2, 4, 8, 16], seed=0).frame
    expected = [all_wrong(n) ** 2 - all_wrong(2 * n) for n in (1, 2, 4, 8, 16)]
    assert frame["within"].to_list() == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("policy", ["bounds", "borrow"])
def test_budgets_above_a_pool_give_bounds(policy: Any) -> None:
    case = forests.Case("two", [*STAR.questions, forests.star("r", [("A", 0.5)] * 9)])
    frame = replay(forests.to_forest(case), SPECS, [7, 8], trials=8, seed=0, on_exhausted=policy).frame
    above = frame.filter(question_id="q", budget=8)
    assert above.select("accuracy", "lower", "upper", "supported", "exhausted", "method").rows() == [
        (None, 0.0, 1.0, 0.0, 1.0, "bounds")
    ] * len(SPECS)
    assert above["tokens"].null_count() == len(SPECS)
    rest = frame.filter((pl.col("question_id") == "r") | (pl.col("budget") == 7))
    assert rest["supported"].to_list() == [1.0] * len(rest)
    alone = replay(forests.to_forest(STAR), SPECS, [7], trials=8, seed=0).frame
    assert rest.filter(question_id="q")["accuracy"].to_list() == pytest.approx(alone["accuracy"].to_list(), abs=1e-14)
    with pytest.raises(CacheExhausted, match="1 of 2 questions hold fewer than 8 samples"):
        replay(forests.to_forest(case), SPECS, [8], seed=0)


def test_reuse_is_the_plug_in() -> None:
    """Draws with replacement: coverage is 1 - (1 - c / K)^n, at any n."""
    frame = replay(forests.to_forest(STAR), SPECS, [1, 4, 9], trials=20_000, seed=3, on_exhausted="reuse").frame
    assert frame["method"].to_list() == ["plugin"] * len(frame)
    assert frame["within"].null_count() == len(frame)
    for figures in frame.filter(strategy="sample+oracle").iter_rows(named=True):
        expected = 1 - (4 / 7) ** figures["budget"]
        assert abs(figures["accuracy"] - expected) <= 4 * figures["variance"] ** 0.5 + 1e-12
    dead = forests.Case("dead", [forests.tree("q", [(0.5, []), (0.5, [])])])
    [figures] = replay(forests.to_forest(dead), ["sample+majority"], [3], seed=0, on_exhausted="reuse").frame.to_dicts()
    assert (figures["supported"], figures["exhausted"], figures["method"]) == (0.0, 1.0, "bounds")


def test_replays_can_be_forced() -> None:
    settings: Any = {"trials": 2000, "seed": 0}
    exact = replay(forests.to_forest(STAR), SPECS, [1, 2, 5], **settings).frame
    drawn = replay(forests.to_forest(STAR), SPECS, [1, 2, 5], method="monte-carlo", **settings).frame
    assert drawn["method"].to_list() == ["monte-carlo"] * len(drawn) and drawn["trials"].unique().to_list() == [2000]
    for one, other in zip(exact.iter_rows(named=True), drawn.iter_rows(named=True), strict=True):
        assert abs(one["accuracy"] - other["accuracy"]) <= 4 * other["variance"] ** 0.5 + 1e-12
        assert one["tokens"] == pytest.approx(other["tokens"], rel=0.05)
        assert one["critical_tokens"] == pytest.approx(other["critical_tokens"], rel=0.05)


def test_costs_are_exact_where_values_are_drawn() -> None:
    frame = replay(forests.to_forest(STAR), ["sample+weighted", "sample+best"], [1, 2, 5], trials=3, seed=0).frame
    weighted, best = frame.filter(strategy="sample+weighted"), frame.filter(strategy="sample+best")
    assert weighted["method"].to_list() == ["monte-carlo"] * 3
    for cost in ("generations", "tokens", "critical_tokens", "calls", "prefix_tokens"):
        assert weighted[cost].to_list() == best[cost].to_list()
