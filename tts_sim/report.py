"""One HTML file with charts and tables that opens without a network."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from tts_sim.user_cache import cache_directory

_STYLE = """
:root { color-scheme: light; font-family: system-ui, sans-serif; line-height: 1.45; color: #1b1f24; background: #fff; }
body { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem; }
p.read { color: #57606a; font-size: .9rem; } .scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #d0d7de; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } .chart { overflow-x: auto; min-height: 10rem; }
"""


@dataclass(frozen=True)
class Section:
    """A part of the report: a heading, what it was read from with what settings, and a chart or a table or both."""

    title: str
    read_from: str
    chart: Any | None = None  # an altair chart
    table: pl.DataFrame | None = None


def write_report(path: str | Path, title: str, summary: Sequence[str], sections: Sequence[Section]) -> Path:
    """Writes the report; everything it needs is inside. Texts are escaped, so a model's text cannot become markup.

    Raises ValueError if the file cannot be written.
    """
    parts = [f"<h1>{html.escape(title)}</h1>", *(f"<p>{html.escape(line)}</p>" for line in summary)]
    specs = []
    for number, section in enumerate(sections):
        parts.append(f"<h2>{html.escape(section.title)}</h2><p class=read>{html.escape(section.read_from)}</p>")
        if section.chart is not None:
            parts.append(f'<div class=chart id="chart{number}"></div>')
            specs.append((f"#chart{number}", section.chart.to_dict()))
        if section.table is not None:
            parts.append(f"<div class=scroll>{_table(section.table)}</div>")
    draw = ""
    if specs:
        script = json.dumps(specs, allow_nan=False).replace("<", "\\u003c")  # '</script>' inside a text stays text
        draw = (
            f"<script>{_bundle()}</script>\n<script>\nfor (const [place, spec] of {script}) "
            "vegaEmbed(place, spec, {mode: 'vega-lite', actions: {export: true, source: false, compiled: false, "
            "editor: false}}).catch(console.error);\n</script>"
        )
    page = (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<link rel=icon href=data:,><title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + f"\n{draw}\n</body></html>\n"
    )
    target = Path(path)
    try:
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"report {target} cannot be written: {error.strerror}. Choose another place.") from None
    return target


def _bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script that defines `vegaEmbed`; bundled once per machine (a second)."""
    kept = cache_directory("charts") / f"vega-{version('vl-convert-python')}-{version('altair')}.js"
    if not kept.exists():
        import vl_convert
        from altair.utils._importers import vl_version_for_vl_convert

        bundle = vl_convert.javascript_bundle(vl_version=vl_version_for_vl_convert())  # type: ignore[call-arg]
        partial = kept.with_name(f"{kept.name}.{os.getpid()}")
        partial.write_text(bundle, encoding="utf-8")
        partial.replace(kept)
    return kept.read_text(encoding="utf-8")


def _table(frame: pl.DataFrame) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in frame.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell(value))}</td>" for value in row) + "</tr>"
        for row in frame.iter_rows()
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
