"""Brings a cache file to the current schema: named SQL migrations, each one transaction, recorded in `meta`."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

import duckdb

from cache.connect import first
from cache.errors import CacheInvalid, CacheTooNew
from cache.version import tool_version

_HERE = Path(__file__).parent
_MIGRATIONS = sorted((_HERE / "migrations").glob("[0-9]*.sql"))
SCHEMA_VERSION = len(_MIGRATIONS)


def schema_version(connection: duckdb.DuckDBPyConnection) -> int | None:
    """The schema version that the database's `meta` table states; None if it is no cache of ours."""
    try:
        row = first(connection, "SELECT value FROM meta WHERE key = 'schema_version'")
        return None if row is None else int(row[0])
    except (duckdb.Error, ValueError):
        return None


def require_current(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Passes if the database called `name` has the current schema; raises CacheInvalid or CacheTooNew otherwise."""
    version = schema_version(connection)
    if version is None:
        raise CacheInvalid(
            f"{name} is a DuckDB file, but not a cache of tts-sim (no schema version in `meta`). "
            "Make a cache with `tts-sim import` or `tts-sim generate`."
        )
    if version > SCHEMA_VERSION:
        raise CacheTooNew(f"{name} has schema {version}; this version reads up to {SCHEMA_VERSION}. Upgrade tts-sim.")
    if version < SCHEMA_VERSION:
        raise CacheInvalid(
            f"{name} has the old schema {version}; this version reads {SCHEMA_VERSION}. "
            "Open it once for writing (`cache.create_cache`), which upgrades it."
        )


def migrate(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Creates or upgrades the tables, and renews views and macros where their text has changed.

    A failing migration is rolled back and leaves the version before it. Raises CacheInvalid for somebody else's
    database, CacheTooNew for a later schema.
    """
    version = schema_version(connection)
    if version is None:
        tables = first(connection, "SELECT count(*) FROM duckdb_tables()")
        if tables is not None and tables[0]:
            require_current(connection, name)
        version = 0
    if version > SCHEMA_VERSION:
        require_current(connection, name)
    for number, file in enumerate(_MIGRATIONS[version:], start=version + 1):
        _in_transaction(connection, file.read_text(encoding="utf-8"), schema_version=str(number), **{file.stem: _now()})
    sql = (_HERE / "macros.sql").read_text(encoding="utf-8") + (_HERE / "views.sql").read_text(encoding="utf-8")
    digest = blake2b(sql.encode(), digest_size=8).hexdigest()
    if first(connection, "SELECT 1 FROM meta WHERE key = 'views' AND value = ?", [digest]) is None:
        _in_transaction(connection, sql, views=digest, tool_version=tool_version())


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """The empty tables of the current schema, for a database in memory."""
    for file in _MIGRATIONS:
        connection.execute(file.read_text(encoding="utf-8"))


def create_views(connection: duckdb.DuckDBPyConnection) -> None:
    """The macros and views over the tables that are there."""
    for file in ("macros.sql", "views.sql"):
        connection.execute((_HERE / file).read_text(encoding="utf-8"))


def _in_transaction(connection: duckdb.DuckDBPyConnection, sql: str, **meta: str) -> None:
    connection.execute("BEGIN")
    try:
        connection.execute(sql)
        if first(connection, "SELECT 1 FROM meta WHERE key = 'created'") is None:
            meta["created"] = _now()
        for key, value in meta.items():
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", [key, value])
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
