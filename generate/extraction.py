"""Where the answer stands in a finished solution."""

from __future__ import annotations

import re
from collections.abc import Callable

from cache.grading import last_box

Extractor = Callable[[str], str | None]
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def after_equals(solution: str) -> str | None:
    """The word after the last '=', or None if the solution does not end in one."""
    _, sign, word = solution.rpartition("=")
    return word if sign and word.isalnum() else None


def final_number(solution: str) -> str | None:
    """The last number, without thousands separators, or None."""
    numbers = _NUMBER.findall(solution)
    return numbers[-1].replace(",", "") if numbers else None


EXTRACTORS: dict[str, Extractor] = {"boxed": last_box, "after-equals": after_equals, "final-number": final_number}


def extractor(name: str) -> Extractor:
    """The extractor of that name. Raises ValueError for an unknown one."""
    if name not in EXTRACTORS:
        raise ValueError(f"unknown extractor '{name}'; there are {', '.join(EXTRACTORS)}.")
    return EXTRACTORS[name]
