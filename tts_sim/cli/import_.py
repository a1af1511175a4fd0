"""`tts-sim import`: foreign files become runs of a cache."""

from __future__ import annotations

from typing import Annotated

import typer

from tts_sim.cli.options import AsJson, note, print_json


def import_(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="native (JSONL) or openr.")],
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Each file becomes one run.")],
    into: Annotated[str, typer.Option("--into", metavar="CACHE", help="The .duckdb file to add to; made if need be.")],
    run: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="Name of the run (default: the file's name).")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="steps or revisions (default: as the file suggests).")
    ] = None,
    not_exchangeable: Annotated[
        bool, typer.Option("--not-exchangeable", help="Siblings are not i.i.d. draws.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import files into a cache; a file is imported as a whole or not at all."""
    from dataclasses import asdict

    from cache.importers import import_native, import_openr

    if form not in ("native", "openr"):
        raise ValueError(f"format '{form}' is unknown; it is one of native, openr.")
    if run is not None and len(files) > 1:
        raise ValueError(f"--run '{run}' names one run, but {len(files)} files were given; import them one by one.")
    if form == "openr" and (kind not in (None, "steps") or not_exchangeable):
        raise ValueError("openr files hold i.i.d. solutions; leave --kind and --not-exchangeable out.")
    reports = []
    for file in files:
        with _bar(file) as progress:
            if form == "native":
                report = import_native(
                    file, into, run_id=run, kind=kind, exchangeable=not not_exchangeable, progress=progress
                )
            else:
                report = import_openr(file, into, run_id=run, progress=progress)
        reports.append(report)
        for warning in report.warnings:
            note(f"tts-sim: {file}: {warning}")
        if not as_json:
            print(
                f"run '{report.run_id}' ({report.kind}): {report.questions} questions, {report.nodes} nodes, "
                f"{report.solutions} solutions, {report.scores} scores → {into}"
            )
    if as_json:
        print_json([asdict(report) for report in reports])


class _bar:
    """A progress bar on stderr, shown to a terminal only; gives the importers' progress callback."""

    def __init__(self, file: str) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self.bar = Progress(console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task(f"importing {file}", total=None)

    def __enter__(self) -> _bar:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, done: int, total: int) -> None:
        self.bar.update(self.task, completed=done, total=total)
