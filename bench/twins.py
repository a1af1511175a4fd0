"""The C twins of kernels (bench/c): the same algorithm, random stream and arithmetic, on the same arrays, one thread.

They are compiled at their first use, as fast as the kernels may be: no fused multiplication and addition, which would
round otherwise (numba makes none), and no regard for floating-point traps (numba has none).
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tts_sim.arrays import Tally, new_tally
from tts_sim.selections import Majority, Weighted
from tts_sim.strategies.beam import Beam
from tts_sim.strategies.plan import Plan, refuse_short_pools, score_columns
from tts_sim.strategies.sample import Sample, ready
from tts_sim.strategies.search import Search

FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-trapping-math", "-shared", "-fPIC")


def compiler() -> str | None:
    """The C compiler, if there is one: $CC, or cc."""
    return shutil.which(os.environ.get("CC", "cc"))


def replay(search: Search, plan: Plan) -> Tally:
    """What the search's kernel makes of the plan. Raises ValueError where there is no twin that does the same."""
    if len(plan.selections) != 1 or not isinstance(plan.selections[0], Majority | Weighted):
        raise ValueError("A twin replays one selection: majority or weighted.")
    if isinstance(search, Sample):
        return _votes(search, plan)
    if isinstance(search, Beam) and search.finished == "freeze":
        return _beam(search, plan)
    raise ValueError(f"{search}: expected sample, or beam with finished=freeze.")


def _votes(search: Sample, plan: Plan) -> Tally:
    found, scores, columns = ready(search, plan)
    if found.state.any() or plan.on_exhausted == "reuse":
        raise ValueError("The twin of sample replays whole pools, without replacement.")
    counted = isinstance(plan.selections[0], Majority)
    budgets, tally = np.array(plan.budgets, np.int64), _tally(plan)
    _library().votes(
        _pointers(plan.forest.trees), _whole(plan.forest.num_questions), _address(scores[columns[0]]),
        ctypes.c_bool(counted), _address(budgets), _whole(len(budgets)), _whole(plan.trials),
        ctypes.c_uint64(plan.seed), _pointers(found), _pointers(tally),
    )  # fmt: skip
    return tally


def _beam(search: Beam, plan: Plan) -> Tally:
    forest = plan.forest
    if forest.root_pool is not None or plan.on_exhausted in ("reuse", "borrow"):
        raise ValueError("The twin of beam replays imported runs, without replacement.")
    refuse_short_pools(plan, forest.root_pools(), max(plan.budgets), "first steps")
    scores, columns = score_columns(plan, step_scores=True)
    budgets, tally = np.array(plan.budgets, np.int64), _tally(plan)
    widths = np.array([search.width_at(n) for n in plan.budgets], np.int64)
    most = min(max(plan.budgets), int(forest.root_pools().max(initial=0)))
    largest = int((forest.trees.child_stop - forest.trees.child_start).max(initial=0))
    _library().beam(
        _pointers(forest.trees), _whole(forest.num_questions), _address(scores[0]), _address(scores[columns[0]]),
        _whole(plan.kinds[0]), _address(budgets), _address(widths), _whole(len(budgets)), _whole(plan.trials),
        ctypes.c_uint64(plan.seed), _whole(most), _whole(largest), _pointers(tally),
    )  # fmt: skip
    return tally


@functools.cache
def _library() -> ctypes.CDLL:
    command = compiler()
    if command is None:
        raise RuntimeError("No C compiler: install one, or name it in CC.")
    sources = sorted(map(str, (Path(__file__).parent / "c").glob("*.c")))
    with tempfile.TemporaryDirectory() as folder:  # once loaded, the file may go
        library = Path(folder) / "twins.so"
        subprocess.run([command, *FLAGS, "-o", library, *sources, "-lm"], check=True)
        return ctypes.CDLL(str(library))


def _tally(plan: Plan) -> Tally:
    return new_tally(plan.forest.num_questions, len(plan.budgets), 1)


def _pointers(bundle: tuple[Any, ...]) -> Any:
    """A struct of pointers to the arrays of a bundle."""
    return (ctypes.c_void_p * len(bundle))(*(array.ctypes.data for array in bundle))


def _address(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(np.ascontiguousarray(array).ctypes.data)


def _whole(number: int) -> ctypes.c_int64:
    return ctypes.c_int64(number)
