"""Bad input, through the entry point: one clear line on stderr, exit status 1, nothing on stdout, nothing written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from cache import create_cache, open_cache
from tests import forests
from tests.command import Ended, printed_json, tts_sim, write_jsonl

STAR = forests.star("easy", [("A", 0.5), ("B", 0.25), ("A", 0.75), ("A", 0.5)])
COMB = forests.comb("comb", 3, 4)
CHAINS = forests.chains("easy", [[("B", 0.25), ("A", 0.5)], [("A", 0.25), ("A", 0.5)], [("C", 0.25), ("A", 0.5)]])
HALF = forests.star("half", [("A", 0.5), ("B", None), ("A", 0.5)])
STEP: dict[str, Any] = {"id": 1, "parent": None, "tokens": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound and unsound caches side by side, made once."""
    folder = tmp_path_factory.mktemp("errors")
    small = folder / "small.duckdb"
    for name, questions, into in (
        ("steps", [STAR, COMB], small),
        ("chains", [CHAINS], small),
        ("half", [HALF], folder / "half.duckdb"),
    ):
        ended = tts_sim("import", "native", write_jsonl(folder / f"{name}.jsonl", questions), "--into", into)
        assert ended.status == 0, ended.err
    (folder / "notes.duckdb").write_text("These are notes, and no database.\n" * 500)
    (folder / "empty").mkdir()
    shutil.copy(small, folder / "newer.duckdb")
    with duckdb.connect(str(folder / "newer.duckdb")) as raw:
        raw.execute("UPDATE meta SET value = '7' WHERE key = 'schema_version'")
    with duckdb.connect(str(folder / "other.duckdb")) as raw:
        raw.execute("CREATE TABLE mine AS SELECT 1 AS x")
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands run in the folder, and leave it as it was."""
    monkeypatch.chdir(folder)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    yield
    after = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert sorted(after) == sorted(before)
    assert [file.name for file in after if after[file] != before[file]] == []


def refused(ended: Ended, *pieces: str) -> None:
    """Passes if the command ended as it should on bad input, with a line that says all of this."""
    assert ended.status == 1, ended
    assert ended.out == ""
    assert ended.err.startswith("tts-sim: ") and ended.err.endswith("\n") and ended.err.count("\n") == 1, ended.err
    assert "Traceback" not in ended.err
    for piece in pieces:
        assert piece in ended.err, (piece, ended.err)


MISSING = ["there is no cache at no.duckdb", "Make one with `tts-sim import`"]
NOT_DUCKDB = ["notes.duckdb is not a DuckDB file", "`tts-sim import`"]
NEWER = ["newer.duckdb has schema 7; this version reads up to", "Upgrade tts-sim"]
OTHER = ["other.duckdb is a DuckDB file, but not a cache of tts-sim", "`tts-sim import`"]


@pytest.mark.parametrize(
    ("path", "pieces"),
    [
        ("no.duckdb", MISSING),
        ("notes.duckdb", NOT_DUCKDB),
        ("newer.duckdb", NEWER),
        ("other.duckdb", OTHER),
        ("empty", ["empty", "parquet"]),
    ],
)
@pytest.mark.parametrize("command", ["info", "check", "sql", "replay", "demand"])
def test_a_bad_cache(command: str, path: str, pieces: list[str]) -> None:
    replay: list[object] = ["sample+oracle", "-b", 2]
    more: dict[str, list[object]] = {"sql": ["FROM questions"], "replay": replay, "demand": replay}
    refused(tts_sim(command, path, *more.get(command, [])), *pieces)


@pytest.mark.parametrize(
    ("into", "pieces"),
    [
        ("notes.duckdb", NOT_DUCKDB),
        ("newer.duckdb", NEWER),
        ("other.duckdb", OTHER),
        ("empty", ["empty is a directory", "Give the path of a .duckdb file"]),
        ("nowhere/new.duckdb", ["the directory nowhere does not exist", "Make it first"]),
    ],
)
def test_a_bad_target(into: str, pieces: list[str]) -> None:
    refused(tts_sim("import", "native", "steps.jsonl", "--into", into), *pieces)


REPLAYS: list[tuple[list[object], list[str]]] = [
    ([], ["strategies: expected at least one, for example sample+majority"]),
    ([","], ["expected at least one"]),
    (["best"], ["strategy 'best': expected search+selection", "sample, beam, lookahead", "majority, best"]),
    (["tree+majority"], ["unknown search 'tree'", "known: sample, beam, lookahead"]),
    (["sample+mode"], ["unknown selection 'mode'", "known: majority, best, weighted, oracle"]),
    (["beam(breadth=2)+best"], ["parameter 'breadth' of beam is unknown; known: width"]),
    (["sample(n=2)+best"], ["parameter 'n' of sample is unknown; known: none"]),
    (["beam(width)+best"], ["parameter 'width' of beam is without a value"]),
    (["beam(width=2,width=3)+best"], ["'width' of beam is given twice"]),
    (["beam(width=0)+best"], ["width=0: expected a whole number from 1, or sqrt"]),
    (["beam(width=1.5)+best"], ["width=1.5: expected a whole number from 1, or sqrt"]),
    (["beam(width=2+best"], ["strategy 'beam(width=2+best'", "known: sample, beam, lookahead"]),
    (["sample+best(agg=sum)"], ["agg=sum: expected one of last, min, prod, mean"]),
    (["revise+best"], ["revise needs one of sequential=S and ratio=a:b"]),
    (["revise(ratio=0:1)+best"], ["ratio=0:1: expected whole numbers from 1"]),
    (["revise(sequential=2,across=all)+best"], ["across=all: expected one of hierarchical, pooled, last"]),
    (["sample+majority", "-b", "0"], ["budget '0' in '0': budgets are whole numbers of generations, from 1"]),
    (["sample+majority", "-b", "-4"], ["budget '-4'", "from 1"]),
    (["sample+majority", "-b", "1,2.5"], ["budget '2.5' in '1,2.5'", "whole numbers"]),
    (["sample+majority", "-b", "many"], ["budget 'many'", "whole numbers"]),
    (["sample+majority", "-b", ""], ["is empty", "--budget 1,2,4…64"]),
    (["sample+majority", "-b", "1…8"], ["budget list '1…8'", "write '1,2,4…64'"]),
    (["sample+majority", "-b", "8"], ["2 of 2 questions hold fewer than 8 samples (first: 'comb', 4)", "Lower"]),
    (["sample+majority", "-b", 10**20], [f"budget {10**20}: expected a whole number of generations, from 1 to 2**31"]),
    (["beam+best", "-b", "8"], ["2 of 2 questions hold fewer than 8 first steps (first: 'comb', 4)", "Lower"]),
    (["revise(sequential=2)+best", "-b", "8"], ["1 of 1 questions hold fewer than 4 chains of 2", "'easy', 3"]),
    (["revise(sequential=4)+best", "-b", "4"], ["fewer than 1 chains of 4 attempts (first: 'easy', 0)"]),
    (["revise(sequential=2)+best", "-b", "3"], ["budget 3", "needs a multiple of 2"]),
    (["revise(ratio=1:2)+best", "-b", "4"], ["budget 4", "needs 2 times a square number (2, 8, …)"]),
    (["sample+majority", "-b", "2", "--run", "first"], ["run 'first': not in the cache; its runs: steps (steps)"]),
    (["sample+majority", "-b", "2", "--run", "chains"], ["run 'chains' is of kind 'revisions'", "of kind steps"]),
    (["revise(sequential=2)+best", "-b", "2", "--run", "steps"], ["run 'steps' is of kind 'steps'", "kind revisions"]),
    (["sample+best", "-b", "2", "--verifier", "judge"], ["verifier 'judge'", "known: prm"]),
    (["sample+majority", "-b", "2", "--by", "subject"], ["--by subject: expected level or difficulty"]),
    (["sample+majority", "-b", "2", "--by", "level", "--per-question"], ["--by level", "give one of them"]),
    (["sample+majority", "-b", "2", "--trials", "0"], ["trials 0: expected a whole number from 1"]),
    (["sample+majority", "-b", "2", "--trials", "-1"], ["trials -1: expected a whole number from 1"]),
    (["sample+majority", "-b", "2", "--trials", 10**20], [f"trials {10**20}: expected", "2**31"]),
    (["sample+majority", "-b", "2", "--seed", "-1"], ["seed -1: expected an integer from 0 to 2**64 - 1"]),
    (["sample+majority", "-b", "2", "--seed", 2**64], [f"seed {2**64}: expected an integer from 0 to 2**64 - 1"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "pieces"), REPLAYS, ids=lambda value: " ".join(map(str, value))[:40])
def test_a_bad_replay(arguments: list[object], pieces: list[str]) -> None:
    refused(tts_sim("replay", "small.duckdb", *arguments), *pieces)
    if "--json" not in arguments:
        refused(tts_sim("replay", "small.duckdb", *arguments, "--json"), *pieces)


@pytest.mark.parametrize("spec", ["sample+weighted", "sample+best"])
def test_scores_that_are_not_there(spec: str) -> None:
    refused(
        tts_sim("replay", "half.duckdb", spec, "-b", 2),
        "verifier 'prm' covers 2 of 3 nodes of run 'half'; question 'half'",
        "Run `tts-sim generate score`, or choose another verifier",
    )
    assert tts_sim("replay", "half.duckdb", "sample+majority", "-b", 2).status == 0


def test_a_search_without_its_scores(tmp_path: Path) -> None:
    gaps = forests.comb("gaps", 3, 4)
    for node in gaps["nodes"][::3]:
        del node["scores"]
    cache = tmp_path / "gaps.duckdb"
    assert tts_sim("import", "native", write_jsonl(tmp_path / "gaps.jsonl", [gaps]), "--into", cache).status == 0
    refused(
        tts_sim("replay", cache, "beam(width=2)+majority", "-b", 4), "verifier 'prm' covers 8 of 12 nodes", "'gaps'"
    )


def test_no_verifier_and_no_run_of_the_kind(tmp_path: Path) -> None:
    unscored = write_jsonl(tmp_path / "unscored.jsonl", [forests.star("q", [("A", None), ("B", None)])])
    cache = tmp_path / "unscored.duckdb"
    assert tts_sim("import", "native", unscored, "--into", cache).status == 0
    refused(
        tts_sim("replay", cache, "sample+best", "-b", 1),
        "no verifier has scored run 'unscored'",
        "`tts-sim generate score`",
    )
    refused(
        tts_sim("replay", cache, "revise(sequential=1)+majority", "-b", 1),
        "kind 'revisions': the cache holds no run of this kind; its runs: unscored (steps)",
    )


def test_demand_of_an_imported_run() -> None:
    refused(
        tts_sim("demand", "small.duckdb", "sample+majority", "-b", 2, "-o", "demand.parquet"),
        "run 'steps' has no root pool: it was imported",
        "`tts-sim generate sample`",
    )


NAN = json.dumps({"question_id": "q2", "gold": "A", "nodes": [{**STEP, "scores": {"prm": float("nan")}}]})
LINES: list[tuple[Any, list[str]]] = [
    ("{not json", ["not JSON"]),
    ([{**STEP, "parent": 9}], ["question 'q2', node 1: parent 9 is missing"]),
    ([{**STEP, "parent": 2}, {**STEP, "id": 2, "parent": 1}], ["question 'q2'", "the parents form a cycle"]),
    ([{**STEP, "tokens": -3}], ["question 'q2', node 1: tokens -3 is negative"]),
    (NAN, ["question 'q2', node 1: score of prm nan is not finite"]),
]


@pytest.mark.parametrize(("line", "pieces"), LINES)
def test_a_bad_line(tmp_path: Path, line: Any, pieces: list[str]) -> None:
    if isinstance(line, list):
        line = json.dumps({"question_id": "q2", "gold": "A", "nodes": line})
    good = {"question_id": "q1", "gold": "A", "nodes": [{**STEP, "answer": "A"}]}
    file = tmp_path / "lines.jsonl"
    file.write_text(f"{json.dumps(good)}\n{line}\n", encoding="utf-8")
    end = "Nothing of the file was imported."
    refused(tts_sim("import", "native", file, "--into", tmp_path / "new.duckdb"), "lines.jsonl, line 2: ", *pieces, end)
    assert not (tmp_path / "new.duckdb").exists()
    old = tmp_path / "old.duckdb"
    assert tts_sim("import", "native", "steps.jsonl", "--into", old).status == 0
    with open_cache(old) as cache:
        before = {name: cache.table(name) for name in ("questions", "answers", "runs", "nodes", "scores", "verifiers")}
    refused(tts_sim("import", "native", file, "--into", old, "--json"), "lines.jsonl, line 2: ", *pieces, end)
    with open_cache(old) as cache:
        assert all(cache.table(name).equals(frame) for name, frame in before.items())


IMPORTS: list[tuple[list[object], list[str]]] = [
    (["csv", "steps.jsonl"], ["format 'csv' is unknown; it is one of native, openr"]),
    (["native", "no.jsonl"], ["no.jsonl: the file cannot be read", "Nothing of the file was imported"]),
    (["native", "steps.jsonl", "chains.jsonl", "--run", "r"], ["--run 'r' names one run, but 2 files were given"]),
    (["native", "steps.jsonl", "--kind", "trees"], ["kind 'trees' is unknown; it is one of steps, revisions"]),
    (["native", "chains.jsonl", "--kind", "steps"], ["chains.jsonl, line 1:", "'easy', node 2", "--kind revisions"]),
    (["openr", "steps.jsonl"], ["steps.jsonl", "Nothing of the file was imported"]),
    (["openr", "steps.jsonl", "--kind", "revisions"], ["leave --kind and --not-exchangeable out"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "pieces"), IMPORTS)
def test_a_bad_import(arguments: list[object], pieces: list[str]) -> None:
    refused(tts_sim("import", *arguments, "--into", "new.duckdb"), *pieces)


def test_a_run_that_is_there_already(tmp_path: Path) -> None:
    copy = shutil.copy("small.duckdb", tmp_path / "copy.duckdb")
    refused(tts_sim("import", "native", "steps.jsonl", "--into", copy), "run 'steps' is in", "Name another with --run")


@pytest.mark.parametrize(
    ("query", "pieces"),
    [
        ("DELETE FROM nodes", ["only one read-only statement", "this is DELETE"]),
        ("WITH d AS (DELETE FROM nodes RETURNING *) FROM d", []),
        ("EXPLAIN ANALYZE DELETE FROM nodes", ["the statement writes; only reading is allowed"]),
        ("COPY nodes TO 'nodes.csv'", ["this is COPY"]),
        ("FROM read_csv('notes.duckdb')", ["disabled"]),
        ("SELECT 1; SELECT 2", ["2 statements given; write one"]),
        ("", ["0 statements given; write one read-only statement"]),
        ("SELEC 1", ["syntax error", "SELEC"]),
        ("FROM trees", ["Table with name trees does not exist"]),
        ("SELECT INTERVAL 1 DAY", ["cannot be shown", "Cast the column"]),
    ],
)
def test_bad_sql(query: str, pieces: list[str]) -> None:
    refused(tts_sim("sql", "small.duckdb", query), *pieces)


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.duckdb"
    with create_cache(recorded) as cache:
        cache.append(
            questions=pl.DataFrame({"question_id": ["q1"]}),
            runs=pl.DataFrame(
                {"run_id": ["base"], "kind": ["steps"], "exchangeable": [True], "root_pool": [4], "step_pool": [2]}
            ),
        )
    refused(tts_sim("replay", recorded, "sample+majority", "-b", 2), "run 'base' holds no generation yet")
    for output in ("nowhere/demand.parquet", "empty"):
        refused(
            tts_sim("demand", recorded, "sample+majority", "-b", 2, "-o", output),
            f"--output {output}: cannot be written",
        )
    refused(tts_sim("demand", recorded, "sample+majority", "-b", 2, "--trials", 0), "trials 0: expected a whole number")


def test_a_locked_cache(tmp_path: Path) -> None:
    copy = shutil.copy("small.duckdb", tmp_path / "copy.duckdb")
    code = f"import duckdb; c = duckdb.connect({str(copy)!r}); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None and writer.stdin is not None
        assert writer.stdout.readline() == "open\n"
        refused(tts_sim("info", copy), "is being written by another process", "Wait until it ends, or copy the file")
        refused(tts_sim("import", "native", "steps.jsonl", "--into", copy, "--run", "r"), "is open in another process")
        writer.communicate("\n")
    assert tts_sim("info", copy).status == 0


def test_a_broken_cache_is_checked_with_status_1(tmp_path: Path) -> None:
    copy = shutil.copy("small.duckdb", tmp_path / "copy.duckdb")
    with duckdb.connect(str(copy)) as raw:
        raw.execute("UPDATE nodes SET tokens = -1 WHERE run_id = 'steps' AND node_id = 2")
    ended = tts_sim("check", copy)
    assert ended.status == 1 and ended.err == "" and "node 2" in ended.out
    as_json = tts_sim("check", copy, "--json")
    assert as_json.status == 1 and [row["node"] for row in json.loads(as_json.out)] == [2]
    refused(
        tts_sim("replay", copy, "sample+majority", "-b", 2),
        "node 2 of run 'steps': tokens is negative",
        "tts-sim check",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay", "small.duckdb", "sample+majority", "--budgets", "2"],
        ["replay"],
        ["replay", "small.duckdb", "sample+majority", "--seed", "first"],
        ["import", "native", "steps.jsonl"],
        ["sql", "small.duckdb"],
        ["nonsense"],
    ],
)
def test_usage_errors_end_with_status_2(arguments: list[str]) -> None:
    ended = tts_sim(*arguments)
    assert ended.status == 2 and ended.out == "" and "Traceback" not in ended.err
    assert "Usage: " in ended.err and "Error: " in ended.err


def test_in_a_process_of_its_own() -> None:
    """The installed command, once: what the shell sees."""
    code = "from tts_sim.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "info", "no.duckdb"], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    refused(Ended(done.returncode, done.stdout, done.stderr), *MISSING)


def test_machine_output_is_strict_and_alone_on_stdout() -> None:
    rows = printed_json("sql", "small.duckdb", "SELECT 'nan'::FLOAT AS a, 'inf'::DOUBLE AS b, NULL AS c, [1.5] AS d")
    assert rows == [{"a": None, "b": None, "c": None, "d": [1.5]}]
    [row] = printed_json("sql", "small.duckdb", "SELECT sum(draw) AS a, 0.25 AS b, 2.0 AS c FROM nodes")
    assert row == {"a": 27, "b": 0.25, "c": 2.0} and isinstance(row["a"], int)
    rows = printed_json(
        "replay", "small.duckdb", "sample+majority,revise(sequential=2)+best", "-b", "2", "--per-question"
    )
    assert [row["run"] for row in rows] == ["steps", "steps", "chains"]
    [row] = printed_json("replay", "small.duckdb", "revise(sequential=2)+best", "-b", "2")
    assert row["se"] is None and row["ci_low"] is None  # one question
    csv = tts_sim("replay", "small.duckdb", "sample+majority", "-b", "1,2", "--csv")
    assert csv.out.splitlines()[0].startswith("run,strategy,verifier,budget,accuracy")
    assert len(csv.out.splitlines()) == 3
    nested = tts_sim("sql", "small.duckdb", "SELECT [1, 2] AS a, {'x': 1} AS b, NULL::INT[] AS c", "--csv")
    assert nested.out == 'a,b,c\n"[1, 2]","{""x"": 1}",\n'
