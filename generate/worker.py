"""The process of one device: loads the models there, and makes the chunks that it is sent until the pipe closes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from cache.errors import TtsSimError
from generate.making import Made, Maker
from generate.model_set import ModelSet

HELD_BACK = (signal.SIGTERM, signal.SIGINT)  # meant for the command, which ends its workers


class Ready(NamedTuple):
    """The models are loaded: their sizes, and what the provenance says of the machine."""

    num_params: int | None
    verifier_params: tuple[int, ...]
    machine: dict[str, Any]


class Said(NamedTuple):
    """A line for people."""

    text: str


class Done(NamedTuple):
    """What came of the chunk."""

    made: Made


class Refused(NamedTuple):
    """An error that is the command's: another device would meet it too."""

    text: str


class Broken(NamedTuple):
    """Any other error: this process ends."""

    text: str


def serve(connection: Connection, models: ModelSet, device: str, name: str, among: int, *, quiet: bool) -> None:
    """Serves the other end of the pipe, then ends the process; never returns.

    The messages are the classes above, against lists of orders. CPU threads are shared out `among` the workers. A
    `quiet` worker keeps to itself what libraries print as models are loaded, which another says.
    """
    for number in HELD_BACK:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)  # they were held back since before this process began
    threading.Thread(target=_end_with_the_command, daemon=True).start()
    sys.stdout.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # stdout is the command's
    status = 1
    with suppress(OSError):  # nobody is there to be told
        try:
            _serve(connection, models, device, name, among, quiet)
            status = 0
        except (ValueError, TtsSimError) as error:
            connection.send(Refused(str(error)))
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            connection.send(Broken(f"{type(error).__name__}: {reason}" if reason else type(error).__name__))
    os._exit(status)  # a device that failed, or a library's threads, could hold up an orderly end


def _serve(connection: Connection, models: ModelSet, device: str, name: str, among: int, quiet: bool) -> None:
    import torch

    torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // among)))
    with _silence() if quiet else nullcontext():
        maker, num_params, verifier_params = models.load(
            device, where=f" on {name}", say=lambda text: connection.send(Said(text))
        )
    if quiet:
        warnings.simplefilter("ignore")
    assert isinstance(maker, Maker)
    connection.send(Ready(num_params, verifier_params, maker.session()))
    while True:
        try:
            orders = connection.recv()
        except EOFError:
            return
        connection.send(Done(maker.make(orders)))


def _end_with_the_command() -> None:
    command = multiprocessing.parent_process()
    if command is not None:
        command.join()
        os._exit(1)


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing reaches stderr, whoever writes it."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
