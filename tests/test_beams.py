"""Beam search in all its readings, lookahead, and what stands in for draws that are not cached."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import forests, naive
from tts_sim.replay import replay
from tts_sim.strategies.plan import OnExhausted

READINGS = [f"beam(width={width}{finished})" for width in (1, 2, 4, "sqrt")
            for finished in ("", ",finished=absorb", ",finished=shrink", ",finished=pool")]  # fmt: skip
LOOKAHEADS = ["lookahead(width=2,steps=1)", "lookahead(width=sqrt,steps=1)", "lookahead(width=2,steps=3)"]
SELECTIONS = ["majority", "best", "weighted(agg=min)", "oracle"]
READING_SPECS = [f"{search}+{selection}" for search in READINGS for selection in SELECTIONS]
LOOKAHEAD_SPECS = [f"{search}+{selection}" for search in LOOKAHEADS for selection in SELECTIONS]
COSTS = ("generations", "tokens", "critical_tokens", "calls", "prefix_tokens")


def with_rollouts(case: forests.Case, seed: int, share: float) -> forests.Case:
    """The case with greedy steps below its sampled ones; each is left out with probability 1 - share."""
    chance = random.Random(seed)
    questions = []
    for question in case.questions:
        nodes = [node for node in question["nodes"] if not node.get("greedy", False)]
        number = max((node["id"] for node in nodes), default=0)
        for node in list(nodes):
            parent, ended = node["id"], "answer" in node
            for _ in range(4):
                if ended or chance.random() > share:
                    break
                number += 1
                ended = chance.random() < 0.3
                more: dict[str, Any] = {"answer": chance.choice(["A", "B", None])} if ended else {}
                score = {"prm": chance.randrange(9) / 8}
                tokens = chance.randint(1, 9)
                nodes.append(
                    {"id": number, "parent": parent, "tokens": tokens, "scores": score, "greedy": True, **more}
                )
                parent = number
        chance.shuffle(nodes)
        questions.append({**question, "nodes": nodes})
    return forests.Case(case.name, questions, case.kind, case.root_pool, case.step_pool)


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
    case = with_rollouts(forests.random_case(seed, recorded=recorded, holes=holes), seed, share)
    specs = random.Random(seed).sample(LOOKAHEAD_SPECS, 3)
    assert_equal(case, specs, [4, 8, 16, 32], 3, seed, policy)
