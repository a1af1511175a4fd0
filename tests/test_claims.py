"""The paper's claims, held against caches."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from cache import open_cache, sample_path
from tests import report_cache
from tests.command import printed_json, tts_sim, write_jsonl
from tts_sim.claims.exchange import _sign
from tts_sim.claims.finding import Finding, all_of, points, sign
from tts_sim.claims.material import Material
from tts_sim.claims.page import findings, markdown

PAGE = Path(__file__).parents[1] / "docs" / "reproduction.md"


@pytest.fixture(scope="module")
def found() -> dict[str, list[Finding]]:
    with open_cache(sample_path()) as cache:
        return findings(Material(cache))


def test_the_page_is_what_the_sample_shows(found: dict[str, list[Finding]]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for members in found.values():
        assert members
        for finding in members:
            row = next(line for line in page.splitlines() if line.startswith(f"| {finding.claim.text} "))
            assert f"| {finding.verdict} |" in row
            for figure in finding.figures:
                assert figure.replace("|", "\\|") in row
            assert not row.endswith("|  |"), "no reason given"


def test_differences_are_those_of_compare(found: dict[str, list[Finding]]) -> None:
    weighted = next(one for one in found["Search against a verifier"] if one.claim.key == "weighted")
    rows = printed_json("compare", "sample", "sample+weighted", "sample+majority", "--budget", "4,16,64")
    assert weighted.figures == tuple(points(row, f"N = {row['budget']}") for row in rows)


def test_verdicts_follow_from_intervals() -> None:
    above, below, neither = ({"ci_low": low, "ci_high": low + 1.0} for low in (0.1, -1.1, -0.5))
    assert [sign(row) for row in (above, below, neither, {})] == [1, -1, 0, 0]
    assert all_of([1, 1]) == "holds" and all_of([1, -1]) == "in part" and all_of([0, -1]) == "does not hold"
    assert all_of([0, 0]) == "cannot tell" == all_of([])
    assert points({"difference": None}, "x") == "x: not supported"
    assert points({"difference": 0.5, "ci_low": None}, "x") == "x: +50.0 points (one question: no interval)"


def test_who_is_ahead_in_an_exchange() -> None:
    behind = {"difference": -0.5, "ci_low": -0.6, "ci_high": -0.4, "status": "beyond cache", "bound": None}
    assert _sign(behind) == -1
    assert _sign(behind | {"bound": ">="}) == 0, "more samples might still catch up"
    nothing = {"difference": None, "ci_low": None, "ci_high": None, "bound": None}
    assert _sign(nothing | {"status": "below one sample"}) == -1 and _sign(nothing | {"status": "below cache"}) == 0
    assert _sign(nothing | {"status": "inside", "difference": 0.2}) == 0, "one question"


def imported(folder: Path, first: int, last: int, **options: int) -> Path:
    """Questions `first` to `last` of the small cache, with as many of their samples."""
    cache = folder / "part.duckdb"
    for run, questions in report_cache.RUNS.items():
        some = questions()[first:last]
        for question in some:
            question["nodes"] = question["nodes"][: options.get(run)]
        file = write_jsonl(folder / f"{run}.jsonl", some)
        assert tts_sim("import", "native", file, "--into", cache).status == 0
    with duckdb.connect(cache) as connection:
        connection.execute(report_cache.NAMES)
    return cache


def test_a_single_question_says_nothing(tmp_path: Path) -> None:
    ended = tts_sim("claims", imported(tmp_path, 20, 21))
    assert ended.status == 1 and "several questions" in ended.err and "no claim can be judged here" in ended.err


def test_what_cannot_be_judged_is_left_out_and_said(tmp_path: Path) -> None:
    """Six samples: too few for difficulty or a vote of four."""
    ended = tts_sim("claims", imported(tmp_path, 0, 40, base=6))
    assert ended.status == 0 and "last − min, N = 2" in ended.out
    assert "claims left out: votes of 4 samples and more: run 'base' speaks to 2" in ended.err
    assert "claims left out: difficulty: 40 of 40 questions of run 'base' hold fewer than 16 solutions" in ended.err


def test_levels_of_a_question_or_two_judge_nothing(tmp_path: Path) -> None:
    found = printed_json("claims", imported(tmp_path, 10, 16))
    exchanged = {one["claim"]["key"]: one for one in found if one["part"].startswith("Test-time")}
    assert exchanged["exchange, hard"]["verdict"] == "cannot tell"
    assert exchanged["exchange, easy"]["verdict"] == "cannot tell"


def test_a_cache_without_scores_has_nothing_to_say(tmp_path: Path) -> None:
    line = {
        "question_id": "q",
        "prompt": "p",
        "gold": "A",
        "nodes": [{"id": 1, "parent": None, "draw": 0, "tokens": 1, "answer": "A"}],
    }
    (tmp_path / "q.jsonl").write_text(json.dumps(line) + "\n")
    assert tts_sim("import", "native", tmp_path / "q.jsonl", "--into", tmp_path / "q.duckdb").status == 0
    ended = tts_sim("claims", tmp_path / "q.duckdb")
    assert ended.status == 1 and "no claim can be judged here" in ended.err and ended.err.count("\n") == 1
    assert list(markdown({"Part": []})) == []
