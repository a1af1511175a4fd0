"""Users' SQL: one read-only statement, which can neither write, nor load code, nor see any file but the cache."""

from __future__ import annotations

import duckdb
import polars as pl

from cache.errors import QueryRefused
from cache.store import Cache

_ALLOWED = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


def run_sql(cache: Cache, sql: str) -> pl.DataFrame:
    """The result of one read-only statement (SELECT, FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW, EXPLAIN).

    Three locks: the statement's type; a read-only transaction (which also stops writes hidden in WITH or EXPLAIN
    ANALYZE); and the connection's own settings (`cache.connect`). Raises QueryRefused, in one line.
    """
    cursor = cache.connection.cursor()
    try:
        statements = cursor.extract_statements(sql)
        if len(statements) != 1:
            raise QueryRefused(f"{len(statements)} statements given; write one read-only statement, such as SELECT.")
        if statements[0].type not in _ALLOWED:
            name = statements[0].type.name.replace("_", " ")
            raise QueryRefused(
                f"only one read-only statement (SELECT, EXPLAIN, DESCRIBE, …) may be run; this is {name}."
            )
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        relation = cursor.sql(sql)
        rows: pl.DataFrame = pl.DataFrame() if relation is None else relation.pl()
        return rows
    except duckdb.Error as error:
        text = str(error)
        if "read-only" in text:
            raise QueryRefused(
                "the statement writes; only reading is allowed. Use `tts-sim import` or `tts-sim generate`."
            ) from None
        lines = [line.strip() for line in text.splitlines() if line.strip() and not set(line.strip()) <= {"^"}]
        raise QueryRefused(" ".join(line for line in lines[:2] if not line.startswith("LINE"))) from None
    except pl.exceptions.PolarsError as error:  # a type that data frames lack, such as INTERVAL
        reason = str(error).splitlines()[0].split(". Hint")[0]
        raise QueryRefused(f"the result cannot be shown: {reason}. Cast the column, for instance to VARCHAR.") from None
    finally:
        cursor.close()
