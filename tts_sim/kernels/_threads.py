"""Kernels on several threads, each with the next questions as soon as it is done with its last ones."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
from numba.core import config
from numba.np.ufunc import parallel

SHORTEST_RANGE = 4  # questions; a call takes 8 to 17 µs


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
    ranges = iter(_ranges(num, threads))  # next() on it is atomic: one bytecode under the lock of the interpreter

    def work() -> None:
        room = new_room()
        for start, stop in ranges:
            function(start, stop, room, *arguments)

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()


def _ranges(num: int, threads: int) -> list[tuple[int, int]]:
    """Ranges that make up range(num), ever shorter, so that the threads end at the same time."""
    ranges, start = [], 0
    while start < num:
        stop = min(num, start + max(SHORTEST_RANGE, (num - start) // (4 * threads)))
        ranges.append((start, stop))
        start = stop
    return ranges


def _num_threads() -> int:
    """numba's number of threads; numba itself, asked for it, would first start as many of its own."""
    options: Any = config
    return numba.get_num_threads() if parallel._is_initialized else int(options.NUMBA_NUM_THREADS)


def no_room() -> None:
    """Kernels over solutions make what they need at every question."""
