"""Opening, creating, reading and filling a cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import polars as pl

from cache.append import append, columns
from cache.connect import connect_file, first, full, is_full
from cache.errors import CacheInvalid, CacheMissing
from cache.migrate import migrate, require_current
from cache.outcomes import save_outcomes
from cache.parquet import TABLES, open_parquet

VIEWS = (
    "paths",
    "path_scores",
    "endings",
    "solutions",
    "texts",
    "question_stats",
    "node_values",
    "calibration",
    "coverage",
)
_MENDABLE = ("root_pool", "step_pool", "exchangeable", "provenance", "started", "finished")


class Cache:
    """An open cache: a context manager around one DuckDB connection. Get one from `open_cache` or `create_cache`."""

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection, *, read_only: bool) -> None:
        self.path = path
        self.connection = connection
        self.read_only = read_only

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; a cache open for writing is folded into its one file."""
        self.connection.close()

    def append(
        self,
        *,
        models: pl.DataFrame | None = None,
        questions: pl.DataFrame | None = None,
        answers: pl.DataFrame | None = None,
        runs: pl.DataFrame | None = None,
        nodes: pl.DataFrame | None = None,
        verifiers: pl.DataFrame | None = None,
        scores: pl.DataFrame | None = None,
    ) -> None:
        """Stores a batch in one transaction: all of it, or (CacheInvalid) nothing.

        Frames have the columns of their table; nullable ones may be missing. Nodes need ids above those of their run
        so far. Models, questions, answers, runs and verifiers that are there already with the same content are fine;
        with another content, CacheInvalid. CacheFull if there is no room on the disk.
        """
        self._require_writable()
        frames = {
            "models": models,
            "questions": questions,
            "answers": answers,
            "runs": runs,
            "nodes": nodes,
            "verifiers": verifiers,
            "scores": scores,
        }
        with self._on_full_disk():
            append(self.connection, {table: frame for table, frame in frames.items() if frame is not None})

    def update_run(self, run_id: str, **values: Any) -> None:
        """Sets columns of a run that is there: its pools, `exchangeable`, `provenance` (JSON text), `started`,
        `finished`.
        """
        self._require_writable()
        for name in values:
            if name not in _MENDABLE:
                raise ValueError(f"column '{name}' of a run cannot be changed; only {', '.join(_MENDABLE)}.")
        settings = ", ".join(f"{name} = ?" for name in values)
        with self._on_full_disk():
            row = first(
                self.connection,
                f"UPDATE runs SET {settings} WHERE run_id = ? RETURNING run_id",
                [*values.values(), run_id],
            )
        if row is None:
            raise ValueError(f"there is no run '{run_id}' in {self.path}.")

    def save_outcomes(self, rows: pl.DataFrame) -> None:
        """Keeps the figures of replays, dated now, in one transaction; rows with the same key are replaced.

        The key is that of `cache.outcomes`; raises as it says there.
        """
        self._require_writable()
        with self._on_full_disk():
            save_outcomes(self.connection, rows.with_columns(pl.lit(now()).alias("saved")))

    def next_node_id(self, run_id: str) -> int:
        """The smallest id that a new node of the run may have: one above the largest, 0 for an empty run."""
        row = first(self.connection, "SELECT max(node_id) FROM nodes WHERE run_id = ?", [run_id])
        return 0 if row is None or row[0] is None else int(row[0]) + 1

    def table(self, name: str) -> pl.DataFrame:
        """All rows of a table or view."""
        if name not in TABLES and name not in VIEWS:
            raise ValueError(f"there is no table or view '{name}'; there are {', '.join((*TABLES, *VIEWS))}.")
        return self.frame(f"SELECT * FROM {name}")

    def frame(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pl.DataFrame:
        """The result of a query of our own as a Polars frame; parameters are named ($name). For users' SQL see
        `cache.query.run_sql`.
        """
        rows: pl.DataFrame = self.connection.cursor().sql(sql, params=dict(parameters) if parameters else None).pl()
        return rows

    @contextmanager
    def _on_full_disk(self) -> Iterator[None]:
        """Turns DuckDB's errors for a full disk into CacheFull."""
        try:
            yield
        except duckdb.Error as error:
            if is_full(error):
                raise full(self.path) from error
            raise

    def _require_writable(self) -> None:
        if self.read_only:
            raise CacheInvalid(f"{self.path} is open for reading only. Open it with `create_cache` to write.")


def open_cache(path: str | Path, *, views: bool = True) -> Cache:
    """The cache at `path`, read-only: a .duckdb file, or a directory of <table>.parquet files, where views are made.

    Nothing that the file brings along is run: no extension is loaded and no other file can be read. Raises
    CacheMissing, CacheInvalid, CacheTooNew or CacheLocked.
    """
    path = Path(path)
    if not path.exists():
        raise CacheMissing(f"there is no cache at {path}. Make one with `tts-sim import` or `tts-sim generate`.")
    if path.is_dir():
        return Cache(path, open_parquet(path, views=views), read_only=True)
    connection = connect_file(path, read_only=True)
    try:
        require_current(connection, str(path))
    except BaseException:
        connection.close()
        raise
    return Cache(path, connection, read_only=True)


def create_cache(path: str | Path) -> Cache:
    """The cache at `path`, open for writing by this process alone; created or upgraded where needed.

    Raises CacheMissing for a file that is not DuckDB's, CacheInvalid for a database that is not ours, CacheTooNew,
    or CacheLocked.
    """
    path = Path(path)
    if path.is_dir():
        raise CacheInvalid(f"{path} is a directory (a Parquet cache is read-only). Give the path of a .duckdb file.")
    if not path.parent.is_dir():
        raise CacheMissing(f"the directory {path.parent} does not exist. Make it first.")
    if path.exists() and path.stat().st_size == 0:
        path.unlink()  # a process killed before its first write leaves an empty file
    connection = connect_file(path, read_only=False)
    try:
        migrate(connection, str(path))
    except BaseException:
        connection.close()
        raise
    return Cache(path, connection, read_only=False)


def sample_path() -> Path:
    """The directory of the shipped sample: Parquet tables and a README that says how it was made."""
    return Path(__file__).parent / "sample"


def now() -> datetime:
    """The present in UTC, as the cache's timestamps have it (no zone attached)."""
    return datetime.now(UTC).replace(tzinfo=None)


__all__ = ["TABLES", "VIEWS", "Cache", "columns", "create_cache", "now", "open_cache", "sample_path"]
