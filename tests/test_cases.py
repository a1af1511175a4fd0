"""The exact cases of cases.json, each written as native JSONL, imported, loaded and replayed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cache import open_cache
from cache.importers import import_native
from tests import forests
from tts_sim import load_forest, replay
from tts_sim.bins import fit_bins

FILE = Path(__file__).resolve().parents[2] / "shared" / "cases.json"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason="cases.json is not here")
TRIALS = 100_000


@pytest.fixture(scope="module")
def cases() -> dict[str, dict[str, Any]]:
    return {case["id"]: case for case in json.loads(FILE.read_text())["cases"]}


def rows(tmp_path: Path, question: forests.Question, specs: list[str], budgets: list[int]) -> list[dict[str, Any]]:
    """Rows of a replay of one question that went through JSONL and a cache file."""
    lines, file = tmp_path / "case.jsonl", tmp_path / "case.duckdb"
    lines.write_text(json.dumps({key: value for key, value in question.items() if value is not None}) + "\n")
    import_native(lines, file)
    kind = "revisions" if specs[0].startswith("revise") else "steps"
    with open_cache(file) as cache:
        frame = replay(load_forest(cache, kind=kind), specs, budgets, trials=TRIALS, seed=1).frame
    return frame.to_dicts()


def assert_close(row: dict[str, Any], expected: float, what: Any = None) -> None:
    if row["method"] == "exact":
        assert row["accuracy"] == pytest.approx(expected, abs=1e-12), what
    else:
        assert row["method"] == "monte-carlo"
        assert abs(row["accuracy"] - expected) <= 4 * row["variance"] ** 0.5 + 1e-12, (what, row, expected)


def test_c01_pass_at_k(cases: dict[str, Any], tmp_path: Path) -> None:
    inputs, expected = cases["C01"]["inputs"], cases["C01"]["expected"]["pass_at"]
    solutions: list[Any] = [("A", None)] * inputs["c"] + [("B", None)] * (inputs["K"] - inputs["c"])
    for row in rows(tmp_path, forests.star("q", solutions), ["sample+oracle"], inputs["k"]):
        assert row["method"] == "exact"
        assert_close(row, expected[str(row["budget"])]["float"])


def test_c03_best_of_n(cases: dict[str, Any], tmp_path: Path) -> None:
    inputs, expected = cases["C03"]["inputs"], cases["C03"]["expected"]
    solutions = [
        ("A" if c else f"B{i}", s) for i, (s, c) in enumerate(zip(inputs["scores"], inputs["correct"], strict=True))
    ]
    for row in rows(tmp_path, forests.star("q", solutions), ["sample+best"], [1, 2, 3, 4, 5, 6]):
        assert row["method"] == "exact"
        assert_close(row, expected[str(row["budget"])]["float"])


@pytest.mark.parametrize("case_id", ["C05", "C08"])
def test_c05_c08_votes(cases: dict[str, Any], tmp_path: Path, case_id: str) -> None:
    inputs, expected = cases[case_id]["inputs"], cases[case_id]["expected"]
    names = {"wbon": "weighted", "bon": "best", "majority": "majority", "pass": "oracle"}
    curves = {names[name]: curve for name, curve in expected.items()} if case_id == "C08" else {"majority": expected}
    scores = inputs.get("scores", [0.5] * len(inputs["answers"]))
    question = forests.star("q", list(zip(inputs["answers"], scores, strict=True)))
    budgets = list(range(1, len(scores) + 1))
    for row in rows(tmp_path, question, [f"sample+{name}" for name in curves], budgets):
        selection = row["strategy"].split("+")[1]
        assert_close(row, curves[selection][str(row["budget"])]["float"], row["strategy"])
        assert row["method"] == ("monte-carlo" if selection == "weighted" else "exact")
        if row["budget"] == budgets[-1]:
            assert row["variance"] == 0.0


def shape(entries: list[dict[str, Any]]) -> list[Any]:
    return [
        (
            entry["score"],
            entry["answer"] if "answer" in entry else [(c["answer"], c["score"]) for c in entry["children"]],
        )
        for entry in entries
    ]


def test_c11_beam(cases: dict[str, Any], tmp_path: Path) -> None:
    inputs, expected = cases["C11"]["inputs"], cases["C11"]["expected"]
    specs = ["beam(width=2)+weighted", "beam(width=2)+best", "beam(width=2)+majority", "beam(width=2)+oracle"]
    names = dict(zip(specs, ["wbon", "bon", "majority", "pass"], strict=True))
    for row in rows(tmp_path, forests.tree("q", shape(inputs["tree"])), [*specs, "beam(width=4)+weighted"], [2, 4]):
        if row["strategy"] in names:
            assert row["supported"] == 1.0
            assert_close(row, expected[f"N{row['budget']}_M2"][names[row["strategy"]]]["float"], row["strategy"])
        elif row["budget"] == 4:
            assert (row["supported"], row["exhausted"], row["method"]) == (0.0, 1.0, "bounds")
            assert (row["accuracy"], row["lower"], row["upper"]) == (None, 0.0, 1.0)


def test_c13_incomplete_cache(cases: dict[str, Any], tmp_path: Path) -> None:
    inputs, expected = cases["C13"]["inputs"], cases["C13"]["expected"]
    [row] = rows(tmp_path, forests.tree("q", shape(inputs["tree"])), ["beam(width=2)+weighted"], [4])
    reach = 4 * (0.25 / TRIALS) ** 0.5
    assert row["method"] == "bounds" and row["accuracy"] is None
    assert row["supported"] == pytest.approx(expected["support"]["float"], abs=reach)
    assert row["lower"] == pytest.approx(expected["lower"]["float"], abs=reach)
    assert row["upper"] == pytest.approx(expected["upper"]["float"], abs=reach)
    assert row["lower"] / row["supported"] == pytest.approx(
        expected["support_conditional_biased"]["float"], abs=2 * reach
    )


def test_c14_early_ends_freeze(cases: dict[str, Any], tmp_path: Path) -> None:
    inputs, expected = cases["C14"]["inputs"], cases["C14"]["expected"]["freeze"]
    specs = {"beam(width=2)+weighted": "wbon", "beam(width=2)+best": "bon"}
    for row in rows(tmp_path, forests.tree("q", shape(inputs["tree"])), list(specs), [4]):
        assert_close(row, expected[specs[row["strategy"]]]["float"], row["strategy"])


C18_NAMES = {  # figure of the case: options of the search, selection
    "hier_wbon": ("", "weighted"),
    "hier_bon": ("", "best"),
    "pooled_majority": ("", "majority"),
    "pooled_wbon": (",across=pooled", "weighted"),
    "last_answer_majority": (",across=last", "majority"),
    "any_correct": ("", "oracle"),
}


def test_c18_revisions(cases: dict[str, Any], tmp_path: Path) -> None:
    inputs, expected = cases["C18"]["inputs"], cases["C18"]["expected"]
    question = forests.chains("q", inputs["chains"])
    for setting, curves in expected.items():
        if not setting.startswith("P") or "_" not in setting:
            continue
        parallel, sequential = (int(part[1:]) for part in setting.split("_"))
        for name, (across, selection) in C18_NAMES.items():
            spec = f"revise(sequential={sequential}{across})+{selection}"
            folder = tmp_path / f"{setting}-{name}"
            folder.mkdir()
            [row] = rows(folder, question, [spec], [parallel * sequential])
            assert_close(row, curves[name]["float"], (setting, name))


def test_c20_difficulty(cases: dict[str, Any]) -> None:
    inputs, expected = cases["C20"]["inputs"], cases["C20"]["expected"]
    shares = [count / inputs["K"] for count in inputs["correct_counts"]]
    bins = fit_bins(shares)
    assert bins.edges == pytest.approx([edge["float"] for edge in expected["edges"]], abs=1e-12)
    assert bins.levels(shares).tolist() == expected["level_value_rule"]
    sizes = pl.Series(expected["level_value_rule"]).value_counts(name="n").sort("")["n"].to_list()
    assert sizes == expected["sizes_value_rule"]
