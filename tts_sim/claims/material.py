"""What the claims are judged from: replays of one cache, each made once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import polars as pl

from cache import Cache
from tts_sim.budgets import powers_of_two
from tts_sim.compare import compare
from tts_sim.difficulty import difficulty_levels
from tts_sim.forest import Forest
from tts_sim.outcomes import Outcomes, combine
from tts_sim.policy import FittedPolicy, fit_policy
from tts_sim.replay import replay
from tts_sim.report_sections.material import Material as Reported
from tts_sim.report_sections.material import Settings
from tts_sim.roles import Apart
from tts_sim.spec import parse_strategy
from tts_sim.verifiers import with_verifiers

WEIGHTED, MAJORITY = "sample+weighted", "sample+majority"
BEAM, SQRT_BEAM, LOOKAHEAD = "beam(width=4)+weighted", "beam(width=sqrt)+weighted", "lookahead(width=4)+weighted"
NUM_BINS = 5


class Material:
    """A cache with the replays that claims share; what it does not hold is None, and its claims are left out."""

    def __init__(self, cache: Cache, *, seed: int = 0) -> None:
        self.cache = cache
        self.seed = seed
        self._reported = Reported(cache, Settings(seed=seed))
        self.left_out: list[str] = []  # why claims could not be judged
        self.steps = self._several("steps")
        self.revisions = self._several("revisions")
        self._replays: dict[tuple[str, str | None, tuple[int, ...]], Outcomes] = {}
        self._policies: dict[str, FittedPolicy] = {}

    def _several(self, kind: Literal["steps", "revisions"]) -> Forest | None:
        """The run of that kind; None without one, or where a single question leaves no interval."""
        forest = self._reported.forests.get(kind)
        return forest if forest is not None and forest.num_questions > 1 else None

    @cached_property
    def tree_budgets(self) -> list[int]:
        """Budgets for which the cache was filled with trees; empty where it was not."""
        noted = self.steps.recorded.get("demand", {}).get("budgets", []) if self.steps is not None else []
        return sorted(noted)

    def sample_budgets(self, forest: Forest) -> list[int]:
        """Powers of two up to half of the pool, so that the noise of the cache can be told from that of questions."""
        budgets = powers_of_two(1, int(forest.root_pools().min()) // 2)
        if not budgets:
            raise ValueError(f"run {forest.run_id!r}: a question holds fewer than two samples; record more.")
        return budgets

    def outcomes(
        self, forest: Forest, specs: Sequence[str], budgets: Sequence[int], verifier: str | None = None
    ) -> Outcomes:
        """Outcomes of the strategies, replayed once."""
        parts = []
        for spec in specs:
            key = (spec, verifier, tuple(budgets))
            if key not in self._replays:
                judged = forest if verifier is None else with_verifiers(forest, [verifier], seed=self.seed)
                self._replays[key] = replay(judged, [spec], budgets, verifier=verifier, seed=self.seed)
            parts.append(self._replays[key])
        return combine(parts)

    def difference(self, forest: Forest, first: str, second: str, budgets: Sequence[int]) -> dict[int, dict[str, Any]]:
        """The rows of `compare` by budget."""
        rows = compare(self.outcomes(forest, [first, second], budgets), name(first), name(second), seed=self.seed)
        return {row["budget"]: row for row in rows.to_dicts()}

    @cached_property
    def levels(self) -> dict[str, int]:
        """Difficulty of each question, 1 (easiest) to 5, by samples that evaluate nothing."""
        return difficulty_levels(self.apart.oracle)

    @cached_property
    def predicted_levels(self) -> dict[str, int] | None:
        """The same as the verifier sees it."""
        return None if self.apart.predicted is None else difficulty_levels(self.apart.predicted)

    @cached_property
    def apart(self) -> Apart:
        """Best-of-N weighted and beam search on the draws that do not estimate difficulty."""
        found = self._reported.apart
        rows = found.outcomes.frame.filter(pl.col("strategy").is_in([WEIGHTED, name(BEAM)]))
        return found._replace(outcomes=Outcomes(rows, found.outcomes.groups))

    def search_policy(self, kind: str) -> FittedPolicy:
        """The compute-optimal choice between best-of-N weighted and beam search, at the budgets of the trees."""
        if kind not in self._policies:
            difficulty = self.apart.oracle if kind == "oracle" else self.apart.predicted
            assert difficulty is not None
            self._policies[kind] = fit_policy(
                self.apart.outcomes, difficulty, self.tree_budgets, num_bins=NUM_BINS, seed=self.seed, kind=kind
            )
        return self._policies[kind]


def name(spec: str) -> str:
    """The strategy as outcomes write it."""
    return str(parse_strategy(spec))


def of_level(outcomes: Outcomes, levels: Mapping[str, int], level: int) -> Outcomes:
    """The outcomes of the questions of one level."""
    members = [question for question, its in levels.items() if its == level]
    return Outcomes(outcomes.frame.filter(pl.col("question_id").is_in(members)), outcomes.groups)
