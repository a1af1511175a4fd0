"""`revise`: parallel chains of sequential revisions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from tts_sim.arrays import IMPORTED, Int32s, Int64s, Tally, new_tally
from tts_sim.errors import CacheExhausted
from tts_sim.forest import Forest
from tts_sim.kernels import revise as kernels
from tts_sim.kernels.levels import chain_lengths
from tts_sim.selections import Best, Selection, Weighted
from tts_sim.strategies.plan import Plan, refuse_kind, refuse_missing_scores, refuse_short_pools, score_columns
from tts_sim.strategies.search import Search

CONTEXT_ATTEMPTS = 4
Across = Literal["hierarchical", "pooled", "last"]
ACROSS: tuple[Across, ...] = ("hierarchical", "pooled", "last")


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
        """Run the kernel. Raises CacheExhausted if a question holds too few chains that are long enough."""
        forest = plan.forest
        refuse_kind(forest, self.kind, str(self))
        shapes = [self.shape_at(budget) for budget in plan.budgets]
        start, lengths = chains(forest)
        for parallel, sequential in shapes:
            refuse_few_chains(forest, start, lengths, parallel, sequential)
        scores, columns = score_columns(plan, step_scores=False)
        tally = new_tally(len(forest.question_ids), len(plan.budgets), len(plan.selections))
        kernels.revise(
            forest.trees, scores, plan.kinds, columns, ACROSS.index(self.across or "pooled"), *_columns(shapes),
            plan.trials, np.uint64(plan.seed), _pool(forest), _context(forest), start, lengths, tally,
        )  # fmt: skip
        refuse_missing_scores(plan, tally)
        return tally

    def missing(self, plan: Plan) -> Tally:
        """List the next missing attempt of each of the chains 0 : P. Raises CacheExhausted for more than the pool."""
        refuse_kind(plan.forest, self.kind, str(self))
        shapes = [self.shape_at(budget) for budget in plan.budgets]
        refuse_short_pools(plan, plan.forest.root_pools(), max(parallel for parallel, _ in shapes), "chains")
        tally = new_tally(len(plan.forest.question_ids), 1, 1, plan.room)
        kernels.missing_attempts(plan.forest.trees, *_columns(shapes), _pool(plan.forest), tally)
        return tally


def chains(forest: Forest) -> tuple[Int64s, Int32s]:
    """Lengths of the cached chains of every question: question q owns the places start[q] : start[q + 1]."""
    prompts = forest.trees.question_start[:-1]
    counts = forest.trees.child_stop[prompts] - forest.trees.child_start[prompts]
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    lengths = np.empty(int(start[-1]), np.int32)
    chain_lengths(forest.trees, _pool(forest), start, lengths)
    return start, lengths


def refuse_few_chains(forest: Forest, start: Int64s, lengths: Int32s, parallel: int, sequential: int) -> None:
    """Raise CacheExhausted unless every question holds `parallel` chains of `sequential` attempts."""
    running = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths >= sequential, dtype=np.int64)])
    eligible = running[start[1:]] - running[start[:-1]]
    short = np.flatnonzero(eligible < parallel)
    if len(short):
        first = int(short[0])
        raise CacheExhausted(
            f"{len(short)} of {len(eligible)} questions hold fewer than {parallel} chains of {sequential} attempts "
            f"(first: {forest.question_ids[first]!r}, {int(eligible[first])}). Lower the budget, or record more."
        )


def _columns(shapes: Sequence[tuple[int, int]]) -> tuple[Int64s, Int64s]:
    return np.array([p for p, _ in shapes], np.int64), np.array([s for _, s in shapes], np.int64)


def _context(forest: Forest) -> int:
    """Earlier attempts that the reviser sees: those of the recorded run, or four as in the paper."""
    settings = forest.recorded.get("settings")
    recorded = settings.get("context_attempts") if isinstance(settings, dict) else None
    return recorded if isinstance(recorded, int) else CONTEXT_ATTEMPTS


def _pool(forest: Forest) -> int:
    return IMPORTED if forest.root_pool is None else forest.root_pool
