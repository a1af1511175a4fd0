"""`python -m bench.scale`: time and memory of whole processes on caches of up to ten million nodes, and how they grow.

Memory is the peak of the process less the peak of the same command on a tiny cache: what the nodes cost, with all that
DuckDB keeps. Times are of the wall and of the CPU (all threads), so that a busy machine can be told from a slow one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.big_cache import write

TINY = 20_000
SHARES = (0.1, 0.25, 0.5, 1.0)
REPLAY = """
import atexit, sys
from tts_sim.cli.main import main

def peak():  # of this program alone: what the operating system tells the parent includes the parent's own
    with open("/proc/self/status") as status:
        print(next(line for line in status if line.startswith("VmHWM")).split()[1], file=sys.stderr)

atexit.register(peak)
main()
"""
LOAD = """
import resource, sys, time
from cache import open_cache
from tts_sim.load import load_forest

def load(path):
    begun, used = time.perf_counter(), time.process_time()
    with open_cache(path) as cache:
        load_forest(cache)
    return time.perf_counter() - begun, time.process_time() - used

load(sys.argv[1])  # imports, kernels
print(*load(sys.argv[2]))
"""


@dataclass(frozen=True)
class Measured:
    """A process: seconds on the wall and of CPU, peak of resident bytes."""

    wall: float
    cpu: float
    peak: int


@dataclass(frozen=True)
class Big:
    """A cache file and its nodes."""

    path: Path
    num_nodes: int


def run(arguments: Sequence[str]) -> tuple[float, float, str]:
    """A process of its own: wall and CPU seconds, and what it printed. Raises RuntimeError if it fails."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen([sys.executable, "-c", *arguments], stdout=printed, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - begun
        printed.seek(0)
        text = printed.read()
    if process.returncode:
        raise RuntimeError(text)
    return wall, usage.ru_utime + usage.ru_stime, text


def replay(cache: Big, strategies: Sequence[str], budgets: str, trials: int | None = None) -> Measured:
    """`tts-sim replay`, the whole process."""
    chosen = [] if trials is None else ["--trials", str(trials)]
    wall, cpu, text = run([REPLAY, "replay", str(cache.path), *strategies, "--budget", budgets, *chosen, "--csv"])
    return Measured(wall, cpu, int(text.split()[-1]) * 1024)


def by_nodes(tiny: Big, caches: Sequence[Big]) -> None:
    """Loading alone, and a replay of three strategies from a cold process."""
    print(
        f"{'nodes':>12} {'load s':>8} {'load cpu':>9} {'replay s':>9} {'cpu':>6} {'B a node':>9} {'load ns a node':>15}"
    )
    strategies, budgets = ["sample+majority", "sample+weighted", "beam(width=4)+weighted"], "1,2,4…256"
    replay(tiny, strategies, budgets)  # compiles
    own = replay(tiny, strategies, budgets).peak
    for cache in caches:
        wall, cpu = map(float, run([LOAD, str(tiny.path), str(cache.path)])[2].split())
        whole = replay(cache, strategies, budgets)
        print(
            f"{cache.num_nodes:>12} {wall:>8.2f} {cpu:>9.2f} {whole.wall:>9.2f} {whole.cpu:>6.2f} "
            f"{(whole.peak - own) / cache.num_nodes:>9.1f} {cpu / cache.num_nodes * 1e9:>15.0f}"
        )


def by_work(tiny: Big, cache: Big) -> None:
    """CPU time beyond loading, by trials and by budgets; in proportion where the last column is constant."""
    strategies = ["sample+weighted"]
    print(f"\n{'trials':>8} {'budgets':>8} {'cpu s':>8} {'beyond load':>12} {'µs each':>8}")
    loaded = replay(cache, strategies, "8", 1).cpu
    for trials, budgets in [(8192, 1), (16384, 1), (32768, 1), (8192, 2), (8192, 4), (8192, 8)]:
        listed = ",".join(str(32 + place) for place in range(budgets))
        spent = replay(cache, strategies, listed, trials).cpu
        beyond = spent - loaded
        print(f"{trials:>8} {budgets:>8} {spent:>8.2f} {beyond:>12.2f} {beyond / trials / budgets * 1e6:>8.1f}")


def main() -> None:
    """Write the caches (or find them in --folder), measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description="Time and memory by nodes.")
    parser.add_argument("--nodes", type=int, default=10_000_000, help="of the largest cache")
    parser.add_argument("--folder", type=Path, help="keep the caches here; default: a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        tiny, *caches = (made(folder, size) for size in (TINY, *(round(arguments.nodes * share) for share in SHARES)))
        by_nodes(tiny, caches)
        by_work(tiny, caches[0])


def made(folder: Path, size: int) -> Big:
    """A cache of about that size, written unless it is there; its name tells its nodes."""
    for path in folder.glob(f"{size}-*.duckdb"):
        return Big(path, int(path.stem.partition("-")[2]))
    draft = folder / f"{size}.draft"
    num_nodes = write(draft, size)
    return Big(draft.rename(folder / f"{size}-{num_nodes}.duckdb"), num_nodes)


if __name__ == "__main__":
    main()
