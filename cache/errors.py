"""Errors of the cache. `tts_sim.errors` draws the whole tree; every message says what, where, and the way out."""

from __future__ import annotations


class TtsSimError(Exception):
    """Base of all errors that a user can cause and mend."""


class CacheMissing(TtsSimError):
    """There is no cache at the path: no such file, or not a DuckDB file."""


class CacheTooNew(TtsSimError):
    """The cache was written by a later version of this program."""


class CacheLocked(TtsSimError):
    """Another process (or this one) is writing to the cache."""


class CacheFull(TtsSimError):
    """There is no room on the disk for what was to be stored; what was stored before is kept."""


class CacheInvalid(TtsSimError):
    """The cache, or a batch that was to be stored, breaks a requirement of the data model.

    `question` names the question where that is known.
    """

    def __init__(self, message: str, *, question: str | None = None) -> None:
        super().__init__(message)
        self.question = question


class QueryRefused(TtsSimError):
    """The SQL is not one read-only statement, or DuckDB could not run it."""


class ImportFailed(TtsSimError):
    """A file could not be imported; nothing of it was stored. Names the file and, for line-based formats, the line."""

    def __init__(self, file: str, line: int | None, message: str) -> None:
        super().__init__(f"{file}{f', line {line}' if line else ''}: {message} Nothing of the file was imported.")
        self.file = file
        self.line = line
