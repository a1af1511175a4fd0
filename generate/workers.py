"""Several devices: a process for each, which makes what the recorder's process alone writes down."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import resource_tracker, util
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from threading import Event
from typing import Any

from cache.errors import TtsSimError
from generate.making import Made, Order, Results, say_on_stderr
from generate.model_set import Loaded, ModelSet
from generate.worker import HELD_BACK, Broken, Done, Ready, Refused, Said, serve

CHUNKS = 3  # a worker, where there is enough to fill their batches: none waits long for the last
DEATHS = 2  # of workers at one chunk: it is not tried on the others
KEPT = "What was committed is kept, and the same command goes on from there."


class WorkersLost(TtsSimError):
    """The processes of the devices have ended, or end at what they are given."""


@dataclass
class _Chunk:
    place: int
    orders: Sequence[Order]
    deaths: list[str] = field(default_factory=list)

    def said(self) -> str:
        """Which draws they are."""
        first, last = self.orders[0].name, self.orders[-1].name
        return first if len(self.orders) == 1 else f"the {len(self.orders)} from {first}, to {last}"


@dataclass
class _Worker:
    name: str
    process: SpawnProcess
    connection: Connection
    ready: bool = False
    chunk: _Chunk | None = None
    draws: int = 0
    ended: str | None = None


class Workers:
    """Makes chunks in processes of their own, one a device; a free one is given the next.

    A worker that dies is said, and its chunk goes to the others. Raises WorkersLost when none is left, or for a chunk
    at which two have died; ValueError for what is wrong with models or draws wherever they are made.
    """

    def __init__(self, models: ModelSet, devices: Sequence[str], *, say: Callable[[str], None] = say_on_stderr) -> None:
        self.devices, self.batch_rows, self.say = tuple(devices), models.batch_rows, say
        self.workers: list[_Worker] = []
        self._machine: dict[str, Any] = {}
        self._sizes: tuple[int | None, tuple[int, ...]] | None = None
        self._end = util.Finalize(self, _end_all, args=(self.workers,), exitpriority=10)
        context = multiprocessing.get_context("spawn")
        resource_tracker.ensure_running()  # its start would let the signals through again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)  # new processes inherit it
        try:
            for place, device in enumerate(devices):
                ours, theirs = context.Pipe()
                name = _name(devices, place)
                process = context.Process(
                    target=serve,
                    args=(theirs, models, device, name, len(devices)),
                    kwargs={"quiet": place > 0},
                    daemon=True,
                )
                process.start()
                theirs.close()
                self.workers.append(_Worker(name, process, ours))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def loaded(self) -> Loaded:
        """With the sizes of the models, as soon as one worker has loaded them."""
        while self._sizes is None:
            self._require_alive()
            self._hear(deque(), [])
        return Loaded(self, *self._sizes)

    def chunk_draws(self, draws: int, most: int) -> int:
        """About CHUNKS chunks a worker, but no smaller than a batch unless workers would stand idle; at most `most`."""
        each = -(-draws // max(1, len(self._alive())))
        return max(1, min(most, max(-(-each // CHUNKS), min(self.batch_rows, each))))

    def made(self, chunks: Iterable[Sequence[Order]], stopping: Event | None) -> Results:
        """See Making; in whatever order they are done. Workers are at the next chunks while one is written down."""
        fresh = (_Chunk(place, orders) for place, orders in enumerate(chunks))
        waiting: deque[_Chunk] = deque()  # the next, and before it those that came back from the dead
        results: list[tuple[int, Made]] = []
        waiting.extend(islice(fresh, 1))
        try:
            while True:
                stopped = stopping is not None and stopping.is_set()
                for worker in self._free():
                    if stopped or not waiting:
                        break
                    if self._give(worker, waiting[0], waiting):
                        waiting.popleft()
                        waiting.extend(islice(fresh, not waiting))
                yield from results
                results = []
                if not self._busy():
                    if stopped or not waiting:
                        return
                    self._require_alive()
                failure: Exception | None = None
                try:
                    self._hear(waiting, results)
                except (ValueError, TtsSimError) as error:
                    failure = error
                if failure is not None:
                    yield from results  # made before it, and worth keeping
                    raise failure
        finally:
            if self._busy():  # their results would be taken for those of the next call
                self.close()

    def session(self) -> dict[str, Any]:
        """See Making: the devices, and of each worker its draws and, if it died, of what."""
        rows = []
        for worker in self.workers:
            died = {} if worker.ended is None else {"died": worker.ended}
            rows.append({"device": worker.name, "draws": worker.draws, **died})
            worker.draws = 0
        return self._machine | {"device": ",".join(self.devices), "workers": rows}

    def close(self) -> None:
        """Ends the processes."""
        self._end()

    def _alive(self) -> list[_Worker]:
        return [worker for worker in self.workers if worker.ended is None]

    def _free(self) -> list[_Worker]:
        return [worker for worker in self._alive() if worker.ready and worker.chunk is None]

    def _busy(self) -> bool:
        return any(worker.chunk is not None for worker in self._alive())

    def _give(self, worker: _Worker, chunk: _Chunk, waiting: deque[_Chunk]) -> bool:
        """Whether the worker took it: one that died idle does not."""
        try:
            worker.connection.send(chunk.orders)
        except OSError:
            self._bury(worker, None, waiting)
            return False
        worker.chunk = chunk
        return True

    def _hear(self, waiting: deque[_Chunk], results: list[tuple[int, Made]]) -> None:
        """Waits until workers say something, and adds the results among that."""
        by_connection = {worker.connection: worker for worker in self._alive()}
        for connection in wait(list(by_connection)):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):  # closed, or closed half-way through a message
                self._bury(worker, None, waiting)
                continue
            match message:
                case Ready(num_params, verifier_params, machine):
                    worker.ready = True
                    if self._sizes is None:
                        self._sizes, self._machine = (num_params, verifier_params), machine
                case Said(text):
                    self.say(text)
                case Refused(text):
                    raise ValueError(text)
                case Broken(text):
                    self._bury(worker, text, waiting)
                case Done(made):
                    assert worker.chunk is not None
                    results.append((worker.chunk.place, made))
                    worker.draws += len(made.places)
                    worker.chunk = None

    def _bury(self, worker: _Worker, error: str | None, waiting: deque[_Chunk]) -> None:
        """Takes a worker that died off the list; its chunk waits for another. Raises WorkersLost for DEATHS at one."""
        worker.process.join(10)
        worker.ended = error or _exit_said(worker.process.exitcode)
        _end_all([worker])
        chunk, worker.chunk = worker.chunk, None
        if chunk is not None:
            chunk.deaths.append(f"{worker.name}: {worker.ended}")
            if len(chunk.deaths) >= DEATHS:
                raise WorkersLost(
                    f"{DEATHS} workers ended while they made the same draws ({'; '.join(chunk.deaths)}), so no other "
                    f"is given them: {chunk.said()}. {KEPT}"
                )
            waiting.appendleft(chunk)
        if self._alive():
            what = "" if chunk is None else f" and make its {len(chunk.orders)} draws"
            self.say(f"the worker on {worker.name} ended ({worker.ended}); the others go on{what}.")

    def _require_alive(self) -> None:
        if not self._alive():
            ends = "; ".join(f"{worker.name}: {worker.ended}" for worker in self.workers)
            raise WorkersLost(f"no worker is left ({ends}). {KEPT}")


def start_workers(models: ModelSet, devices: Sequence[str]) -> Loaded:
    """Workers on the devices, at least one of them with its models loaded. Raises as Workers."""
    workers = Workers(models, devices)
    try:
        return workers.loaded()
    except BaseException:
        workers.close()
        raise


def _name(devices: Sequence[str], place: int) -> str:
    device = devices[place]
    same = devices.count(device)
    return device if same == 1 else f"{device} ({devices[: place + 1].count(device)} of {same})"


def _exit_said(code: int | None) -> str:
    if code is None:
        return "it closed its pipe"
    names = {-one.value: f", {one.name}" for one in signal.Signals}
    return f"exit code {code}{names.get(code, '')}"


def _end_all(workers: Sequence[_Worker]) -> None:
    """Kills what still runs: nothing of a worker's is worth an orderly end."""
    for worker in workers:
        worker.connection.close()
        if worker.process.is_alive():
            worker.process.kill()
    for worker in workers:
        worker.process.join()
