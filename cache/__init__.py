"""The ground floor: one DuckDB file (or a directory of Parquet tables) of step trees, revision chains, answers and
scores.

Knows no strategy and no model. The public names load DuckDB and Polars on first use, so that importing
`cache.errors` stays free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cache.store import Cache, create_cache, open_cache, sample_path

__all__ = ["Cache", "create_cache", "open_cache", "sample_path"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from cache import store

        return getattr(store, name)
    raise AttributeError(f"module 'cache' has no attribute {name!r}")
