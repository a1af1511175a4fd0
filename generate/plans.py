"""Plans: what a recording shall hold. Each lists the draws that the cache still lacks; nothing missing is fulfilled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from cache import Cache


@dataclass(frozen=True)
class Draw:
    """One draw to make: number `draw` below the node (None: the prompt), one step, or `to_end` the whole solution."""

    question_id: str
    parent_id: int | None
    draw: int
    to_end: bool
    greedy: bool = False


def all_questions(cache: Cache) -> list[str]:
    """The questions of the cache: a recording covers them all, whether a run holds nodes of them yet or not."""
    return cache.frame("SELECT question_id FROM questions ORDER BY question_id")["question_id"].to_list()


class Remaining(NamedTuple):
    """What a plan still lacks: whole solutions (attempts, in chains) by question; `at_most`: it may be fewer."""

    solutions: Mapping[str, int]
    at_most: bool


class Plan(Protocol):
    """Something that a run shall hold."""

    @property
    def name(self) -> str:
        """What the plan is called in progress and provenance."""
        ...

    def missing(self, cache: Cache, run_id: str) -> list[Draw]:
        """The draws that can be made now and are not there; empty when the plan is fulfilled."""
        ...

    def remaining(self, cache: Cache, run_id: str) -> Remaining:
        """All that it lacks, as far as it can be told before it is made."""
        ...


@dataclass(frozen=True)
class Demand:
    """Whatever the replays of `strategies` at `budgets` ask for in trials 0 : trials, one layer of the trees at a time.

    Searches over independent solutions draw to the end; tree searches draw single steps, and so do greedy rollouts.
    """

    strategies: Sequence[str]
    budgets: Sequence[int]
    trials: int
    seed: int
    verifier: str | None = None
    name: str = "demand"

    def missing(self, cache: Cache, run_id: str) -> list[Draw]:
        """See Plan. The kernels that answer offline are the ones that decide what to record."""
        from tts_sim.demand import demand
        from tts_sim.load import load_forest
        from tts_sim.spec import parse_strategy

        kind = str(cache.frame("SELECT kind FROM runs WHERE run_id = $run", {"run": run_id}).item())
        forest = load_forest(cache, run_id, kind=kind, questions=all_questions(cache))
        wanted = [parse_strategy(spec) for spec in self.strategies]
        flat = [strategy for strategy in wanted if not strategy.search.grows_trees]
        draws: list[Draw] = []
        for strategies, to_end in ((flat, True), ([one for one in wanted if one not in flat], False)):
            if strategies and not draws:  # solutions first: a tree search may find its draws among them
                frame = demand(
                    forest, strategies, self.budgets, verifier=self.verifier, trials=self.trials, seed=self.seed
                )
                draws = [
                    Draw(question_id, node_id, draw, to_end and not greedy, greedy)
                    for question_id, node_id, draw, greedy in frame.iter_rows()
                ]
        return draws

    def remaining(self, cache: Cache, run_id: str) -> Remaining:
        """See Plan. What samples lack is listed at once; other searches take at most budget solutions a trial."""
        from tts_sim.spec import parse_strategy

        searches = {parse_strategy(spec).search for spec in self.strategies}
        listed = Counter(draw.question_id for draw in self.missing(cache, run_id))
        if all(search.name == "sample" for search in searches):
            return Remaining(listed, at_most=False)
        trials = self.trials if any(search.grows_trees for search in searches) else 1
        most = trials * len(searches) * sum(self.budgets)
        return Remaining(dict.fromkeys(listed, most), at_most=True)


def flat(num_samples: int) -> Demand:
    """`num_samples` independent solutions of each question: all that `sample` can ask of a root pool of that size."""
    return Demand(("sample+oracle",), (num_samples,), trials=1, seed=0, name=f"flat({num_samples})")


def demands(
    strategies: Sequence[str], budgets: Sequence[int], trials: int, seed: int, verifier: str | None = None
) -> list[Demand]:
    """Demands that hold every strategy at the budgets that it can spend; one for all, where all can spend the same.

    Draws are shared: what one strategy asked for is there for the next. Raises ValueError for a strategy that can spend
    none of the budgets; budgets that only some cannot spend are said on stderr.
    """
    from tts_sim.cli.engine import fitting
    from tts_sim.spec import parse_strategy

    if trials < 1:
        raise ValueError(f"trials {trials}: expected a whole number from 1.")
    groups = fitting([parse_strategy(spec) for spec in strategies], budgets)
    return [Demand(tuple(map(str, members)), tuple(fit), trials, seed, verifier) for fit, members in groups]


@dataclass(frozen=True)
class Greedy:
    """The greedy solution of each question."""

    name: str = "greedy"

    def missing(self, cache: Cache, run_id: str) -> list[Draw]:
        """See Plan. A greedy solution is stored whole or not at all."""
        frame = cache.frame(
            "SELECT question_id FROM questions ANTI JOIN "
            "(SELECT question_id FROM nodes WHERE run_id = $run AND parent_id IS NULL AND greedy) USING (question_id) "
            "ORDER BY question_id",
            {"run": run_id},
        )
        return [Draw(question_id, None, 0, to_end=True, greedy=True) for (question_id,) in frame.iter_rows()]

    def remaining(self, cache: Cache, run_id: str) -> Remaining:
        """See Plan."""
        return Remaining(Counter(draw.question_id for draw in self.missing(cache, run_id)), at_most=False)


def staircase(longest: int, spare: int = 2) -> tuple[int, ...]:
    """Planned lengths of revision chains i = 1 … spare·longest: min(longest, ⌊spare·longest/i⌋).

    With them every split parallel × sequential = longest finds at least `spare` times the chains it needs, for
    about spare·longest·(1 + ln longest) attempts instead of spare·longest². Lengths are fixed by index, never by
    content, so the chains long enough for a split are i.i.d.
    """
    return tuple(min(longest, spare * longest // i) for i in range(1, spare * longest + 1))


@dataclass(frozen=True)
class Chains:
    """Revision chains of the given lengths, one entry a chain; one attempt of every unfinished chain at a time."""

    lengths: tuple[int, ...]
    name: str = "chains"

    def missing(self, cache: Cache, run_id: str) -> list[Draw]:
        """See Plan."""
        tails = self._tails(cache, run_id)
        draws = []
        for question_id in all_questions(cache):
            for number, planned in enumerate(self.lengths):
                node_id, size = tails.get((question_id, number), (None, 0))
                if size < planned:
                    draws.append(Draw(question_id, node_id, 0 if size else number, to_end=True))
        return draws

    def remaining(self, cache: Cache, run_id: str) -> Remaining:
        """See Plan."""
        tails = self._tails(cache, run_id)
        lacking: Counter[str] = Counter()
        for question_id in all_questions(cache):
            sizes = [tails.get((question_id, number), (None, 0))[1] for number in range(len(self.lengths))]
            lacking[question_id] = sum(
                max(planned - size, 0) for planned, size in zip(self.lengths, sizes, strict=True)
            )
        return Remaining({name: count for name, count in lacking.items() if count}, at_most=False)

    def _tails(self, cache: Cache, run_id: str) -> dict[tuple[str, int], tuple[int, int]]:
        """The last attempt of each chain, by question and number of the chain, with the attempts so far."""
        nodes = cache.frame(
            "SELECT question_id, node_id, coalesce(parent_id, -1) AS parent_id, draw FROM nodes "
            "WHERE run_id = $run AND NOT greedy ORDER BY node_id",
            {"run": run_id},
        )
        ids, parents = nodes["node_id"].to_numpy(), nodes["parent_id"].to_numpy()
        up = np.where(parents >= 0, np.searchsorted(ids, parents), -1)
        chain, length = nodes["draw"].to_numpy().astype(np.int64), np.ones(len(ids), np.int64)
        level = np.flatnonzero(up < 0)
        reached = np.zeros(len(ids), bool)
        reached[level] = True
        while len(level):  # one pass a generation: an attempt takes its chain's number and one more place
            level = np.flatnonzero(~reached & reached[up] & (up >= 0))
            chain[level], length[level] = chain[up[level]], length[up[level]] + 1
            reached[level] = True
        is_tail = np.ones(len(ids), bool)
        is_tail[up[up >= 0]] = False
        return {
            (question_id, number): (node_id, size)
            for question_id, node_id, number, size in zip(
                nodes["question_id"].filter(is_tail),
                ids[is_tail].tolist(),
                chain[is_tail].tolist(),
                length[is_tail].tolist(),
                strict=True,
            )
        }
