"""`lookahead`: beam search whose steps are judged by where a greedy rollout leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tts_sim.arrays import Tally
from tts_sim.strategies.beam import check_width, run_kernel
from tts_sim.strategies.plan import Plan
from tts_sim.strategies.search import Search


@dataclass(frozen=True)
class Lookahead(Search):
    """Beam search in which the score of a step is that at the end of a greedy rollout of `steps` further steps.

    A rollout stops where its solution ends; it is thrown away once its score is read. At budget b there are
    n = b / (steps + 1) candidates, each with its rollout; `width` and early ends are as in `beam` (freeze), which it
    is at steps=0. Tokens and critical tokens count the steps that were rolled out, also below candidates that are
    pruned; a rollout is one call, and one that has nowhere to go is none.
    Source: Snell et al. 2024 (arXiv:2408.03314) §5.2.
    """

    width: int | Literal["sqrt"] = 4
    steps: int = 3
    name: ClassVar[str] = "lookahead"
    kind: ClassVar[str] = "steps"
    uses_scores: ClassVar[bool] = True
    grows_trees: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_width(self.width)
        if not isinstance(self.steps, int) or not 0 <= self.steps < 2**15:
            raise ValueError(f"steps={self.steps}: expected a whole number from 0.")

    def __str__(self) -> str:
        return f"{self.name}(width={self.width},steps={self.steps})"

    def check_budget(self, budget: int) -> None:
        """See Search."""
        if budget % (self.steps + 1):
            raise ValueError(f"budget {budget}: {self} needs a multiple of {self.steps + 1}.")

    def replay(self, plan: Plan) -> Tally:
        """Run the kernel. Raises CacheExhausted if a budget exceeds a question's root pool, ScoreMissing for scores."""
        return run_kernel(self, plan, self.width, steps=self.steps)
