"""`tts-sim sql`: one read-only query."""

from __future__ import annotations

from typing import Annotated

import typer

from tts_sim.cli.options import AsCsv, AsJson, CachePath, open_for_reading, print_rows


def sql(
    cache: CachePath,
    query: Annotated[str, typer.Argument(metavar="SQL", help='One read-only statement, e.g. "FROM question_stats".')],
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Run one read-only SQL statement; tables and views are described in docs/data-model.md."""
    from cache.query import run_sql

    with open_for_reading(cache) as opened:
        print_rows(run_sql(opened, query), as_json=as_json, as_csv=as_csv)
