"""`sample`: n independent solutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tts_sim.arrays import Float32s, Int64s, Solutions, Tally, new_tally
from tts_sim.kernels import sample as kernels
from tts_sim.selections import Best, Oracle
from tts_sim.strategies.plan import Exact, Plan, refuse_kind, refuse_short_pools, score_columns, score_missing
from tts_sim.strategies.search import Search


@dataclass(frozen=True)
class Sample(Search):
    """n draws from the root pool; below the root, draw 0 is taken at every step."""

    name: ClassVar[str] = "sample"
    kind: ClassVar[str] = "steps"

    def __str__(self) -> str:
        return self.name

    def replay(self, plan: Plan) -> Tally:
        """Run the kernel. Raises CacheExhausted if a budget exceeds a question's root pool."""
        found, scores, columns = _ready(self, plan)
        tally = new_tally(len(plan.forest.question_ids), len(plan.budgets), len(plan.selections), plan.room)
        kernels.sample(
            plan.forest.trees, scores, plan.kinds, columns, np.array(plan.budgets, np.int64), plan.trials,
            np.uint64(plan.seed), found, tally,
        )  # fmt: skip
        return tally

    def exact(self, plan: Plan) -> Exact:
        """Closed forms of `best` and `oracle`; NaN where a solution is missing, and for the other selections."""
        found, scores, columns = _ready(self, plan)
        budgets = np.array(plan.budgets, np.int64)
        closed = np.array([isinstance(selection, Best | Oracle) for selection in plan.selections])
        shape = (len(plan.forest.question_ids), len(budgets))
        formed, critical = np.empty((*shape, int(closed.sum()))), np.empty(shape)
        kernels.closed_forms(
            plan.forest.trees, scores, plan.kinds[closed], columns[closed], budgets, found, formed, critical
        )
        value = np.full((*shape, len(closed)), np.nan)
        value[:, :, closed] = formed
        sizes = np.diff(found.start)
        totals = np.add.reduceat(np.append(found.tokens, 0), found.start[:-1]) if len(sizes) else np.zeros(0)
        means = np.where(sizes > 0, totals / np.maximum(sizes, 1), np.nan)
        nothing = np.full(value.shape, np.nan)
        return Exact(value, nothing, means[:, None] * budgets[None, :], critical, np.zeros(shape))


def _ready(search: Sample, plan: Plan) -> tuple[Solutions, Float32s, Int64s]:
    forest = plan.forest
    refuse_kind(forest, search.kind, str(search))
    refuse_short_pools(plan, forest.root_pools(), max(plan.budgets), "samples")
    scores, columns = score_columns(plan, step_scores=False)
    found = forest.solutions()
    if any(selection.uses_scores for selection in plan.selections):
        answered = (found.state == 0) & (forest.trees.answer[found.row] >= 0)
        for s, selection in enumerate(plan.selections):
            if selection.uses_scores:
                lacking = np.flatnonzero(answered & np.isnan(scores[columns[s]][found.row]))
                if len(lacking):
                    raise score_missing(plan, int(np.searchsorted(found.start, lacking[0], side="right")) - 1)
    return found, scores, columns
