"""`tts-sim generate run`: record what a configuration asks for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from generate.config import Config, config_toml, read_config
from generate.flags import with_key_flags
from generate.reporting import generating
from tts_sim.cli.options import AsJson

if TYPE_CHECKING:
    from threading import Event

    import polars as pl


@with_key_flags
def run(
    config: Annotated[str | None, typer.Option("--config", metavar="FILE", help="TOML with the keys below.")] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the configuration that results, as TOML, and end.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would take, and end: nothing is loaded or written.")
    ] = False,
    throughput: Annotated[
        float | None, typer.Option("--throughput", help="With --dry-run: tokens a second that your GPU generates.")
    ] = None,
    verifier_throughput: Annotated[
        float | None, typer.Option("--verifier-throughput", help="With --dry-run: tokens a second that verifiers read.")
    ] = None,
    as_json: AsJson = False,
    **given: Any,
) -> None:
    """Record solutions, trees and revision chains by a configuration; goes on where an earlier call ended.

    Each key of the file is also a flag, and the flag wins. SIGTERM ends it after the batch at hand.
    """
    chosen = read_config(config, given)
    if print_config:
        typer.echo(config_toml(chosen), nl=False)
    elif dry_run:
        _print_estimate(chosen, throughput, verifier_throughput, as_json=as_json)
    else:
        record_and_say(chosen)


def record_and_say(config: Config) -> None:
    """Records, and says what was made; stopped by SIGTERM, says how to go on."""
    with generating() as reporter, stoppable() as stopping:
        from generate.recordings import record

        recorded = record(config, progress=reporter, meter=reporter.meter, stopping=stopping)
        for name, plans, draws in recorded:
            typer.echo(f"run '{name}': {draws} draws made, plan {', '.join(plans)} fulfilled → {config.cache}")


@contextmanager
def stoppable() -> Iterator[Event]:
    """An event that SIGTERM sets; a recording that it stops ends the command with how to go on, and no error."""
    import shlex

    from generate.recorder import RecordingStopped
    from generate.stopping import stop_on_sigterm

    with stop_on_sigterm() as stopping:
        try:
            yield stopping
        except RecordingStopped as stopped:
            command = shlex.join(["tts-sim", *sys.argv[1:]])
            typer.echo(f"{stopped} To go on, give the same command: {command}")


def _print_estimate(
    config: Config, throughput: float | None, verifier_throughput: float | None, *, as_json: bool
) -> None:
    from generate.estimate import estimate
    from tts_sim.cli.options import note, print_rows

    frame = estimate(config, throughput=throughput, verifier_throughput=verifier_throughput)
    print_rows(frame, as_json=as_json)
    for line in _remarks(frame):
        note(line)


def _remarks(frame: pl.DataFrame) -> list[str]:
    """What the estimate rests on, and the sum."""
    from generate.meter import short

    lines = []
    for name, length, measured in frame.select("run", "length", "measured").unique(maintain_order=True).iter_rows():
        basis = (
            f"the mean of what is cached, {length:.0f} tokens"
            if measured
            else f"max_tokens, {length:.0f}: nothing is cached yet, so this is an upper bound"
        )
        lines.append(f"run '{name}': length of a solution: {basis}.")
    bound = "at most " if frame["at_most"].any() else ""
    hours = frame["hours"].sum() if frame["hours"].null_count() == 0 else None
    tokens, scored = (short(int(frame[name].sum())) for name in ("tokens", "verifier_tokens"))
    lines.append(
        f"in all {bound}{tokens} tokens, {scored} verifier tokens"
        + (f", {hours:.3g} GPU hours." if hours is not None else "; GPU hours with --throughput.")
    )
    return lines
