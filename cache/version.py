"""Which tts-sim this is."""

from __future__ import annotations

from importlib import metadata


def tool_version() -> str:
    """The installed version, or 'unknown'."""
    try:
        return metadata.version("tts-sim")
    except metadata.PackageNotFoundError:
        return "unknown"
