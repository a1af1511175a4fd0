"""The comparisons: who does the same work, on what, and how much of it there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench import loading, replays, searches, twins, votes, workloads
from bench.workloads import Workload
from tts_sim.arrays import Float64s


@dataclass(frozen=True)
class Contender:
    """One way to do the work. A slow one does it for the first `most_questions` only; rows agree with the others'."""

    name: str
    run: Callable[[Workload], Float64s]
    most_questions: int = 1 << 30


@dataclass(frozen=True)
class Comparison:
    """Contenders, ours first, the workload of a size, and its draws (or nodes): what a time is divided by."""

    name: str
    workload: Callable[[str], Workload]
    work: Callable[[Workload], int]
    contenders: tuple[Contender, ...]


def sample_draws(workload: Workload) -> int:
    """Samples that enter a vote: at every budget each trial's permutation is cut into disjoint blocks."""
    pool = int(workload.forest.root_pools()[0])
    return workload.forest.num_questions * workload.trials * sum(pool // budget * budget for budget in workload.budgets)


def search_draws(workload: Workload) -> int:
    """First steps drawn at every budget; deeper rounds come with them."""
    return workload.forest.num_questions * workload.trials * sum(workload.budgets)


def nodes(workload: Workload) -> int:
    """Nodes loaded."""
    return workload.forest.num_nodes


def _replayed(spec: str) -> tuple[Contender, ...]:
    """Our kernel, and its C twin where C can be compiled."""
    ours = Contender("kernel", partial(replays.kernel, spec=spec))
    twin = Contender("C twin", partial(replays.twin, spec=spec))
    return (ours, twin) if twins.compiler() else (ours,)


def _votes(spec: str, numpy: Callable[[Workload], Float64s], python: Callable[[Workload], Float64s]) -> Comparison:
    others = (Contender("numpy", numpy, 100), Contender("Python", python, 20))
    return Comparison(spec, workloads.stars, sample_draws, (*_replayed(spec), *others))


def _beam(spec: str) -> Comparison:
    naive = Contender("Python", partial(searches.naive_beam, spec=spec), 1)
    return Comparison(spec, workloads.bushes, search_draws, (*_replayed(spec), naive))


COMPARISONS = (
    _votes("sample+weighted", votes.numpy_weighted, votes.loop_weighted),
    _votes("sample+majority", votes.numpy_majority, votes.loop_majority),
    _beam("beam(width=4)+weighted"),
    _beam("beam(width=2)+weighted"),
    _beam("beam(width=sqrt)+weighted"),
    Comparison(
        "load",
        workloads.bushes,
        nodes,
        (Contender("kernel", loading.arrays), Contender("Python", loading.objects, 50)),
    ),
)
