"""The paper's claims, held against caches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cache import open_cache, sample_path
from tests.command import printed_json, tts_sim
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
