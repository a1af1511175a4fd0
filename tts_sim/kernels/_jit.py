"""How kernels are compiled: every numba option, and the directory that keeps the compiled code."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import config

from tts_sim.user_cache import cache_directory

Function = TypeVar("Function", bound=Callable[..., Any])


def _fingerprint() -> str:
    """A hash of all kernel sources: numba keeps stale code when a helper in another file changes."""
    options: Any = config
    digest = hashlib.blake2b(digest_size=8)
    digest.update(f"{numba.__version__} {sys.version_info[:2]} {options.BOUNDSCHECK}".encode())
    for source in [*sorted(Path(__file__).parent.glob("*.py")), Path(__file__).parent.parent / "arrays.py"]:
        digest.update(source.read_bytes())
    return digest.hexdigest()


CACHE_DIRECTORY = cache_directory(f"kernels-{_fingerprint()}")


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
