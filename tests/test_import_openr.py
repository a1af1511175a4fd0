"""OpenR records: steps, tokens, gold and grading; agreement with the answers graded beside the real file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cache import create_cache, open_cache
from cache.check import violations
from cache.errors import ImportFailed
from cache.grading import UNPARSED, MathVerify, grader, last_box
from cache.importers import import_openr
from cache.importers.openr import share_tokens, split_steps

REAL = Path(os.environ.get("TTS_SIM_DATA", Path(__file__).parents[2] / "shared" / "data")) / "openr"


def sample(place: int, text: str, values: list[float], tokens: int = 10) -> dict[str, Any]:
    """One solution of an OpenR record."""
    return {"path_idx": place, "text": text, "value": values, "completion_tokens": tokens}


RECORD = {
    "question": "Half of 11?",
    "groundtruth": "It is \\boxed{x}, no: \\boxed{\\frac{11}{2}}.",
    "result": {"majority_vote": 1},
    "output": [
        sample(1, "So\n\nit is\n\n$\\boxed{5.5}$.", [0.5, 0.75, 1.0], 11),
        sample(0, "It is \\boxed{\\dfrac{11}{2}}.", [0.25]),
        sample(3, "It is \\boxed{6}.\n\nSurely.", [0.25]),
        sample(2, "No idea", [0.125]),
    ],
}


def import_records(tmp_path: Path, *records: Any) -> Any:
    """The report of importing these records into c.duckdb."""
    file = tmp_path / "bon.json"
    file.write_text(json.dumps(list(records)))
    return import_openr(file, tmp_path / "c.duckdb")


def test_a_record_becomes_chains(tmp_path: Path) -> None:
    report = import_records(tmp_path, RECORD)
    assert (report.run_id, report.nodes, report.solutions, report.scores) == ("bon", 7, 4, 5)
    assert report.warnings == ["question 'q0001', sample 3: 1 scores for 2 steps; its scores were left out."]
    with open_cache(tmp_path / "c.duckdb") as cache:
        assert violations(cache) == []
        nodes = cache.table("nodes").sort("node_id")
        columns = ("parent_id", "draw", "tokens", "stop", "answer_id", "text")
        assert nodes.select(columns).rows()[:4] == [
            (None, 0, 10, "eos", 0, "It is \\boxed{\\dfrac{11}{2}}."),
            (None, 1, 1, "step", None, "So"),
            (1, 0, 2, "step", None, "it is"),
            (2, 0, 8, "eos", 0, "$\\boxed{5.5}$."),
        ]
        assert cache.frame("SELECT sum(tokens)::INTEGER AS t FROM nodes")["t"].to_list() == [41]
        answers = cache.table("answers").sort("answer_id").select("text", "correct", "grader").rows()
        assert answers[0] == ("\\dfrac{11}{2}", True, "math-verify")
        assert ("6", False, "math-verify") in answers
        assert cache.table("questions")["gold"].to_list() == ["\\frac{11}{2}"]
        assert json.loads(cache.table("questions")["extra"][0])["result"] == {"majority_vote": 1}


def test_a_second_run_keeps_numbers_and_grades(tmp_path: Path) -> None:
    import_records(tmp_path, RECORD)
    again = {**RECORD, "output": [sample(0, "\\boxed{7}", [0.5]), sample(1, "\\boxed{5.50}", [0.5])]}
    (tmp_path / "again.json").write_text(json.dumps([again]))
    import_openr(tmp_path / "again.json", tmp_path / "c.duckdb")
    with open_cache(tmp_path / "c.duckdb") as cache:
        assert violations(cache) == []
        found = cache.frame("SELECT answer, correct FROM solutions WHERE run_id = 'again' ORDER BY node_id").rows()
        assert found == [("7", False), ("\\dfrac{11}{2}", True)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groundtruth": "5.5"}, "has no \\\\boxed{} answer"),
        ({"output": None}, "the key 'output' is missing"),
        ({"output": [sample(0, "x", [float("nan")])]}, "sample 0: 'value' is not a list of finite numbers"),
        ({"output": [sample(0, "x", [1.0], -3)]}, "completion_tokens -3"),
        ({"output": [sample(0, "x", [1.0]), sample(0, "y", [1.0])]}, "a path_idx occurs twice"),
    ],
)
def test_bad_records_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ImportFailed, match=r"bon\.json: question 'q0002' \(record 1\): .*" + message):
        import_records(tmp_path, RECORD, {**RECORD, **change})
    assert not (tmp_path / "c.duckdb").exists()


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("[{]")
    for name, message in [("bad.json", "line 1: not JSON"), ("no.json", "the file cannot be read")]:
        with pytest.raises(ImportFailed, match=message):
            import_openr(tmp_path / name, tmp_path / "c.duckdb")


def test_tokens_are_shared_exactly() -> None:
    assert share_tokens(10, [1, 1, 1]) == [3, 3, 4]
    assert share_tokens(0, [4, 5]) == [0, 0]
    assert share_tokens(5, [0, 0]) == [2, 3]
    for total in (1, 7, 2048):
        assert sum(share_tokens(total, [3, 0, 11, 1, 999])) == total


def test_steps_and_boxes() -> None:
    assert split_steps("a\n\nb\n\n\n\nc\n\n") == ["a", "b", "c"]
    assert split_steps("") == [""]
    assert last_box("\\boxed{1} then \\boxed{\\frac{a}{b}} end") == "\\frac{a}{b}"
    assert last_box("\\boxed{\\{1, 2\\}}") == "\\{1, 2\\}"
    assert last_box("\\boxed{1} and \\boxed{2") == "1"
    assert last_box("\\boxed 7 or") == "7"
    assert last_box("nothing") is None


def test_graders() -> None:
    exact = grader("exact").group("42", ["42", None, " 42 ", "x", ""])
    assert [(answer.text, answer.correct, answer.group) for answer in exact] == [
        ("42", True, 0),
        (None, False, -1),
        ("42", True, 0),
        ("x", False, 1),
        (None, False, -1),
    ]
    symbolic = grader("math-verify").group(
        "1/2", ["\\boxed{3}", "\\boxed{0.5}", "\\boxed{\\frac{2}{4}}", None, "\\boxed{3.0}"]
    )
    assert [(answer.correct, answer.group) for answer in symbolic] == [
        (False, 0),
        (True, 1),
        (True, 1),
        (False, -1),
        (False, 0),
    ]
    assert [answer.group for answer in grader("math-verify").group("7", ["7", "\\boxed{7}", "$7$"])] == [0, 0, 0]
    with pytest.raises(ValueError, match="unknown grader 'guess'; there are exact, letter, math-verify"):
        grader("guess")


def test_a_text_on_which_the_parser_fails_is_unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    import math_verify

    real = math_verify.parse

    def failing(text: str, **options: Any) -> Any:
        if "13" in text:
            raise RuntimeError("stuck")
        return real(text, **options)

    monkeypatch.setattr(math_verify, "parse", failing)
    assert MathVerify().group("5", ["\\boxed{13}", "\\boxed{5}"]) == [UNPARSED, ("5", True, 0)]


@pytest.mark.skipif(not (REAL / "answers.json").is_file(), reason="the real records are not at hand")
def test_real_records_are_graded_as_beside_the_file(tmp_path: Path) -> None:
    with create_cache(tmp_path / "c.duckdb") as cache:
        report = import_openr(REAL / "bon4_math500_qwen_prm.json", cache)
        assert (report.questions, report.solutions, report.warnings) == (500, 2000, [])
        graded = cache.frame("SELECT answer_id, correct FROM endings ORDER BY node_id").rows()
        for place, expected in enumerate(json.loads((REAL / "answers.json").read_text())):
            mine = graded[4 * place : 4 * place + 4]
            assert [answer for answer, _ in mine] == expected["group"], place
            assert [int(correct) for _, correct in mine] == expected["correct"], place
        stats = cache.frame(
            "SELECT avg(pass_at_1) p, avg(majority_correct) m, avg((num_correct > 0)::INTEGER) c FROM question_stats"
        )
        assert stats.rows() == [(pytest.approx(0.746), pytest.approx(0.7865), pytest.approx(0.854))]
