"""Stores a batch in one transaction: all of it, checked, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

import duckdb
import polars as pl

from cache.check import Violation, broken
from cache.connect import first, is_full
from cache.errors import CacheInvalid
from cache.rules import NODE_RULES, SCORE_RULES, SMALL_RULES

# In the order in which rows refer to each other; the key columns of the small tables, whose rows may arrive again.
_KEYS: dict[str, tuple[str, ...]] = {
    "models": ("model_id",),
    "questions": ("question_id",),
    "answers": ("question_id", "answer_id"),
    "runs": ("run_id",),
    "verifiers": ("verifier_id",),
    "nodes": (),
    "scores": (),
}
_POLARS: dict[str, pl.DataType] = {
    "VARCHAR": pl.String(),
    "JSON": pl.String(),
    "BIGINT": pl.Int64(),
    "INTEGER": pl.Int32(),
    "DOUBLE": pl.Float64(),
    "FLOAT": pl.Float32(),
    "BOOLEAN": pl.Boolean(),
    "TIMESTAMP": pl.Datetime("us"),
}
_TOUCHED = (
    "(SELECT node.* FROM nodes AS node SEMI JOIN batch_nodes AS batch ON batch.run_id = node.run_id"
    " AND coalesce(batch.parent_id, -1) = coalesce(node.parent_id, -1) AND batch.question_id = node.question_id)"
)
_TOUCHED_SCORES = (
    "(SELECT score.* FROM scores AS score SEMI JOIN batch_scores AS batch ON batch.node_id = score.node_id"
    " AND batch.run_id = score.run_id AND batch.verifier_id = score.verifier_id)"
)
_BATCH = {"nodes": "batch_nodes", "touched": _TOUCHED, "scores": "batch_scores", "touched_scores": _TOUCHED_SCORES}


class Column(NamedTuple):
    """A table's column: its name, DuckDB type, whether it may be null, and its default as SQL text (None: null)."""

    name: str
    type: str
    nullable: bool
    default: str | None


def columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[Column]:
    """The columns of a table of the cache, in order."""
    rows = connection.execute(
        f"SELECT name, type, \"notnull\", dflt_value FROM pragma_table_info('{table}')"
    ).fetchall()
    return [Column(name, kind, not required, default) for name, kind, required, default in rows]


def append(connection: duckdb.DuckDBPyConnection, frames: Mapping[str, pl.DataFrame]) -> None:
    """Stores the frames (table -> rows) in one transaction; raises CacheInvalid and stores nothing if a requirement
    would break.

    Node ids must be larger than any of their run. Rows of the small tables that are there already are fine if their
    content is the same.
    """
    batches = {
        table: typed(frames[table], table, columns(connection, table))
        for table in _KEYS
        if table in frames and frames[table].height
    }
    if not batches:
        return
    for table, batch in batches.items():
        distinct = batch.unique(maintain_order=True) if _KEYS[table] else batch
        connection.register(f"batch_{table}", distinct.to_arrow())
    connection.execute("BEGIN")
    try:
        for table in batches:
            _insert(connection, table)
        _require(connection, set(batches))
        connection.execute("COMMIT")
    except duckdb.Error as error:
        with suppress(duckdb.Error):  # a commit that failed has ended the transaction
            connection.execute("ROLLBACK")
        if is_full(error):
            raise
        raise CacheInvalid(f"{str(error).splitlines()[0]}. Nothing of this batch was stored.") from error
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    finally:
        for table in batches:
            connection.unregister(f"batch_{table}")


def typed(frame: pl.DataFrame, table: str, schema: list[Column]) -> pl.DataFrame:
    """The frame with exactly the table's columns and types; missing ones filled with their default or null."""
    names = [column.name for column in schema]
    for name in frame.columns:
        if name not in names:
            raise ValueError(f"table '{table}' has no column '{name}'. It has: {', '.join(names)}.")
    parts = []
    for column in schema:
        if column.name in frame.columns:
            parts.append(pl.col(column.name).cast(_POLARS[column.type]))
        elif column.nullable:
            parts.append(pl.lit(None, _POLARS[column.type]).alias(column.name))
        elif column.default is not None:
            parts.append(pl.lit("true" in column.default.lower() or "'t'" in column.default).alias(column.name))
        else:
            raise ValueError(f"table '{table}' needs the column '{column.name}'.")
    try:
        typed = frame.select(parts)
    except pl.exceptions.PolarsError as error:
        raise CacheInvalid(
            f"table '{table}': {str(error).splitlines()[0]}. Nothing of this batch was stored."
        ) from error
    for column in schema:
        if not column.nullable and typed[column.name].null_count():
            raise CacheInvalid(
                f"table '{table}': column '{column.name}' holds a null. Nothing of this batch was stored."
            )
    return typed


def _insert(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    key = _KEYS[table]
    if table == "nodes":
        _require_fresh_ids(connection)
    if not key:
        connection.execute(f"INSERT INTO {table} BY NAME FROM batch_{table}")
        return
    same = " AND ".join(f"old.{name} = new.{name}" for name in key)
    names = [column.name for column in columns(connection, table) if column.name not in key]
    differs = (
        "concat_ws(', ', "
        + ", ".join(
            f"CASE WHEN old.{name}::VARCHAR IS DISTINCT FROM new.{name}::VARCHAR THEN '{name}' END" for name in names
        )
        + ")"
    )
    row = first(
        connection,
        f"SELECT {', '.join('new.' + name for name in key)}, {differs} AS what"
        f" FROM batch_{table} AS new JOIN {table} AS old ON {same} WHERE what <> '' LIMIT 1",
    )
    if row is not None:
        raise CacheInvalid(
            f"{table[:-1]} {_name(row[:-1])} is in the cache with another content ({row[-1]}). "
            "Use another id, or another cache. Nothing of this batch was stored.",
            question=row[0] if key[0] == "question_id" else None,
        )
    connection.execute(
        f"INSERT INTO {table} BY NAME SELECT new.* FROM batch_{table} AS new ANTI JOIN {table} AS old ON {same}"
    )


def _require_fresh_ids(connection: duckdb.DuckDBPyConnection) -> None:
    row = first(
        connection,
        "SELECT new.run_id, new.question_id, new.node_id, old.last FROM batch_nodes AS new"
        " JOIN (SELECT run_id, max(node_id) AS last FROM nodes GROUP BY run_id) AS old ON old.run_id = new.run_id"
        " WHERE new.node_id <= old.last ORDER BY new.node_id LIMIT 1",
    )
    if row is not None:
        raise CacheInvalid(
            f"run '{row[0]}', question '{row[1]}', node {row[2]}: new nodes are numbered above {row[3]}, "
            "the last of the run. Use `Cache.next_node_id`. Nothing of this batch was stored.",
            question=row[1],
        )


def _require(connection: duckdb.DuckDBPyConnection, tables: set[str]) -> None:
    rules = [
        *(SMALL_RULES if tables & {"answers", "runs", "questions"} else ()),
        *(NODE_RULES if "nodes" in tables else ()),
        *(SCORE_RULES if "scores" in tables else ()),
    ]
    for rule in rules:
        found: list[Violation] = broken(connection, rule, _BATCH, limit=1)
        if found:
            raise CacheInvalid(f"{found[0]} Nothing of this batch was stored.", question=found[0].question)


def _name(key: tuple[object, ...]) -> str:
    return ", ".join(f"'{value}'" for value in key)
