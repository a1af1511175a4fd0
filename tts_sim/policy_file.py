"""A fitted policy and its file. Light: an inference service needs NumPy and this, no engine and no cache."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from tts_sim.bins import Bins
from tts_sim.errors import PolicyInvalid, PolicyTooNew

FORMAT = "tts-sim policy"
VERSION = 1

Unit = Literal["generations", "tokens", "flops", "critical_tokens"]


@dataclass(frozen=True)
class Choice:
    """What to do with a question: a strategy, and how many generations to give it.

    `accuracy` is what questions of this level reached, cross-fitted: on questions that had no say in the choice, with
    its 95 % interval (None where a single question leaves none). `cost` is the mean of the chosen strategy at this
    level, in the policy's unit. `budget` is the fitted one that was used.
    """

    strategy: str
    generations: int
    level: int
    budget: float
    accuracy: float | None
    ci_low: float | None
    ci_high: float | None
    cost: float
    num_questions: int
    pooled: bool  # the level had too few questions of its own: chosen over all levels


@dataclass(frozen=True)
class Candidate:
    """A strategy that the policy could choose, at `budgets` (generations); run and verifier of the figures."""

    strategy: str
    budgets: tuple[int, ...]
    run: str
    verifier: str | None


@dataclass(frozen=True)
class Policy:
    """Level of difficulty × budget → strategy. `table` holds one choice for each, by level and budget.

    `difficulty` says which difficulty `bins` cut (kind oracle or predicted, verifier, samples), `fit` how the policy
    was fitted, `cache` what on.
    """

    unit: Unit
    bins: Bins
    table: tuple[Choice, ...]
    candidates: tuple[Candidate, ...]
    difficulty: Mapping[str, Any] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)
    cache: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise ValueError(f"unit {self.unit!r}: expected one of {', '.join(get_args(Unit))}.")
        known = {(entry.strategy, budget) for entry in self.candidates for budget in entry.budgets}
        places = [(entry.level, entry.budget) for entry in self.table]
        expected = [(level, budget) for level in range(1, self.bins.num_bins + 1) for budget in self.budgets]
        if not self.table or sorted(places) != expected:
            raise ValueError(f"table: expected one choice for each of {self.bins.num_bins} levels and each budget.")
        for entry in self.table:
            if (entry.strategy, entry.generations) not in known:
                raise ValueError(f"choice {entry.strategy!r} at {entry.generations}: not among the candidates.")

    @property
    def budgets(self) -> tuple[float, ...]:
        """The fitted budgets, ascending, in `unit`."""
        return tuple(sorted({entry.budget for entry in self.table}))

    def choose(self, *, difficulty: float, budget: float) -> Choice:
        """The choice for a question of this difficulty (high = easy) at the largest fitted budget not above `budget`.

        Raises ValueError for a budget below the smallest fitted one, and for what is no finite number.
        """
        for name, value in (("difficulty", difficulty), ("budget", budget)):
            if isinstance(value, bool) or not math.isfinite(value):
                raise ValueError(f"{name}={value}: expected a finite number.")
        affordable = [fitted for fitted in self.budgets if fitted <= budget]
        if not affordable:
            raise ValueError(f"budget={budget}: the smallest that this policy knows is {self.budgets[0]} {self.unit}.")
        return self.at(self.bins.level(difficulty), affordable[-1])

    def at(self, level: int, budget: float) -> Choice:
        """The choice of a level at a fitted budget."""
        return next(entry for entry in self.table if (entry.level, entry.budget) == (level, budget))

    def save(self, path: str | Path) -> None:
        """Writes the policy as JSON."""
        Path(path).write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The policy as JSON text, one choice a line. Raises ValueError for a number that JSON lacks."""
        content: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "unit": self.unit,
            "budgets": self.budgets,
            "bins": asdict(self.bins),
            "difficulty": dict(self.difficulty),
            "fit": dict(self.fit),
            "cache": dict(self.cache),
            "candidates": [asdict(entry) for entry in self.candidates],
            "table": [asdict(entry) for entry in self.table],
        }
        lines = []
        for key, value in content.items():
            if isinstance(value, list):
                inner = ",\n".join(f"  {_json(item)}" for item in value)
                lines.append(f" {_json(key)}: [\n{inner}\n ]")
            else:
                lines.append(f" {_json(key)}: {_json(value)}")
        return "{\n" + ",\n".join(lines) + "\n}\n"


def load_policy(path: str | Path) -> Policy:
    """The policy of a file that `policy fit` has written. Loads neither numba nor duckdb nor polars.

    Raises PolicyInvalid for a damaged file, PolicyTooNew for one of a newer version, OSError if it cannot be read.
    """
    try:
        content = json.loads(Path(path).read_bytes(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise PolicyInvalid(f"{path} is not JSON ({error}). Make it anew with `tts-sim policy fit`.") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise PolicyInvalid(f"{path} is not a policy of tts-sim. Make one with `tts-sim policy fit`.")
    version = content.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise PolicyInvalid(f"{path}: version {version!r}: expected a whole number from 1.")
    if version > VERSION:
        raise PolicyTooNew(f"{path} has version {version}; this tts-sim reads up to {VERSION}. Upgrade tts-sim.")
    try:
        return _policy(content)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise PolicyInvalid(f"{path} is damaged: {what} Make it anew with `tts-sim policy fit`.") from None


def _policy(content: Mapping[str, Any]) -> Policy:
    bins = _section(content, "bins")
    shares = _numbers(bins.get("tied_below", []), "bins.tied_below")
    candidates, table = (_list(content[name], name) for name in ("candidates", "table"))
    return Policy(
        unit=content["unit"],
        bins=Bins(bins["rule"], _numbers(bins["edges"], "bins.edges"), shares),
        table=tuple(_choice(entry, row) for row, entry in enumerate(table)),
        candidates=tuple(_candidate(entry, row) for row, entry in enumerate(candidates)),
        **{name: _section(content, name) for name in ("difficulty", "fit", "cache")},
    )


def _choice(entry: Any, row: int) -> Choice:
    where = f"table[{row}]"
    fields = _mapping(entry, where)
    return Choice(
        strategy=_text(fields["strategy"], f"{where}.strategy"),
        generations=_whole(fields["generations"], f"{where}.generations"),
        level=_whole(fields["level"], f"{where}.level"),
        budget=_number(fields["budget"], f"{where}.budget"),
        accuracy=_perhaps(fields["accuracy"], f"{where}.accuracy"),
        ci_low=_perhaps(fields["ci_low"], f"{where}.ci_low"),
        ci_high=_perhaps(fields["ci_high"], f"{where}.ci_high"),
        cost=_number(fields["cost"], f"{where}.cost"),
        num_questions=_whole(fields["num_questions"], f"{where}.num_questions", least=0),
        pooled=fields["pooled"] is True,
    )


def _candidate(entry: Any, row: int) -> Candidate:
    where = f"candidates[{row}]"
    fields = _mapping(entry, where)
    verifier = fields["verifier"]
    return Candidate(
        strategy=_text(fields["strategy"], f"{where}.strategy"),
        budgets=tuple(_whole(budget, f"{where}.budgets") for budget in _list(fields["budgets"], f"{where}.budgets")),
        run=_text(fields["run"], f"{where}.run"),
        verifier=None if verifier is None else _text(verifier, f"{where}.verifier"),
    )


def _section(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _mapping(content[name], name)


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected an object.")
    return value


def _list(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{where}: expected a list.")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where}: {value!r}: expected a text.")
    return value


def _whole(value: Any, where: str, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{where}: {value!r}: expected a whole number from {least}.")
    return value


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{where}: {value!r}: expected a finite number.")
    return value


def _perhaps(value: Any, where: str) -> float | None:
    return None if value is None else _number(value, where)


def _numbers(values: Any, where: str) -> tuple[float, ...]:
    return tuple(_number(value, where) for value in _list(values, where))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")
