"""`sample`: n independent solutions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tts_sim.arrays import Float32s, Float64s, Int64s, Solutions, Tally, new_tally
from tts_sim.kernels import sample as kernels
from tts_sim.kernels._threads import no_room, on_threads
from tts_sim.kernels.best_of_n import best_of_n
from tts_sim.kernels.majority import majority
from tts_sim.selections import Best, Majority, Oracle
from tts_sim.strategies.plan import Exact, Plan, refuse_kind, refuse_short_pools, score_columns, score_missing
from tts_sim.strategies.search import Search

ROUNDING = 1e-12
PRODUCT_TRIALS = 32  # permutations that the variance of an exact majority is estimated from


@dataclass(frozen=True)
class Sample(Search):
    """n draws from the root pool; below the root, draw 0 is taken at every step."""

    name: ClassVar[str] = "sample"
    kind: ClassVar[str] = "steps"

    def __str__(self) -> str:
        return self.name

    def replay(self, plan: Plan) -> Tally:
        """Run the kernel. Raises CacheExhausted if a budget exceeds a question's root pool."""
        found, scores, columns = ready(self, plan)
        tally = new_tally(len(plan.forest.question_ids), len(plan.budgets), len(plan.selections), plan.room)
        on_threads(
            kernels.sample, plan.forest.num_questions, no_room, plan.forest.trees, scores, plan.kinds, columns,
            np.array(plan.budgets, np.int64), plan.trials, np.uint64(plan.seed), plan.on_exhausted == "reuse", found,
            tally,
        )  # fmt: skip
        return tally

    def exact(self, plan: Plan) -> Exact:
        """Expected values over all subsets of a pool; NaN where a solution is missing, and for `weighted`.

        Closed forms for `best` and `oracle`; for `majority` a dynamic programme, where that is affordable.
        """
        found, scores, columns = ready(self, plan)
        trees, budgets = plan.forest.trees, np.array(plan.budgets, np.int64)
        shape = (len(plan.forest.question_ids), len(budgets))
        value, within = (np.full((*shape, len(plan.selections)), np.nan) for _ in range(2))
        closed = np.array([isinstance(selection, Best | Oracle) for selection in plan.selections])
        best, best_within = (np.full((*shape, int(closed.sum())), np.nan) for _ in range(2))
        critical = np.full(shape, np.nan)
        on_threads(
            best_of_n, plan.forest.num_questions, no_room, trees, scores, plan.kinds[closed], columns[closed], budgets,
            found, best, best_within, critical,
        )  # fmt: skip
        value[:, :, closed], within[:, :, closed] = best, best_within
        counted = np.array([isinstance(selection, Majority) for selection in plan.selections])
        if counted.any():
            vote = np.full(shape, np.nan)
            on_threads(majority, plan.forest.num_questions, no_room, trees, budgets, found, vote)
            vote[vote > 1.0 - ROUNDING] = 1.0  # shares of a certain win: they add up to one but for rounding
            value[:, :, counted] = vote[:, :, None]
            within[:, :, counted] = _within_of_votes(self, plan, vote)[:, :, None]
        sizes = np.diff(found.start)
        totals = np.add.reduceat(np.append(found.tokens, 0), found.start[:-1]) if len(sizes) else np.zeros(0)
        means = np.where(sizes > 0, totals / np.maximum(sizes, 1), np.nan)
        tokens = np.where(np.isnan(critical), np.nan, means[:, None] * budgets[None, :])
        return Exact(value, within, tokens, critical, np.zeros(shape))


def _within_of_votes(search: Sample, plan: Plan, value: Float64s) -> Float64s:
    """Variance of expected majorities over new generations, from a few permutations; NaN where 2n exceeds the pool.

    U² - E h h' for blocks h and h' of a permutation. U is known, so the mean of their mean, less U, is noise alone:
    taking it off twice U-fold takes the first-order noise out of the product.
    """
    halves = [budget for budget in plan.budgets if 2 * budget <= plan.forest.root_pools().max(initial=0)]
    within = np.full(value.shape, np.nan)
    if halves:
        few = replace(plan, selections=[Majority()], budgets=halves, trials=min(plan.trials, PRODUCT_TRIALS))
        tally = search.replay(few)
        known = value[:, : len(halves)]
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = tally.first[:, :, 0] + tally.shift[:, :, 0] / tally.supported
            product = tally.products[:, :, 0] / tally.paired
        within[:, : len(halves)] = 2.0 * known * mean - known * known - product
    return within


def ready(search: Sample, plan: Plan) -> tuple[Solutions, Float32s, Int64s]:
    """The solutions, score columns and the column of each selection; raises what `replay` and `exact` raise."""
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
