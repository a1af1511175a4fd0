"""How kernels are compiled: every numba option, and the directory that keeps the compiled code."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from llvmlite.binding import add_symbol  # type: ignore[import-untyped]
from numba.core import caching, config
from numba.core.runtime import _nrt_python  # type: ignore[attr-defined]
from numba.np.ufunc import parallel

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


_before_compiling: list[Callable[[], None]] = []


def before_compiling(say: Callable[[], None]) -> None:
    """Calls `say` when the first kernel is found that is not compiled yet: what follows takes seconds."""
    _before_compiling[:] = [say]


class _Place(caching._CacheLocator):
    """Where compiled code is kept. Its directory is named for the sources: nothing in it is ever out of date."""

    def get_cache_path(self) -> str:
        return str(CACHE_DIRECTORY)

    def get_source_stamp(self) -> None:
        return None

    def get_disambiguator(self) -> str:
        return "kernel"

    @classmethod
    def from_function(cls, function: Any, file: str) -> _Place:
        return cls()


class _Kept(caching.CompileResultCacheImpl):
    _locator_classes: Any = [_Place]  # noqa: RUF012 — as numba declares it

    def reduce(self, compiled: Any) -> Any:
        """Without the environments that hold nothing: each would import the part of numba that it comes from."""
        *parts, environments = super().reduce(compiled)  # type: ignore[no-untyped-call]
        return (*parts, tuple(environment for environment in environments if environment.consts))


class _CompiledCode(caching.Cache):
    """Compiled code on disk, read without all that numba needs to compile: a fifth of a second."""

    _impl_class: Any = _Kept

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        for name, address in _nrt_python.c_helpers.items():  # what makes and frees arrays
            add_symbol(name if name.startswith("_") else f"NRT_{name}", address)
        found = None
        with self._guard_against_spurious_io_errors():
            found = self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        if found is None and _before_compiling:
            _before_compiling.pop()()
        return found


def _compile(function: Function, kept: bool, **flags: Any) -> Function:
    options: Any = config
    # error_model: no check for division by zero; no cfunc: nothing calls kernels by pointer, and each is compiled
    flags |= {"fastmath": False, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    compiled: Any = numba.njit(function, **flags)
    if kept and not options.DISABLE_JIT:
        compiled._cache = _CompiledCode(function)  # type: ignore[no-untyped-call]
    return cast(Function, compiled)


def kernel(function: Function) -> Function:
    """Compile a loop that runs on one thread."""
    return _compile(function, kept=True)


def kernel_lean(function: Function) -> Function:
    """Compile a loop that makes no array.

    So references to arrays need not be counted: counts are atomic, and a beam replay took three times as long.
    """
    return _compile(function, kept=True, _nrt=False)


def kernel_part(function: Function) -> Function:
    """Compile a part of a kernel, which Python cannot call. It is kept on disk in what calls it, not by itself."""
    return _compile(function, kept=False, no_cpython_wrapper=True)


def kernel_called(function: Function) -> Function:
    """Compile a part that makes no array."""
    return _compile(function, kept=False, no_cpython_wrapper=True, _nrt=False)


def kernel_inlined(function: Function) -> Function:
    """Compile a part that makes no array into each of its callers."""
    return _compile(function, kept=False, no_cpython_wrapper=True, _nrt=False, forceinline=True)


def on_threads(function: Callable[..., None], num: int, new_room: Callable[[], Any], *arguments: Any) -> None:
    """Call function(start, stop, room, *arguments) for ranges that make up range(num), on numba's number of threads.

    Each thread has a room, its scratch, of its own. The function writes one row per number, so the ranges do not
    matter. Compared with `prange`, no kernel is compiled a second time for its parallel loop, and a thread that is
    done early takes over from the others. The first thread's call compiles, if need be, while the others wait.
    """
    threads = min(_num_threads(), num)
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


def _num_threads() -> int:
    """numba's number of threads; numba itself, asked for it, would first start as many of its own."""
    options: Any = config
    return numba.get_num_threads() if parallel._is_initialized else int(options.NUMBA_NUM_THREADS)


def no_room() -> None:
    """Kernels over solutions make what they need at every question."""
