"""Several devices: the same content as from one, whoever dies on the way, and nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from cache import create_cache, open_cache
from cache.check import violations
from generate.devices import device_list
from generate.model_set import Loaded
from generate.plans import Chains, Demand, Greedy, Plan, flat, staircase
from generate.recorder import Recorder
from generate.runs import build_recorder, fulfil
from generate.settings import stored_settings
from generate.workers import Workers, WorkersLost, start_workers
from tests.command import tts_sim
from tests.families import save_family
from tests.odd_models import made, odd, orders
from tests.test_generate_run import write_config
from tests.test_recorder import STRATEGIES, contents, questions, settings
from tests.tiny import save_models

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    torch.set_num_threads(1)
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return save_family("qwen2", tmp_path_factory.mktemp("family"))


def workers_of(recorder: Recorder) -> Workers:
    assert isinstance(recorder.maker, Workers)
    return recorder.maker


def until(done: Callable[[], bool]) -> bool:
    """Whether it came to be within two minutes."""
    deadline = time.monotonic() + 120
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)
    return done()


def assert_same(left: Path, right: Path) -> None:
    one, other = contents(left), contents(right)
    assert one.drop("score").equals(other.drop("score"))
    assert (one["score"] - other["score"]).abs().max() < 1e-6  # type: ignore[operator]


def record(path: Path, run: Any, given: Any, plans: Sequence[Plan], device: str, **more: Any) -> dict[str, Any]:
    """Records the plans, and checks the cache; the session's provenance."""
    with create_cache(path) as cache:
        recorder = build_recorder(cache, run, questions=given, device=device, **more)
        try:
            assert fulfil(cache, recorder, plans) > 0
        finally:
            recorder.close()
        assert violations(cache) == []
        session: dict[str, Any] = stored_settings(cache, run.run_id)[1]["sessions"][-1]
    return session


def test_trees_from_two_processes_are_those_of_one(tmp_path: Path, models: tuple[str, str]) -> None:
    one, two = tmp_path / "one.duckdb", tmp_path / "two.duckdb"
    plans = [flat(8), Greedy(), Demand(STRATEGIES, (2, 4), trials=2, seed=5)]
    given = questions(tmp_path)
    single = record(one, settings(models), given, plans, "cpu", batch_rows=4)
    both = record(two, settings(models), given, plans, "cpu,cpu", batch_rows=4)
    assert_same(two, one)
    assert [worker["device"] for worker in both["workers"]] == ["cpu (1 of 2)", "cpu (2 of 2)"]
    assert both["draws"] == single["draws"] == sum(worker["draws"] for worker in both["workers"])
    assert (both["device"], single["device"], both["sampler"]) == ("cpu,cpu", "cpu", "TransformersSampler")
    assert "workers" not in single and not any("died" in worker for worker in both["workers"])
    assert both["tokens"] == single["tokens"] and both["scored_tokens"] == single["scored_tokens"]


def test_chains_while_a_worker_is_killed(
    tmp_path: Path, models: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = settings(models, run_id="revise", kind="revisions", root_pool=8, separator="<next>", max_tokens=8)
    plans, given = [Chains(staircase(4))], questions(tmp_path)
    one, two = tmp_path / "one.duckdb", tmp_path / "two.duckdb"
    record(one, run, given, plans, "cpu")
    with create_cache(two) as cache:

        def progress(what: str, done: int, total: int) -> None:
            if done >= 6:
                workers.workers[0].process.kill()

        recorder = build_recorder(cache, run, questions=given, device="cpu,cpu", commit_draws=3, progress=progress)
        workers = workers_of(recorder)
        fulfil(cache, recorder, plans)
        recorder.close()
        assert violations(cache) == []
        session = stored_settings(cache, "revise")[1]["sessions"][0]
    assert_same(two, one)
    assert [worker.get("died") for worker in session["workers"]] == ["exit code -9, SIGKILL", None]
    [line] = [line for line in capsys.readouterr().err.splitlines() if "worker" in line]
    assert line.startswith("the worker on cpu (1 of 2) ended (exit code -9, SIGKILL); the others go on")
    assert not any(worker.process.is_alive() for worker in workers.workers)


def at(monkeypatch: pytest.MonkeyPatch, draws: int, what: Callable[[Workers], None]) -> None:
    """Does it once, when so many draws of the call are committed."""
    done_once: list[bool] = []

    def report(self: Recorder, name: str, done: int, total: int) -> None:
        if draws <= done < total and not done_once:
            done_once.append(True)
            what(workers_of(self))

    monkeypatch.setattr(Recorder, "_report", report)


def test_sigterm_to_all_then_all_workers_killed_then_finished(
    tmp_path: Path, family: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM as a batch system sends it: the command stops after the chunks at hand; no worker minds it."""
    whole = tmp_path / "whole"
    whole.mkdir()
    run = ["generate", "run", "--config", write_config(tmp_path, family, flat=24, max_tokens=8)]
    several = [*run, "--device", "cpu,cpu", "--commit-draws", "2"]
    loaded = Workers.loaded

    def early(self: Workers) -> Loaded:
        for worker in self.workers:  # which have hardly begun
            os.kill(worker.process.pid or 0, signal.SIGTERM)
            os.kill(worker.process.pid or 0, signal.SIGINT)
        return loaded(self)

    def terminate(workers: Workers) -> None:
        for pid in [*(worker.process.pid or 0 for worker in workers.workers), os.getpid()]:
            os.kill(pid, signal.SIGTERM)

    monkeypatch.setattr(Workers, "loaded", early)
    at(monkeypatch, 10, terminate)
    ended = tts_sim(*several)
    assert ended.status == 0 and "left; all others are kept" in ended.out and "worker" not in ended.err
    assert "To go on, give the same command" in ended.out
    with open_cache(tmp_path / "run.duckdb") as cache:
        assert violations(cache) == []
        session = stored_settings(cache, "base")[1]["sessions"][0]
        roots = cache.frame("SELECT 1 FROM nodes WHERE parent_id IS NULL")
    assert session["ended"] == "stopped" and not any("died" in worker for worker in session["workers"])
    assert len(roots) == session["draws"] == sum(worker["draws"] for worker in session["workers"])
    assert 10 <= len(roots) <= 10 + 2 * 4  # and what was at hand

    killed: list[Workers] = []

    def kill(workers: Workers) -> None:
        killed.append(workers)
        for worker in workers.workers:
            worker.process.kill()

    at(monkeypatch, 10, kill)
    ended = tts_sim(*several)
    last = ended.err.splitlines()[-1]
    assert ended.status == 1 and last.startswith("tts-sim: ") and "exit code -9, SIGKILL" in last
    assert last.endswith("What was committed is kept, and the same command goes on from there.")
    assert "Traceback" not in ended.err and not any(worker.process.is_alive() for worker in killed[0].workers)
    with open_cache(tmp_path / "run.duckdb") as cache:
        assert violations(cache) == [] and len(cache.table("nodes")) >= len(roots) + 10
        assert stored_settings(cache, "base")[1]["sessions"][1]["ended"] == "failed"

    assert tts_sim(*run).status == 0
    assert tts_sim("generate", "run", "--config", write_config(whole, family, flat=24, max_tokens=8)).status == 0
    assert_same(tmp_path / "run.duckdb", whole / "run.duckdb")
    with open_cache(tmp_path / "run.duckdb") as cache:
        assert violations(cache) == []


def test_workers_that_fail(tmp_path: Path) -> None:
    said: list[str] = []
    workers = Workers(odd(tmp_path), ["cpu"] * 4, say=said.append)
    assert workers.loaded().num_params == 1
    assert workers.chunk_draws(24, 4096) == 4 and workers.chunk_draws(2400, 4096) == 200
    assert workers.chunk_draws(8, 4096) == 2 and workers.chunk_draws(10**6, 4096) == 4096
    assert made(workers, orders("a"), orders("large", "large", "large"), orders("b")) == {
        0: ["a"],
        1: ["large"] * 3,
        2: ["b"],
    }
    assert len(said) == 1 and said[0].startswith("the model on cpu (") and "out of memory; 1 at a time" in said.pop()
    texts = made(workers, *[orders("broken") for _ in range(4)])
    assert texts == {place: ["broken"] for place in range(4)}
    assert len(said) == 1 and "ended (RuntimeError: CUDA error: an illegal memory access was encountered)" in said[0]
    assert said.pop().endswith("; the others go on and make its 1 draws.")
    session = workers.session()
    assert session["threads"] == max(1, (os.cpu_count() or 1) // 4)
    assert [worker["draws"] for worker in session["workers"]] != [0] * 4 == [w.draws for w in workers.workers]
    assert sum(worker["draws"] for worker in session["workers"]) == 9
    with pytest.raises(
        WorkersLost, match=r"2 workers ended while they .* is given them: the 2 from draw 0 of 'deadly'"
    ):
        made(workers, orders("deadly", "b"))
    assert len(said) == 1 and sum(worker.process.is_alive() for worker in workers.workers) == 1
    with pytest.raises(ValueError, match=r"^draw 1 of 'unreadable', step 1 of it: verifier 'odd' cannot score it"):
        made(workers, orders("a", "unreadable"))
    assert len(said) == 1 and not any(worker.process.is_alive() for worker in workers.workers)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_command_takes_its_workers_along(tmp_path: Path, number: signal.Signals) -> None:
    """One that is at work, too, whether the command is killed or Ctrl-C reaches all of them."""
    code = (
        "from pathlib import Path\nfrom tests.odd_models import Workers, made, odd, orders\n"
        f"made(Workers(odd(Path({str(tmp_path)!r})), ['cpu']), orders('endless'))"
    )
    command = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE)
    assert until(lambda: (tmp_path / "endless").exists())
    os.killpg(command.pid, number) if number == signal.SIGINT else command.kill()
    command.communicate(timeout=120)  # to the end of stderr, which the worker has too


def test_a_worker_that_dies_as_it_loads(tmp_path: Path) -> None:
    with pytest.raises(WorkersLost, match=r"^no worker is left \(cpu: FileNotFoundError: .*\)\. What was committed is"):
        start_workers(odd(tmp_path / "nowhere"), ["cpu"])


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("cpu,gpu7", "device 'gpu7' is unknown; expected auto, cpu, cuda or cuda:1; several as cuda:0,cuda:1"),
        ("meta", "device 'meta' is unknown"),
        ("cpu,", "device 'cpu,' has an empty name"),
        ("", "device '' has an empty name"),
        ("cpu,auto", "device 'auto' is unknown"),
        ("cuda:99", "device 'cuda:99' is not here: there"),
    ],
)
def test_devices_that_are_not_there(tmp_path: Path, family: tuple[str, str], device: str, said: str) -> None:
    ended = tts_sim("generate", "run", "--config", write_config(tmp_path, family), "--device", device)
    assert ended.status == 1 and ended.out == "" and len(ended.err.splitlines()) == 1
    assert ended.err.startswith(f"tts-sim: {said}") and not (tmp_path / "run.duckdb").exists()


def test_names_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_list("auto") == ("cuda",) and device_list("cuda:all") == ("cuda:0", "cuda:1")
    assert device_list("cuda:1, cpu,cpu") == ("cuda:1", "cpu", "cpu")
    for twice in ("cuda:1,cuda:1", "cuda,cuda:0", "cuda:all,cuda:1"):
        with pytest.raises(ValueError, match=f"device '{twice}' names cuda:. twice"):
            device_list(twice)
    with pytest.raises(ValueError, match="'cuda:2' is not here: there are 2, from cuda:0"):
        device_list("cuda:0,cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_list("auto") == ("cpu",)
    with pytest.raises(ValueError, match="'cuda:all': there is no CUDA device here"):
        device_list("cuda:all")


def test_one_device_where_one_is_needed(tmp_path: Path, models: tuple[str, str]) -> None:
    """Verifiers of a server's draws, and what is no recording."""
    from generate.loading import load_pretrained
    from generate.samplers.server import ServerSettings

    with pytest.raises(ValueError, match="device 'cpu,cpu' names 2 devices; this takes one"):
        load_pretrained(None, models[0], device="cpu,cpu")
    with create_cache(tmp_path / "run.duckdb") as cache, pytest.raises(ValueError, match="come from the server http"):
        build_recorder(cache, settings(models), device="cpu,cpu", server=ServerSettings("http://localhost:1"))
