"""`python -m bench`: the kernels beside their C twins, numpy and plain Python, every contender in this process.

`python -m bench --size full --write` writes docs/benchmarks.md and the README's table.
"""

from __future__ import annotations

import argparse
from functools import partial

import numba

from bench import growth, report
from bench.registry import COMPARISONS, Comparison
from bench.report import Measured
from bench.timing import fastest, on_one_core
from bench.workloads import bushes, stars


def compare(comparison: Comparison, size: str) -> list[Measured]:
    """CPU time a draw of every contender, one thread."""
    whole = comparison.workload(size)
    shares = [whole.first(contender.most_questions) for contender in comparison.contenders]
    for contender in comparison.contenders[:2]:
        contender.run(comparison.workload("tiny"))  # compiled outside the measurement
    runs = [partial(contender.run, share) for contender, share in zip(comparison.contenders, shares, strict=True)]
    work = [comparison.work(share) for share in shares]
    taken = [seconds / draws for seconds, draws in zip(fastest(runs), work, strict=True)]
    return [
        Measured(comparison.name, contender.name, share.forest.num_questions, seconds, seconds / taken[0])
        for contender, share, seconds in zip(comparison.contenders, shares, taken, strict=True)
    ]


def show(sections: list[str], section: str) -> None:
    """Print a section and keep it."""
    print(section, flush=True)
    sections.append(section)


def main() -> None:
    """Run every comparison, or those whose name contains --only."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Kernels against other means.")
    parser.add_argument("--size", choices=["small", "full"], default="small", help="small takes less than a minute")
    parser.add_argument("--only", default="", help="run the comparisons whose name contains this, and nothing else")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and, if full, README's table")
    arguments = parser.parse_args()
    size, sections, measured = arguments.size, list[str](), list[Measured]()
    numba.set_num_threads(1)
    show(sections, report.machine(size))
    with on_one_core():
        for comparison in COMPARISONS:
            if arguments.only in comparison.name:
                measured += compare(comparison, size)
        show(sections, report.comparisons(measured))
        if arguments.only:
            return
        show(sections, report.grown([growth.grow(axis) for axis in growth.axes(size)]))
    whole = {growth.VOTES: stars(size), growth.BEAM: bushes(size)}
    threaded = [growth.by_threads(spec, workload) for spec, workload in whole.items()]
    show(sections, report.threads(threaded))
    if size == "full":
        show(sections, report.targets(measured, threaded))
    if arguments.write:
        report.write(sections)
        if size == "full":
            report.write([sections[0], sections[-1]], report.README)


if __name__ == "__main__":
    main()
