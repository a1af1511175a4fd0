"""Code for a process that records: does something at each commit, so that a test can wait for one, never for a time."""

from __future__ import annotations

from pathlib import Path

_AT_COMMITS = """
import os, signal
from generate.recorder import Recorder
def at_commits(self, what, done, total, told=Recorder._report):
    told(self, what, done, total)
    if done:
        {then}
Recorder._report = at_commits
"""


def noting_commits(file: Path) -> str:
    """Python code after which each commit adds a byte to the file."""
    return _AT_COMMITS.format(then=f"with open({str(file)!r}, 'ab') as notes: notes.write(b'.')")


def signalling_itself(number: int, draws: int) -> str:
    """Python code after which the process sends itself a signal once it has committed so many draws of a layer."""
    return _AT_COMMITS.format(then=f"if done >= {draws}: os.kill(os.getpid(), {int(number)})")
