"""The directory for what is made once per machine: compiled kernels, the charts' script."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


def cache_directory(name: str) -> Path:
    """A writable directory of that name in the user's cache, or in the temporary one where that cannot be written."""
    try:
        directory = _user_cache() / "tts_sim" / name
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return directory
    except (OSError, RuntimeError):
        directory = Path(tempfile.gettempdir()) / f"tts_sim-{os.getuid() if hasattr(os, 'getuid') else 0}" / name
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return directory


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
