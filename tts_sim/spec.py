"""Strategies as text: `search(parameters)+selection(parameters)`, for example beam(width=4)+weighted(agg=min)."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any

from tts_sim.selections import SELECTIONS, Selection
from tts_sim.strategies.adaptive import Adaptive
from tts_sim.strategies.beam import Beam
from tts_sim.strategies.dvts import Dvts
from tts_sim.strategies.lookahead import Lookahead
from tts_sim.strategies.rebase import Rebase
from tts_sim.strategies.revise import Revise
from tts_sim.strategies.sample import Sample
from tts_sim.strategies.search import Search

SEARCHES: tuple[type[Search], ...] = (Sample, Beam, Lookahead, Dvts, Rebase, Revise, Adaptive)


@dataclass(frozen=True)
class Strategy:
    """A search and a selection. `str()` gives the shortest spec that parses to the same strategy."""

    search: Search
    selection: Selection

    def __post_init__(self) -> None:
        if isinstance(self.search, Revise):  # `across` left out and spelled out are one strategy
            bare = replace(self.search, across=None)
            if bare.resolved(self.selection) == self.search:
                object.__setattr__(self, "search", bare)

    def __str__(self) -> str:
        return f"{self.search}+{self.selection}"

    @property
    def uses_scores(self) -> bool:
        """Whether a verifier takes part."""
        return self.search.uses_scores or self.selection.uses_scores


def parse_strategy(spec: str) -> Strategy:
    """The strategy that a spec describes.

    Raises ValueError for an unknown name or parameter (the known ones are listed) and for values out of range.
    """
    parts = [part.strip() for part in spec.split("+")]
    if len(parts) != 2:
        raise ValueError(
            f"strategy {spec!r}: expected search+selection, for example sample+majority; "
            f"searches: {_names(SEARCHES)}; selections: {_names(SELECTIONS)}."
        )
    search: Search = _parse(parts[0], spec, "search", SEARCHES)
    selection: Selection = _parse(parts[1], spec, "selection", SELECTIONS)
    return Strategy(search, selection)


def _names(known: tuple[Any, ...]) -> str:
    return ", ".join(entry.name for entry in known)


def _parse(text: str, spec: str, what: str, known: tuple[Any, ...]) -> Any:
    match = re.fullmatch(r"([\w-]+)\s*(?:\((.*)\))?", text)
    name = match.group(1) if match else text
    kind = next((entry for entry in known if entry.name == name), None)
    if match is None or kind is None:
        raise ValueError(f"strategy {spec!r}: unknown {what} {name!r}; known: {_names(known)}.")
    parameters = [field.name for field in fields(kind)]
    values: dict[str, Any] = {}
    for part in (match.group(2) or "").split(","):
        if not part.strip():
            continue
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key not in parameters or not equals or key in values:
            listed = ", ".join(parameters) or "none"
            problem = "given twice" if key in values else "unknown" if key not in parameters else "without a value"
            raise ValueError(f"strategy {spec!r}: parameter {key!r} of {name} is {problem}; known: {listed}.")
        values[key] = _value(value)
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"strategy {spec!r}: {error}") from None


def _value(text: str) -> int | float | str | tuple[int, int]:
    """A whole number, a number, a ratio a:b, or the text itself; what fits is for the search to say."""
    if re.fullmatch(r"[-+]?\d+", text):
        return int(text)
    if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", text, re.IGNORECASE):
        return float(text)
    match = re.fullmatch(r"(\d+):(\d+)", text)
    return (int(match.group(1)), int(match.group(2))) if match else text
