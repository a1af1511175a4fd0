"""Times that a busy machine spoils least: the fastest of several runs, which take turns."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


def fastest(
    runs: Sequence[Callable[[], object]],
    clock: Callable[[], float] = time.process_time,
    repeats: int = 7,
    enough: float = 1.0,
) -> list[float]:
    """Seconds of the fastest run of each, CPU time unless the clock says otherwise.

    A run is repeated no more once all its repetitions took `enough` seconds.
    """
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, own in zip(runs, times, strict=True):
            if sum(own) < enough:
                begun = clock()
                run()
                own.append(clock() - begun)
    return [min(own) for own in times]


@contextmanager
def on_one_core() -> Iterator[None]:
    """Stay on the last of the cores that this process may use, where the system lets it choose."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
