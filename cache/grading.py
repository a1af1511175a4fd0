"""Graders: which texts are the same answer, and which answers are right."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol


class GradedAnswer(NamedTuple):
    """A text's answer: canonical text (that of its group's first member), whether it is right, and its group,
    counted from 0 by first appearance. A text that cannot be parsed has text None, correct False and group -1.
    """

    text: str | None
    correct: bool
    group: int


class Grader(Protocol):
    """Groups the texts of one question and grades each group once, so that equal answers cannot be graded
    differently.
    """

    name: str

    def group(self, gold: str, texts: Sequence[str | None]) -> list[GradedAnswer]:
        """One GradedAnswer for each text, in order; None stands for an answer that cannot be parsed.

        To grade new texts against answers that are stored already, put the stored ones first.
        """
        ...


class Exact:
    """Equal strings, spaces at both ends aside, are equal answers; the one that equals gold is right."""

    name = "exact"

    def group(self, gold: str, texts: Sequence[str | None]) -> list[GradedAnswer]:
        """See Grader."""
        groups: dict[str, int] = {}
        graded = []
        for text in texts:
            if text is None or not text.strip():
                graded.append(UNPARSED)
            else:
                canonical = text.strip()
                graded.append(
                    GradedAnswer(canonical, canonical == gold.strip(), groups.setdefault(canonical, len(groups)))
                )
        return graded


class MathVerify:
    """Symbolic equality by math-verify, both to gold and among the texts (11/2 and 5.5 are one answer).

    A text is a whole solution, whose last box counts (without one, what math-verify finds in it), or a bare answer.
    Grouping joins a text to the first group whose first member equals it. What fails or takes more than `seconds`
    counts as unparsed, or as unequal.
    """

    name = "math-verify"

    def __init__(self, seconds: int = 5) -> None:
        self.seconds = seconds

    def group(self, gold: str, texts: Sequence[str | None]) -> list[GradedAnswer]:
        """See Grader. `gold` is the content of the gold box, or a text that holds it."""
        boxed_gold = gold if "\\boxed" in gold else f"\\boxed{{{gold}}}"
        parsed_gold = self._parse(boxed_gold)
        graded_by_text: dict[str, GradedAnswer] = {}
        groups: list[tuple[str, list[Any], bool]] = []
        graded = []
        for text in texts:
            extracted = _extracted(text)
            if extracted is None:
                graded.append(UNPARSED)
                continue
            if extracted not in graded_by_text:
                graded_by_text[extracted] = self._grade(extracted, parsed_gold, groups)
            graded.append(graded_by_text[extracted])
        return graded

    def _grade(self, text: str, gold: list[Any], groups: list[tuple[str, list[Any], bool]]) -> GradedAnswer:
        parsed = self._parse(text)
        if not parsed:
            return UNPARSED
        for number, (canonical, member, correct) in enumerate(groups):
            if self._equal(member, parsed) or self._equal(parsed, member):  # math-verify's comparison is not symmetric
                return GradedAnswer(canonical, correct, number)
        name = (last_box(text) or "").strip() or str(parsed[-1])
        for number, (canonical, _, correct) in enumerate(groups):
            if canonical == name:  # equal to the eye, unequal to the comparison: the data model wants one answer
                return GradedAnswer(canonical, correct, number)
        groups.append((name, parsed, bool(gold) and self._equal(gold, parsed)))
        return GradedAnswer(name, groups[-1][2], len(groups) - 1)

    def _parse(self, text: str) -> list[Any]:
        from math_verify import parse

        parsed = _guarded(lambda: parse(text, parsing_timeout=self._limit()), [])
        if not parsed and "\\boxed" not in text:
            parsed = _guarded(lambda: parse(f"\\boxed{{{text}}}", parsing_timeout=self._limit()), [])
        return list(parsed)

    def _equal(self, gold: list[Any], parsed: list[Any]) -> bool:
        from math_verify import verify

        return bool(_guarded(lambda: verify(gold, parsed, timeout_seconds=self._limit()), False))

    def _limit(self) -> int | None:
        # math-verify limits its time by SIGALRM, which works in the main thread only.
        return self.seconds if threading.current_thread() is threading.main_thread() else None


UNPARSED = GradedAnswer(None, False, -1)
GRADERS: dict[str, Callable[[], Grader]] = {"exact": Exact, "math-verify": MathVerify}


def grader(name: str) -> Grader:
    """The grader of that name: 'exact' or 'math-verify'."""
    if name not in GRADERS:
        raise ValueError(f"unknown grader '{name}'; there are {', '.join(GRADERS)}.")
    return GRADERS[name]()


def last_box(text: str) -> str | None:
    """The content of the last \\boxed{…} in the text, braces matched; None if there is no closed one."""
    start = text.rfind("\\boxed")
    while start >= 0:
        brace = start + len("\\boxed")
        while brace < len(text) and text[brace] == " ":
            brace += 1
        depth = 0
        if text[brace : brace + 1] == "{":
            position = brace
            while position < len(text):
                if text[position] == "\\":
                    position += 2  # \{ and \} are text
                    continue
                depth += (text[position] == "{") - (text[position] == "}")
                if depth == 0:
                    return text[brace + 1 : position]
                position += 1
        elif text[brace : brace + 1].strip() not in ("", "\\"):
            return text[brace]  # \boxed 5
        start = text.rfind("\\boxed", 0, start)
    return None


def _extracted(text: str | None) -> str | None:
    """The part of a text that its answer depends on: its last box, or all of it."""
    if text is None or not text.strip():
        return None
    box = last_box(text)
    return text if box is None else f"\\boxed{{{box}}}"


def _guarded(work: Callable[[], Any], otherwise: Any) -> Any:
    """The result of `work`, or `otherwise` where it fails in any way: one odd text must not end a batch.

    math-verify's TimeoutException derives from BaseException's child Exception in some versions only, hence the
    check by name.
    """
    try:
        return work()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if isinstance(error, Exception) or "Timeout" in type(error).__name__:
            return otherwise
        raise
