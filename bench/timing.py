"""Times that a busy machine spoils least: the fastest of several runs, which take turns."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

REPEATS = 7
ENOUGH = 1.0  # seconds that a contender runs in all, once it has run


def fastest(runs: Sequence[Callable[[], object]], clock: Callable[[], float] = time.process_time) -> list[float]:
    """Seconds of the fastest run of each, CPU time unless the clock says otherwise."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(REPEATS):
        for run, own in zip(runs, times, strict=True):
            if sum(own) < ENOUGH:
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
