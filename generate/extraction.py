"""Where the answer stands in a finished solution."""

from __future__ import annotations

import re
from collections.abc import Callable

from cache.functions import is_function_path
from cache.grading import SECONDS, last_box, lone_letter

Extractor = Callable[[str], str | None]
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_CHOICE = re.compile(  # 'the answer is B because', but not 'the answer is a riddle'
    r"\b(?i:answer|option|choice)\b(?:\s+is)?\s*:?\s*[*$(\[]*([A-Za-z](?=\s*(?:[)\].:,;*$}]|$))|[B-HJ-Z](?=\s))",
    re.MULTILINE,
)


def after_equals(solution: str) -> str | None:
    """The word after the last '=', or None if the solution does not end in one."""
    _, sign, word = solution.rpartition("=")
    return word if sign and word.isalnum() else None


def final_number(solution: str) -> str | None:
    """The last number, without thousands separators, or None."""
    numbers = _NUMBER.findall(solution)
    return numbers[-1].replace(",", "") if numbers else None


def chosen_letter(solution: str) -> str | None:
    """The letter that a solution chooses: that of its last box, else after the last 'answer is', else its last line."""
    box = last_box(solution)
    if box is not None and (letter := lone_letter(box)):
        return letter
    if said := _CHOICE.findall(solution):
        return str(said[-1]).upper()
    lines = solution.strip().splitlines()
    return lone_letter(lines[-1]) if lines else None


def whole(solution: str) -> str | None:
    """All of it; the grader finds the answer."""
    return solution.strip() or None


EXTRACTORS: dict[str, Extractor] = {
    "boxed": last_box,
    "after-equals": after_equals,
    "final-number": final_number,
    "letter": chosen_letter,
    "whole": whole,
}


def extractor(name: str, *, seconds: float = SECONDS) -> Extractor:
    """The extractor of that name: one of EXTRACTORS, or a Python function `package.module:function` of the solution.

    A function runs in a process of its own; where it fails or takes more than `seconds`, there is no answer. Raises
    ValueError for an unknown name, or a function that cannot be imported.
    """
    if name in EXTRACTORS:
        return EXTRACTORS[name]
    if is_function_path(name):
        from cache.isolation import IsolatedExtractor

        return IsolatedExtractor(name, seconds)
    raise ValueError(f"unknown extractor '{name}'; there are {', '.join(EXTRACTORS)}, or package.module:function.")
