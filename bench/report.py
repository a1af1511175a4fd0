"""What was measured as Markdown: for the terminal, and for the marked block of docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np

from bench import twins
from bench.growth import VOTES, Grown, Threaded
from bench.timing import num_cores

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
README = PAGE.parent.parent / "README.md"
BEGIN, END = "<!-- written by python -m bench -->\n", "<!-- end -->\n"
MOST_OF_VOTES, MOST_OF_BEAM = 1.3, 1.5  # times their C twins
LEAST = {"numpy": 60.0, "Python": 150.0}  # times the kernel of weighted votes
TWO_THREADS = 1.8


@dataclass(frozen=True)
class Measured:
    """One contender of a comparison: seconds a draw (a node), and how many times as long as ours it takes."""

    comparison: str
    contender: str
    questions: int
    per_draw: float
    ratio: float


@dataclass(frozen=True)
class Target:
    """A ratio that is wanted: `least` or `most` says which way."""

    what: str
    measured: float
    least: float | None = None
    most: float | None = None

    @property
    def wanted(self) -> str:
        return f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"

    @property
    def is_met(self) -> bool:
        return self.measured >= (self.least or 0.0) and self.measured <= (self.most or np.inf)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first two columns are words, the others numbers."""
    rule = ["---" if place < 2 else "--:" for place in range(len(header))]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (header, rule, *rows)) + "\n"


def machine(size: str) -> str:
    """A line on what was measured where, without names."""
    compiler = twins.compiler()
    flags = " ".join(flag for flag in twins.FLAGS if flag not in ("-shared", "-fPIC"))
    version = f"C compiler {_output(compiler, '-dumpfullversion')} ({flags})" if compiler else "no C compiler"
    busy = f"{os.getloadavg()[0]:.1f} processes were waiting or running" if hasattr(os, "getloadavg") else ""
    return (
        f"Size `{size}`; {_processor()}, {num_cores()} cores; Python {platform.python_version()}, "
        f"NumPy {np.__version__}, numba {numba.__version__}, {version}. {busy} when it began.\n"
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def comparisons(measured: Sequence[Measured]) -> str:
    """A row per contender."""
    rows = [
        (row.comparison, row.contender, row.questions, _short(row.per_draw * 1e9), _short(row.ratio))
        for row in measured
    ]
    return table(("comparison", "by", "questions", "ns a draw", "times the kernel's"), rows)


def grown(measured: Sequence[Grown]) -> str:
    """A row per axis: its sizes, the time at each, and a draw's."""
    rows = [
        (
            row.axis.spec,
            row.axis.name,
            _steps([f"{size}" for size in row.axis.sizes]),
            _steps([_short(seconds * 1e3) for seconds in row.seconds]),
            _steps([_short(seconds * 1e9) for seconds in row.per_draw]),
        )
        for row in measured
    ]
    return table(("kernel", "of", "sizes", "ms", "ns a draw"), rows)


def threads(measured: Sequence[Threaded]) -> str:
    """Times with 1, 2 … threads. More CPU time with more threads is what sharing costs; the rest is a busy machine."""
    rows = [
        (
            row.spec,
            _steps([f"{place + 1}" for place in range(len(row.wall))]),
            _steps([_short(seconds * 1e3) for seconds in row.wall]),
            _steps([_short(row.wall[0] / seconds) for seconds in row.wall]),
            _steps([_short(seconds * 1e3) for seconds in row.cpu]),
        )
        for row in measured
    ]
    return table(("kernel", "threads", "ms on the wall", "times as fast", "ms of CPU"), rows)


def targets(measured: Sequence[Measured], threaded: Sequence[Threaded]) -> str:
    """What was aimed at, and what was measured."""
    found = [target for row in measured for target in _targets_of(row)]
    for row in threaded:
        if len(row.wall) > 1:
            found.append(Target(f"{row.spec}: 1 thread / 2 threads", row.wall[0] / row.wall[1], least=TWO_THREADS))
    rows = [(goal.what, "yes" if goal.is_met else "no", goal.wanted, _short(goal.measured)) for goal in found]
    return table(("ratio of times", "reached", "wanted", "measured"), rows)


def _targets_of(row: Measured) -> list[Target]:
    if row.contender == "C twin":
        most = MOST_OF_VOTES if row.comparison.startswith("sample") else MOST_OF_BEAM
        return [Target(f"{row.comparison}: kernel / C twin", 1 / row.ratio, most=most)]
    if row.comparison == VOTES and row.contender in LEAST:
        return [Target(f"{row.comparison}: {row.contender} / kernel", row.ratio, least=LEAST[row.contender])]
    return []


def write(sections: Sequence[str], page: Path = PAGE) -> None:
    """Replace the marked block of the page. Raises ValueError if the page has none."""
    before, begun, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise ValueError(f"{page}: expected a block between {BEGIN.strip()!r} and {END.strip()!r}.")
    page.write_text(before + begun + "\n" + "\n".join(sections) + "\n" + ended + after, encoding="utf-8")


def _steps(texts: Sequence[str]) -> str:
    return " → ".join(texts)


def _short(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
