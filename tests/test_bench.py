"""Benchmarks compare like with like: every contender of a comparison gives the same results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import growth, replays, report, twins, workloads
from bench.registry import COMPARISONS, Comparison
from bench.workloads import Workload, forest_of
from tts_sim.spec import parse_strategy
from tts_sim.strategies.plan import Plan

needs_compiler = pytest.mark.skipif(twins.compiler() is None, reason="no C compiler")
VOTES = ["sample+weighted", "sample+majority"]
BEAMS = [f"beam(width={width})+{selection}" for width in (1, 2, 3, 4, "sqrt") for selection in ("weighted", "majority")]


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda comparison: comparison.name)
def test_contenders_agree(comparison: Comparison) -> None:
    whole = comparison.workload("tiny")
    ours = comparison.contenders[0].run(whole)
    assert len(ours) == whole.forest.num_questions
    assert comparison.work(whole) > 0
    for contender in comparison.contenders[1:]:
        theirs = contender.run(whole.first(contender.most_questions))
        np.testing.assert_allclose(theirs, ours[: len(theirs)], rtol=0, atol=1e-12)


def scored(workload: Workload, steps: int) -> Workload:
    """The same with scores that are multiples of 1 / steps: many tie."""
    score = (np.round(workload.score * steps) / steps).astype(np.float32)
    forest = forest_of(workload.nodes, workload.answers, score, workload.forest.num_questions)
    return replace(workload, score=score, forest=forest)


def agree(workload: Workload, spec: str) -> None:
    ours, theirs = replays.kernel_tally(workload, spec), replays.twin_tally(workload, spec)
    for name in ours._fields:
        np.testing.assert_array_equal(getattr(theirs, name), getattr(ours, name), name)


@needs_compiler
@pytest.mark.parametrize("budgets", [[1, 2, 4, 8, 16, 32], [1, 2, 3, 5, 6, 12, 24], [7, 33, 34]])
@pytest.mark.parametrize("steps", [4, 7, 1 << 24])
@pytest.mark.parametrize("spec", VOTES)
def test_votes_equal_their_twin(spec: str, steps: int, budgets: list[int]) -> None:
    agree(scored(workloads.solutions(3, 35, budgets, 19), steps), spec)


@needs_compiler
def test_twin_of_votes_where_nothing_is_right() -> None:
    workload = workloads.solutions(2, 8, [1, 2, 8], 5)
    answers = replace(workload.answers, correct=np.zeros_like(workload.answers.correct))
    forest = forest_of(workload.nodes, answers, workload.score, 2)
    agree(replace(workload, answers=answers, forest=forest), "sample+weighted")


@needs_compiler
@pytest.mark.parametrize("steps", [1, 4, 1 << 24])
@pytest.mark.parametrize("spec", BEAMS)
def test_beam_equals_its_twin(spec: str, steps: int) -> None:
    agree(scored(workloads.grow(3, 16, 4, [0.1, 0.2, 0.5, 1.0], [1, 2, 3, 6, 12, 16], 9), steps), spec)


@needs_compiler
def test_twin_of_a_beam_that_is_exhausted() -> None:
    agree(workloads.grow(2, 8, 2, [0.1, 0.2, 1.0], [2, 4, 8], 9), "beam(width=3)+weighted")


@needs_compiler
def test_twin_of_a_beam_among_many() -> None:
    agree(scored(workloads.grow(1, 600, 2, [0.1, 1.0], [300, 600], 3), 4), "beam(width=2)+weighted")


@pytest.mark.parametrize("spec", ["sample+best", "rebase+weighted", "beam(finished=pool)+weighted"])
def test_what_has_no_twin_is_refused(spec: str) -> None:
    workload, strategy = workloads.bushes("tiny"), parse_strategy(spec)
    plan = Plan(workload.forest, [strategy.selection], [4], workloads.VERIFIER, 2, 0)
    with pytest.raises(ValueError, match=r"twin|expected sample"):
        twins.replay(strategy.search, plan)


def test_axes_grow() -> None:
    for axis in growth.axes("tiny"):
        assert len(axis.workloads) == len(axis.sizes) == 3
        work = [axis.work(workload) for workload in axis.workloads]
        assert work[0] < work[1] < work[2]


def test_block_of_the_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}old\n{report.END}after\n")
    report.write(["one\n", "two\n"], page)
    report.write(["one\n", "three\n"], page)
    assert page.read_text() == f"before\n{report.BEGIN}\none\n\nthree\n\n{report.END}after\n"
    page.write_text("no block\n")
    with pytest.raises(ValueError, match="expected a block"):
        report.write([], page)
