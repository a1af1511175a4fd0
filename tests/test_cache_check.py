"""`check` finds every kind of damage, and names question, node and remedy; `info` counts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from cache import create_cache
from cache.check import violations
from cache.info import describe
from cache.store import Cache


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound cache: question q1 with the chain 0 → 1 and the sample 2; question q2 with nothing; revisions 0 → 1."""
    made = create_cache(tmp_path_factory.mktemp("template") / "made.duckdb")
    made.append(
        models=pl.DataFrame({"model_id": ["m"], "num_params": [360_000]}),
        questions=pl.DataFrame({"question_id": ["q1", "q2"], "level": [1, 2]}),
        answers=pl.DataFrame(
            {"question_id": ["q1"] * 2, "answer_id": [0, 1], "text": ["A", "B"], "correct": [True, False]}
        ),
        runs=pl.DataFrame(
            {"run_id": ["r", "v"], "kind": ["steps", "revisions"], "model_id": ["m", None], "root_pool": [3, None]}
        ),
        verifiers=pl.DataFrame({"verifier_id": ["prm"], "kind": ["prm"]}),
        nodes=pl.DataFrame(
            {
                "run_id": ["r", "r", "r", "v", "v"],
                "node_id": [0, 1, 2, 0, 1],
                "question_id": ["q1"] * 5,
                "parent_id": [None, 0, None, None, 0],
                "draw": [0, 0, 1, 0, 0],
                "tokens": [5, 6, 7, 8, 9],
                "stop": ["step", "eos", "eos", "eos", "eos"],
                "answer_id": [None, 0, 1, 1, 0],
            }
        ),
        scores=pl.DataFrame(
            {"run_id": ["r", "r"], "node_id": [0, 1], "verifier_id": ["prm"] * 2, "score": [0.5, 0.75]}
        ),
    )
    assert violations(made) == []
    made.close()
    return made.path


@pytest.fixture
def cache(template: Path, tmp_path: Path) -> Cache:
    """A copy of the template, open for writing."""
    return create_cache(shutil.copy(template, tmp_path / "made.duckdb"))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (
            "UPDATE nodes SET parent_id = 1 WHERE node_id = 0 AND run_id = 'r'",
            "run 'r', question 'q1', node 0: parent 1 comes after it",
        ),
        ("UPDATE nodes SET parent_id = 1 WHERE node_id = 1 AND run_id = 'r'", "node 1: it is its own parent"),
        ("DELETE FROM nodes WHERE node_id = 0 AND run_id = 'r'", "node 1: parent 0 is missing"),
        (
            "UPDATE nodes SET question_id = 'q2' WHERE node_id = 0 AND run_id = 'r'",
            "node 1: parent 0 belongs to question 'q2'",
        ),
        (
            "UPDATE nodes SET stop = 'length' WHERE node_id = 0 AND run_id = 'r'",
            "node 1: parent 0 is terminal (stop length)",
        ),
        ("UPDATE nodes SET draw = 0 WHERE node_id = 2", "draw 0 occurs 2 times under the prompt"),
        ("UPDATE nodes SET draw = 3 WHERE node_id = 2", "draw 3 lies outside the root pool of 3"),
        ("UPDATE runs SET step_pool = 0 WHERE run_id = 'r'", "run 'r': pools 3 0"),
        ("UPDATE nodes SET draw = 1 WHERE node_id = 1 AND run_id = 'v'", "draw 1 below attempt 0"),
        ("UPDATE nodes SET stop = 'step' WHERE node_id = 1 AND run_id = 'v'", "it is an attempt of a revision run"),
        ("UPDATE nodes SET tokens = -1 WHERE node_id = 2", "node 2: -1 tokens"),
        ("UPDATE nodes SET logprob = 'inf' WHERE node_id = 2", "node 2: logprob inf"),
        ("UPDATE nodes SET stop = 'step' WHERE node_id = 2", "node 2: answer 1 ends here, yet stop is 'step'"),
        (
            "UPDATE nodes SET answer_id = 9 WHERE node_id = 2",
            "node 2: answer 9 is not among the answers of its question",
        ),
        ("UPDATE nodes SET question_id = 'q2' WHERE node_id = 2", "question 'q2', node 2: answer 1 is not among"),
        ("UPDATE nodes SET run_id = 'z' WHERE node_id = 2", "its run 'z' is not in `runs`"),
        (
            "UPDATE nodes SET question_id = 'z' WHERE node_id = 2",
            "question 'z', node 2: its question is not in `questions`",
        ),
        ("INSERT INTO nodes SELECT * FROM nodes WHERE node_id = 2", "node 2: 2 nodes have this id"),
        (
            "UPDATE scores SET score = 'nan' WHERE node_id = 1",
            "question 'q1', node 1: score nan of verifier 'prm' is not finite",
        ),
        (
            "UPDATE scores SET node_id = 5 WHERE node_id = 1",
            "node 5: verifier 'prm' scored this node, which is not in run 'r'",
        ),
        ("UPDATE scores SET verifier_id = 'x'", "its verifier 'x' is not in `verifiers`"),
        ("INSERT INTO scores SELECT * FROM scores", "node 0: verifier 'prm' scored it 2 times"),
        (
            "INSERT INTO answers VALUES ('q3', 0, 'A', true, NULL)",
            "answer 0 belongs to a question that is not in `questions`",
        ),
        ("INSERT INTO answers VALUES ('q1', 2, 'A', true, NULL)", "question 'q1': answers 0, 2 have the same text"),
        (
            "INSERT INTO answers VALUES ('q2', 1, 'A', true, NULL)",
            "question 'q2': answers are numbered 1 to 1, but there are 1",
        ),
        ("UPDATE runs SET kind = 'trees' WHERE run_id = 'r'", "run 'r': kind 'trees'"),
        ("DELETE FROM models", "run 'r': its model 'm' is not in `models`"),
    ],
)
def test_damage_is_named(cache: Cache, damage: str, expected: str) -> None:
    cache.connection.execute(damage)
    found = violations(cache)
    assert any(expected in str(violation) for violation in found), [str(violation) for violation in found]
    assert all(violation.remedy and "None" not in str(violation) for violation in found)


def test_many_violations_are_counted_not_listed(cache: Cache) -> None:
    cache.connection.execute(
        "INSERT INTO nodes BY NAME SELECT 'r' AS run_id, i AS node_id, 'q1' AS question_id, 0 AS parent_id, i AS draw,"
        " -1 AS tokens, 'eos' AS stop FROM range(10, 1010) AS t(i)"
    )
    found = violations(cache, limit=10)
    assert len(found) == 11
    assert found[-1].what == "… and 990 more of the same kind"


def test_describe_counts(cache: Cache) -> None:
    facts = describe(cache)
    json.dumps(facts, allow_nan=False)
    assert (facts["schema_version"], facts["questions"]) == (1, 2)
    assert facts["questions_by_level"] == [{"level": 1, "questions": 1}, {"level": 2, "questions": 1}]
    assert facts["models"][0]["num_params"] == 360_000
    runs = {run["run_id"]: run for run in facts["runs"]}
    assert {
        key: runs["r"][key] for key in ("kind", "nodes", "tokens", "solutions", "questions", "correct", "root_pool")
    } == {
        "kind": "steps",
        "nodes": 3,
        "tokens": 18,
        "solutions": 2,
        "questions": 1,
        "correct": 1,
        "root_pool": 3,
    }
    assert facts["verifiers"][0]["coverage"] == pytest.approx(2 / 3)
