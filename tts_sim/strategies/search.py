"""What a search is to the rest of the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from tts_sim.arrays import Tally
from tts_sim.selections import Selection
from tts_sim.strategies.plan import Exact, Plan


class Search(ABC):
    """Turns a tree into candidate answers. A frozen value; `str()` gives the shortest spec that parses to it."""

    name: ClassVar[str]
    kind: ClassVar[str]  # of the runs that it replays: steps or revisions
    uses_scores: ClassVar[bool] = False  # whether a verifier steers it
    grows_trees: ClassVar[bool] = False  # whether which draws it asks for depends on earlier ones

    @abstractmethod
    def replay(self, plan: Plan) -> Tally:
        """Run the kernel. Raises CacheExhausted for a budget above what is cached, ScoreMissing."""

    def exact(self, plan: Plan) -> Exact | None:
        """What is known without chance; None: nothing is."""
        return None

    def missing(self, plan: Plan) -> Tally:
        """List the draws that a recording lacks, as far as `plan.room` goes."""
        return self.replay(plan)

    def resolved(self, selection: Selection) -> Search:
        """The same, with what it leaves to the selection spelled out."""
        return self

    def check_budget(self, budget: int) -> None:  # noqa: B027 — most searches can spend any
        """Raise ValueError, saying which budgets there are, unless the search can spend exactly this one."""
