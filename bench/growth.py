"""How a kernel's time grows with the samples, the budgets, the trials, the questions and the threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numba
from numba.core import config

from bench.registry import sample_draws, search_draws
from bench.replays import kernel
from bench.timing import fastest, num_cores
from bench.workloads import Workload, bushes, solutions, stars
from tts_sim.budgets import powers_of_two

VOTES, BEAM = "sample+weighted", "beam(width=4)+weighted"
SHARES = (4, 2, 1)  # a quarter, a half and all


@dataclass(frozen=True)
class Axis:
    """Workloads that differ in one size, smallest first."""

    spec: str
    name: str
    sizes: tuple[int, ...]
    workloads: tuple[Workload, ...]
    work: Callable[[Workload], int]


@dataclass(frozen=True)
class Grown:
    """Seconds at each size of an axis, and a draw."""

    axis: Axis
    seconds: tuple[float, ...]
    per_draw: tuple[float, ...]


@dataclass(frozen=True)
class Threaded:
    """Seconds of a kernel with 1, 2 … threads: on the wall, and of CPU."""

    spec: str
    wall: list[float]
    cpu: list[float]


def axes(size: str) -> list[Axis]:
    """Every axis of the two kernels; all meet in the workload of their comparison but for `samples`."""
    whole, bushy = stars(size), bushes(size)
    budgets, samples = whole.budgets, tuple(max(whole.budgets) // share for share in SHARES)
    counts = tuple(len(budgets) // 3 * part for part in (1, 2, 3))
    return [
        Axis(
            VOTES,
            "samples",
            samples,
            tuple(
                solutions(whole.forest.num_questions, pool, powers_of_two(1, samples[0]), whole.trials)
                for pool in samples
            ),
            sample_draws,
        ),
        Axis(VOTES, "budgets", counts, tuple(replace(whole, budgets=budgets[:num]) for num in counts), sample_draws),
        *_shared(VOTES, whole, sample_draws),
        Axis(
            BEAM,
            "candidates",
            bushy.budgets[-3:],
            tuple(replace(bushy, budgets=(budget,)) for budget in bushy.budgets[-3:]),
            search_draws,
        ),
        *_shared(BEAM, bushy, search_draws),
    ]


def _shared(spec: str, whole: Workload, work: Callable[[Workload], int]) -> list[Axis]:
    trials = tuple(whole.trials // share for share in SHARES)
    questions = tuple(whole.forest.num_questions // share for share in SHARES)
    return [
        Axis(spec, "trials", trials, tuple(replace(whole, trials=num) for num in trials), work),
        Axis(spec, "questions", questions, tuple(whole.first(num) for num in questions), work),
    ]


def grow(axis: Axis) -> Grown:
    """CPU time of one thread at every size of the axis."""
    seconds = fastest([partial(kernel, workload, axis.spec) for workload in axis.workloads])
    work = [axis.work(workload) for workload in axis.workloads]
    return Grown(axis, tuple(seconds), tuple(taken / draws for taken, draws in zip(seconds, work, strict=True)))


def by_threads(spec: str, workload: Workload) -> Threaded:
    """With 1, 2 … threads, up to one a core (at least two)."""

    def run(threads: int) -> None:
        numba.set_num_threads(threads)
        kernel(workload, spec)

    before = numba.get_num_threads()
    options: Any = config
    most = min(max(2, num_cores()), options.NUMBA_NUM_THREADS)
    runs = [partial(run, threads) for threads in range(1, most + 1)]
    try:
        return Threaded(spec, fastest(runs, time.perf_counter, repeats=20, enough=4.0), fastest(runs))
    finally:
        numba.set_num_threads(before)
