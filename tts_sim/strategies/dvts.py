"""`dvts`: independent greedy subtrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from tts_sim.arrays import IMPORTED, Tally, new_tally
from tts_sim.kernels import dvts as kernels
from tts_sim.kernels._threads import on_threads
from tts_sim.strategies.beam import check_width, width_at
from tts_sim.strategies.plan import (
    Plan,
    refuse_kind,
    refuse_missing_scores,
    refuse_short_pools,
    score_columns,
)
from tts_sim.strategies.scratch import new_scratch
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
        check_width(self.width)
        if self.outputs not in OUTPUTS:
            raise ValueError(f"outputs={self.outputs}: expected one of {', '.join(OUTPUTS)}.")

    def __str__(self) -> str:
        return f"{self.name}(width={self.width}{'' if self.outputs == 'all' else ',outputs=best'})"

    def width_at(self, budget: int) -> int:
        """Siblings of a subtree at this budget."""
        return width_at(self.width, budget)

    def check_budget(self, budget: int) -> None:
        """See Search."""
        width = self.width_at(budget)
        if budget % width:
            whose = "its width there, " if self.width == "sqrt" else ""
            raise ValueError(f"budget {budget}: {self} needs a multiple of {whose}{width}.")

    def replay(self, plan: Plan) -> Tally:
        """Run the kernel. Raises CacheExhausted if a budget exceeds a question's root pool, ScoreMissing."""
        forest = plan.forest
        refuse_kind(forest, self.kind, str(self))
        refuse_short_pools(plan, forest.root_pools(), max(plan.budgets), "first steps")
        scores, columns = score_columns(plan, step_scores=True)
        tally = new_tally(len(forest.question_ids), len(plan.budgets), len(plan.selections), plan.room)
        settings = kernels.Settings(
            int(self.outputs == "best"), plan.trials, np.uint64(plan.seed),
            IMPORTED if forest.root_pool is None else forest.root_pool,
            IMPORTED if forest.step_pool is None else forest.step_pool,
        )  # fmt: skip
        widths = np.array([self.width_at(budget) for budget in plan.budgets], np.int64)
        budgets = np.array(plan.budgets, np.int64)
        on_threads(
            kernels.dvts, forest.num_questions, lambda: kernels.new_room(*new_scratch(plan, scores[0])), forest.trees,
            scores, plan.kinds, columns, budgets, widths, settings, tally,
        )  # fmt: skip
        refuse_missing_scores(plan, tally)
        return tally
