"""`tts-sim report`: every analysis that a cache can speak to, in one HTML file, and its charts as files."""

from __future__ import annotations

from typing import Annotated

import typer

from tts_sim.cli.options import CachePath


def report(
    cache: CachePath,
    output: Annotated[str, typer.Option("--output", "-o", help="Where the report goes.")] = "report.html",
    png: Annotated[str | None, typer.Option("--png", metavar="DIR", help="Write every chart as PNG, too.")] = None,
    svg: Annotated[str | None, typer.Option("--svg", metavar="DIR", help="Write every chart as SVG, too.")] = None,
    verifier: Annotated[str | None, typer.Option("--verifier", help="Verifier whose scores are used.")] = None,
    trials: Annotated[int | None, typer.Option("--trials", help="Trials per question; default 256.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all draws.")] = 0,
) -> None:
    """Write a report that opens offline: the paper's analyses, as far as this cache can speak to each."""
    from pathlib import Path

    from tts_sim.cli.engine import announce_compilation
    from tts_sim.cli.options import note, open_for_reading

    with open_for_reading(cache) as opened:
        announce_compilation()
        from tts_sim.full_report import full_report

        name = "the shipped sample" if cache == "sample" and not Path(cache).exists() else Path(cache).name
        made = full_report(opened, name=name, verifier=verifier, trials=trials, seed=seed)
    from tts_sim.report import write_charts, write_report

    note(f"report: {write_report(output, *made)}")
    if png is not None:
        note(f"{len(write_charts(png, made.sections, 'png'))} charts: {png}")
    if svg is not None:
        note(f"{len(write_charts(svg, made.sections, 'svg'))} charts: {svg}")
