"""The exact cases of cases.json through the command: `tts-sim import native`, then `tts-sim replay --json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cache import open_cache
from tests import forests
from tests.command import printed_json, tts_sim, write_jsonl
from tests.test_cases import C18_NAMES, FILE, assert_close, shape
from tts_sim import load_forest, replay
from tts_sim.revision_steps import revision_steps

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="cases.json is not here")
TRIALS = 100_000
NAMES = {"wbon": "weighted", "bon": "best", "majority": "majority", "pass": "oracle"}


@pytest.fixture(scope="module")
def cases() -> dict[str, dict[str, Any]]:
    return {case["id"]: case for case in json.loads(FILE.read_text())["cases"]}


def imported(tmp_path: Path, question: forests.Question) -> Path:
    """A cache of this question, made by the command."""
    cache = tmp_path / "case.duckdb"
    ended = tts_sim("import", "native", write_jsonl(tmp_path / "case.jsonl", [question]), "--into", cache)
    assert ended.status == 0, ended.err
    assert "1 questions" in ended.out
    return cache


def replayed(cache: Path, specs: list[str], budgets: list[int]) -> dict[tuple[str, int], dict[str, Any]]:
    """Printed rows by (strategy, budget)."""
    budget = ",".join(map(str, budgets))
    rows = printed_json("replay", cache, *specs, "--budget", budget, "--trials", TRIALS, "--seed", 1)
    assert len(rows) == len(specs) * len(budgets)
    return {(row["strategy"], row["budget"]): row for row in rows}


def test_c01_pass_at_k(cases: dict[str, Any], tmp_path: Path) -> None:
    inputs, expected = cases["C01"]["inputs"], cases["C01"]["expected"]["pass_at"]
    solutions: list[Any] = [("A", None)] * inputs["c"] + [("B", None)] * (inputs["K"] - inputs["c"])
    cache = imported(tmp_path, forests.star("q", solutions))
    for (_, k), row in replayed(cache, ["sample+oracle"], inputs["k"]).items():
        assert row["method"] == "exact" and row["num_questions"] == 1 and row["se"] is None
        assert_close(row, expected[str(k)]["float"])
    above = tts_sim("replay", cache, "sample+oracle", "--budget", inputs["K"] + 1)
    assert above.status == 1 and "fewer than 11 samples (first: 'q', 10)" in above.err


def test_c03_best_of_n(cases: dict[str, Any], tmp_path: Path) -> None:
    inputs, expected = cases["C03"]["inputs"], cases["C03"]["expected"]
    pairs = enumerate(zip(inputs["scores"], inputs["correct"], strict=True))
    cache = imported(tmp_path, forests.star("q", [("A" if c else f"B{i}", s) for i, (s, c) in pairs]))
    for (_, n), row in replayed(cache, ["sample+best"], [1, 2, 3, 4, 5, 6]).items():
        assert row["method"] == "exact"
        assert_close(row, expected[str(n)]["float"])


def test_c05_majority(cases: dict[str, Any], tmp_path: Path) -> None:
    inputs, expected = cases["C05"]["inputs"], cases["C05"]["expected"]
    cache = imported(tmp_path, forests.star("q", [(answer, None) for answer in inputs["answers"]]))
    for (_, n), row in replayed(cache, ["sample+majority"], list(range(1, 10))).items():
        assert row["method"] == "exact"
        assert_close(row, expected[str(n)]["float"], n)


def test_c08_votes(cases: dict[str, Any], tmp_path: Path) -> None:
    inputs, expected = cases["C08"]["inputs"], cases["C08"]["expected"]
    cache = imported(tmp_path, forests.star("q", list(zip(inputs["answers"], inputs["scores"], strict=True))))
    budgets = list(range(1, len(inputs["answers"]) + 1))
    rows = replayed(cache, [f"sample+{NAMES[name]}" for name in expected], budgets)
    for name, curve in expected.items():
        for n in budgets:
            assert_close(rows[f"sample+{NAMES[name]}", n], curve[str(n)]["float"], (name, n))


def test_c11_beam(cases: dict[str, Any], tmp_path: Path) -> None:
    inputs, expected = cases["C11"]["inputs"], cases["C11"]["expected"]
    cache = imported(tmp_path, forests.tree("q", shape(inputs["tree"])))
    rows = replayed(cache, [f"beam(width=2)+{selection}" for selection in NAMES.values()], [2, 4])
    for name, selection in NAMES.items():
        for n in (2, 4):
            row = rows[f"beam(width=2)+{selection}", n]
            assert row["supported"] == 1.0
            assert_close(row, expected[f"N{n}_M2"][name]["float"], (name, n))
    row = replayed(cache, ["beam(width=4)+weighted"], [4])["beam(width=4)+weighted", 4]
    assert (row["supported"], row["exhausted"], row["method"]) == (0.0, 1.0, "bounds")
    assert (row["accuracy"], row["lower"], row["upper"]) == (None, 0.0, 1.0)


def test_c13_incomplete_cache(cases: dict[str, Any], tmp_path: Path) -> None:
    inputs, expected = cases["C13"]["inputs"], cases["C13"]["expected"]
    cache = imported(tmp_path, forests.tree("q", shape(inputs["tree"])))
    [row] = replayed(cache, ["beam(width=2)+weighted"], [4]).values()
    reach = 4 * (0.25 / TRIALS) ** 0.5
    assert (row["accuracy"], row["se"], row["se_mc"], row["method"]) == (None, None, None, "bounds")
    assert row["supported"] == pytest.approx(expected["support"]["float"], abs=reach)
    assert row["lower"] == pytest.approx(expected["lower"]["float"], abs=reach)
    assert row["upper"] == pytest.approx(expected["upper"]["float"], abs=reach)
    table = tts_sim("replay", cache, "beam(width=2)+weighted", "--budget", 4).out
    assert all(head in table for head in ("lower", "upper", "supported", "bounds", "–"))


def test_c14_early_ends_freeze(cases: dict[str, Any], tmp_path: Path) -> None:
    inputs, expected = cases["C14"]["inputs"], cases["C14"]["expected"]["freeze"]
    cache = imported(tmp_path, forests.tree("q", shape(inputs["tree"])))
    rows = replayed(cache, ["beam(width=2)+weighted", "beam(width=2)+best"], [4])
    assert_close(rows["beam(width=2)+weighted", 4], expected["wbon"]["float"])
    assert_close(rows["beam(width=2)+best", 4], expected["bon"]["float"])


def test_c18_revisions(cases: dict[str, Any], tmp_path: Path) -> None:
    """Exact from the command line; drawn, every figure is within 4 Monte Carlo standard errors."""
    inputs, expected = cases["C18"]["inputs"], cases["C18"]["expected"]
    cache = imported(tmp_path, forests.chains("q", inputs["chains"]))
    with open_cache(cache) as opened:
        forest = load_forest(opened, kind="revisions")
    checked = 0
    for setting, curves in expected.items():
        if not setting.startswith("P") or "_" not in setting:
            continue
        parallel, sequential = (int(part[1:]) for part in setting.split("_"))
        specs = {
            name: f"revise(sequential={sequential}{across})+{selection}"
            for name, (across, selection) in C18_NAMES.items()
        }
        rows = replayed(cache, list(specs.values()), [parallel * sequential])
        budgets = [parallel * sequential]
        drawn = replay(forest, list(specs.values()), budgets, trials=100_000, seed=1, method="monte-carlo").frame
        for name, spec in specs.items():
            row, expected_value = rows[spec, parallel * sequential], curves[name]["float"]
            assert row["method"] == "exact", (setting, name)
            assert row["accuracy"] == pytest.approx(expected_value, abs=1e-9), (setting, name)
            assert_close(
                drawn.row(by_predicate=pl.col("strategy") == spec, named=True), expected_value, (setting, name)
            )
            checked += 1
    assert checked == 42
    steps = revision_steps(forest, seed=1)
    assert steps["pass_at_1"].to_list()[:-1] == [step["float"] for step in expected["pass1_by_step"]]
    assert steps["right_turned_wrong"][-1] == pytest.approx(expected["correct_to_incorrect"]["float"], abs=1e-12)
