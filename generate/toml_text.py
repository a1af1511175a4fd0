"""TOML of plain values: the standard library reads it, and does not write it."""

from __future__ import annotations

import json
from typing import Any


def toml_value(value: Any) -> str:
    """The value as TOML: text, a number, true or false, or a list of them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):  # a JSON string is a TOML string, but for DEL, which TOML wants escaped
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return repr(value)
