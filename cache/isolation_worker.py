"""The other side of `cache.isolation`: reads requests, one JSON list a line, and writes replies, one object a line."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

MEMORY = 8 << 30


def serve() -> None:
    """Answers requests until stdin ends. What the tool itself prints goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the business of the process that asks
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    tool = Tool()
    for line in sys.stdin:
        what, *words = json.loads(line)
        reply: dict[str, Any]
        try:
            reply = {"value": getattr(tool, what)(*words)}
        except Exception as error:
            reply = {"error": str(error) if what == "load" else f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


class Tool:
    """One grader or extractor; its methods are the requests."""

    def load(self, role: str, name: str) -> None:
        """Imports the tool."""
        from cache.functions import load_function
        from cache.grading import grader_here

        if role == "grader":
            self.grader = grader_here(name)
            if name == "math-verify":
                with suppress(ValueError, OSError):  # not everywhere
                    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # 10^(10^10) takes all that it can get
                self.grader.group("1", ["1"])  # imports what it needs before time is counted
        else:
            self.function: Callable[..., Any] = load_function(name, role)

    def begin(self, gold: str) -> None:
        """Starts the grading of a question."""
        self.session = self.grader.begin(gold)

    def grade(self, text: str) -> list[Any]:
        """The graded answer: text, correct, group."""
        return list(self.session.grade(text))

    def extract(self, solution: str) -> str | None:
        """The answer in a solution; whatever the function returns is made text."""
        answer = self.function(solution)
        return None if answer is None else str(answer)
