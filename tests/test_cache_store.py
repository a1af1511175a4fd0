"""The store: opening what is and what is no cache, appending in one transaction, a writer that dies, migrations."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest

from cache import create_cache, migrate, open_cache
from cache.check import violations
from cache.errors import CacheInvalid, CacheLocked, CacheMissing, CacheTooNew, TtsSimError
from cache.exporters.parquet import export_parquet
from cache.migrate import SCHEMA_VERSION, schema_version
from cache.store import TABLES, VIEWS, Cache

QUESTIONS = pl.DataFrame({"question_id": ["q1", "q2"], "gold": ["A", "B"], "level": [1, 2]})
ANSWERS = pl.DataFrame(
    {"question_id": ["q1", "q1", "q2"], "answer_id": [0, 1, 0], "text": ["A", "B", "B"], "correct": [True, False, True]}
)
RUNS = pl.DataFrame({"run_id": ["base"], "kind": ["steps"], "root_pool": [4], "step_pool": [4]})
VERIFIERS = pl.DataFrame({"verifier_id": ["prm"], "kind": ["prm"]})
BASICS = {"questions": QUESTIONS, "answers": ANSWERS, "runs": RUNS, "verifiers": VERIFIERS}


def nodes(*rows: tuple[object, ...]) -> pl.DataFrame:
    """Nodes of run base from (node, question, parent, draw, stop, answer), 5 tokens each."""
    names = ("node_id", "question_id", "parent_id", "draw", "stop", "answer_id")
    schema = {"node_id": pl.Int64, "question_id": pl.String, "parent_id": pl.Int64, "draw": pl.Int32}
    frame = pl.DataFrame(rows, schema={name: schema.get(name) for name in names}, orient="row")
    return frame.with_columns(
        pl.lit("base").alias("run_id"), pl.lit(5).alias("tokens"), pl.col("answer_id").cast(pl.Int32)
    )


def scores(*rows: tuple[int, float]) -> pl.DataFrame:
    """Scores of verifier prm in run base from (node, score)."""
    frame = pl.DataFrame(rows, schema=["node_id", "score"], orient="row")
    return frame.with_columns(pl.lit("base").alias("run_id"), pl.lit("prm").alias("verifier_id"))


CHAIN = nodes((0, "q1", None, 0, "step", None), (1, "q1", 0, 0, "eos", 0))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with two questions, an empty run and a verifier."""
    path: Path = tmp_path_factory.mktemp("template") / "made.duckdb"
    with create_cache(path) as made:
        made.append(**BASICS)
    return path


@pytest.fixture
def cache(template: Path, tmp_path: Path) -> Cache:
    """A copy of the template, open for writing."""
    return create_cache(shutil.copy(template, tmp_path / "made.duckdb"))


def test_append_then_read_back(cache: Cache) -> None:
    cache.append(nodes=CHAIN, scores=scores((0, 0.5), (1, 0.25)))
    assert cache.next_node_id("base") == 2
    assert cache.next_node_id("another") == 0
    assert cache.connection.sql("SELECT count(*) FROM nodes").fetchall() == [(2,)]  # no result is left unfinished
    assert cache.table("scores")["score"].dtype == pl.Float32
    cache.close()
    with open_cache(cache.path) as reader:
        assert reader.read_only
        assert reader.table("nodes").height == 2
        assert violations(reader) == []
        with pytest.raises(CacheInvalid, match="open for reading only"):
            reader.append(nodes=CHAIN)
        with pytest.raises(ValueError, match=r"no table or view 'node'; there are meta, models"):
            reader.table("node")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (nodes((5, "q1", 9, 0, "eos", 0)), r"question 'q1', node 5: parent 9 (comes after|is missing)"),
        (nodes((5, "q1", 5, 0, "eos", 0)), "node 5: it is its own parent"),
        (nodes((5, "q2", 0, 1, "eos", 0)), "node 5: parent 0 belongs to question 'q1'"),
        (nodes((5, "q1", 1, 0, "eos", 0)), "node 5: parent 1 is terminal"),
        (nodes((5, "q1", 0, 0, "eos", 0)), "node 5: draw 0 occurs 2 times under node 0"),
        (nodes((5, "q1", None, 0, "eos", 0)), "node 5: draw 0 occurs 2 times under the prompt"),
        (nodes((5, "q1", 0, -1, "eos", 0)), "node 5: draw -1 is negative"),
        (nodes((5, "q1", None, 4, "eos", 0)), "node 5: draw 4 lies outside the root pool of 4"),
        (nodes((5, "q1", 0, 4, "eos", 0)), "node 5: draw 4 lies outside the step pool of 4"),
        (nodes((5, "q1", None, 1, "eos", 7)), "node 5: answer 7 is not among the answers of its question"),
        (nodes((5, "q1", None, 1, "step", 0)), "node 5: answer 0 ends here, yet stop is 'step'"),
        (nodes((5, "q1", None, 1, "stop", None)), "node 5: stop 'stop'"),
        (nodes((5, "q9", None, 1, "eos", None)), "question 'q9', node 5: its question is not in `questions`"),
        (nodes((1, "q1", None, 1, "eos", None)), "node 1: new nodes are numbered above 1"),
        (nodes((5, "q1", None, 1, "eos", 0), (5, "q1", None, 2, "eos", 0)), "node 5: 2 nodes have this id"),
        (CHAIN[:1].with_columns(node_id=pl.lit(5), draw=pl.lit(1), tokens=pl.lit(-3)), "node 5: -3 tokens"),
        (CHAIN[:1].with_columns(node_id=pl.lit(5), draw=pl.lit(1), run_id=pl.lit("x")), "its run 'x' is not in `runs`"),
        (CHAIN[:1].with_columns(node_id=pl.lit(5), draw=pl.lit(1), logprob=pl.lit(float("nan"))), "logprob nan"),
        (CHAIN[:1].with_columns(node_id=pl.lit(5), tokens=pl.lit(None)), "column 'tokens' holds a null"),
        (CHAIN[:1].with_columns(node_id=pl.lit(5), tokens=pl.lit("many")), "table 'nodes'"),
    ],
)
def test_a_bad_batch_stores_nothing(cache: Cache, bad: pl.DataFrame, message: str) -> None:
    cache.append(nodes=CHAIN)
    good = nodes((3, "q2", None, 0, "eos", 0))
    with pytest.raises(CacheInvalid, match=message):
        cache.append(answers=pl.DataFrame({"question_id": ["q2"], "answer_id": [1], "text": ["C"], "correct": [False]}))
        cache.append(nodes=pl.concat([good, bad], how="diagonal_relaxed") if bad["node_id"][0] != 1 else bad)
    assert cache.table("nodes").height == 2
    cache.append(nodes=good)  # the connection is usable, and no transaction is left open


def test_bad_scores_and_halfway_failures_store_nothing(cache: Cache) -> None:
    for bad, message in [
        (scores((1, float("nan"))), "score nan of verifier 'prm' is not finite"),
        (scores((1, float("inf"))), "is not finite"),
        (scores((7, 0.5)), "verifier 'prm' scored this node, which is not in run 'base'"),
        (scores((1, 0.5), (1, 0.5)), "verifier 'prm' scored it 2 times"),
        (scores((1, 0.5)).with_columns(verifier_id=pl.lit("orm")), "its verifier 'orm' is not in `verifiers`"),
    ]:
        with pytest.raises(CacheInvalid, match=message):
            cache.append(nodes=CHAIN, scores=bad)  # the nodes are inserted before the scores fail
        assert cache.table("nodes").is_empty()
        assert cache.table("scores").is_empty()


def test_two_greedy_children_are_refused(cache: Cache) -> None:
    greedy = nodes((0, "q1", None, 0, "eos", 0), (1, "q1", None, 1, "eos", 0)).with_columns(greedy=pl.lit(True))
    with pytest.raises(CacheInvalid, match="2 greedy children under the prompt"):
        cache.append(nodes=greedy)
    cache.append(nodes=greedy[:1])
    cache.append(nodes=nodes((1, "q1", None, 0, "eos", 0)))  # draw 0 sampled beside draw 0 greedy


def test_small_rows_may_arrive_again_but_not_differ(cache: Cache) -> None:
    cache.append(**BASICS)
    assert cache.table("questions")["question_id"].to_list() == ["q1", "q2"]
    with pytest.raises(CacheInvalid, match=r"question 'q1' is in the cache with another content \(gold\)") as caught:
        cache.append(questions=QUESTIONS.with_columns(gold=pl.lit("Z")))
    assert caught.value.question == "q1"
    with pytest.raises(CacheInvalid, match=r"answer 'q1', '1' is in the cache with another content \(correct\)"):
        cache.append(answers=ANSWERS.with_columns(correct=pl.lit(True)))
    with pytest.raises(CacheInvalid, match="answers 1, 2 have the same text"):
        cache.append(answers=ANSWERS[1:2].with_columns(answer_id=pl.lit(2)))
    with pytest.raises(ValueError, match=r"table 'runs' has no column 'sort'\. It has: run_id, kind"):
        cache.append(runs=RUNS.with_columns(sort=pl.lit(1)))
    with pytest.raises(ValueError, match="table 'runs' needs the column 'kind'"):
        cache.append(runs=RUNS.drop("kind"))


def test_runs_are_checked_and_can_be_finished(cache: Cache) -> None:
    with pytest.raises(CacheInvalid, match="run 'r': its model 'm' is not in `models`"):
        cache.append(runs=pl.DataFrame({"run_id": ["r"], "kind": ["steps"], "model_id": ["m"]}))
    with pytest.raises(CacheInvalid, match="kind 'trees'"):
        cache.append(runs=pl.DataFrame({"run_id": ["r"], "kind": ["trees"]}))
    cache.update_run("base", root_pool=8, provenance='{"demand": {"trials": 4}}')
    assert cache.table("runs")["root_pool"].to_list() == [8]
    with pytest.raises(ValueError, match="column 'kind' of a run cannot be changed"):
        cache.update_run("base", kind="revisions")
    with pytest.raises(ValueError, match="there is no run 'x'"):
        cache.update_run("x", root_pool=8)


def test_a_killed_writer_leaves_the_last_commit(tmp_path: Path) -> None:
    path = tmp_path / "killed.duckdb"
    program = f"""
import polars as pl
from cache import create_cache
cache = create_cache({str(path)!r})
cache.append(questions=pl.DataFrame({{"question_id": ["q"]}}))
cache.append(runs=pl.DataFrame({{"run_id": ["r"], "kind": ["steps"]}}))
for i in range(1_000_000):
    node = {{"run_id": ["r"], "node_id": [2 * i, 2 * i + 1], "question_id": ["q"], "parent_id": [None, 2 * i],
            "draw": [i, 0], "tokens": [1], "stop": ["step", "eos"]}}
    cache.append(nodes=pl.DataFrame({{key: value * (2 // len(value)) for key, value in node.items()}}))
    if i == 3:
        print("started", flush=True)
"""
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "started\n"
    with pytest.raises(CacheLocked, match="is being written by another process"):
        open_cache(path)
    with pytest.raises(CacheLocked, match="is open in another process"):
        create_cache(path)
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    with open_cache(path) as cache:  # reads the write-ahead log, too
        assert violations(cache) == []
    with create_cache(path) as cache:
        count = cache.table("nodes").height
        assert count >= 8 and count % 2 == 0
        assert violations(cache) == []


def test_reading_while_this_process_writes_is_refused(cache: Cache) -> None:
    with pytest.raises(CacheLocked, match="already open for writing in this process"):
        open_cache(cache.path)
    cache.close()
    with open_cache(cache.path), pytest.raises(CacheLocked, match="already open for reading in this process"):
        create_cache(cache.path)


def test_what_is_no_cache(tmp_path: Path) -> None:
    missing, text, empty, foreign = (
        tmp_path / name for name in ("no.duckdb", "text.duckdb", "empty.duckdb", "other.duckdb")
    )
    text.write_text("not a database" * 1000)
    empty.touch()
    with duckdb.connect(str(foreign)) as other:
        other.execute("CREATE TABLE prices AS SELECT 1 AS price")
    for path, error, message in [
        (missing, CacheMissing, "there is no cache at"),
        (text, CacheMissing, "is not a DuckDB file"),
        (empty, CacheMissing, "is not a DuckDB file"),
        (foreign, CacheInvalid, "is a DuckDB file, but not a cache of tts-sim"),
        (tmp_path, CacheMissing, "is no Parquet cache: it lacks meta.parquet, questions.parquet"),
    ]:
        with pytest.raises(error, match=message) as caught:
            open_cache(path)
        assert "\n" not in str(caught.value)
        assert isinstance(caught.value, TtsSimError)
    for path, error in [
        (text, CacheMissing),
        (foreign, CacheInvalid),
        (tmp_path, CacheInvalid),
        (missing / "x", CacheMissing),
    ]:
        with pytest.raises(error):
            create_cache(path)
    create_cache(empty).close()  # what a writer killed at once leaves behind


def test_a_newer_schema_is_refused(cache: Cache) -> None:
    cache.connection.execute("UPDATE meta SET value = '7' WHERE key = 'schema_version'")
    cache.close()
    for opener in (open_cache, create_cache):
        message = f"made.duckdb has schema 7; this version reads up to {SCHEMA_VERSION}. Upgrade tts-sim."
        with pytest.raises(CacheTooNew, match=message):
            opener(cache.path)


def test_migrations_are_transactional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "0002_broken.sql"
    broken.write_text("CREATE TABLE half (x INTEGER); SELECT nonsense FROM nowhere;")
    path = tmp_path / "m.duckdb"
    create_cache(path).close()
    monkeypatch.setattr(migrate, "_MIGRATIONS", [*migrate._MIGRATIONS, broken])
    monkeypatch.setattr(migrate, "SCHEMA_VERSION", 2)
    with pytest.raises(CacheInvalid, match=r"has the old schema 1; this version reads 2\. Open it once for writing"):
        open_cache(path)
    with pytest.raises(duckdb.Error):
        create_cache(path)
    with duckdb.connect(str(path)) as raw:
        assert schema_version(raw) == 1
        assert raw.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'half'").fetchall() == [(0,)]
    broken.write_text("CREATE TABLE whole (x INTEGER);")
    with create_cache(path) as cache:
        meta = dict(cache.table("meta").iter_rows())
        assert meta["schema_version"] == "2"
        assert {"0001_initial", "0002_broken"} <= set(meta)


def test_views_and_macros_are_in_the_file_for_any_client(cache: Cache) -> None:
    cache.append(nodes=CHAIN)
    cache.close()
    with duckdb.connect(str(cache.path), read_only=True) as raw:
        for name in (*TABLES, *VIEWS):
            raw.execute(f"SELECT * FROM {name}").fetchall()
        assert raw.execute("SELECT pass_at_k(4, 1, 2)").fetchall() == [(0.5,)]


def test_parquet_round_trip(cache: Cache, tmp_path: Path) -> None:
    cache.append(nodes=CHAIN, scores=scores((0, 0.5), (1, 0.25)))
    cache.append(questions=pl.DataFrame({"question_id": ["a0"], "extra": ['{"x": 1}'], "prompt": ["…"]}))
    sizes = export_parquet(cache, tmp_path / "out")
    assert set(sizes) == set(TABLES)
    with open_cache(tmp_path / "out") as copy:
        for table in TABLES:
            assert copy.table(table).sort(pl.all()).equals(cache.table(table).sort(pl.all())), table
        assert copy.table("questions")["question_id"].to_list() == ["q1", "q2", "a0"]  # their order is kept
        for view in VIEWS:
            assert copy.table(view).sort(pl.all()).equals(cache.table(view).sort(pl.all())), view
        assert violations(copy) == []
        with pytest.raises(CacheInvalid, match="reading only"):
            copy.append(nodes=CHAIN)
        with pytest.raises(CacheInvalid, match="is the cache that is being exported"):
            export_parquet(copy, tmp_path / "out")
    (tmp_path / "out" / "scores.parquet").unlink()  # tables without a file are empty
    with open_cache(tmp_path / "out") as copy:
        assert copy.table("scores").is_empty()
    (tmp_path / "out" / "nodes.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(CacheInvalid, match=r"nodes\.parquet cannot be read"):
        open_cache(tmp_path / "out")
    pl.DataFrame({"run_id": ["base"]}).write_parquet(tmp_path / "out" / "nodes.parquet")
    with pytest.raises(CacheInvalid, match=r"nodes\.parquet lacks the column 'node_id'"):
        open_cache(tmp_path / "out")


def test_importing_errors_loads_no_database() -> None:
    program = "import sys, cache.errors, tts_sim.errors; sys.exit('duckdb' in sys.modules or 'polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
