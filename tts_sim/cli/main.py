"""The command `tts-sim`. Registers the commands, and turns errors into one line on stderr and exit status 1."""

from __future__ import annotations

import os
import sys

import typer

from generate.cli import app as generate
from tts_sim.cli.allocate import allocate
from tts_sim.cli.check import check
from tts_sim.cli.claims import claims
from tts_sim.cli.compare import compare
from tts_sim.cli.demand import demand
from tts_sim.cli.demo import demo
from tts_sim.cli.exchange import exchange
from tts_sim.cli.export import app as export
from tts_sim.cli.extrapolate import extrapolate
from tts_sim.cli.import_ import import_
from tts_sim.cli.info import info
from tts_sim.cli.policy import app as policy
from tts_sim.cli.replay import replay
from tts_sim.cli.report import report
from tts_sim.cli.sql import sql
from tts_sim.cli.verifiers import verifiers

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
app.add_typer(export, name="export")
app.command()(replay)
app.command()(compare)
app.command()(demand)
app.command()(claims)
app.command()(exchange)
app.command()(allocate)
app.command()(extrapolate)
app.command()(verifiers)
app.add_typer(policy, name="policy")
app.command()(report)
app.add_typer(generate, name="generate")


def main() -> None:
    """Runs the command line and exits: 0 done, 1 an error (said in one line), 2 wrong usage, 130 interrupted.

    A reader of stdout that has gone (`tts-sim … | head`) is no error: the command ends there, quietly.
    """
    from cache.errors import TtsSimError

    status = 0
    try:
        status = _run()
        print(end="", flush=True)  # so that a closed pipe or a full disk is met here, not as the interpreter ends
    except BrokenPipeError:
        pass
    except KeyboardInterrupt:
        status = _say("interrupted", status=130)
    except (TtsSimError, ValueError) as error:
        status = _say(error, status=1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        status = _say(where + " ".join((error.strerror or str(error)).split()), status=1)
    _give_up_unwritable()
    sys.exit(status)


def _run() -> int:
    """Exit status of the command; raises a closed pipe and Ctrl-C, which typer, rich and DuckDB disguise."""
    try:
        app()
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):
            raise ended.__context__ from None
        if ended.code == 130:
            raise KeyboardInterrupt from None
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except RuntimeError as error:
        if str(error) == "Query interrupted":  # what DuckDB makes of Ctrl-C
            raise KeyboardInterrupt from None
        raise
    return 0


def _say(message: object, *, status: int) -> int:
    print(f"tts-sim: {message}", file=sys.stderr)
    return status


def _give_up_unwritable() -> None:
    """Turns stdout to nowhere if it cannot take what is left: the interpreter would try, and complain, once more."""
    try:
        print(end="", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
