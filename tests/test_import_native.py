"""Native JSONL: what is stored, and one clear line for everything that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cache import create_cache, open_cache
from cache.check import violations
from cache.errors import ImportFailed
from cache.importers import import_native

STEP = {"id": 1, "parent": None, "tokens": 12, "scores": {"prm": 0.75}}
ENDS = {"id": 2, "parent": 1, "tokens": 9, "scores": {"prm": 0.875}, "answer": "A"}
QUESTION = {"question_id": "q1", "prompt": "…", "gold": "A", "level": 1, "nodes": [STEP, ENDS]}


def write(path: Path, *questions: Any) -> Path:
    """A JSONL file of these questions; text is written as it is."""
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in questions), encoding="utf-8"
    )
    return path


def with_nodes(*nodes: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """QUESTION with these nodes and keys."""
    return {**QUESTION, **keys, "nodes": list(nodes)}


def table(path: Path, name: str, *columns: str) -> list[tuple[Any, ...]]:
    """Rows of a table, sorted."""
    with open_cache(path) as cache:
        assert violations(cache) == []
        return cache.table(name).select(columns or pl.all()).sort(pl.all(), nulls_last=False).rows()


def test_the_example_of_the_design(tmp_path: Path) -> None:
    greedy = {"id": 3, "parent": 1, "greedy": True, "tokens": 9, "scores": {"prm": 0.5}, "answer": None}
    file = write(
        tmp_path / "trees.jsonl", "\ufeff" + json.dumps(with_nodes(STEP, ENDS, greedy, source="book", n=3)), "", "  "
    )
    seen: list[tuple[int, int]] = []
    report = import_native(file, tmp_path / "c.duckdb", progress=lambda done, total: seen.append((done, total)))
    assert (report.run_id, report.kind, report.questions, report.nodes, report.solutions, report.scores) == (
        "trees",
        "steps",
        1,
        3,
        2,
        3,
    )
    assert seen == [(1, 1)]
    columns = ("node_id", "parent_id", "draw", "greedy", "tokens", "stop", "answer_id")
    assert table(tmp_path / "c.duckdb", "nodes", *columns) == [
        (0, None, 0, False, 12, "step", None),
        (1, 0, 0, False, 9, "eos", 0),
        (2, 0, 0, True, 9, "eos", None),
    ]
    assert table(tmp_path / "c.duckdb", "answers") == [("q1", 0, "A", True, "exact")]
    assert table(tmp_path / "c.duckdb", "questions", "level", "gold", "extra") == [
        (1, "A", '{"n": 3, "source": "book"}')
    ]
    assert table(tmp_path / "c.duckdb", "scores", "node_id", "score") == [(0, 0.75), (1, 0.875), (2, 0.5)]
    assert table(tmp_path / "c.duckdb", "runs", "kind", "exchangeable", "root_pool") == [("steps", True, None)]


def test_nodes_in_any_order_are_numbered_parents_first(tmp_path: Path) -> None:
    shuffled: list[dict[str, Any]] = [
        {"id": 7, "parent": 5, "tokens": 1, "answer": "B"},
        {"id": 5, "parent": 9, "tokens": 2, "draw": 1},
        {"id": 4, "parent": 9, "tokens": 3, "draw": 0, "text": "step", "logprob": -1.5, "min_logprob": -1},
        {"id": 9, "parent": None, "tokens": 4},
    ]
    file = write(tmp_path / "t.jsonl", with_nodes(*shuffled), with_nodes(STEP, ENDS, question_id="q2"))
    import_native(file, tmp_path / "c.duckdb", run_id="r", exchangeable=False)
    assert table(tmp_path / "c.duckdb", "nodes", "node_id", "parent_id", "tokens", "draw", "logprob") == [
        (0, None, 4, 0, None),
        (1, 0, 3, 0, -1.5),
        (2, 0, 2, 1, None),
        (3, 2, 1, 0, None),
        (4, None, 12, 0, None),
        (5, 4, 9, 0, None),
    ]
    assert table(tmp_path / "c.duckdb", "runs", "run_id", "exchangeable") == [("r", False)]


def test_revisions_are_recognised(tmp_path: Path) -> None:
    first = {"id": 1, "parent": None, "tokens": 5, "answer": "B", "scores": {"orm": 0.25}}
    second = {"id": 2, "parent": 1, "tokens": 5, "answer": None}
    third = {"id": 3, "parent": 2, "tokens": 5, "answer": "A"}
    file = write(tmp_path / "chains.jsonl", with_nodes(first, second, third))
    assert import_native(file, tmp_path / "c.duckdb").kind == "revisions"
    assert table(tmp_path / "c.duckdb", "nodes", "node_id", "stop", "answer_id") == [
        (0, "eos", 0),
        (1, "eos", None),
        (2, "eos", 1),
    ]
    assert table(tmp_path / "c.duckdb", "verifiers", "verifier_id", "kind") == [("orm", "orm")]
    with pytest.raises(
        ImportFailed, match=r"line 1: question 'q1', node 2: parent 1 has an answer and can have no child"
    ):
        import_native(file, tmp_path / "c.duckdb", run_id="s", kind="steps")
    mixed = write(tmp_path / "mixed.jsonl", with_nodes(first, second, {"id": 3, "parent": None, "tokens": 1}))
    with pytest.raises(ImportFailed, match="node 3: no answer ends here, yet in line 1 an answered node has a child"):
        import_native(mixed, tmp_path / "c.duckdb")
    import_native(mixed, tmp_path / "c.duckdb", kind="revisions")
    with pytest.raises(ValueError, match="kind 'trees' is unknown; it is one of steps, revisions"):
        import_native(file, tmp_path / "c.duckdb", kind="trees")


BAD_NODE: list[tuple[dict[str, Any], str]] = [
    ({"tokens": -1}, "tokens -1 is negative"),
    ({"tokens": 1.5}, "tokens 1.5 is not a whole number"),
    ({"tokens": True}, "tokens True is not a whole number"),
    ({"tokens": 2**31}, "tokens 2147483648 is out of range"),
    ({"parent": 9}, "parent 9 is missing"),
    ({"parent": 2}, r"the parents form a cycle \(2 → 2\)"),
    ({"id": 1}, "node 1: the id occurs twice"),
    ({"scores": {"prm": float("nan")}}, "score of prm nan is not finite"),
    ({"scores": {"prm": float("inf")}}, "score of prm inf is not finite"),
    ({"scores": {"prm": 1e39}}, "is not finite"),
    ({"scores": {"prm": "high"}}, "score of prm 'high' is not a number"),
    ({"scores": [0.5]}, "'scores' is an object"),
    ({"logprob": float("-inf")}, "logprob -inf is not finite"),
    ({"draw": -1}, "draw -1 is negative"),
    ({"greedy": 1}, "greedy 1 is neither true nor false"),
    ({"score": {"prm": 0.5}}, "unknown key 'score'. A node's keys are id, parent, tokens"),
    ({"answer": 42}, "answer 42 is not text; write it in quotes"),
    ({"answer": " "}, "the answer is empty"),
    ({"stop": "done"}, "stop 'done'; it is one of step, eos, length"),
    ({"stop": "step"}, "an answer ends here, yet stop is 'step'"),
    ({"answer": None, "correct": True}, r"answer null \(cannot be parsed\) is marked correct"),
]


@pytest.mark.parametrize(("change", "message"), BAD_NODE)
def test_a_bad_node_is_named_and_nothing_is_imported(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    file = write(tmp_path / "t.jsonl", {**QUESTION, "question_id": "q0"}, with_nodes(STEP, {**ENDS, **change}))
    with pytest.raises(ImportFailed, match=message) as caught:
        import_native(file, tmp_path / "c.duckdb")
    assert str(caught.value).startswith("t.jsonl, line 2: question 'q1', node ")
    assert str(caught.value).endswith("Nothing of the file was imported.") and "\n" not in str(caught.value)
    assert caught.value.line == 2
    assert not (tmp_path / "c.duckdb").exists()


TWIN = {**ENDS, "id": 3}
BAD_LINE: list[tuple[Any, str]] = [
    ("{not json", r"not JSON \(Expecting property name"),
    ("[1, 2]", "a line is one JSON object"),
    ({"nodes": []}, "the key 'question_id' is missing"),
    ({"question_id": 5, "nodes": []}, "question_id 5 is not text"),
    ({"question_id": "q1"}, "question 'q1': the key 'nodes' is missing"),
    (with_nodes({"id": 1, "tokens": 3}), "node 1: the key 'parent' is missing"),
    (with_nodes({"id": 1, "parent": None}), "node 1: the key 'tokens' is missing"),
    (with_nodes({"parent": None, "tokens": 3}), "node without id: the key 'id' is missing"),
    (with_nodes(STEP, level="hard"), "level 'hard' is not a whole number"),
    (with_nodes(STEP, extra_score=float("nan")), "a number among extra_score is not finite"),
    ({**QUESTION, "question_id": "q0"}, "question 'q0' stands in line 1 already"),
    (with_nodes(STEP, {**ENDS, "draw": 0}, {**TWIN, "draw": 0}), "node 3: draw 0 under node 1 is node 2 already"),
    (
        with_nodes({**STEP, "draw": 1}, {**STEP, "id": 4, "draw": 1}),
        "node 4: draw 1 under the prompt is node 1 already",
    ),
    (
        with_nodes(STEP, {**ENDS, "greedy": True}, {**TWIN, "greedy": True}),
        "node 3: node 1 has another greedy child, node 2",
    ),
    (with_nodes({**STEP, "parent": 2}, {**ENDS, "parent": 1}), r"the parents form a cycle \(1 → 2 → 1\)"),
    (
        with_nodes(STEP, {**ENDS, "correct": True}, {**TWIN, "correct": False}),
        "answer 'A' is wrong here, correct in node 2",
    ),
    (with_nodes(STEP, ENDS, gold=None), "answer 'A' has no 'correct', and the question has no 'gold'"),
    (json.dumps(with_nodes(STEP)).replace("…", "\\ud800").replace("\\u2026", "\\ud800"), "half of a surrogate pair"),
    ("[" * 100_000, "too deep"),
    ('{"question_id": "q1", "level": ' + "9" * 5000 + "}", "too long"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINE)
def test_a_bad_line_is_named_and_nothing_is_imported(tmp_path: Path, line: Any, message: str) -> None:
    file = write(tmp_path / "t.jsonl", {**QUESTION, "question_id": "q0"}, line)
    with create_cache(tmp_path / "c.duckdb") as cache:
        with pytest.raises(ImportFailed, match=message) as caught:
            import_native(file, cache)
        assert caught.value.line == 2
        assert cache.table("questions").is_empty() and cache.table("runs").is_empty()


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match=r"no\.jsonl: the file cannot be read \(No such file or directory\)\."):
        import_native(tmp_path / "no.jsonl", tmp_path / "c.duckdb")
    with pytest.raises(ImportFailed, match="the file holds no question"):
        import_native(write(tmp_path / "empty.jsonl"), tmp_path / "c.duckdb")
    (tmp_path / "latin.jsonl").write_bytes(json.dumps(QUESTION).encode() + b"\n\xff\n")
    with pytest.raises(ImportFailed, match=r"latin\.jsonl, line 2: not UTF-8 text"):
        import_native(tmp_path / "latin.jsonl", tmp_path / "c.duckdb")
    assert not (tmp_path / "c.duckdb").exists()


def test_a_second_file_shares_questions_and_answers(tmp_path: Path) -> None:
    into = tmp_path / "c.duckdb"
    import_native(write(tmp_path / "one.jsonl", with_nodes(STEP, {**ENDS, "answer": "a", "correct": True})), into)
    second = {"question_id": "q1", "nodes": [STEP, {**ENDS, "answer": "B", "correct": False}, {**TWIN, "answer": "a"}]}
    import_native(write(tmp_path / "two.jsonl", second), into)  # 'a' is right as stored, although it is not gold
    assert table(into, "answers", "answer_id", "text", "correct") == [(0, "a", True), (1, "B", False)]
    assert table(into, "nodes", "run_id", "node_id", "answer_id") == [
        ("one", 0, None),
        ("one", 1, 0),
        ("two", 0, None),
        ("two", 1, 1),
        ("two", 2, 0),
    ]
    with pytest.raises(ImportFailed, match=r"two\.jsonl: run 'two' is in .* already\. Name another with --run"):
        import_native(tmp_path / "two.jsonl", into)
    other = write(tmp_path / "other.jsonl", with_nodes(STEP, question_id="q8"), with_nodes(STEP, gold="Z"))
    with pytest.raises(
        ImportFailed, match=r"other\.jsonl, line 2: question 'q1' is in the cache with another content \(gold\)"
    ):
        import_native(other, into)
    wrong = write(tmp_path / "wrong.jsonl", with_nodes(STEP, {**ENDS, "answer": "a", "correct": False}))
    with pytest.raises(ImportFailed, match=r"line 1: .* answer 'a' is wrong here, correct in the cache"):
        import_native(wrong, into)
    assert len(table(into, "runs")) == 2


def test_a_deep_tree_and_a_question_without_nodes(tmp_path: Path) -> None:
    deep = [{"id": i, "parent": i - 1 if i else None, "tokens": 1} for i in range(3000)]
    file = write(tmp_path / "deep.jsonl", with_nodes(*reversed(deep)), {"question_id": "q2", "nodes": []})
    assert import_native(file, tmp_path / "c.duckdb").nodes == 3000
