"""Importers: foreign files become runs. A file is imported as a whole or not at all."""

from __future__ import annotations

from cache.importers.native import import_native
from cache.importers.openr import import_openr
from cache.importers.report import ImportReport

__all__ = ["ImportReport", "import_native", "import_openr"]
