"""Values of a configuration: their kinds, and what a value from TOML or a flag becomes."""

from __future__ import annotations

import math
from enum import Enum
from typing import Any


class Kind(Enum):
    """What a key holds; the values say it to people."""

    TEXT = "text"
    WHOLE = "a whole number"
    NUMBER = "a number"
    SWITCH = "true or false"
    TEXTS = "a list of texts"
    BUDGETS = "a list of whole numbers, or text such as '4,8…32'"
    TABLES = "tables"


_KINDS = {
    "str": Kind.TEXT,
    "int": Kind.WHOLE,
    "float": Kind.NUMBER,
    "bool": Kind.SWITCH,
    "tuple[str, ...]": Kind.TEXTS,
    "tuple[int, ...]": Kind.BUDGETS,
}


def kind_of(annotation: str) -> Kind:
    """The kind of a key with that annotation."""
    return _KINDS.get(annotation.removesuffix(" | None"), Kind.TABLES)


def typed_value(where: str, kind: Kind, value: Any) -> Any:
    """The value as the configuration keeps it. Raises ValueError, beginning with `where`, for another type."""
    if kind is Kind.BUDGETS:
        return _budgets(where, value)
    if kind is Kind.TEXTS and isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return tuple(value)
    if kind is Kind.NUMBER and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    fits = {
        Kind.TEXT: isinstance(value, str),
        Kind.WHOLE: isinstance(value, int) and not isinstance(value, bool),
        Kind.SWITCH: isinstance(value, bool),
    }
    if not fits.get(kind):
        raise ValueError(f"{where} is {value!r}, expected {kind.value}.")
    return value


def _budgets(where: str, value: Any) -> tuple[int, ...]:
    from tts_sim.cli.options import parse_budgets

    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else value
    if text == "":
        return ()
    if not isinstance(text, str):
        raise ValueError(f"{where} is {value!r}, expected {Kind.BUDGETS.value}.")
    try:
        return tuple(parse_budgets(text))
    except ValueError as error:
        raise ValueError(f"{where}: {error}.") from None
