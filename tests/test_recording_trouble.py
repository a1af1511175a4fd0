"""What befalls recordings: SIGTERM, a full disk, memory that runs out. Nothing is lost, and each says how to go on."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Any

import duckdb
import polars as pl
import pytest
import torch

from cache import Cache, create_cache, open_cache
from cache.check import violations
from cache.errors import CacheFull
from cache.grading import Exact
from generate.answers import AnswerBook
from generate.extraction import final_number
from generate.halving import Halving, is_out_of_memory
from generate.making import Maker
from generate.plans import flat
from generate.prompts import Prompts
from generate.protocols import Request, SamplerStopped, Solution, Step
from generate.recorder import Recorder, RecordingStopped
from generate.runs import fulfil, start_run
from generate.settings import RunSettings, VerifierSettings, stored_settings
from tests.commits import signalling_itself
from tests.families import save_family
from tests.test_generate_run import write_config
from tests.test_recorder import contents

SETTINGS = RunSettings(
    run_id="base",
    kind="steps",
    model="fake",
    delimiter="\n",
    temperature=1.0,
    seed=0,
    root_pool=8,
    step_pool=2,
    grader="exact",
    verifiers=(VerifierSettings("prm", "prm", "fake", "trl"),),
)


class FakeSampler:
    """Two steps a request; no more than `holds` at once. `stops_after` requests it cannot go on."""

    def __init__(self, holds: int, stops_after: int | None = None) -> None:
        self.holds, self.stops_after = holds, stops_after
        self.batch_rows = 6
        self.calls: list[int] = []

    def sample(self, requests: Sequence[Request]) -> list[list[Step]]:
        """The answer is the request's key."""
        self.calls.append(len(requests))
        if min(len(requests), self.batch_rows) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        made = [
            [Step("so\n", 2, -1.0, -0.5, "step"), Step(f"={request.key % 97}", 3, -1.0, -0.5, "eos")]
            for request in requests
        ]
        if self.stops_after is not None:
            self.stops_after -= len(requests)
            if self.stops_after < 0:
                raise SamplerStopped("no more.", [*made[: self.stops_after], *[None] * -self.stops_after])
        return made


class FakeVerifier:
    """The score of a step is a tenth of its letters."""

    verifier_id, kind, ends_only = "prm", "prm", False

    def __init__(self, holds: int) -> None:
        self.holds = holds

    def score(self, solutions: Sequence[Solution]) -> list[list[float]]:
        """See Verifier."""
        if len(solutions) > self.holds:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return [[len(step) / 10 for step in solution.steps[-solution.fresh :]] for solution in solutions]


def recorder(cache: Cache, sampler: Any, verifier: Any, **more: Any) -> Recorder:
    cache.append(questions=pl.DataFrame({"question_id": ["a", "b"], "prompt": ["1", "2"], "gold": ["3", "4"]}))
    start_run(cache, SETTINGS, {})
    book = AnswerBook(cache, Exact())
    maker = Maker(sampler, [verifier])
    return Recorder(cache, "base", maker, book, extract=final_number, seed=0, prompts=Prompts(), **more)


def test_batches_halve_when_memory_runs_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is recorded is the same as with room for all."""
    found = []
    for name, holds in (("roomy", 100), ("tight", 2)):
        with create_cache(tmp_path / f"{name}.duckdb") as cache:
            sampler = FakeSampler(holds)
            made = fulfil(cache, recorder(cache, sampler, FakeVerifier(holds)), [flat(8)])
            assert made == 16 and violations(cache) == []
        found.append(contents(tmp_path / f"{name}.duckdb"))
        if name == "tight":
            assert sampler.batch_rows == 1 and sampler.calls[:3] == [16, 3, 1] and set(sampler.calls[3:]) == {1}
    assert found[0].equals(found[1])
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == [
        "the model: out of memory; 3 at a time from here on.",
        "the model: out of memory; 1 at a time from here on.",
    ]
    assert said[2:] == [f"verifier 'prm': out of memory; {limit} at a time from here on." for limit in (8, 4, 2)]


def test_a_single_sequence_that_is_too_much(tmp_path: Path) -> None:
    with create_cache(tmp_path / "c.duckdb") as cache:
        making = recorder(cache, FakeSampler(0), FakeVerifier(9))
        with pytest.raises(ValueError, match=r"the model is out of memory with a single sequence \(CUDA out of memory"):
            fulfil(cache, making, [flat(2)])
        assert stored_settings(cache, "base")[1]["sessions"][0]["ended"] == "failed"


def test_other_errors_are_not_taken_for_memory() -> None:
    def fail(start: int, items: Sequence[int]) -> list[int]:
        raise RuntimeError("index out of range")

    with pytest.raises(RuntimeError, match="index out of range"):
        Halving(object(), "x", print)(fail, [1, 2])
    assert is_out_of_memory(MemoryError()) and not is_out_of_memory(ValueError("out of memory"))


def test_a_sampler_that_stops_after_memory_ran_out(tmp_path: Path) -> None:
    """All that was finished before and in the last part is kept."""
    with create_cache(tmp_path / "c.duckdb") as cache:
        making = recorder(cache, FakeSampler(3, stops_after=8), FakeVerifier(9))
        with pytest.raises(SamplerStopped, match="no more"):
            fulfil(cache, making, [flat(8)])
        assert len(cache.table("nodes")) == 2 * 8 and violations(cache) == []
        assert fulfil(cache, recorder(cache, FakeSampler(9), FakeVerifier(9)), [flat(8)]) == 8


def test_a_recorder_stops_between_commits(tmp_path: Path) -> None:
    stopping = Event()

    def progress(what: str, done: int, total: int) -> None:
        if done >= 8:
            stopping.set()

    with create_cache(tmp_path / "c.duckdb") as cache:
        making = recorder(cache, FakeSampler(9), FakeVerifier(99), commit_draws=4, progress=progress, stopping=stopping)
        with pytest.raises(RecordingStopped, match=r"stopped with 8 draws of 'base: flat\(8\), layer 1' left"):
            fulfil(cache, making, [flat(8)])
        assert len(cache.table("nodes")) == 2 * 8 and violations(cache) == []
        session = stored_settings(cache, "base")[1]["sessions"][0]
        assert (session["ended"], session["draws"], session["tokens"]) == ("stopped", 8, 40)


def test_duckdb_on_a_full_disk(tmp_path: Path) -> None:
    class Full:
        def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
            self.connection = connection

        def execute(self, sql: str, *more: Any) -> Any:
            if sql == "COMMIT":
                raise duckdb.IOException("Could not write file: No space left on device")
            return self.connection.execute(sql, *more)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.connection, name)

    with create_cache(tmp_path / "c.duckdb") as cache:
        whole = cache.connection
        cache.connection = Full(whole)  # type: ignore[assignment]
        with pytest.raises(CacheFull, match=r"c\.duckdb cannot be written: the disk is full"):
            cache.append(questions=pl.DataFrame({"question_id": ["a"]}))
        cache.connection = whole
        assert not len(cache.table("questions"))
        cache.append(questions=pl.DataFrame({"question_id": ["a"]}))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return save_family("qwen2", tmp_path_factory.mktemp("models"))


def start(*words: str, first: str = "") -> subprocess.Popen[str]:
    """A process of its own that runs the command, after the Python code `first`."""
    code = f"{first}\nfrom tts_sim.cli.main import main; main()"
    command = [sys.executable, "-c", code, "generate", "run", *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )


def finish(config: str) -> None:
    process = start("--config", config)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0 and "fulfilled" in out, err


def test_sigterm_then_the_same_command(tmp_path: Path, models: tuple[str, str]) -> None:
    """Twice; then the recording is what it would have been."""
    folders = [tmp_path / "undisturbed", tmp_path / "stopped"]
    for folder in folders:
        folder.mkdir()
    undisturbed, config = (write_config(folder, models, flat=150, max_tokens=8) for folder in folders)
    path, counts = folders[1] / "run.duckdb", [0]
    for _ in range(2):
        process = start("--config", config, "--commit-draws", "8", first=signalling_itself(signal.SIGTERM, 24))
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert (
            "To go on, give the same command: tts-sim generate run --config" in out
            and "left; all others are kept" in out
        )
        with open_cache(path) as cache:
            assert violations(cache) == []
            counts.append(len(cache.table("nodes")))
    assert 0 < counts[1] < counts[2]
    for file in (undisturbed, config):
        finish(file)
    assert contents(path).drop("score").equals(contents(folders[0] / "run.duckdb").drop("score"))


def test_a_disk_that_fills_up(tmp_path: Path, models: tuple[str, str]) -> None:
    """The limit to a file's size stands for the end of the disk; once it is lifted, the recording goes on."""
    config = write_config(tmp_path, models, flat=700, max_tokens=8)
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (352 << 10, 352 << 10))"
    )
    process = start("--config", config, "--commit-draws", "100", first=limit)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1 and "Traceback" not in err
    assert err.splitlines()[-1].startswith(
        f"tts-sim: {tmp_path / 'run.duckdb'} cannot be written: the disk is full. What"
    )
    with open_cache(tmp_path / "run.duckdb") as cache:
        assert violations(cache) == [] and len(cache.table("nodes")) > 0
    finish(config)
    with open_cache(tmp_path / "run.duckdb") as cache:
        assert violations(cache) == []
        assert (
            cache.table("nodes").filter(pl.col("parent_id").is_null()).group_by("question_id").len()["len"].to_list()
            == [700] * 3
        )
