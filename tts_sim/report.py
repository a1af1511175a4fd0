"""One HTML file with charts and tables that opens without a network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import polars as pl

from tts_sim.user_cache import cache_directory

DUST = 1e-12  # what a difference of equal figures may come out as
OPEN_UP_TO = 12  # rows of a table without a chart that is open from the start
CONFIG: dict[str, Any] = {
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "gridColor": "#e6e8eb"},
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"},
    "header": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"},
}


@dataclass(frozen=True)
class Figure:
    """A chart with what there is to see in it; `table`, if any, can be opened below it. `name` is its file's stem."""

    name: str
    caption: str
    chart: Any | None = None  # an altair chart
    table: pl.DataFrame | None = None


@dataclass(frozen=True)
class Section:
    """A part of the report: a heading, what it was read from with what settings, what is to be said, and figures."""

    title: str
    read_from: str
    figures: Sequence[Figure] = ()
    text: Sequence[str] = ()


def write_report(path: str | Path, title: str, summary: Sequence[str], sections: Sequence[Section]) -> Path:
    """Writes the report; everything it needs is inside, and its policy lets a browser load nothing else.

    Texts are escaped, so that a model's text cannot become markup; only the page's own two scripts may run.
    Raises ValueError if the file cannot be written.
    """
    specs: list[dict[str, Any]] = []
    contents = "".join(
        f'<li><a href="#section{number}">{html.escape(section.title)}</a></li>'
        for number, section in enumerate(sections, 1)
    )
    parts = [
        f"<header><h1>{html.escape(title)}</h1>",
        *(f"<p>{html.escape(line)}</p>" for line in summary),
        f"<nav aria-label=Contents><ol>{contents}</ol></nav></header>\n<main>",
        *(_section(number, section, specs) for number, section in enumerate(sections, 1)),
        "</main>",
    ]
    scripts = [_bundle(), files("tts_sim").joinpath("report.js").read_text(encoding="utf-8")] if specs else []
    if specs:
        data = json.dumps(specs, allow_nan=False).replace("<", "\\u003c")  # '</script>' inside a text stays text
        parts.append(f'<script type="application/json" id="specs">{data}</script>')
        parts += [f"<script>{script}</script>" for script in scripts]
    page = (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv=Content-Security-Policy content="{_policy(scripts)}">'
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<link rel=icon href=data:,><title>{html.escape(title)}</title>"
        f"<style>{files('tts_sim').joinpath('report.css').read_text(encoding='utf-8')}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
    target = Path(path)
    try:
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"report {target} cannot be written: {error.strerror}. Choose another place.") from None
    return target


def write_charts(folder: str | Path, sections: Sequence[Section], kind: Literal["png", "svg"]) -> list[Path]:
    """Writes every chart as a file of that kind into the folder, which is made: 01-NAME.svg, 02-NAME.svg, …

    Raises ValueError if one cannot be written.
    """
    import vl_convert

    target = Path(folder)
    written: list[Path] = []
    for figure in (figure for section in sections for figure in section.figures if figure.chart is not None):
        path = target / f"{len(written) + 1:02d}-{figure.name}.{kind}"
        spec = {**_spec(figure.chart), "background": "white", "padding": 8}
        try:
            target.mkdir(parents=True, exist_ok=True)
            if kind == "png":
                path.write_bytes(vl_convert.vegalite_to_png(spec, scale=2))
            else:
                path.write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
        except OSError as error:
            raise ValueError(f"chart {path} cannot be written: {error.strerror}. Choose another place.") from None
        written.append(path)
    return written


def _section(number: int, section: Section, specs: list[dict[str, Any]]) -> str:
    parts = [f'<section id="section{number}"><h2>{number} {html.escape(section.title)}</h2>']
    parts += [f"<p>{html.escape(line)}</p>" for line in section.text]
    for figure in section.figures:
        parts.append("<figure>")
        if figure.chart is not None:
            parts.append(f'<div class=chart role=group aria-label="{html.escape(figure.caption)}"></div>')
            specs.append({key: value for key, value in _spec(figure.chart).items() if key != "$schema"})  # an address
        parts.append(f"<figcaption>{html.escape(figure.caption)}</figcaption>")
        if figure.table is not None:
            rows = f"{len(figure.table)} row{'s' if len(figure.table) != 1 else ''}"
            opened = " open" if figure.chart is None and len(figure.table) <= OPEN_UP_TO else ""
            parts.append(
                f"<details{opened}><summary>Figures ({rows})</summary><div class=scroll>{_table(figure.table)}</div>"
                "</details>"
            )
        parts.append("</figure>")
    parts.append(f"<p class=read>{html.escape(section.read_from)}</p></section>")
    return "\n".join(parts)


def _spec(chart: Any) -> dict[str, Any]:
    """The chart as Vega-Lite, in the report's dress."""
    spec: dict[str, Any] = chart.to_dict()
    spec["config"] = spec.get("config", {}) | CONFIG
    return spec


def _policy(scripts: Sequence[str]) -> str:
    """Content security policy: nothing is loaded, and of all scripts only these run (Vega compiles expressions)."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes) + " 'unsafe-eval'" if hashes else "'none'"
    return f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {allowed}"


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
    return re.sub(r"</(script)", r"<\\/\1", kept.read_text(encoding="utf-8"), flags=re.IGNORECASE)


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
    if isinstance(value, float):
        return f"{0.0 if abs(value) < DUST else value:.4g}"
    return str(value)
