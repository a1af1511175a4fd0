"""`tts-sim sql`: one read-only statement, and nothing but the cache within its reach."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cache import create_cache, open_cache
from cache.errors import QueryRefused
from cache.exporters.parquet import export_parquet
from cache.query import run_sql
from cache.store import Cache


@pytest.fixture(scope="module", params=["file", "parquet", "writer"])
def cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """The same small cache as a DuckDB file, as a Parquet directory, and open for writing."""
    tmp_path = tmp_path_factory.mktemp("sql")
    made = create_cache(tmp_path / "made.duckdb")
    made.append(questions=pl.DataFrame({"question_id": ["q1", "q2"], "level": [1, 2]}))
    if request.param == "writer":
        return made
    export_parquet(made, tmp_path / "parquet")
    made.close()
    return open_cache(made.path if request.param == "file" else tmp_path / "parquet")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM questions",
        "FROM questions;",
        "WITH q AS (SELECT * FROM questions) SELECT * FROM q",
        "SELECT unnest([1, 2])",
        "VALUES (1), (2)",
        "-- a comment\nFROM questions",
    ],
)
def test_reading_is_allowed(cache: Cache, sql: str) -> None:
    assert run_sql(cache, sql).height == 2


def test_other_read_only_statements(cache: Cache) -> None:
    assert run_sql(cache, "EXPLAIN FROM questions").height >= 1
    assert run_sql(cache, "DESCRIBE questions")["column_name"].to_list()[0] == "question_id"
    assert run_sql(cache, "SELECT pass_at_k(10, 3, 2) AS p")["p"].to_list() == [pytest.approx(8 / 15)]
    assert run_sql(cache, "SHOW TABLES").height > 10


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM questions",
        "INSERT INTO questions (question_id) VALUES ('q3')",
        "UPDATE questions SET level = 1",
        "CREATE TABLE mine AS SELECT 1",
        "CREATE TEMP TABLE mine AS SELECT 1",
        "DROP TABLE questions",
        "DROP VIEW solutions",
        "WITH gone AS (DELETE FROM questions RETURNING *) SELECT * FROM gone",
        "EXPLAIN ANALYZE DELETE FROM questions",
        "SELECT 1; DELETE FROM questions",
        "COMMIT; DELETE FROM questions",
        "ATTACH 'other.duckdb'",
        "COPY questions TO 'q.csv'",
        "EXPORT DATABASE 'd'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 1",
        "PRAGMA enable_profiling",
        "CALL enable_logging()",
        "BEGIN",
        "CHECKPOINT",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/hostname')",
        "FROM '/etc/hosts.csv'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM nowhere",
        "SELEC 1",
        "",
    ],
)
def test_anything_else_is_refused_in_one_line(cache: Cache, sql: str) -> None:
    with pytest.raises(QueryRefused) as caught:
        run_sql(cache, sql)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) > 20
    assert cache.table("questions").height == 2


def test_python_variables_are_out_of_reach(cache: Cache) -> None:
    secret = pl.DataFrame({"x": [1]})
    with pytest.raises(QueryRefused, match="secret does not exist"):
        run_sql(cache, "SELECT * FROM secret")
    assert secret.height == 1


def test_a_writing_statement_is_named(cache: Cache) -> None:
    with pytest.raises(QueryRefused, match=r"only one read-only statement \(SELECT, .*\) may be run; this is DELETE\."):
        run_sql(cache, "DELETE FROM questions")
    with pytest.raises(QueryRefused, match="2 statements given"):
        run_sql(cache, "SELECT 1; SELECT 2")


def test_a_strangers_view_reads_no_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with create_cache(tmp_path / "made.duckdb") as cache:
        path = cache.path
    import duckdb

    with duckdb.connect(str(path)) as raw:
        raw.execute(f"CREATE OR REPLACE VIEW coverage AS SELECT * FROM read_csv('{secret}')")
    with open_cache(path) as cache, pytest.raises(QueryRefused, match="file system operations are disabled"):
        run_sql(cache, "FROM coverage")
