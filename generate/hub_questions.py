"""Rows of a data set of the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any


def hub_rows(name: str, config: str | None, split: str, revision: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a split, each with where it stands. Raises ValueError, with the way out, if it cannot be loaded."""
    if find_spec("datasets") is None:
        raise ValueError(
            f"data set '{name}' needs the package datasets: pip install datasets. "
            "Or save it as Parquet, and give that as questions."
        )
    from datasets import load_dataset

    what = f"data set '{name}'" + (f", config '{config}'" if config else "") + f", split '{split}'"
    try:
        rows = load_dataset(name, config, split=split, revision=revision)
    except Exception as error:  # of the Hub, its client, the network, or a file
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{what} cannot be loaded ({type(error).__name__}: {reason}). Without a network, save it as Parquet "
            "where there is one, and give that as questions."
        ) from error
    for number, row in enumerate(rows):
        yield f"{what}, row {number}", dict(row)
