"""`rebase`: expansions shared out by reward."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from tts_sim.arrays import IMPORTED, Tally, new_tally
from tts_sim.kernels import rebase as kernels
from tts_sim.kernels._threads import on_threads
from tts_sim.strategies.plan import (
    Plan,
    refuse_kind,
    refuse_missing_scores,
    refuse_short_pools,
    score_columns,
)
from tts_sim.strategies.scratch import new_scratch
from tts_sim.strategies.search import Search

Rounding = Literal["remainder", "round"]
ROUNDINGS: tuple[Rounding, ...] = ("remainder", "round")


@dataclass(frozen=True)
class Rebase(Search):
    """Share the next round's expansions out over the candidates by softmax(step score / temperature), for 40 rounds.

    The first round draws n steps. Finished candidates join the answers; the B = n - finished expansions that are left
    go to the others, B · softmax each. What is not whole is settled by the largest remainders (`rounding=remainder`;
    equal ones: the higher score, then chance), so that n candidates remain n. `rounding=round` rounds each share (a
    half up) and serves the candidates from the best on until B is spent; what is left over is not drawn in that round,
    so that fewer than n candidates may come out: `generations` counts those that do. A candidate whose share is 0 is
    dropped. A node must hold as many children as it is sent, up to B; a replay that finds fewer is exhausted.
    Source: Wu et al. 2024 (arXiv:2408.00724) §3.2, W = Round(B · softmax(R / .1)), which need not sum to B. Their code
    goes from the best on, too, with W = ⌈what is left of B · share of what is left of the weights⌉.
    """

    temperature: float = 0.1
    rounding: Rounding = "remainder"
    name: ClassVar[str] = "rebase"
    kind: ClassVar[str] = "steps"
    uses_scores: ClassVar[bool] = True
    grows_trees: ClassVar[bool] = True

    def __post_init__(self) -> None:
        number = isinstance(self.temperature, int | float) and not isinstance(self.temperature, bool)
        if not number or not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature={self.temperature}: expected a number above 0.")
        object.__setattr__(self, "temperature", float(self.temperature))
        if self.rounding not in ROUNDINGS:
            raise ValueError(f"rounding={self.rounding}: expected one of {', '.join(ROUNDINGS)}.")

    def __str__(self) -> str:
        number = repr(self.temperature).removesuffix(".0").replace("e+", "e")  # a plus parts search and selection
        return f"{self.name}(temperature={number}{'' if self.rounding == 'remainder' else ',rounding=round'})"

    def replay(self, plan: Plan) -> Tally:
        """Run the kernel. Raises CacheExhausted if a budget exceeds a question's root pool, ScoreMissing for scores."""
        forest = plan.forest
        refuse_kind(forest, self.kind, str(self))
        refuse_short_pools(plan, forest.root_pools(), max(plan.budgets), "first steps")
        scores, columns = score_columns(plan, step_scores=True)
        tally = new_tally(len(forest.question_ids), len(plan.budgets), len(plan.selections), plan.room)
        settings = kernels.Settings(
            self.temperature, int(self.rounding == "round"), plan.trials,
            np.uint64(plan.seed), IMPORTED if forest.root_pool is None else forest.root_pool,
            IMPORTED if forest.step_pool is None else forest.step_pool,
        )  # fmt: skip
        budgets = np.array(plan.budgets, np.int64)
        on_threads(
            kernels.rebase, forest.num_questions, lambda: kernels.new_room(*new_scratch(plan, scores[0])), forest.trees,
            scores, plan.kinds, columns, budgets, settings, tally,
        )  # fmt: skip
        refuse_missing_scores(plan, tally)
        return tally
