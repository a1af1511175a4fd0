"""Graders and extractors in a process of their own, with a limit to the time that one answer may take.

math-verify limits its time by SIGALRM, which needs the main thread and cannot stop C code; a process can be ended.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from cache.grading import SECONDS, UNPARSED, GradedAnswer, relevant_part

START_SECONDS = 120.0  # imports on a busy machine
_SERVE = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from cache.isolation_worker import serve; serve()"


class NoReplyError(Exception):
    """The process took too long, or ended."""


class ToolError(Exception):
    """What ran in the process raised; the text says what."""


class ToolProcess:
    """A process that holds one grader or extractor (`role`) of that name; started when first asked, and again after
    it was ended for taking more than `seconds`.
    """

    def __init__(self, role: str, name: str, seconds: float) -> None:
        if not seconds > 0:
            raise ValueError(f"{role} seconds {seconds}: expected a number above 0.")
        self.role, self.name, self.seconds = role, name, seconds
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self._end: weakref.finalize[Any, Any] | None = None

    def ask(self, what: str, *words: str) -> Any:
        """The reply, made in `seconds`. Raises ToolError if it failed there, NoReplyError if the process was ended.

        A process that ended by itself is started again by the next call. Raises ValueError if it cannot start.
        """
        self.start()
        return self._exchange([what, *words], self.seconds)

    def start(self) -> None:
        """Starts the process unless it runs. Raises ValueError, with the reason, if it cannot be."""
        if self.process is not None:
            return
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._end = weakref.finalize(self, _end, self.process)
        self.starts += 1
        try:
            self._exchange(["load", self.role, self.name], START_SECONDS)
        except ToolError as error:
            self.stop()
            raise ValueError(str(error)) from None
        except NoReplyError:
            raise ValueError(f"the process of {self.role} '{self.name}' ends, or hangs, before it is asked.") from None

    def stop(self) -> None:
        """Ends the process."""
        if self._end is not None:
            self._end()
        self.process = self._end = None

    def _exchange(self, request: list[str], seconds: float) -> Any:
        assert self.process is not None and self.process.stdin is not None and self.process.stdout is not None
        deadline = time.monotonic() + seconds
        source, line = self.process.stdout.fileno(), b""
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            while not line.endswith(b"\n"):
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([source], [], [], left)[0]:
                    raise TimeoutError
                part = os.read(source, 1 << 16)
                if not part:
                    raise BrokenPipeError
                line += part
        except (TimeoutError, BrokenPipeError) as error:
            self.stop()
            raise NoReplyError("hung" if isinstance(error, TimeoutError) else "ended") from None
        except BaseException:
            self.stop()  # interrupted between question and answer: the next answer would belong to this question
            raise
        reply = json.loads(line)
        if "error" in reply:
            raise ToolError(reply["error"])
        return reply["value"]


class IsolatedGrader:
    """math-verify or a function in a process of its own; see `cache.grading.grader`. `failed` counts the answers that
    were left unparsed because grading them failed, hung or ended the process.
    """

    def __init__(self, name: str, seconds: float = SECONDS) -> None:
        self.name = name
        self.failed = 0
        self.process = ToolProcess("grader", name, seconds)
        if name != "math-verify":
            self.process.start()  # tells at once of a function that is not there

    def group(self, gold: str, texts: Sequence[str | None]) -> list[GradedAnswer]:
        """See Grader."""
        question = _Question(self.process, gold)
        found: dict[str, GradedAnswer] = {}
        graded = []
        for text in texts:
            asked = None if text is None else relevant_part(text) if self.name == "math-verify" else text
            if asked is None:
                graded.append(UNPARSED)
                continue
            if asked not in found:
                try:
                    found[asked] = question.grade(asked)
                except (NoReplyError, ToolError):
                    self.failed += 1
                    found[asked] = UNPARSED
            graded.append(found[asked])
        return graded


class _Question:
    """Grading of one question, brought to where it was whenever the process is a new one."""

    def __init__(self, process: ToolProcess, gold: str) -> None:
        self.process, self.gold = process, gold
        self.begun_in = -1  # which start of the process knows this question
        self.founders: list[GradedAnswer] = []  # the answer that began each group
        self.founding: dict[str, int] = {}  # its text -> the group; told to a new process
        self.group_of: dict[int, int] = {}  # number in the process -> number here

    def grade(self, text: str) -> GradedAnswer:
        """The answer of the text. A process that ended, for whatever reason, is asked once more; one that hung, not."""
        try:
            return self._grade(text)
        except NoReplyError as error:
            if str(error) == "hung":
                raise
            return self._grade(text)

    def _grade(self, text: str) -> GradedAnswer:
        self._begin()
        name, correct, there = self.process.ask("grade", text)
        if name is None:
            return UNPARSED
        if there not in self.group_of:
            same = [answer.group for answer in self.founders if answer.text == name]
            self.group_of[there] = same[0] if same else len(self.founders)
            if not same:
                self.founding[text] = len(self.founders)
                self.founders.append(GradedAnswer(name, correct, len(self.founders)))
        return self.founders[self.group_of[there]]

    def _begin(self) -> None:
        self.process.start()
        if self.begun_in == self.process.starts:
            return
        try:
            self.process.ask("begin", self.gold)
        except (NoReplyError, ToolError):  # a gold that cannot be read: nothing is right, but answers are grouped
            self.gold = ""
            self.process.ask("begin", self.gold)
        self.group_of = {}
        for text, group in list(self.founding.items()):
            try:
                _, _, there = self.process.ask("grade", text)
            except (NoReplyError, ToolError):
                del self.founding[text]  # it went well before; it shall not fail everything after it
                raise
            self.group_of.setdefault(there, group)
        self.begun_in = self.process.starts


class IsolatedExtractor:
    """A function (solution) → answer or None in a process of its own; None where it fails or takes too long."""

    def __init__(self, name: str, seconds: float = SECONDS) -> None:
        self.failed = 0
        self.process = ToolProcess("extractor", name, seconds)
        self.process.start()

    def __call__(self, solution: str) -> str | None:
        """The answer in the solution. A process that ended is asked once more; one that hung, not."""
        for may_repeat in (True, False):
            try:
                answer: str | None = self.process.ask("extract", solution)
                return answer
            except (NoReplyError, ToolError) as error:
                if not may_repeat or str(error) != "ended":
                    break
        self.failed += 1
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):  # a request that it never read
                pipe.close()
