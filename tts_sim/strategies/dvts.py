"""`dvts`: independent greedy subtrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from tts_sim.arrays import IMPORTED, Tally, new_tally
from tts_sim.kernels import dvts as kernels
from tts_sim.strategies.beam import Beam
from tts_sim.strategies.plan import (
    Plan,
    refuse_kind,
    refuse_missing_scores,
    refuse_policy,
    refuse_short_pools,
    score_columns,
)
from tts_sim.strategies.search import Search

Outputs = Literal["all", "best"]
OUTPUTS: tuple[Outputs, ...] = ("all", "best")


@dataclass(frozen=True)
class Dvts(Search):
    """n/width independent subtrees: each keeps the best of its `width` siblings and sends `width` children from it.

    Siblings are compared by step score, ended ones among them. A subtree is finished when the one that it keeps has
    ended, or after 40 rounds; its answers are then its last `width` siblings, of which those that have not ended
    abstain (`outputs=all`), or the kept one alone (`outputs=best`). `width` as for beam.
    The subtrees of a trial are exchangeable: a smaller budget of the same width averages its value over disjoint
    blocks of those of the largest, and costs what the first block costs (statistics 2.6).
    Source: Beeching et al. 2024, the search-and-learn code of Hugging Face (all); Liu et al. 2025 (best).
    """

    width: int | Literal["sqrt"] = 4
    outputs: Outputs = "all"
    name: ClassVar[str] = "dvts"
    kind: ClassVar[str] = "steps"
    uses_scores: ClassVar[bool] = True
    grows_trees: ClassVar[bool] = True

    def __post_init__(self) -> None:
        Beam(self.width)  # raises for a width that is none
        if self.outputs not in OUTPUTS:
            raise ValueError(f"outputs={self.outputs}: expected one of {', '.join(OUTPUTS)}.")

    def __str__(self) -> str:
        return f"{self.name}(width={self.width}{'' if self.outputs == 'all' else ',outputs=best'})"

    def width_at(self, budget: int) -> int:
        """Siblings of a subtree at this budget."""
        return Beam(self.width).width_at(budget)

    def check_budget(self, budget: int) -> None:
        """See Search."""
        width = self.width_at(budget)
        if budget % width:
            whose = "its width there, " if self.width == "sqrt" else ""
            raise ValueError(f"budget {budget}: {self} needs a multiple of {whose}{width}.")

    def replay(self, plan: Plan) -> Tally:
        """Run the kernel. Raises ValueError for a budget that is no multiple, CacheExhausted, ScoreMissing."""
        forest = plan.forest
        refuse_kind(forest, self.kind, str(self))
        refuse_policy(plan, str(self), "refuse", "bounds", "reuse")
        for budget in plan.budgets:
            self.check_budget(budget)
        refuse_short_pools(plan, forest.root_pools(), max(plan.budgets), "first steps")
        scores, columns = score_columns(plan, step_scores=True)
        tally = new_tally(len(forest.question_ids), len(plan.budgets), len(plan.selections), plan.room)
        kernels.dvts(
            forest.trees, scores, plan.kinds, columns, np.array(plan.budgets, np.int64),
            np.array([self.width_at(budget) for budget in plan.budgets], np.int64), self.outputs == "best",
            plan.trials, np.uint64(plan.seed), IMPORTED if forest.root_pool is None else forest.root_pool,
            IMPORTED if forest.step_pool is None else forest.step_pool, plan.on_exhausted == "reuse", tally,
        )  # fmt: skip
        refuse_missing_scores(plan, tally)
        return tally
