"""What several commands share: option types, opening a cache, reading budgets and specs, printing rows.

Nothing heavy is imported at the top: `tts-sim --help` reads this file.
"""

from __future__ import annotations

import gc
import json
import math
import os
import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import polars as pl

    from cache import Cache

CachePath = Annotated[
    str, typer.Argument(metavar="CACHE", help="A .duckdb file, a directory of Parquet tables, or 'sample' (shipped).")
]
COST_UNITS = (
    "generations", "tokens", "verifier_tokens", "critical_tokens", "generator_flops", "verifier_flops", "flops",
)  # fmt: skip
StrategyOption = Annotated[
    list[str] | None,
    typer.Option("--strategy", "-s", metavar="SPEC", help="search+selection, e.g. beam+weighted; repeatable."),
]
RunOption = Annotated[str | None, typer.Option("--run", help="Run to replay; default: the first of the kind.")]
Trials = Annotated[int | None, typer.Option("--trials", help="Trials per question; default 256.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of all draws.")]
MethodOption = Annotated[str, typer.Option("--method", help="auto (exact where it can be) or monte-carlo.")]
OnExhaustedOption = Annotated[
    str, typer.Option("--on-exhausted", help="Where the cache ends: refuse, bounds, reuse or borrow.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV to stdout.")]


def open_for_reading(path: str, *, views: bool = True) -> Cache:
    """The cache at `path`, read-only; the word 'sample' names the shipped sample unless such a path exists."""
    from pathlib import Path

    if "duckdb" not in sys.modules:  # its objects must be found again as the interpreter ends
        gc.freeze()  # garbage is not looked for in what was loaded up to here: it ends 0.1 s sooner

    from cache import open_cache, sample_path

    return open_cache(sample_path() if path == "sample" and not Path(path).exists() else Path(path), views=views)


def require_cache(path: str) -> None:
    """Raises CacheMissing unless there is a file to go on with: a mistyped name must not start an empty cache."""
    from pathlib import Path

    from cache.errors import CacheMissing

    if not Path(path).is_file():
        raise CacheMissing(f"there is no cache at {path}. Start one with `tts-sim generate sample`.")


def split_specs(values: Sequence[str]) -> list[str]:
    """The strategy specs in `values`, split at commas that stand outside parentheses; order kept, repeats dropped."""
    specs: list[str] = []
    for value in values:
        depth, start = 0, 0
        for position, letter in enumerate(value + ","):
            depth += (letter == "(") - (letter == ")")
            if letter == "," and depth <= 0:
                specs.append(value[start:position].strip())
                start = position + 1
        specs.append(value[start:].strip())  # an open parenthesis: the spec's reader names it
    return list(dict.fromkeys(spec for spec in specs if spec))


def parse_budgets(text: str) -> list[int]:
    """The budgets that `text` lists, ascending and without repeats: '1,2,4…64' is 1, 2, 4, 8, 16, 32, 64.

    '…' (or '...') goes on by the ratio of the two budgets before it, up to the one after it.
    Raises ValueError for anything but whole numbers from 1.
    """
    budgets: list[int] = []
    pieces = [piece.strip() for piece in text.replace("...", "…").replace("…", ",…,").split(",")]
    pieces = [piece for piece in pieces if piece]
    for position, piece in enumerate(pieces):
        if piece == "…":
            last = pieces[position + 1] if position + 1 < len(pieces) else ""
            if len(budgets) < 2 or not last.isdecimal() or budgets[-1] % budgets[-2] or budgets[-1] <= budgets[-2]:
                raise ValueError(f"budget list '{text}': write '1,2,4…64': two budgets with a whole ratio, …, the last")
            ratio = budgets[-1] // budgets[-2]
            while budgets[-1] * ratio < int(last):
                budgets.append(budgets[-1] * ratio)
        elif piece.isdecimal() and int(piece) >= 1:
            budgets.append(int(piece))
        else:
            raise ValueError(f"budget '{piece}' in '{text}': budgets are whole numbers of generations, from 1")
    if not budgets:
        raise ValueError(f"budget list '{text}' is empty: write for instance --budget 1,2,4…64")
    return sorted(set(budgets))


def parse_limits(text: str) -> tuple[str, list[float]] | None:
    """Unit and amounts of a budget list that is given in a unit of cost, '1e3tokens,2e3tokens'; None for plain numbers.

    Raises ValueError for unknown or mixed units, and for amounts that are not above 0.
    """
    if not re.search(r"\d\s*[A-Za-z_]{2,}", text):
        return None
    found = [
        re.fullmatch(r"(\d+\.?\d*(?:[eE][+-]?\d+)?)\s*([A-Za-z_]+)", piece.strip())
        for piece in text.split(",")
        if piece.strip()
    ]
    units = {match.group(2) for match in found if match}
    if not all(found) or len(units) > 1:
        raise ValueError(f"budget list '{text}': give every budget in the same unit, for instance 1e3tokens,2e3tokens")
    unit = units.pop()
    if unit not in COST_UNITS:
        raise ValueError(f"budget list '{text}': unknown unit '{unit}'; known: {', '.join(COST_UNITS)}")
    amounts = [float(match.group(1)) for match in found if match]
    if not all(0 < amount < math.inf for amount in amounts):
        raise ValueError(f"budget list '{text}': expected amounts above 0, for instance 1e3tokens,2e3tokens")
    return unit, amounts


def parse_amounts(text: str, unit: str | None) -> tuple[str, list[float]]:
    """Unit and amounts of a budget list whose unit is named in it ('1e3tokens,2e3tokens') or beside it.

    Generations are the default. Raises ValueError for two units that contradict each other, and as `parse_limits`.
    """
    limits = parse_limits(text)
    if limits is not None:
        if unit not in (None, limits[0]):
            raise ValueError(f"budget list '{text}' is in {limits[0]}, --unit says {unit}; give one of them.")
        return limits
    if unit in (None, "generations") or "…" in text or "..." in text:
        return unit or "generations", [*parse_budgets(text)]
    limits = parse_limits(",".join(f"{piece.strip()}{unit}" for piece in text.split(",") if piece.strip()))
    if limits is None:
        raise ValueError(f"budget list '{text}' is empty: write for instance --budget 1000,4000 --unit {unit}")
    return limits


def json_ready(value: Any) -> Any:
    """`value` with NaN and infinities as None, through lists and dictionaries: what strict JSON can hold."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return value


def print_json(value: Any) -> None:
    """Prints `value` as indented JSON; numbers that JSON lacks become null, dates become text."""
    print(json.dumps(json_ready(value), indent=1, ensure_ascii=False, default=str))


def print_rows(frame: pl.DataFrame, *, as_json: bool = False, as_csv: bool = False, title: str = "") -> None:
    """Prints a table to stdout: JSON (a list of objects), CSV, or columns for people."""
    if as_json:
        print_json(frame.to_dicts())
    elif as_csv:
        sys.stdout.write(frame.write_csv())
    else:
        print_table(frame, title=title)


def print_table(frame: pl.DataFrame, *, title: str = "") -> None:
    """Prints a table for people: numbers right-aligned, four digits, nulls as '–'; texts as they are, no markup."""
    if not is_terminal():  # in the same shape, without what styles cost: 50 µs a cell
        print(*_lines(frame, title), sep="\n")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title) if title else None, box=box.SIMPLE, title_justify="left")
    for name, dtype in frame.schema.items():
        table.add_column(Text(name), justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*(Text(as_cell(value)) for value in row))
    Console(soft_wrap=False).print(table)


def is_terminal() -> bool:
    """Whether what is printed goes to a terminal; rich, which knows what the environment says of it, loads slowly."""
    if not sys.stdout.isatty() and not any(os.environ.get(name) for name in ("FORCE_COLOR", "TTY_COMPATIBLE")):
        return False
    from rich.console import Console

    return Console().is_terminal


def _lines(frame: pl.DataFrame, title: str) -> Iterator[str]:
    """The lines of a table of any width, heads at the bottom of theirs."""
    cells = [[as_cell(value).expandtabs().split("\n") for value in (name, *frame[name])] for name in frame.columns]
    widths = [max(len(line) for cell in column for line in cell) for column in cells]
    right = [dtype.is_numeric() for dtype in frame.dtypes]
    if title:
        yield title
    yield ""
    for place, row in enumerate(zip(*cells, strict=True)):
        height = max(map(len, row))
        for line in range(height):
            texts = []
            for cell, width, numeric in zip(row, widths, right, strict=True):
                at = line if place else line - height + len(cell)
                text = cell[at] if 0 <= at < len(cell) else ""
                texts.append(text.rjust(width) if numeric else text.ljust(width))
            yield ("  " + "   ".join(texts)).rstrip()
        if place == 0:
            yield " " + "─" * (sum(widths) + 3 * len(widths) - 1)
    yield ""


def as_cell(value: Any) -> str:
    """How a table for people shows a value: four digits, null and NaN as '–', control characters spelled out."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "".join(repr(c)[1:-1] if unicodedata.category(c) == "Cc" and c not in "\n\t" else c for c in str(value))


def note(message: str) -> None:
    """Prints a message for the person to stderr."""
    print(message, file=sys.stderr)
