"""Graders: which texts are the same answer, and which answers are right."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from cache.functions import is_function_path, load_function


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


class Session(Protocol):
    """The answers to one question, graded one after the other."""

    def grade(self, text: str) -> GradedAnswer:
        """The answer of the text, grouped with those before it."""
        ...


class Exact:
    """Equal strings, spaces at both ends aside, are equal answers; the one that equals gold is right."""

    name = "exact"

    def group(self, gold: str, texts: Sequence[str | None]) -> list[GradedAnswer]:
        """See Grader."""
        return _group_by_name(texts, str.strip, lambda name: name == gold.strip())


class Letter:
    """Multiple choice: '(b)', 'B.' and 'b' are the answer B, right if gold is that letter. Other texts are unparsed."""

    name = "letter"

    def group(self, gold: str, texts: Sequence[str | None]) -> list[GradedAnswer]:
        """See Grader."""
        right = lone_letter(gold)
        return _group_by_name(texts, lambda text: lone_letter(text) or "", lambda name: name == right)


class FunctionGrader:
    """A function `package.module:function` that says of (gold, answer), both text, whether the answer is right.

    Answers are equal where their texts are, spaces at both ends aside. The function is called once for each answer.
    An answer on which it fails is unparsed. Raises ValueError if it cannot be imported.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        self.is_right = load_function(path, "grader")

    def begin(self, gold: str) -> Session:
        """The grading of one question."""
        return _FunctionSession(self.is_right, gold)

    def group(self, gold: str, texts: Sequence[str | None]) -> list[GradedAnswer]:
        """See Grader."""
        session = self.begin(gold)
        return [UNPARSED if text is None else _guarded(partial(session.grade, text), UNPARSED) for text in texts]


class _FunctionSession:
    def __init__(self, is_right: Callable[..., Any], gold: str) -> None:
        self.is_right, self.gold = is_right, gold
        self.found: dict[str, GradedAnswer] = {}

    def grade(self, text: str) -> GradedAnswer:
        name = text.strip()
        if not name:
            return UNPARSED
        if name not in self.found:
            self.found[name] = GradedAnswer(name, bool(self.is_right(self.gold, name)), len(self.found))
        return self.found[name]


class MathVerify:
    """Symbolic equality by math-verify, both to gold and among the texts (11/2 and 5.5 are one answer).

    A text is a whole solution, whose last box counts (without one, what math-verify finds in it), or a bare answer.
    Grouping joins a text to the first group whose first member equals it. What fails or takes more than `seconds`
    counts as unparsed, or as unequal.
    """

    name = "math-verify"

    def __init__(self, seconds: int = 5) -> None:
        self.seconds = seconds
        self._parsed: dict[str, list[Any]] = {}
        self._equal: dict[tuple[str, str], bool] = {}

    def begin(self, gold: str) -> Session:
        """The grading of one question. `gold` is the content of the gold box, or a text that holds it."""
        return _MathSession(self, gold if "\\boxed" in gold else f"\\boxed{{{gold}}}")

    def group(self, gold: str, texts: Sequence[str | None]) -> list[GradedAnswer]:
        """See Grader and `begin`."""
        session = self.begin(gold)
        return [UNPARSED if text is None else session.grade(text) for text in texts]

    def parsed(self, text: str) -> list[Any]:
        """What math-verify reads in the text; nothing where it fails. Kept: a recording grades the same texts again."""
        from math_verify import parse

        if text not in self._parsed:
            _make_room(self._parsed)
            found = _guarded(lambda: parse(text, parsing_timeout=self._limit()), [])
            if not found and "\\boxed" not in text:
                found = _guarded(lambda: parse(f"\\boxed{{{text}}}", parsing_timeout=self._limit()), [])
            self._parsed[text] = list(found)
        return self._parsed[text]

    def equal(self, gold: str, text: str) -> bool:
        """Whether math-verify holds the text for right where that is the gold; False where it fails. Kept as well."""
        from math_verify import verify

        if (gold, text) not in self._equal:
            _make_room(self._equal)
            left, right = self.parsed(gold), self.parsed(text)
            limit = self._limit()
            self._equal[gold, text] = bool(_guarded(lambda: verify(left, right, timeout_seconds=limit), False))
        return self._equal[gold, text]

    def _limit(self) -> int | None:
        # math-verify limits its time by SIGALRM, which works in the main thread only.
        return self.seconds if threading.current_thread() is threading.main_thread() else None


class _MathSession:
    def __init__(self, judge: MathVerify, gold: str) -> None:
        self.judge, self.gold = judge, gold
        self.found: dict[str, GradedAnswer] = {}
        self.groups: list[tuple[str, GradedAnswer]] = []  # the first text of each

    def grade(self, text: str) -> GradedAnswer:
        extracted = relevant_part(text)
        if extracted is None:
            return UNPARSED
        if extracted not in self.found:
            self.found[extracted] = self._grade(extracted)
        return self.found[extracted]

    def _grade(self, text: str) -> GradedAnswer:
        equal, parsed = self.judge.equal, self.judge.parsed(text)
        if not parsed:
            return UNPARSED
        for member, answer in self.groups:
            if equal(member, text) or equal(text, member):  # math-verify's comparison is not symmetric
                return answer
        name = (last_box(text) or "").strip() or str(parsed[-1])
        for _, answer in self.groups:
            if answer.text == name:  # equal to the eye, unequal to the comparison: the data model wants one answer
                return answer
        right = bool(self.judge.parsed(self.gold)) and equal(self.gold, text)
        self.groups.append((text, GradedAnswer(name, right, len(self.groups))))
        return self.groups[-1][1]


UNPARSED = GradedAnswer(None, False, -1)
GRADERS = ("exact", "letter", "math-verify")
SECONDS = 10.0
KEPT = 100_000


def grader(name: str, *, seconds: float = SECONDS) -> Grader:
    """The grader of that name: one of GRADERS, or a Python function `package.module:function`.

    math-verify and functions run in a process of their own: an answer on which one fails, or takes more than `seconds`,
    is unparsed. Raises ValueError for an unknown name, or a function that cannot be imported.
    """
    if name == "exact":
        return Exact()
    if name == "letter":
        return Letter()
    if name == "math-verify" or is_function_path(name):
        from cache.isolation import IsolatedGrader

        return IsolatedGrader(name, seconds)
    raise ValueError(f"unknown grader '{name}'; there are {', '.join(GRADERS)}, or package.module:function.")


def grader_here(name: str) -> MathVerify | FunctionGrader:
    """math-verify or a function, in this process and without a limit of its own: what a grading process runs."""
    return MathVerify() if name == "math-verify" else FunctionGrader(name)


def lone_letter(text: str) -> str | None:
    """The letter of '(b)', 'B.', 'b) four' or '\\text{B}' in upper case; None for other texts."""
    found = _LETTER.fullmatch(text)
    return found["letter"].upper() if found else None


_LETTER = re.compile(
    r"[\s($*]*(?:\\(?:text|textbf|mathrm|mathbf)\s*\{\s*)?[($*]*(?P<letter>[A-Za-z])\s*(?:[).:,}\]*$].*)?", re.DOTALL
)


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


def relevant_part(text: str) -> str | None:
    """The part of a text that math-verify's answer depends on: its last box, or all of it; None for an empty one."""
    if not text.strip():
        return None
    box = last_box(text)
    return text if box is None else f"\\boxed{{{box}}}"


def _group_by_name(
    texts: Sequence[str | None], name_of: Callable[[str], str], is_right: Callable[[str], bool]
) -> list[GradedAnswer]:
    """Groups of equal names; a text whose name is empty is unparsed."""
    groups: dict[str, int] = {}
    names = ["" if text is None else name_of(text) for text in texts]
    return [
        GradedAnswer(name, is_right(name), groups.setdefault(name, len(groups))) if name else UNPARSED for name in names
    ]


def _make_room(kept: dict[Any, Any]) -> None:
    if len(kept) >= KEPT:
        kept.clear()


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
