"""Tables for the width at hand: fewer columns, or one record below the other, rather than cells folded to bits.

Only a terminal is narrow; what is piped keeps every column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tts_sim.cli.options import as_cell, is_terminal, note, print_table

if TYPE_CHECKING:
    import polars as pl

Group = str | tuple[str, ...]


def print_fitting(table: pl.DataFrame, *, dispensable: Sequence[Group], title: str) -> None:
    """Prints a table with its heads broken at underscores, without the first of `dispensable` until it fits."""
    left_out: list[str] = []
    for group in dispensable:
        if _fits([_width(column, column.name.split("_")) for column in table]):
            break
        names = [name for name in ((group,) if isinstance(group, str) else group) if name in table.columns]
        table = table.drop(names)
        left_out += names
    print_table(table.rename(lambda name: name.replace("_", "\n")), title=title)
    if left_out:
        note(f"left out on this narrow terminal: {', '.join(left_out)} (see --json)")


def print_table_or_records(table: pl.DataFrame) -> None:
    """Prints a table, or, where it is too wide for the terminal, each row as lines of column and value."""
    if _fits([_width(column, [column.name]) for column in table]):
        print_table(table)
        return
    widest = max(map(len, table.columns))
    for row in table.iter_rows(named=True):
        for name, value in row.items():
            print(f"{name:<{widest}}  {as_cell(value)}")
        print()


def _fits(widths: Sequence[int]) -> bool:
    if not is_terminal():
        return True
    from rich.console import Console

    return 1 + sum(3 + width for width in widths) <= Console().width


def _width(column: pl.Series, heads: Sequence[str]) -> int:
    """Characters of the widest cell, heads included."""
    return max([*map(len, heads), *(len(as_cell(value)) for value in column)])
