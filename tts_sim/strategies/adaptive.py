"""`adaptive`: samples until the majority is settled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tts_sim.arrays import Int64s, Tally, new_tally
from tts_sim.kernels import adaptive as kernels
from tts_sim.kernels._threads import on_threads
from tts_sim.strategies.plan import (
    Plan,
    refuse_kind,
    refuse_missing_scores,
    refuse_policy,
    refuse_short_pools,
    score_columns,
)
from tts_sim.strategies.search import Search


@dataclass(frozen=True)
class Adaptive(Search):
    """Draw solutions one by one, in the order of `sample`, until P(Beta(a + 1, b + 1) > 1/2) ≥ confidence.

    a and b count the two most frequent answers so far; a solution without an answer counts in neither, but costs. The
    budget is the most that may be drawn, `generations` what was. Each draw waits for the one before, so the critical
    tokens are all tokens. The selection applies to what was drawn. With a confidence of 1 it never stops: `sample`.
    Stopping on a prefix of a permutation is unbiased for accuracy and cost (statistics 2.6).
    Source: Aggarwal et al. 2023 (arXiv:2305.11860) §3, the Beta criterion.
    """

    confidence: float = 0.95
    name: ClassVar[str] = "adaptive"
    kind: ClassVar[str] = "steps"

    def __post_init__(self) -> None:
        number = isinstance(self.confidence, int | float) and not isinstance(self.confidence, bool)
        if not number or not 0.5 < self.confidence <= 1:
            raise ValueError(f"confidence={self.confidence}: expected a number above 0.5, up to 1.")
        object.__setattr__(self, "confidence", float(self.confidence))

    def __str__(self) -> str:
        return f"{self.name}(confidence={repr(self.confidence).removesuffix('.0')})"

    def replay(self, plan: Plan) -> Tally:
        """Run the kernel. Raises CacheExhausted if a budget exceeds a question's root pool, ScoreMissing."""
        forest = plan.forest
        refuse_kind(forest, self.kind, str(self))
        refuse_policy(plan, str(self), "refuse", "bounds", "reuse")
        refuse_short_pools(plan, forest.root_pools(), max(plan.budgets), "samples")
        scores, columns = score_columns(plan, step_scores=False)
        tally = new_tally(len(forest.question_ids), len(plan.budgets), len(plan.selections), plan.room)
        most, pool = max(plan.budgets), int(forest.root_pools().max(initial=0))
        num_answers = int(np.diff(forest.trees.answer_start).max(initial=0))
        on_threads(
            kernels.adaptive, forest.num_questions,
            lambda: kernels.new_room(pool, most, num_answers, len(plan.selections)),
            forest.trees, scores, plan.kinds, columns, np.array(plan.budgets, np.int64),
            least_leads(self.confidence, most), plan.trials, np.uint64(plan.seed), forest.solutions(),
            plan.on_exhausted == "reuse", tally,
        )  # fmt: skip
        refuse_missing_scores(plan, tally)
        return tally


def least_leads(confidence: float, most: int) -> Int64s:
    """The least count a of the first answer that settles it, for each count b of the second up to most / 2.

    That is P(Bin(a + b + 1, 1/2) ≤ a) ≥ confidence, the Beta criterion in whole numbers, decided exactly. Where it
    takes more than `most` draws, the entry is most + 1.
    """
    above, below = confidence.as_integer_ratio()
    leads = np.full(most // 2 + 1, most + 1, np.int64)
    a, tosses, ways, term = 0, 1, 1, 1  # of 2^tosses outcomes `ways` have at most a heads, `term` exactly a
    for b in range(len(leads)):
        while ways * below < above << tosses:
            if a + b >= most:
                return leads
            ways, term = 2 * ways + term * (tosses - a) // (a + 1), term * (tosses + 1) // (a + 1)
            a, tosses = a + 1, tosses + 1
        leads[b] = a
        ways, term = 2 * ways - term, term * (tosses + 1) // (tosses + 1 - a)
        tosses += 1
    return leads
