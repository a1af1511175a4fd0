"""Connections to DuckDB that run nothing from the file they open, with DuckDB's errors turned into ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from cache.errors import CacheFull, CacheInvalid, CacheLocked, CacheMissing

# No extension is fetched or loaded, no other file is read or written (whatever a stranger's view asks for).
_SAFE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_access": "false",
}
_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    **_SAFE,
    "allowed_configs": ["memory_limit"],  # loading lowers it for a while; users' SQL can set nothing (cache.query)
    "lock_configuration": "true",
}


def connect_file(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """A connection to the DuckDB file at `path`; read-only ones have their configuration locked as well.

    Raises CacheMissing if the file is no DuckDB file, CacheLocked if somebody else is writing to it.
    """
    try:
        return duckdb.connect(str(path), read_only=read_only, config=dict(_LOCKED if read_only else _SAFE))
    except duckdb.Error as error:
        text = str(error)
        if is_full(error):
            raise full(path) from None
        if "lock on file" in text or "different configuration" in text or "being used by another process" in text:
            raise CacheLocked(_locked(path, read_only, text)) from None
        if "not a valid DuckDB database" in text:
            raise CacheMissing(
                f"{path} is not a DuckDB file. Give a cache, or make one with `tts-sim import`."
            ) from None
        if "newer version of DuckDB" in text or "version of DuckDB" in text or "storage version" in text.lower():
            raise CacheInvalid(
                f"{path} was written by another version of DuckDB. Upgrade the duckdb package."
            ) from None
        first_line = text.splitlines()[0]
        raise CacheInvalid(f"{path} cannot be opened: {first_line}. Restore it, or record it afresh.") from None


def connect_parquet(directory: Path) -> duckdb.DuckDBPyConnection:
    """A connection to an empty database in memory that may read the files of `directory` and nothing else."""
    config: dict[str, str | bool | int | float | list[str]] = {
        key: value for key, value in _SAFE.items() if key != "enable_external_access"
    }
    connection = duckdb.connect(":memory:", config=config)
    connection.execute(f"SET allowed_directories = [{quoted(str(directory.resolve()))}]")
    connection.execute("SET enable_external_access = false")
    return connection


def is_full(error: Exception) -> bool:
    """Whether an error of DuckDB says that the disk, or what the user may have of it, is full."""
    return any(words in str(error) for words in ("No space left on device", "Disk quota exceeded", "File too large"))


def full(path: Path) -> CacheFull:
    """The error for a cache that cannot grow."""
    return CacheFull(
        f"{path} cannot be written: the disk is full. What was committed before is kept: make room, and give the same "
        "command again."
    )


def first(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[object] = ()) -> tuple[Any, ...] | None:
    """The first row of a query, or None; read to its end, since DuckDB 2 refuses the next query before."""
    rows = connection.execute(sql, list(parameters)).fetchall()
    return rows[0] if rows else None


def quoted(text: str) -> str:
    """`text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def _locked(path: Path, read_only: bool, text: str) -> str:
    if "different configuration" in text:
        other = "open for writing" if read_only else "open for reading"
        return f"{path} is already {other} in this process. Close it first."
    who = "being written by another process" if read_only else "open in another process"
    return f"{path} is {who}. Wait until it ends, or copy the file when it is idle."
