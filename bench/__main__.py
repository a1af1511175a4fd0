"""`python -m bench`: a table of CPU times, one thread, every contender in this process."""

from __future__ import annotations

import argparse
import time

import numba

from bench.registry import COMPARISONS, Comparison, Contender
from bench.workloads import Workload

REPEATS = 3


def seconds(contender: Contender, workload: Workload) -> float:
    """CPU time of the fastest of three runs; one run for a contender that takes seconds."""
    times: list[float] = []
    for _ in range(REPEATS):
        begun = time.process_time()
        contender.run(workload)
        times.append(time.process_time() - begun)
        if times[-1] > 1.0:
            break
    return min(times)


def compare(comparison: Comparison, size: str) -> None:
    """Print a row per contender: time per draw, and how many times as long as ours it takes."""
    whole = comparison.workload(size)
    ours = 0.0
    for place, contender in enumerate(comparison.contenders):
        workload = whole.first(contender.most_questions)
        if place == 0:
            contender.run(comparison.workload("tiny"))  # compiled outside the measurement
        taken = seconds(contender, workload) / comparison.work(workload)
        ours = ours or taken
        questions = workload.forest.num_questions
        print(f"{comparison.name:<26} {contender.name:<8} {questions:>9} {taken * 1e9:>12.1f} {taken / ours:>8.1f}")


def main() -> None:
    """Run every comparison, or those whose name contains --only."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Kernels against other means, CPU time.")
    parser.add_argument("--size", choices=["small", "full"], default="small", help="small takes less than 30 s")
    parser.add_argument("--only", default="", help="run the comparisons whose name contains this")
    arguments = parser.parse_args()
    numba.set_num_threads(1)
    print(f"{'comparison':<26} {'by':<8} {'questions':>9} {'ns per draw':>12} {'ratio':>8}")
    for comparison in COMPARISONS:
        if arguments.only in comparison.name:
            compare(comparison, arguments.size)


if __name__ == "__main__":
    main()
