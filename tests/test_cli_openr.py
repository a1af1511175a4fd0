"""Real generations through the command: OpenR's best-of-4 on MATH-500, against the figures stored beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command import printed_json, tts_sim
from tests.test_import_openr import REAL

FILE = REAL / "bon4_math500_qwen_prm.json"
pytestmark = pytest.mark.skipif(not FILE.is_file(), reason="the real records are not at hand")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openr") / "openr.duckdb"
    [report] = printed_json("import", "openr", FILE, "--into", path)
    assert (report["questions"], report["solutions"], report["nodes"], report["scores"]) == (500, 2000, 18061, 18061)
    assert report["warnings"] == []
    return path


def test_figures_of_the_readme(cache: Path) -> None:
    rows = printed_json("replay", cache, "sample+majority,sample+weighted", "-s", "sample+oracle", "--budget", "1,4")
    accuracy = {(row["strategy"], row["budget"]): row["accuracy"] for row in rows}
    expected = {"sample+majority": 0.7865, "sample+weighted": 0.8038, "sample+oracle": 0.854}
    for strategy, figure in expected.items():
        assert accuracy[strategy, 4] == pytest.approx(figure, abs=0.002)
        assert accuracy[strategy, 1] == pytest.approx(0.746, abs=0.002)
    assert all(row["num_questions"] == 500 and row["supported"] == 1.0 and 0.01 < row["se"] < 0.02 for row in rows)


def test_every_outcome_is_the_stored_one_where_nothing_is_tied(cache: Path) -> None:
    stored = {
        "sample+majority": "majority_vote",
        "sample+weighted": "prm_last_vote",
        "sample+best": "prm_last_max",
        "sample+weighted(agg=min)": "prm_min_vote",
        "sample+best(agg=min)": "prm_min_max",
    }
    rows = printed_json("replay", cache, *stored, "--budget", 4, "--per-question")
    assert len(rows) == 500 * len(stored)
    results = {f"q{place:04d}": entry["result"] for place, entry in enumerate(json.loads(FILE.read_text()), start=1)}
    compared = dict.fromkeys(stored, 0)
    for row in rows:
        if row["accuracy"] in (0.0, 1.0):
            compared[row["strategy"]] += 1
            assert row["accuracy"] == results[row["question_id"]][stored[row["strategy"]]], row
    assert compared["sample+majority"] == 470 and compared["sample+weighted"] == 493
    assert min(compared.values()) > 440


def test_info_and_check_read_well(cache: Path) -> None:
    facts: dict[str, Any] = printed_json("info", cache)
    [run], [verifier] = facts["runs"], facts["verifiers"]
    assert (run["run_id"], run["kind"], run["solutions"], run["correct"]) == (FILE.stem, "steps", 2000, 1492)
    assert (verifier["verifier_id"], verifier["coverage"]) == ("prm", 1.0)
    table = tts_sim("info", cache)
    assert table.err == "" and all(word in table.out for word in (FILE.stem, "500 questions", "prm", "18061"))
    assert tts_sim("check", cache) == (0, f"{cache}: sound.\n", "")


def test_views(cache: Path) -> None:
    def sql(query: str) -> Any:
        return printed_json("sql", cache, query)

    assert sql("SELECT count(*) AS n, count(*) FILTER (correct) AS correct FROM solutions") == [
        {"n": 2000, "correct": 1492}
    ]
    [stats] = sql("SELECT avg(pass_at_1) AS p, avg(majority_correct) AS m, count(*) AS n FROM question_stats")
    assert stats == {"p": pytest.approx(0.746), "m": pytest.approx(0.7865), "n": 500}
    [coverage] = sql("SELECT avg(pass_at_k(num_samples, num_correct, 4)) AS c FROM question_stats")
    assert coverage["c"] == pytest.approx(0.854)
    [values] = sql("SELECT count(*) AS n, avg(value) FILTER (depth = 1) AS v FROM node_values WHERE num_solutions > 0")
    assert values == {"n": 18061, "v": pytest.approx(0.746)}
    deciles = sql("FROM calibration")
    assert [row["decile"] for row in deciles] == list(range(1, 11))
    assert sum(row["num_solutions"] for row in deciles) == 2000
    assert deciles[0]["mean_correct"] < 0.2 < 0.8 < deciles[-1]["mean_correct"]
    csv = tts_sim("sql", cache, "FROM question_stats LIMIT 2", "--csv").out.splitlines()
    assert len(csv) == 3 and csv[0].startswith("run_id,question_id,level,num_samples")


def test_by_difficulty(cache: Path) -> None:
    rows = printed_json("replay", cache, "sample+weighted", "--budget", 4, "--by", "difficulty")
    assert sum(row["num_questions"] for row in rows) == 500
    assert [row["difficulty"] for row in rows] == sorted(row["difficulty"] for row in rows)
    assert rows[0]["accuracy"] == 1.0 and rows[-1]["accuracy"] < 0.6
