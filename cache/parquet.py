"""A directory of <table>.parquet files seen as a cache: views over the files in a database in memory."""

from __future__ import annotations

from pathlib import Path

import duckdb

from cache.append import columns
from cache.connect import connect_parquet, quoted
from cache.errors import CacheInvalid, CacheMissing
from cache.migrate import create_tables, create_views, require_current

TABLES = ("meta", "models", "questions", "answers", "runs", "nodes", "verifiers", "scores", "outcomes")
_REQUIRED = ("meta", "questions", "answers", "runs", "nodes")


def open_parquet(directory: Path, *, views: bool = True) -> duckdb.DuckDBPyConnection:
    """A connection whose tables are the directory's Parquet files; it can read no other file and its configuration
    is locked.

    `views`: with those over the tables, which take as long to make as all the rest.
    Columns are cast to the schema's types. Tables without a file are empty; nullable columns without one are null.
    """
    absent = [name for name in _REQUIRED if not (directory / f"{name}.parquet").is_file()]
    if absent:
        raise CacheMissing(
            f"{directory} is no Parquet cache: it lacks {', '.join(f'{name}.parquet' for name in absent)}. "
            "Give a .duckdb file, or an exported directory."
        )
    connection = connect_parquet(directory)
    try:
        create_tables(connection)
        for table in TABLES:
            file = directory.resolve() / f"{table}.parquet"
            if file.is_file():
                _view(connection, table, file)
        require_current(connection, str(directory))
        if views:
            create_views(connection)
        connection.execute("SET lock_configuration = true")
    except BaseException:
        connection.close()
        raise
    return connection


def _view(connection: duckdb.DuckDBPyConnection, table: str, file: Path) -> None:
    schema = columns(connection, table)
    source = f"read_parquet({quoted(str(file))})"
    try:
        described = connection.execute(f"DESCRIBE FROM {source}").fetchall()
    except duckdb.Error as error:
        raise CacheInvalid(f"{file} cannot be read: {str(error).splitlines()[0]}. Export the cache again.") from None
    there = {row[0] for row in described}
    selected = []
    for column in schema:
        if column.name in there:
            selected.append(f'"{column.name}"::{column.type} AS "{column.name}"')
        elif column.nullable or column.default is not None:
            selected.append(f'{column.default or "NULL"}::{column.type} AS "{column.name}"')
        else:
            raise CacheInvalid(f"{file} lacks the column '{column.name}'. Export the cache again.")
    connection.execute(f"DROP TABLE {table}; CREATE VIEW {table} AS SELECT {', '.join(selected)} FROM {source}")
