"""How kernels are compiled: every numba option, and the directory that keeps the compiled code."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from llvmlite.binding import add_symbol  # type: ignore[import-untyped]
from numba._dynfunc import make_function
from numba.core import caching, config
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.runtime import _nrt_python  # type: ignore[attr-defined]

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


class _PartCode(JITCodeLibrary):
    """Code as it came from Python: it is optimised, and made into machine code, in the kernels that it goes into."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()  # type: ignore[no-untyped-call]
        self._finalized = True


class _PartCompiler(Compiler):
    """numba would optimise a part by itself, and again in each that calls it: a quarter of the time to compile."""

    def define_pipelines(self) -> Any:
        state: Any = self.state
        name = state.func_id.func_qualname
        state.library = _PartCode(state.targetctx.codegen(), name)  # type: ignore[no-untyped-call]
        state.targetctx.get_executable = _not_callable  # this function's own context
        return super().define_pipelines()  # type: ignore[no-untyped-call]


def _not_callable(library: Any, described: Any, environment: Any) -> Any:
    """The function of Python's that numba wants of all that it compiles; nothing calls it."""
    assert not environment.consts, "a part of a kernel cannot use an object of Python's"
    library._ensure_finalized()
    return make_function(described.lookup_module(), described.qualname, "", 0, environment, (library,))


def _compile(function: Function, *, part: bool = False, **flags: Any) -> Function:
    options: Any = config
    # error_model: no check for division by zero; no cfunc: nothing calls kernels by pointer, and each is compiled
    flags |= {"fastmath": False, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    if part:
        flags |= {"no_cpython_wrapper": True, "pipeline_class": _PartCompiler}
    compiled: Any = numba.njit(function, **flags)
    if not part and not options.DISABLE_JIT:
        compiled._cache = _CompiledCode(function)  # type: ignore[no-untyped-call]
    return cast(Function, compiled)


def kernel(function: Function) -> Function:
    """Compile a loop that runs on one thread."""
    return _compile(function)


def kernel_lean(function: Function) -> Function:
    """Compile a loop that makes no array.

    So references to arrays need not be counted: counts are atomic, and a beam replay took three times as long.
    """
    return _compile(function, _nrt=False)


def kernel_part(function: Function) -> Function:
    """Compile a part of a kernel, which Python cannot call. It is kept on disk in what calls it, not by itself."""
    return _compile(function, part=True)


def kernel_called(function: Function) -> Function:
    """Compile a part that makes no array."""
    return _compile(function, part=True, _nrt=False)


def kernel_inlined(function: Function) -> Function:
    """Compile a part that makes no array into each of its callers."""
    return _compile(function, part=True, _nrt=False, forceinline=True)
