"""Allocation: brute force on small cases, optimality, pass@n, cross-fitting, the command, and what is refused."""

from __future__ import annotations

import csv
import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import forests
from tests.command import printed_json, tts_sim, write_jsonl
from tests.test_cli_errors import refused
from tests.test_start_up import loaded_by
from tts_sim.allocated import allocate_outcomes
from tts_sim.allocation import allocate
from tts_sim.arrays import Float64s
from tts_sim.exact.pass_at_k import pass_at_k

Items = list[list[tuple[int, float]]]


def table(items: Items, weights: list[int] | None = None) -> pl.DataFrame:
    rows = [
        {"item": f"i{number}", "cost": cost, "value": value, "weight": (weights or [1] * len(items))[number]}
        for number, options in enumerate(items)
        for cost, value in options
    ]
    return pl.DataFrame(rows, schema_overrides={"cost": pl.Float64, "value": pl.Float64})


def brute_force(items: Items, weights: list[int], total: float) -> float:
    """The best sum of values within the total; every item may get nothing."""
    best = 0.0
    for picks in itertools.product(*[[(0, 0.0), *options] for options in items]):
        if sum(w * cost for w, (cost, _) in zip(weights, picks, strict=True)) <= total:
            best = max(best, sum(w * value for w, (_, value) in zip(weights, picks, strict=True)))
    return best


small_items = st.lists(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 64).map(lambda n: n / 64)), min_size=1, max_size=4),
    min_size=1, max_size=4,
)  # fmt: skip


@given(items=small_items, total=st.integers(0, 30), seed=st.integers(0, 99))
def test_within_one_step_of_brute_force(items: Items, total: int, seed: int) -> None:
    weights = np.random.default_rng(seed).integers(1, 4, len(items)).tolist()
    found = allocate(table(items, weights), total)
    best = brute_force(items, weights, total)
    assert found.cost <= total + 1e-9
    assert found.value <= best + 1e-9 <= found.bound + 2e-9
    assert found.gap == pytest.approx(found.bound - found.value)
    step = max(w * value for w, options in zip(weights, items, strict=True) for _, value in options)
    assert -1e-9 <= found.gap <= step + 1e-9
    frame = found.frame
    assert (frame["weight"] * frame["value"]).sum() == pytest.approx(found.value)
    assert (frame["weight"] * frame["cost"]).sum() == pytest.approx(found.cost)
    assert frame["item"].to_list() == [f"i{number}" for number in range(len(items))]


@given(items=small_items, totals=st.tuples(st.integers(0, 30), st.integers(0, 30)))
def test_the_bound_never_falls_and_ends_at_the_best_of_each(items: Items, totals: tuple[int, int]) -> None:
    low, high = sorted(totals)
    assert allocate(table(items), low).bound <= allocate(table(items), high).bound + 1e-9
    everything = allocate(table(items), 1000)
    assert everything.value == pytest.approx(sum(max(value for _, value in options) for options in items))
    assert (everything.gap, everything.slope) == (0, 0)


@given(seed=st.integers(0, 10_000), total=st.integers(0, 40))
def test_chosen_slopes_are_above_rejected_ones(seed: int, total: int) -> None:
    """Whole steps of one unit, where nothing is left over: everything taken is worth at least what is not."""
    random = np.random.default_rng(seed)
    gains = -np.sort(-random.random((4, 10)), axis=1)
    items = [[(n + 1, float(gain[: n + 1].sum())) for n in range(10)] for gain in gains]
    found = allocate(table(items), total)
    taken = [int(cost) for cost in found.frame["cost"]]
    chosen = [gains[i][n] for i, spent in enumerate(taken) for n in range(spent)]
    rejected = [gains[i][n] for i, spent in enumerate(taken) for n in range(spent, 10)]
    assert found.gap == pytest.approx(0, abs=1e-12) and found.cost == min(total, 40)
    assert not chosen or not rejected or min(chosen) >= max(rejected)
    if rejected:
        assert found.slope == pytest.approx(max(rejected))


@pytest.mark.parametrize("total", [0, 1, 7, 30, 64])
def test_pass_at_n_is_the_plain_greedy(total: int) -> None:
    """One sample at a time to the question where it gains most (Damani et al. 2024)."""
    counts = [0, 1, 2, 5, 9, 16]
    curves = [[(n, pass_at_k(16, c, n)) for n in range(1, 17)] for c in counts]
    given_out = [0] * len(counts)
    value = 0.0
    for _ in range(min(total, 16 * len(counts))):
        gains = [
            pass_at_k(16, c, n + 1) - (pass_at_k(16, c, n) if n else 0.0) if n < 16 else -1.0
            for c, n in zip(counts, given_out, strict=True)
        ]
        best = int(np.argmax(gains))
        given_out[best] += 1
        value += gains[best]
    found = allocate(table([[(n, v) for n, v in curve] for curve in curves]), total)
    assert found.value == pytest.approx(value)
    assert found.gap == pytest.approx(0, abs=1e-12)


def test_below_the_hull() -> None:
    """Majority at 2 is majority at 1: never chosen; the step leads from 1 to 4."""
    found = allocate(table([[(1, 0.4), (2, 0.4), (4, 0.7)], [(1, 0.1), (4, 0.9)]]), 6)
    assert found.frame["cost"].to_list() == [1, 4] and found.value == pytest.approx(1.3)
    assert found.bound == pytest.approx(0.4 + 0.9 + 0.1) and found.slope == pytest.approx(0.1)
    assert allocate(table([[(2, 0.4), (2, 0.5), (3, 0.5)]]), 9).frame["cost"].to_list() == [2]
    assert allocate(table([[(1, 0.1), (2, 0.9)]]), 1).frame["cost"].to_list() == [0]  # 1 is below the hull


def test_nothing_or_the_cheapest() -> None:
    options = table([[(3, 0.0), (4, 0.2)], [(1, 0.5)]]).with_columns(strategy=pl.lit("s"))
    nothing = allocate(options, 4.5).frame
    assert nothing["strategy"].to_list() == [None, "s"] and nothing["cost"].to_list() == [0, 1]
    cheapest = allocate(options, 4.5, abstain=False)
    assert cheapest.frame["cost"].to_list() == [3, 1] and cheapest.bound == pytest.approx(0.6)
    with pytest.raises(ValueError, match=r"total 3\.5: the cheapest options of all items cost 4; raise it"):
        allocate(options, 3.5, abstain=False)


@pytest.mark.parametrize(
    ("options", "total", "message"),
    [
        (table([[(1, 0.5)]]), -1, "total -1: expected an amount from 0"),
        (table([[(1, 0.5)]]), float("nan"), "total nan"),
        (table([[(1, 0.5)]]).drop("cost"), 1, "options: without cost"),
        (table([[(1, 0.5)]]).clear(), 1, "options: empty"),
        (table([[(-1, 0.5)]]), 1, "options: cost must be a number from 0"),
        (table([[(1, float("nan"))]]), 1, "options: value must be a number from 0"),
    ],
)
def test_bad_options(options: pl.DataFrame, total: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        allocate(options, total)


def frame(values: dict[str, Float64s]) -> pl.DataFrame:
    """Outcomes at budgets 1, 2, 4 of each strategy, shape (questions, 3)."""
    return pl.DataFrame([
        {"question_id": f"q{q:03}", "strategy": name, "budget": 2**b, "accuracy": float(row[b])}
        for name, table_ in values.items() for q, row in enumerate(table_) for b in range(3)
    ])  # fmt: skip


EASY, HARD = [0.9, 0.9, 0.9], [0.1, 0.2, 0.6]
LEVELS = {f"q{q:03}": 1 + q % 2 for q in range(40)}


def test_bins_get_what_they_need() -> None:
    values = frame({"s": np.array([EASY, HARD] * 20)})
    found = allocate_outcomes(values, 100, groups=LEVELS)
    assert found.allocation.frame.select("item", "strategy", "budget", "weight").rows() == [
        (1, "s", 1, 20), (2, "s", 4, 20),
    ]  # fmt: skip
    assert found.naive == pytest.approx(0.75) and found.accuracy == pytest.approx(0.75)
    assert found.cost == pytest.approx(100) and found.allocation.gap == 0
    assert found.uniform == pytest.approx(0.55) and found.gain == pytest.approx(0.2)
    assert found.gain_low is not None and found.gain_low > 0.1
    little = allocate_outcomes(values, 20, groups=LEVELS)
    assert little.accuracy is not None and little.uniform is None is little.gain is little.gain_low
    alone = allocate_outcomes(values, 100)
    assert alone.accuracy is None and alone.naive == pytest.approx(0.75) and len(alone.allocation.frame) == 40
    some = allocate_outcomes(values, 100, groups={name: 1 for name in list(LEVELS)[:10]})
    assert some.num_questions == 10


def test_cross_fitting_takes_the_flattery_out() -> None:
    """Six strategies that are equal in truth: the choice looks good on its own questions only."""
    random = np.random.default_rng(4)
    naive, held_out = [], []
    for seed in range(12):
        values = {f"s{s}": np.repeat(random.normal(0.5, 0.2, (60, 1)), 3, axis=1) for s in range(6)}
        groups = {f"q{q:03}": q % 4 for q in range(60)}
        found = allocate_outcomes(frame(values), 60, groups=groups, abstain=False, splits=5, seed=seed)
        assert found.accuracy is not None
        naive.append(found.naive)
        held_out.append(found.accuracy)
    error = float(np.std(held_out)) / 12**0.5
    assert abs(np.mean(held_out) - 0.5) < 3 * error + 0.005 and np.mean(naive) > 0.55


def test_bad_allocations() -> None:
    values = frame({"s": np.array([EASY, HARD] * 20)})
    with pytest.raises(ValueError, match="groups: none of the questions"):
        allocate_outcomes(values, 10, groups={"other": 1})
    with pytest.raises(ValueError, match="folds=1, splits=20"):
        allocate_outcomes(values, 10, groups=LEVELS, folds=1)
    with pytest.raises(ValueError, match="seed -1"):
        allocate_outcomes(values, 10, seed=-1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Question i has i of its twelve samples correct; samples take 3 to 6 tokens, 18 in four."""
    folder = tmp_path_factory.mktemp("allocate")
    questions = [
        forests.star(f"q{i:02}", [("A" if k < i else f"B{k % 3}", ((5 * k + i) % 12) / 12) for k in range(12)])
        for i in range(12)
    ]
    file = write_jsonl(folder / "base.jsonl", questions)
    assert tts_sim("import", "native", file, "--into", folder / "one.duckdb").status == 0
    return folder / "one.duckdb"


def test_the_command(cache: Path) -> None:
    arguments = ["allocate", cache, "sample+majority", "sample+oracle", "--total", 30]
    found = printed_json(*arguments, "--bins", 3)
    assert [row["bin"] for row in found["rows"]] == [1, 2, 3]
    assert {row["strategy"] for row in found["rows"] if row["strategy"]} == {"sample+oracle"}  # never worse
    assert sum(row["cost"] * row["num_questions"] for row in found["rows"]) == pytest.approx(found["planned_cost"])
    assert found["planned_cost"] <= 30 and found["bound"] >= found["naive"] and found["accuracy"] is not None
    single = printed_json(*arguments, "--by", "question")
    assert len(single["rows"]) == 12 and single["accuracy"] is None and single["naive"] >= found["naive"]
    tokens = printed_json(*arguments, "--bins", 3, "--unit", "tokens")
    assert tokens["unit"] == "tokens" and tokens["planned_cost"] <= 30
    rows = list(csv.DictReader(io.StringIO(tts_sim(*arguments, "--bins", 3, "--csv").out)))
    assert [float(row["value"]) for row in rows] == pytest.approx([row["value"] for row in found["rows"]])


def test_what_people_read(cache: Path) -> None:
    bins = tts_sim("allocate", cache, "--total", 30, "--bins", 3)
    assert bins.status == 0 and "of 30 generations on 12 questions" in bins.out
    assert "cross-fitted: 0." in bins.out and "the same total spent evenly" in bins.out
    questions = tts_sim("allocate", cache, "--total", 30, "--by", "question")
    assert questions.status == 0 and "an upper envelope, no forecast" in questions.out
    assert "from the samples evaluated here too" in bins.out and "evaluated here too" not in questions.out
    little = tts_sim("allocate", cache, "--total", 6, "--bins", 3)  # half a sample a question
    assert little.status == 0 and "spent evenly: pays for no option on every question." in little.out


@pytest.mark.parametrize(
    ("arguments", "pieces"),
    [
        ([], ["--total None: expected generations for all questions together, above 0"]),
        (["--total", "0"], ["--total 0.0"]),
        (["--total", "9", "--unit", "seconds"], ["--unit 'seconds'", "generations, tokens, flops"]),
        (["--total", "9", "--by", "model"], ["--by 'model'", "difficulty, level, question"]),
        (["--total", "9", "--by", "level"], ["--by level: the cache's questions state no level"]),
        (["--total", "9", "--bins", "9"], ["--bins 9: expected 1 or more, with at least 2 of 12 questions"]),
        (["--total", "9", "--unit", "flops"], ["cost 'flops': unknown", "models.num_params"]),
        (["--total", "9", "--budget", "16"], ["fewer than 16 samples"]),
        (["--total", "9", "--bins", "3", "--answer-all"], ["total 9: the cheapest options of all items cost 12"]),
    ],
    ids=lambda value: " ".join(map(str, value))[:40],
)
def test_a_bad_command(cache: Path, arguments: list[Any], pieces: list[str]) -> None:
    refused(tts_sim("allocate", cache, *arguments), *pieces)


def test_help_loads_nothing_heavy() -> None:
    run = """
import tts_sim.cli.main as command
sys.argv = ["tts-sim", "allocate", "--help"]
try:
    command.main()
except SystemExit as ended:
    assert ended.code == 0, ended.code
"""
    assert loaded_by(run) == []
