"""The command `tts-sim`. Registers the commands, and turns errors into one line on stderr and exit status 1."""

from __future__ import annotations

import sys

import typer

from tts_sim.cli.check import check
from tts_sim.cli.demand import demand
from tts_sim.cli.demo import demo
from generate.cli import app as generate
from tts_sim.cli.import_ import import_
from tts_sim.cli.info import info
from tts_sim.cli.replay import replay
from tts_sim.cli.sql import sql

app = typer.Typer(
    name="tts-sim",
    help="Generate once, then replay test-time compute strategies at any budget, with honest intervals.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(demo)
app.command()(info)
app.command()(check)
app.command()(sql)
app.command("import")(import_)
app.command()(replay)
app.command()(demand)
app.add_typer(generate, name="generate")


def main() -> None:
    """Runs the command line; a bad argument or a TtsSimError ends it with one line and exit status 1."""
    from cache.errors import TtsSimError

    try:
        app()
    except (TtsSimError, ValueError) as error:
        print(f"tts-sim: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # `tts-sim … | head`: the reader has gone, and nothing is wrong
        sys.stderr.close()
        sys.exit(0)
