"""Arms: what a policy may choose between, a strategy with the budget that it is run at, and its figures by question."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, get_args

import numpy as np
import polars as pl

from tts_sim.arrays import Bools, Float64s, Int64s
from tts_sim.outcomes import VALUE, Outcomes
from tts_sim.policy_file import Unit

UNITS: tuple[Unit, ...] = get_args(Unit)


class Arm(NamedTuple):
    """A strategy at one of its budgets (generations per question)."""

    strategy: str
    budget: int


@dataclass(frozen=True, eq=False)
class Arms:
    """Q questions × A arms, both in ascending order; NaN where a question has no value or no cost."""

    question_ids: tuple[str, ...]
    arms: tuple[Arm, ...]
    value: Float64s  # (Q, A) accuracy over the supported trials
    supported: Float64s  # (Q, A) share of trials
    cost: Float64s  # (Q, A) in `unit`
    unit: Unit
    sources: dict[str, tuple[str, str | None]]  # strategy → its run and its verifier

    @property
    def strategies(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(arm.strategy for arm in self.arms))

    @cached_property
    def strategy_of(self) -> Int64s:
        """The number of each arm's strategy, shape (A,)."""
        names = self.strategies
        return np.array([names.index(arm.strategy) for arm in self.arms], np.int64)

    @cached_property
    def _columns(self) -> Float64s:
        there, priced = ~np.isnan(self.value), ~np.isnan(self.cost)
        columns = [np.where(there, self.value, 0.0), there, np.where(priced, self.cost, 0.0), priced, self.supported]
        return np.hstack(columns)

    def sums(self, members: Float64s) -> Sums:
        """Sums over groups of questions; `members` has shape (groups, Q): how often a question counts in a group."""
        value, valued, cost, priced, supported = np.split(members @ self._columns, 5, axis=1)
        return Sums(value, valued, cost, priced, supported, members.sum(axis=1))


class Sums(NamedTuple):
    """Sums of G groups of questions over A arms; they add up over groups."""

    value: Float64s  # (G, A)
    valued: Float64s
    cost: Float64s
    priced: Float64s
    supported: Float64s
    size: Float64s  # (G,)


def arms_of(outcomes: Outcomes, unit: str = "generations", questions: Collection[str] | None = None) -> Arms:
    """All arms that the outcomes hold, on the questions that every strategy has (and that are among `questions`).

    Raises ValueError for a strategy that is there from several runs or verifiers, no common question, and a unit that
    is unknown or was not measured.
    """
    if unit not in UNITS:
        raise ValueError(f"unit {unit!r}: expected one of {', '.join(UNITS)}.")
    frame = outcomes.frame
    if unit not in frame.columns or frame[unit].null_count() == len(frame):
        raise ValueError(f"unit {unit!r}: unknown for these strategies; enter models.num_params into the cache.")
    sources: dict[str, Any] = {}
    for strategy, run, verifier in frame.select("strategy", "run", "verifier").unique(maintain_order=True).rows():
        if strategy in sources:
            listed = "; ".join(f"run {r!r}, verifier {v or 'none'}" for r, v in (sources[strategy], (run, verifier)))
            raise ValueError(f"strategy {strategy!r} is there twice ({listed}). Keep one of them.")
        sources[strategy] = (run, verifier)
    rows = frame.select("question_id", "strategy", "budget", "supported", value=VALUE, cost=pl.col(unit))
    arms = rows.select("strategy", "budget").unique().sort("strategy", "budget").with_row_index("arm")
    counts = rows.group_by("question_id").agg(arms=pl.len())
    known = counts.filter(pl.col("arms") == len(arms))["question_id"].sort()
    if questions is not None:
        known = known.filter(known.is_in(list(questions)))
    if not len(known):
        raise ValueError("these strategies share no question of known difficulty.")
    places = pl.DataFrame({"question_id": known}).with_row_index("question")
    rows = rows.join(arms, on=["strategy", "budget"]).join(places, on="question_id")
    where = rows["question"].to_numpy(), rows["arm"].to_numpy()

    def grid(column: str) -> Float64s:
        values = np.full((len(known), len(arms)), np.nan)
        values[where] = rows[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
        return values

    names = tuple(Arm(strategy, budget) for strategy, budget in arms.select("strategy", "budget").rows())
    return Arms(tuple(known), names, grid("value"), grid("supported"), grid("cost"), unit, sources)


def largest_of_each(allowed: Bools, strategy_of: Int64s) -> Bools:
    """`allowed`, shape (…, A), without the arms that stand before another allowed arm of their strategy."""
    kept = np.zeros_like(allowed)
    later = np.zeros(allowed.shape[:-1], np.bool_)
    for a in reversed(range(len(strategy_of))):
        if a + 1 == len(strategy_of) or strategy_of[a] != strategy_of[a + 1]:
            later = np.zeros(allowed.shape[:-1], np.bool_)
        kept[..., a] = allowed[..., a] & ~later
        later = later | allowed[..., a]
    return kept
