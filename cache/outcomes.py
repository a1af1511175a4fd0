"""Keeps the figures of replays: the table `outcomes`."""

from __future__ import annotations

from contextlib import suppress

import duckdb
import polars as pl

from cache.append import columns, typed
from cache.connect import is_full
from cache.errors import CacheInvalid

KEY = ("content", "run_id", "question_id", "strategy", "verifier_id", "budget", "seed", "trials")


def save_outcomes(connection: duckdb.DuckDBPyConnection, rows: pl.DataFrame) -> None:
    """Stores the rows in one transaction, in the place of those that have the same key: all of them, or nothing.

    Raises ValueError for unknown or missing columns and for a key that occurs twice, CacheInvalid for a null where
    none may be, and where DuckDB refuses a row.
    """
    batch = typed(rows, "outcomes", columns(connection, "outcomes"))
    if batch.select(KEY).is_duplicated().any():
        raise ValueError(f"outcomes: two rows have the same key ({', '.join(KEY)}).")
    if batch.is_empty():
        return
    same = " AND ".join(f"outcomes.{name} IS NOT DISTINCT FROM batch.{name}" for name in KEY)
    connection.register("batch_outcomes", batch.to_arrow())
    connection.execute("BEGIN")
    try:
        connection.execute(f"DELETE FROM outcomes USING batch_outcomes AS batch WHERE {same}")
        connection.execute("INSERT INTO outcomes BY NAME FROM batch_outcomes")
        connection.execute("COMMIT")
    except duckdb.Error as error:
        with suppress(duckdb.Error):  # a commit that failed has ended the transaction
            connection.execute("ROLLBACK")
        if is_full(error):
            raise
        raise CacheInvalid(f"{str(error).splitlines()[0]}. Nothing was saved.") from error
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    finally:
        connection.unregister("batch_outcomes")
