"""Every search with every selection gives what its readable specification gives, to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests import forests, naive, naive_adaptive, naive_dvts, naive_rebase, naive_revise, test_beams
from tts_sim.replay import replay
from tts_sim.selections import AGGREGATES, SELECTIONS, Best, Weighted
from tts_sim.spec import SEARCHES, parse_strategy

SELECTED = ["majority", "oracle", *(f"{name}(agg={agg})" for name in ("best", "weighted") for agg in AGGREGATES)]
TREES = [
    "sample",
    *(f"beam(width={width}{finished})" for width in (1, 2, "sqrt")
      for finished in ("", ",finished=absorb", ",finished=shrink", ",finished=pool")),
    "lookahead(width=2,steps=1)",
    "lookahead(width=sqrt,steps=3)",
    "dvts(width=2)",
    "dvts(width=2,outputs=best)",
    "dvts(width=sqrt)",
    "rebase(temperature=0.1)",
    "rebase(temperature=0.5,rounding=round)",
    "adaptive(confidence=0.95)",
    "adaptive(confidence=0.7)",
]  # fmt: skip
CHAINS = [
    f"revise({shape}{across})"
    for shape in ("sequential=2", "ratio=1:1")
    for across in ("", ",across=hierarchical", ",across=pooled", ",across=last")
]
BUDGETS, TRIALS = [4, 16], 5
CHECKED = ("accuracy", "lower", "upper", "supported", "variance", "tokens", "critical_tokens", "missing", "exhausted")


def test_nothing_is_left_out() -> None:
    searches = {type(parse_strategy(f"{search}+majority").search) for search in (*TREES, *CHAINS)}
    assert searches == set(SEARCHES)
    selections = {parse_strategy(f"sample+{selection}").selection for selection in SELECTED}
    assert {type(selection) for selection in selections} == set(SELECTIONS)
    aggregates = {(type(one), one.agg) for one in selections if isinstance(one, Best | Weighted)}
    assert aggregates == {(kind, agg) for kind in (Best, Weighted) for agg in AGGREGATES}


def specified(run: naive.Run, spec: str, seed: int) -> Mapping[tuple[str, int], Mapping[str, Any]]:
    """The figures that the specification gives, by question and budget."""
    name = spec.partition("(")[0].partition("+")[0]
    if name in ("beam", "lookahead"):
        return {
            (question, budget): test_beams.expected(run, spec, question, budget, TRIALS, seed, "bounds")
            for question in run.prompts
            for budget in BUDGETS
        }
    twins: dict[str, Any] = {"dvts": naive_dvts, "rebase": naive_rebase, "adaptive": naive_adaptive,
                             "revise": naive_revise, "sample": naive}  # fmt: skip
    figures: Mapping[tuple[str, int], Mapping[str, Any]]
    figures = twins[name].replay(run, spec, BUDGETS, trials=TRIALS, seed=seed)
    return figures


def assert_equal(case: forests.Case, search: str, seed: int) -> int:
    """Passes if every figure is the specification's; how many rows have an accuracy."""
    run = naive.read(case.questions, case.root_pool, case.step_pool, "prm")
    specs = [f"{search}+{selection}" for selection in SELECTED]
    frame = replay(
        forests.to_forest(case), specs, BUDGETS, trials=TRIALS, seed=seed, method="monte-carlo", on_exhausted="bounds"
    ).frame
    assert len(frame) == len(SELECTED) * len(case.questions) * len(BUDGETS)
    expected = {str(parse_strategy(spec)): specified(run, spec, seed) for spec in specs}
    for row in frame.iter_rows(named=True):
        at = (row["question_id"], row["budget"])
        figures = {name: value for name, value in expected[row["strategy"]][at].items() if name in CHECKED}
        assert {name: row[name] for name in figures} == figures, (row["strategy"], at)
        assert {"accuracy", "lower", "supported", "variance", "tokens"} <= set(figures)
    return frame["accuracy"].count()


@pytest.mark.parametrize("search", TREES)
def test_trees(search: str) -> None:
    known = 0
    for seed, recorded, holes in ((2, False, False), (5, True, False), (8, True, True)):
        case = forests.random_case(seed, recorded=recorded, holes=holes, continuous=seed == 5)
        known += assert_equal(forests.with_rollouts(case, seed, 0.97) if "lookahead" in search else case, search, seed)
    assert known >= 10


@pytest.mark.parametrize("search", CHAINS)
def test_chains(search: str) -> None:
    known = sum(assert_equal(forests.random_chains(seed, recorded=seed == 4), search, seed) for seed in (3, 4))
    assert known >= 10
