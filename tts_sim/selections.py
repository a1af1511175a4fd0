"""Selections: how one answer is chosen among the candidates of a search.

`majority` takes the most frequent answer, `best` the highest-scored solution, `weighted` the answer with the largest
sum of scores, `oracle` any correct one (coverage). Ties count as the share of correct ones among the tied; a solution
without an answer abstains, and an empty vote is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Aggregate = Literal["last", "min", "prod", "mean"]
AGGREGATES: tuple[Aggregate, ...] = ("last", "min", "prod", "mean")


def checked_aggregate(agg: str) -> None:
    """Raise ValueError unless `agg` is a known way to make one score out of a solution's step scores."""
    if agg not in AGGREGATES:
        raise ValueError(f"agg={agg}: expected one of {', '.join(AGGREGATES)}.")


@dataclass(frozen=True)
class Majority:
    """The most frequent answer."""

    name: ClassVar[str] = "majority"
    kind: ClassVar[int] = 0
    uses_scores: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Best:
    """The highest-scored solution; `agg` makes its score out of its steps' scores."""

    agg: Aggregate = "last"
    name: ClassVar[str] = "best"
    kind: ClassVar[int] = 1
    uses_scores: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked_aggregate(self.agg)

    def __str__(self) -> str:
        return self.name if self.agg == "last" else f"{self.name}(agg={self.agg})"


@dataclass(frozen=True)
class Weighted:
    """The answer with the largest sum of scores, which must not be negative. Source: Li et al. 2023."""

    agg: Aggregate = "last"
    name: ClassVar[str] = "weighted"
    kind: ClassVar[int] = 2
    uses_scores: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked_aggregate(self.agg)

    def __str__(self) -> str:
        return self.name if self.agg == "last" else f"{self.name}(agg={self.agg})"


@dataclass(frozen=True)
class Oracle:
    """Any correct solution: coverage, pass@n."""

    name: ClassVar[str] = "oracle"
    kind: ClassVar[int] = 3
    uses_scores: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.name


Selection = Majority | Best | Weighted | Oracle
SELECTIONS: tuple[type[Selection], ...] = (Majority, Best, Weighted, Oracle)
