"""`tts-sim sql`: one read-only query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tts_sim.cli.options import AsCsv, AsJson, CachePath, json_ready, open_for_reading, print_json, print_rows

if TYPE_CHECKING:
    import polars as pl


def sql(
    cache: CachePath,
    query: Annotated[str, typer.Argument(metavar="SQL", help='One read-only statement, e.g. "FROM question_stats".')],
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Run one read-only SQL statement; tables and views are described in docs/data-model.md."""
    from cache.query import run_sql
    from tts_sim.cli.fit import print_table_or_records

    with open_for_reading(cache) as opened:
        rows = run_sql(opened, query)
    if as_json:
        print_json(_numbers(rows.to_dicts()))
    elif as_csv:
        print_rows(_flat(rows), as_csv=True)
    else:
        print_table_or_records(rows)


def _numbers(value: Any) -> Any:
    """`value` with decimals as JSON numbers, through lists and dictionaries: SQL's sums and 1.5 are decimals."""
    from decimal import Decimal

    if isinstance(value, Decimal):
        return int(value) if value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    return [_numbers(item) for item in value] if isinstance(value, list) else value


def _flat(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with lists and structs as JSON text: CSV has no cells for them."""
    import json

    import polars as pl

    return rows.with_columns(
        pl.Series(
            column.name,
            [
                None if cell is None else json.dumps(json_ready(_numbers(cell)), default=str)
                for cell in column.to_list()
            ],
            dtype=pl.String,
        )
        for column in rows
        if column.dtype.is_nested() or column.dtype == pl.Binary
    )
