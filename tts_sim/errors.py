"""The errors of tts_sim. All derive from TtsSimError; the command prints them as one line and exits with status 1.

TtsSimError ─┬ CacheInvalid     the cache breaks a requirement of its data model
             ├ CacheTooNew      the cache was written by a newer version
             ├ CacheMissing     no such file, or not a cache
             ├ CacheLocked      somebody else is writing to the cache
             ├ CacheFull        no room on the disk for what was to be stored
             ├ QueryRefused     SQL that does more than read
             ├ ImportFailed     a file that cannot be imported (file, line)
             ├ CacheExhausted   a replay asks for more than is cached
             ├ ScoreMissing     a replay needs a score that no verifier has given
             ├ PolicyInvalid    a policy file that is damaged, or none
             └ PolicyTooNew     a policy file of a newer version

A bad argument is a ValueError that echoes the value and names what is allowed.
"""

from __future__ import annotations

from cache.errors import (
    CacheFull,
    CacheInvalid,
    CacheLocked,
    CacheMissing,
    CacheTooNew,
    ImportFailed,
    QueryRefused,
    TtsSimError,
)

__all__ = [
    "CacheExhausted",
    "CacheFull",
    "CacheInvalid",
    "CacheLocked",
    "CacheMissing",
    "CacheTooNew",
    "ImportFailed",
    "PolicyInvalid",
    "PolicyTooNew",
    "QueryRefused",
    "ScoreMissing",
    "TtsSimError",
]


class CacheExhausted(TtsSimError):
    """A budget asks for more draws than the cache holds."""


class ScoreMissing(TtsSimError):
    """A search or a selection needs a score at a node that the verifier has not scored."""


class PolicyInvalid(TtsSimError):
    """A file that holds no policy, or a damaged one."""


class PolicyTooNew(TtsSimError):
    """A policy file of a newer version."""
