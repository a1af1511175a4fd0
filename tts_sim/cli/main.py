"""The command `tts-sim`. Finds the command, and turns errors into one line on stderr and exit status 1."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import typer

COMMANDS = {  # where each command, or group of commands, is; a process loads the one that it is asked for
    "demo": "tts_sim.cli.demo:demo",
    "info": "tts_sim.cli.info:info",
    "check": "tts_sim.cli.check:check",
    "sql": "tts_sim.cli.sql:sql",
    "import": "tts_sim.cli.import_:import_",
    "export": "tts_sim.cli.export:app",
    "replay": "tts_sim.cli.replay:replay",
    "compare": "tts_sim.cli.compare:compare",
    "demand": "tts_sim.cli.demand:demand",
    "claims": "tts_sim.cli.claims:claims",
    "exchange": "tts_sim.cli.exchange:exchange",
    "allocate": "tts_sim.cli.allocate:allocate",
    "extrapolate": "tts_sim.cli.extrapolate:extrapolate",
    "verifiers": "tts_sim.cli.verifiers:verifiers",
    "policy": "tts_sim.cli.policy:app",
    "report": "tts_sim.cli.report:report",
    "generate": "generate.cli:app",
}


def command_line(called: str | None = None) -> typer.Typer:
    """The command line with the one command that is called, or with all of them if none of that name is."""
    app = typer.Typer(
        name="tts-sim",
        help="Generate once, then replay test-time compute strategies at any budget, with honest intervals.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        callback=_before,  # so that a single command, too, is called by its name
    )
    for name in [called] if called in COMMANDS else COMMANDS:
        module, attribute = COMMANDS[name].split(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def _before() -> None:
    """No option stands before the command."""


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
        command_line(*sys.argv[1:2])()
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
