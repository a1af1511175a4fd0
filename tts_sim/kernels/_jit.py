"""How kernels are compiled: every numba option, and the directory that keeps the compiled code."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import config

Function = TypeVar("Function", bound=Callable[..., Any])


def _fingerprint() -> str:
    """A hash of all kernel sources: numba keeps stale code when a helper in another file changes."""
    options: Any = config
    digest = hashlib.blake2b(digest_size=8)
    digest.update(f"{numba.__version__} {sys.version_info[:2]} {options.BOUNDSCHECK}".encode())
    for source in [*sorted(Path(__file__).parent.glob("*.py")), Path(__file__).parent.parent / "arrays.py"]:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _cache_directory() -> Path:
    """A writable directory for compiled code: the user's cache, or a temporary one where that cannot be written."""
    name = f"kernels-{_fingerprint()}"
    try:
        directory = _user_cache() / "tts_sim" / name
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return directory
    except (OSError, RuntimeError):
        directory = Path(tempfile.gettempdir()) / f"tts_sim-{os.getuid() if hasattr(os, 'getuid') else 0}" / name
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return directory


CACHE_DIRECTORY = _cache_directory()


def _compile(function: Function, parallel: bool, inlined: bool = False) -> Function:
    options: Any = config
    before = options.CACHE_DIR
    options.CACHE_DIR = str(CACHE_DIRECTORY)  # read once, while the function is decorated
    try:
        # error_model: a check for division by zero is a raise, and a raise makes a parallel loop serial
        flags: Any = {"cache": True, "fastmath": False, "nogil": True, "forceinline": inlined}
        compiled: Any = numba.njit(function, parallel=parallel, error_model="numpy", **flags)
    finally:
        options.CACHE_DIR = before
    return cast(Function, compiled)


def kernel(function: Function) -> Function:
    """Compile a loop that runs on one thread."""
    return _compile(function, parallel=False)


def kernel_inlined(function: Function) -> Function:
    """Compile a helper into each of its callers: a call would count references to every array that it passes."""
    return _compile(function, parallel=False, inlined=True)


def kernel_parallel(function: Function) -> Function:
    """Compile a `prange` loop over questions. It writes one row per question and never raises."""
    return _compile(function, parallel=True)


def is_compiled(*modules: str) -> bool:
    """Whether compiled code of these kernel modules is kept already (False: the next call takes seconds)."""
    options: Any = config
    if options.DISABLE_JIT:
        return True
    return all(any(CACHE_DIRECTORY.glob(f"**/{module}.*.nbi")) for module in modules)
