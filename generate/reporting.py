"""Progress on stderr: a bar with rate, tokens, memory and time left; where that is no terminal, a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from generate.meter import Meter, duration

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

EVERY = 30.0  # seconds between lines


class Reporter:
    """Reports how far a piece of work is; `meter` counts what a recorder makes."""

    def __init__(self, bar: Bar | None) -> None:
        self.meter = Meter()
        self.bar = bar
        self.tasks: dict[str, TaskID] = {}
        self.begun: dict[str, float] = {}
        self.printed = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        """`done` of `total` parts of the work of that name."""
        if self.bar is not None:
            if what not in self.tasks:
                self.tasks[what] = self.bar.add_task(what, total=total, made="")
            made = self.meter.line() if self.meter.tokens else ""
            self.bar.update(self.tasks[what], completed=done, total=total, made=made)
            return
        now = time.monotonic()
        begun = self.begun.setdefault(what, now)
        if done >= total or now - self.printed >= EVERY:
            self.printed = now
            print(self._line(what, done, total, now - begun), file=sys.stderr, flush=True)

    def _line(self, what: str, done: int, total: int, seconds: float) -> str:
        parts = [f"{what}: {total}" if done >= total else f"{what}: {done} of {total}"]
        if self.meter.tokens:
            parts.append(self.meter.line())
        if 0 < done < total:
            parts.append(f"{duration(seconds * (total - done) / done)} left")
        return " · ".join(parts)


@contextmanager
def reporting() -> Iterator[Reporter]:
    """A reporter, with its bar drawn where stderr is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Reporter(None)
        return
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[made]}"),
    )
    with Bar(*columns, console=console) as bar:
        yield Reporter(bar)


@contextmanager
def generating() -> Iterator[Reporter]:
    """A reporter for a command that runs models; raises ValueError where torch or transformers is not installed."""
    import os
    from importlib.util import find_spec

    if find_spec("torch") is None or find_spec("transformers") is None:
        raise ValueError("this command needs torch and transformers: pip install 'tts-sim[generate]'.")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    with reporting() as reporter:
        yield reporter
