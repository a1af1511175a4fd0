"""How kernels are compiled: every numba option, and the directory that keeps the compiled code."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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


CALLED: dict[str, Any] = {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def _compile(function: Function, **flags: Any) -> Function:
    options: Any = config
    before = options.CACHE_DIR
    options.CACHE_DIR = str(CACHE_DIRECTORY)  # read once, while the function is decorated
    try:
        # error_model: a check for division by zero is a raise, and a raise makes a parallel loop serial
        compiled: Any = numba.njit(function, cache=True, fastmath=False, nogil=True, error_model="numpy", **flags)
    finally:
        options.CACHE_DIR = before
    return cast(Function, compiled)


def kernel(function: Function) -> Function:
    """Compile a loop that runs on one thread."""
    return _compile(function)


def kernel_called(function: Function) -> Function:
    """Compile a part of a kernel that other kernels call; Python cannot. It makes no array.

    So references to arrays need not be counted: counts are atomic, and a beam replay took three times as long.
    """
    return _compile(function, **CALLED)


def kernel_inlined(function: Function) -> Function:
    """Compile a helper into each of its callers. Otherwise as above."""
    return _compile(function, forceinline=True, **CALLED)


def kernel_parallel(function: Function) -> Function:
    """Compile a `prange` loop over questions. It writes one row per question and never raises."""
    return _compile(function, parallel=True)


def on_threads(function: Callable[..., None], num: int, new_room: Callable[[], Any], *arguments: Any) -> None:
    """Call function(start, stop, room, *arguments) for ranges that make up range(num), on numba's number of threads.

    Each thread has a room, its scratch, of its own. The function writes one row per number, so the ranges do not
    matter. Compared with `prange`, no kernel is compiled a second time for its parallel loop, and a thread that is
    done early takes over from the others.
    """
    threads = min(numba.get_num_threads(), num)
    if threads <= 1:
        function(0, num, new_room(), *arguments)
        return
    step = -(-num // (8 * threads))
    starts = iter(range(0, num, step))  # next() on it is atomic: one bytecode under the lock of the interpreter

    def work() -> None:
        room = new_room()
        for start in starts:
            function(start, min(start + step, num), room, *arguments)

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()


def is_compiled(*modules: str) -> bool:
    """Whether compiled code of these kernel modules is kept already (False: the next call takes seconds)."""
    options: Any = config
    if options.DISABLE_JIT:
        return True
    return all(any(CACHE_DIRECTORY.glob(f"**/{module}.*.nbi")) for module in modules)
