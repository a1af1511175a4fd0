"""A claim, and what a cache shows for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec

from tts_sim.errors import TtsSimError

if TYPE_CHECKING:
    from tts_sim.claims.material import Material

P = ParamSpec("P")
Verdict = Literal["holds", "in part", "cannot tell", "does not hold"]


@dataclass(frozen=True)
class Claim:
    """What the paper says, in our words, and where."""

    key: str
    text: str
    source: str


@dataclass(frozen=True)
class Finding:
    """Figures with their 95 % intervals, the command that prints them, and whether the claim holds here."""

    claim: Claim
    verdict: Verdict
    figures: tuple[str, ...]
    command: str


def points(row: dict[str, Any], label: str) -> str:
    """'label: +1.2 points (0.3 to 2.1)' from a row with difference, ci_low and ci_high; or that there is no support."""
    if row.get("difference") is None:
        return f"{label}: not supported"
    return f"{label}: {100 * row['difference']:+.1f} points ({reach(row)})"


def reach(row: dict[str, Any]) -> str:
    """The row's interval in points; a single question has none."""
    if row.get("ci_low") is None:
        return "one question: no interval"
    return f"{100 * row['ci_low']:+.1f} to {100 * row['ci_high']:+.1f}"


def tried(
    make: Callable[Concatenate[Material, P], Finding], material: Material, *more: P.args, **named: P.kwargs
) -> Iterator[Finding]:
    """The finding; where the cache holds too little for it, none, and the reason in `material.left_out`."""
    try:
        found = make(material, *more, **named)
    except (TtsSimError, ValueError) as error:
        material.left_out.append(str(error))
        return
    yield found


def sign(row: dict[str, Any]) -> int:
    """1 or -1 where the row's interval lies on one side of 0, else 0."""
    low, high = row.get("ci_low"), row.get("ci_high")
    if low is None or high is None:
        return 0
    return int(low > 0) - int(high < 0)


def all_of(signs: list[int]) -> Verdict:
    """Whether differences that should be above 0 are: all of them, some, none that can be told, or the reverse."""
    if signs and all(sign > 0 for sign in signs):
        return "holds"
    if any(sign > 0 for sign in signs):
        return "in part"
    return "does not hold" if any(sign < 0 for sign in signs) else "cannot tell"
