"""Exports a cache as one Parquet file per table, small enough to ship."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cache.errors import CacheInvalid
from cache.parquet import TABLES
from cache.store import Cache

# Sorted so that neighbours resemble each other: ids become small differences, steps of one question stand together.
_ORDER = {
    "meta": "key",
    "models": "model_id",
    "answers": "question_id, answer_id",
    "runs": "started, run_id",
    "nodes": "run_id, question_id, node_id",
    "verifiers": "verifier_id",
    "scores": "verifier_id, run_id, node_id",
    "outcomes": "content, run_id, strategy, verifier_id, budget, question_id",
}
_LARGEST_ROW_GROUP = 1 << 18  # several per million nodes, so that DuckDB reads them in parallel
_LARGEST_PAGE = 4 << 20  # pages are compressed one by one: large ones share more


def export_parquet(cache: Cache, directory: str | Path, *, level: int = 19) -> dict[str, int]:
    """Writes <table>.parquet for every table into `directory` (made if need be); returns table -> bytes.

    zstd at `level`; ids as differences, floats by byte planes, repeated strings by dictionary. Each file replaces
    its predecessor whole. The directory opens as a read-only cache.
    """
    directory = Path(directory)
    if directory.exists() and not directory.is_dir():
        raise CacheInvalid(f"{directory} is a file. Give a directory for the Parquet tables.")
    if cache.path.is_dir() and directory.resolve() == cache.path.resolve():
        raise CacheInvalid(f"{directory} is the cache that is being exported. Give another directory.")
    directory.mkdir(parents=True, exist_ok=True)
    sizes = {}
    for table in TABLES:
        rows = _rows(cache, table)
        file = directory / f"{table}.parquet"
        part = directory / f".{table}.parquet.part"
        pq.write_table(
            rows,
            part,
            compression="zstd",
            compression_level=level,
            row_group_size=_LARGEST_ROW_GROUP,
            data_page_size=_LARGEST_PAGE,
            **_encodings(rows),
        )
        os.replace(part, file)
        sizes[table] = file.stat().st_size
    return sizes


def _rows(cache: Cache, table: str) -> pa.Table:
    order = f" ORDER BY {_ORDER[table]}" if table in _ORDER else ""  # questions keep their order
    rows = cache.connection.sql(f"SELECT * FROM {table}{order}").to_arrow_table()
    fields = [pa.field(field.name, pa.string() if _is_text(field.type) else field.type) for field in rows.schema]
    return pa.Table.from_arrays(
        [_plain(rows.column(field.name)).cast(field.type) for field in fields], schema=pa.schema(fields)
    )


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without an extension type (DuckDB marks JSON as one)."""
    if isinstance(column.type, pa.BaseExtensionType):
        return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    return column


def _is_text(kind: pa.DataType) -> bool:
    storage = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    return bool(pa.types.is_string(storage) or pa.types.is_large_string(storage) or pa.types.is_string_view(storage))


def _encodings(rows: pa.Table) -> dict[str, Any]:
    dictionary, encodings = [], {}
    for field in rows.schema:
        if pa.types.is_floating(field.type):
            encodings[field.name] = "BYTE_STREAM_SPLIT"
        elif field.name in ("node_id", "parent_id"):
            encodings[field.name] = "DELTA_BINARY_PACKED"
        elif field.name not in ("text", "prompt", "extra"):
            dictionary.append(field.name)
    return {"use_dictionary": dictionary, "column_encoding": encodings}
