"""`revise`: parallel chains of sequential revisions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from tts_sim.arrays import IMPORTED, Float32s, Float64s, Int64s, Tally, new_tally
from tts_sim.errors import CacheExhausted
from tts_sim.forest import Forest
from tts_sim.kernels import revise as kernels
from tts_sim.kernels import revise_exact as exact_kernels
from tts_sim.kernels._threads import on_threads
from tts_sim.kernels.chains import Chains, lay_chains
from tts_sim.selections import Best, Selection, Weighted
from tts_sim.strategies.plan import (
    Exact,
    Plan,
    refuse_kind,
    refuse_missing_scores,
    refuse_policy,
    refuse_short_pools,
    score_columns,
    score_missing,
)
from tts_sim.strategies.search import Search

CONTEXT_ATTEMPTS = 4
Across = Literal["hierarchical", "pooled", "last"]
ACROSS: tuple[Across, ...] = ("hierarchical", "pooled", "last")


class _Asked(NamedTuple):
    chains: Chains
    scores: Float32s
    columns: Int64s
    across: int
    groups: Int64s  # (G + 1,) budgets groups[g] : groups[g + 1] have chains of equal length
    parallel: Int64s  # (B,)
    sequential: Int64s  # (B,)


@dataclass(frozen=True)
class Revise(Search):
    """P chains, the first S attempts of each, P · S = n. Give `sequential` (S) or `ratio` (a, b) with S/P = a/b.

    `across` says what the selection sees: all attempts (`pooled`), only the S-th of each chain (`last`), or one attempt
    per chain (`hierarchical`: the highest-scored attempt of the answer that wins the chain's own weighted vote, or its
    own majority vote where no verifier is used; tied answers are drawn from uniformly). Default: hierarchical for best
    and weighted, pooled for majority and oracle. Source: Snell et al. 2024 (arXiv:2408.03314) §6.
    """

    sequential: int | None = None
    ratio: tuple[int, int] | None = None
    across: Across | None = None
    name: ClassVar[str] = "revise"
    kind: ClassVar[str] = "revisions"

    def __post_init__(self) -> None:
        if (self.sequential is None) == (self.ratio is None):
            raise ValueError("revise needs one of sequential=S and ratio=a:b, for example revise(sequential=4).")
        if self.sequential is not None and (not isinstance(self.sequential, int) or self.sequential < 1):
            raise ValueError(f"sequential={self.sequential}: expected a whole number from 1.")
        if self.ratio is not None:
            if not isinstance(self.ratio, tuple):
                raise ValueError(f"ratio={self.ratio}: expected sequential:parallel, for example 1:4.")
            if min(self.ratio) < 1:
                raise ValueError(f"ratio={self.ratio[0]}:{self.ratio[1]}: expected whole numbers from 1.")
            shared = math.gcd(*self.ratio)
            object.__setattr__(self, "ratio", (self.ratio[0] // shared, self.ratio[1] // shared))
        if self.across is not None and self.across not in ACROSS:
            raise ValueError(f"across={self.across}: expected one of {', '.join(ACROSS)}.")

    def __str__(self) -> str:
        shape = f"sequential={self.sequential}" if self.ratio is None else f"ratio={self.ratio[0]}:{self.ratio[1]}"
        return f"{self.name}({shape})" if self.across is None else f"{self.name}({shape},across={self.across})"

    def resolved(self, selection: Selection) -> Revise:
        """The same with `across` spelled out for this selection."""
        default: Across = "hierarchical" if isinstance(selection, Best | Weighted) else "pooled"
        return Revise(self.sequential, self.ratio, self.across or default)

    def check_budget(self, budget: int) -> None:
        """See Search."""
        self.shape_at(budget)

    def shape_at(self, budget: int) -> tuple[int, int]:
        """(P, S) at this budget. Raises ValueError if there is no such shape."""
        if self.sequential is not None:
            if budget % self.sequential:
                raise ValueError(f"budget {budget}: {self} needs a multiple of {self.sequential}.")
            return budget // self.sequential, self.sequential
        assert self.ratio is not None
        a, b = self.ratio
        unit = math.isqrt(budget // (a * b))
        if unit == 0 or unit * unit * a * b != budget:
            raise ValueError(f"budget {budget}: {self} needs {a * b} times a square number ({a * b}, {4 * a * b}, …).")
        return unit * b, unit * a

    def replay(self, plan: Plan) -> Tally:
        """Run the kernel: each trial is the mean over disjoint blocks of P chains, as many as a question holds.

        Raises CacheExhausted if a question holds too few chains that are long enough. With `bounds` its trials count as
        exhausted; with `reuse` every question's chains are drawn with replacement.
        """
        asked = self._asked(plan)
        tally = new_tally(len(plan.forest.question_ids), len(plan.budgets), len(plan.selections))
        on_threads(
            kernels.revise, len(plan.forest.question_ids) * (len(asked.groups) - 1), lambda: _new_room(plan.forest),
            plan.forest.trees, asked.chains, asked.scores, plan.kinds, asked.columns, asked.across, asked.groups,
            asked.parallel, asked.sequential, plan.trials, np.uint64(plan.seed), _pool(plan.forest),
            _context(plan.forest), plan.on_exhausted == "reuse", tally,
        )  # fmt: skip
        refuse_missing_scores(plan, tally)
        return tally

    def exact(self, plan: Plan) -> Exact:
        """Mean over all choices of P chains: closed forms of `best` and `oracle`, else by enumeration of up to 4096.

        NaN for other votes, for `best` where tied attempts cannot be exchanged and are too many to enumerate, and
        where a question holds fewer than P chains.
        """
        asked = self._asked(plan)
        shape = (len(plan.forest.question_ids), len(plan.budgets))
        value, product = (np.full((*shape, len(plan.selections)), np.nan) for _ in range(2))
        costs, status = np.full((*shape, 3), np.nan), np.zeros(shape[0], np.int8)
        on_threads(
            exact_kernels.exact, shape[0] * (len(asked.groups) - 1), lambda: _new_room(plan.forest),
            plan.forest.trees, asked.chains, asked.scores, plan.kinds, asked.columns, asked.across, asked.groups,
            asked.parallel, asked.sequential, _pool(plan.forest), _context(plan.forest), value, product, costs, status,
        )  # fmt: skip
        lacking = np.flatnonzero(status)
        if len(lacking):
            raise score_missing(plan, int(lacking[0]))
        return Exact(value, value * value - product, costs[:, :, 0], costs[:, :, 1], costs[:, :, 2])

    def missing(self, plan: Plan) -> Tally:
        """List the next missing attempt of each of the chains 0 : P. Raises CacheExhausted for more than the pool."""
        refuse_kind(plan.forest, self.kind, str(self))
        parallel, sequential = self._shapes(plan)
        refuse_short_pools(plan, plan.forest.root_pools(), int(parallel.max()), "chains")
        tally = new_tally(len(plan.forest.question_ids), 1, 1, plan.room)
        kernels.missing_attempts(plan.forest.trees, parallel, sequential, _pool(plan.forest), tally)
        return tally

    def _shapes(self, plan: Plan) -> tuple[Int64s, Int64s]:
        """P and S at every budget."""
        shapes = np.array([self.shape_at(budget) for budget in plan.budgets], np.int64)
        return np.ascontiguousarray(shapes[:, 0]), np.ascontiguousarray(shapes[:, 1])

    def _asked(self, plan: Plan) -> _Asked:
        """What the kernels work on, once everything is checked."""
        forest = plan.forest
        refuse_policy(plan, self.name, "refuse", "bounds", "reuse")
        refuse_kind(forest, self.kind, str(self))
        parallel, sequential = self._shapes(plan)
        chains = chains_of(forest)
        if plan.on_exhausted == "refuse":
            for p, s in zip(parallel, sequential, strict=True):
                refuse_few_chains(forest, chains, int(p), int(s))
        scores, columns = score_columns(plan, step_scores=False)
        across = self.across or "pooled"
        if across == "hierarchical":
            self._refuse_negative(plan, scores, columns)
        changes = np.flatnonzero(np.diff(sequential)) + 1
        groups = np.concatenate([[0], changes, [len(sequential)]]).astype(np.int64)
        return _Asked(chains, scores, columns, ACROSS.index(across), groups, parallel, sequential)

    def _refuse_negative(self, plan: Plan, scores: Float32s, columns: Int64s) -> None:
        for selection, column in zip(plan.selections, columns, strict=True):
            if isinstance(selection, Best) and bool((scores[column] < 0).any()):
                raise ValueError(
                    f"{self}+{selection}: verifier {plan.verifier!r} gives negative scores, which cannot be summed "
                    "into the vote of a chain. Use across=pooled or across=last, or map the scores to positive ones."
                )


def chains_of(forest: Forest) -> Chains:
    """The cached chains of every question."""
    prompts = forest.trees.question_start[:-1]
    counts = forest.trees.child_stop[prompts] - forest.trees.child_start[prompts]
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    chains = Chains(start, np.empty(int(start[-1]) + 1, np.int64), np.empty(len(forest.node_id), np.int32))
    lay_chains(forest.trees, _pool(forest), chains)
    return chains


def refuse_few_chains(forest: Forest, chains: Chains, parallel: int, sequential: int) -> None:
    """Raise CacheExhausted unless every question holds `parallel` chains of `sequential` attempts."""
    enough = np.diff(chains.attempt) >= sequential
    running = np.concatenate([np.zeros(1, np.int64), np.cumsum(enough, dtype=np.int64)])
    eligible = running[chains.start[1:]] - running[chains.start[:-1]]
    short = np.flatnonzero(eligible < parallel)
    if len(short):
        first = int(short[0])
        raise CacheExhausted(
            f"{len(short)} of {len(eligible)} questions hold fewer than {parallel} chains of {sequential} attempts "
            f"(first: {forest.question_ids[first]!r}, {int(eligible[first])}). Lower the budget, or record more."
        )


def _new_room(forest: Forest) -> Float64s:
    """Scratch of one thread: a place per answer of a question, and one for those that abstain."""
    return np.empty(int(np.diff(forest.trees.answer_start).max(initial=0)) + 1, np.float64)


def _context(forest: Forest) -> int:
    """Earlier attempts that the reviser sees: those of the recorded run, or four as in the paper."""
    settings = forest.recorded.get("settings")
    recorded = settings.get("context_attempts") if isinstance(settings, dict) else None
    return recorded if isinstance(recorded, int) else CONTEXT_ATTEMPTS


def _pool(forest: Forest) -> int:
    return IMPORTED if forest.root_pool is None else forest.root_pool
