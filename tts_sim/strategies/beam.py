"""`beam`: step-wise search guided by a process verifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from tts_sim.arrays import IMPORTED, Tally, new_tally
from tts_sim.kernels import beam as kernels
from tts_sim.strategies.plan import Plan, refuse_kind, refuse_missing_scores, refuse_short_pools, score_columns
from tts_sim.strategies.search import Search


@dataclass(frozen=True)
class Beam(Search):
    """Keep the best n/width of n candidates by step score, send `width` children from each, for 40 rounds.

    Finished candidates are frozen: they join the answers, and the next round draws one child less for each; the last
    parent in rank sends the remainder. `width` is a number (one above n counts as n) or "sqrt": the integer next to √n.
    Source: Snell et al. 2024 (arXiv:2408.03314) §5.2, which leaves early ends open; ours is `freeze` of statistics 1.3.
    """

    width: int | Literal["sqrt"] = 4
    name: ClassVar[str] = "beam"
    kind: ClassVar[str] = "steps"
    uses_scores: ClassVar[bool] = True
    grows_trees: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.width != "sqrt" and (not isinstance(self.width, int) or self.width < 1):
            raise ValueError(f"width={self.width}: expected a whole number from 1, or sqrt.")

    def __str__(self) -> str:
        return f"{self.name}(width={self.width})"

    def width_at(self, budget: int) -> int:
        """Children per kept candidate at this budget."""
        if self.width != "sqrt":
            return min(self.width, budget)
        root = math.isqrt(budget)
        return root + (budget > root * (root + 1))

    def replay(self, plan: Plan) -> Tally:
        """Run the kernel. Raises CacheExhausted if a budget exceeds a question's root pool, ScoreMissing for scores."""
        forest = plan.forest
        refuse_kind(forest, self.kind, str(self))
        refuse_short_pools(plan, forest.root_pools(), max(plan.budgets), "first steps")
        scores, columns = score_columns(plan, step_scores=True)
        tally = new_tally(len(forest.question_ids), len(plan.budgets), len(plan.selections), plan.room)
        kernels.beam(
            forest.trees, scores, plan.kinds, columns, np.array(plan.budgets, np.int64),
            np.array([self.width_at(budget) for budget in plan.budgets], np.int64), plan.trials,
            np.uint64(plan.seed), IMPORTED if forest.root_pool is None else forest.root_pool,
            IMPORTED if forest.step_pool is None else forest.step_pool, tally,
        )  # fmt: skip
        refuse_missing_scores(plan, tally)
        return tally
