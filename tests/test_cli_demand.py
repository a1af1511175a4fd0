"""`tts-sim demand` on a recorded run: every question of the cache counts, whether the run holds nodes of it or not."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cache import create_cache
from tests.command import printed_json, tts_sim

RUN = {"run_id": ["base"], "kind": ["steps"], "exchangeable": [True], "root_pool": [4], "step_pool": [2]}


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A recorded run of which two questions hold nothing yet; a first step and a finished solution of the third."""
    path = tmp_path / "begun.duckdb"
    with create_cache(path) as cache:
        cache.append(questions=pl.DataFrame({"question_id": ["q1", "q2", "q3"]}), runs=pl.DataFrame(RUN))
        cache.append(
            answers=pl.DataFrame({"question_id": ["q2"], "answer_id": [0], "text": ["A"], "correct": [True]}),
            nodes=pl.DataFrame(
                {
                    "run_id": ["base"] * 2,
                    "node_id": [0, 1],
                    "question_id": ["q2"] * 2,
                    "draw": [0, 1],
                    "tokens": [3, 4],
                    "stop": ["step", "eos"],
                    "answer_id": [None, 0],
                }
            ),
            verifiers=pl.DataFrame({"verifier_id": ["prm"], "kind": ["prm"]}),
            scores=pl.DataFrame(
                {"run_id": ["base"] * 2, "node_id": [0, 1], "verifier_id": ["prm"] * 2, "score": [0.5, 0.75]}
            ),
        )
    return path


def expected() -> list[tuple[str, int | None, int]]:
    return [
        *[("q1", None, draw) for draw in range(4)],
        ("q2", None, 2),
        ("q2", None, 3),
        ("q2", 0, 0),
        *[("q3", None, draw) for draw in range(4)],
    ]


def test_as_json_and_csv(begun: Path) -> None:
    rows = printed_json("demand", begun, "sample+majority", "--budget", 4)
    assert [(row["question_id"], row["node_id"], row["draw"]) for row in sorted(rows, key=_place)] == expected()
    assert {row["run"] for row in rows} == {"base"}
    csv = tts_sim("demand", begun, "sample+majority", "--budget", 4, "--csv")
    assert csv.out.splitlines()[0] == "run,question_id,node_id,draw,greedy,tokens" and len(csv.out.splitlines()) == 12


def _place(row: dict[str, object]) -> tuple[object, ...]:
    return row["question_id"], row["node_id"] is not None, row["draw"]


def test_as_a_table(begun: Path) -> None:
    ended = tts_sim("demand", begun, "sample+majority", "--budget", 4)
    assert ended.status == 0 and ended.err == "11 draws of 3 questions are missing, about 44 tokens.\n"
    assert ended.out.count("base") == 11 and "question_id" in ended.out


def test_as_parquet(begun: Path, tmp_path: Path) -> None:
    output = tmp_path / "demand.parquet"
    ended = tts_sim("demand", begun, "sample+majority", "--budget", 4, "-o", output)
    assert ended == (0, "", f"11 draws of 3 questions are missing, about 44 tokens; written to {output}.\n")
    frame = pl.read_parquet(output)
    assert frame.schema == {
        "run": pl.String, "question_id": pl.String, "node_id": pl.Int64, "draw": pl.Int32, "greedy": pl.Boolean,
        "tokens": pl.Float64,
    }  # fmt: skip
    assert set(frame.drop("run", "greedy", "tokens").rows()) == set(expected()) and not frame["greedy"].any()


def test_a_tree_search_asks_for_what_its_trials_visit(begun: Path) -> None:
    rows = printed_json("demand", begun, "beam(width=2)+weighted", "--budget", 2, "--trials", 1, "--verifier", "prm")
    asked = {question: [row for row in rows if row["question_id"] == question] for question in ("q1", "q2", "q3")}
    assert len(asked["q1"]) == len(asked["q3"]) == 2 and len(asked["q2"]) in (1, 2)
    more = printed_json("demand", begun, "beam(width=2)+weighted", "--budget", "2,4", "--trials", 1)
    assert {tuple(row.values()) for row in rows} <= {tuple(row.values()) for row in more}


def test_lookahead_asks_for_the_greedy_steps_below_what_is_there(begun: Path) -> None:
    rows = printed_json("demand", begun, "lookahead(width=2,steps=1)+weighted", "--budget", 8, "--trials", 1)
    asked = [(row["question_id"], row["node_id"], row["draw"], row["greedy"]) for row in rows]
    assert set(asked) == {
        *((question, None, draw, False) for question in ("q1", "q3") for draw in range(4)),
        *(("q2", None, draw, False) for draw in (2, 3)),
        ("q2", 0, 0, True),  # the other candidate has ended
    }
    refused = tts_sim("demand", begun, "lookahead(width=2,steps=1)+weighted", "--budget", 5)
    assert refused.status == 1 and "needs a multiple of 2" in refused.err


def test_a_run_that_holds_nothing_yet(tmp_path: Path) -> None:
    path = tmp_path / "bare.duckdb"
    with create_cache(path) as cache:
        cache.append(questions=pl.DataFrame({"question_id": ["q1", "q2"]}), runs=pl.DataFrame(RUN))
    for strategy in ("sample+weighted", "beam+weighted"):  # no scores yet, and none are needed
        rows = printed_json("demand", path, strategy, "--budget", 4, "--trials", 1, "--verifier", "prm")
        assert [(row["question_id"], row["node_id"], row["draw"]) for row in rows] == [
            (question, None, draw) for question in ("q1", "q2") for draw in range(4)
        ]


def test_nothing_missing(begun: Path) -> None:
    with create_cache(begun) as cache:
        cache.append(
            nodes=pl.DataFrame(
                {
                    "run_id": ["base"] * 3,
                    "node_id": [2, 3, 4],
                    "question_id": ["q1", "q2", "q3"],
                    "parent_id": [None, 0, None],
                    "draw": [0, 0, 0],
                    "tokens": [1, 1, 1],
                    "stop": ["eos"] * 3,
                }
            )
        )
    assert tts_sim("demand", begun, "sample+oracle", "--budget", 1, "--trials", 1, "--seed", 3).status == 0
    with create_cache(begun) as cache:
        cache.update_run("base", root_pool=1)
    assert tts_sim("demand", begun, "sample+oracle", "--budget", 1) == (0, "", "no draw is missing.\n")
    assert printed_json("demand", begun, "sample+oracle", "--budget", 1) == []


def test_no_draw_beyond_the_pool(tmp_path: Path) -> None:
    path = tmp_path / "pools.duckdb"
    kinds = {**RUN, "run_id": ["chains"], "kind": ["revisions"], "step_pool": [1]}
    with create_cache(path) as cache:
        cache.append(questions=pl.DataFrame({"question_id": ["q1"]}), runs=pl.DataFrame(RUN))
        cache.append(runs=pl.DataFrame(kinds))
    rows = printed_json("demand", path, "revise(sequential=2)+best", "--budget", 8)
    assert [(row["run"], row["draw"]) for row in rows] == [("chains", draw) for draw in range(4)]
    for strategy, what in (("revise(sequential=2)", "chains"), ("sample", "samples"), ("beam", "first steps")):
        ended = tts_sim("demand", path, f"{strategy}+oracle", "--budget", 16)
        assert (ended.status, ended.out) == (
            1,
            "",
        ) and f"fewer than {8 if what == 'chains' else 16} {what}" in ended.err
        assert "(first: 'q1', 4). Lower the budget" in ended.err and ended.err.count("\n") == 1


def test_what_filling_would_take(begun: Path) -> None:
    ended = tts_sim(
        "demand", begun, "sample+majority", "--budget", 4, "--throughput", 10, "-o", begun.parent / "d.parquet"
    )
    assert "about 44 tokens (0.00122 GPU hours at 10 tokens a second)" in ended.err  # the one solution has 4 tokens
    steps = printed_json("demand", begun, "beam(width=2)+best", "--budget", 2)
    assert {row["tokens"] for row in steps} == {3.5}  # steps of 3 and 4 tokens
    refused = tts_sim("demand", begun, "sample+majority", "--throughput", 0)
    assert (refused.status, refused.err) == (1, "tts-sim: --throughput 0.0: expected tokens a second, above 0.\n")
