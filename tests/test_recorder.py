"""Recording: plans are fulfilled exactly, scores are the verifier's own, and a killed recording loses nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from cache import create_cache, open_cache
from cache.check import violations
from generate.cli import app
from generate.live import compare_live
from generate.live_page import runs_said, write_live_page
from generate.making import Maker
from generate.plans import Chains, Demand, Greedy, flat, staircase
from generate.protocols import Request
from generate.runs import build_recorder, fulfil, start_run
from generate.settings import RunSettings, VerifierSettings
from generate.verifiers.token_classifier import load_token_classifier
from tests.commits import noting_commits
from tests.tiny import save_models, write_questions
from tts_sim.load import load_forest
from tts_sim.replay import replay

STRATEGIES = ("beam(width=2)+weighted", "beam(width=sqrt)+best")
KILLS = 20


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    torch.set_num_threads(1)
    return save_models(tmp_path_factory.mktemp("models"))


def settings(models: tuple[str, str], **changes: object) -> RunSettings:
    values: dict[str, object] = {
        "run_id": "base",
        "kind": "steps",
        "model": models[0],
        "delimiter": "\n",
        "temperature": 1.0,
        "seed": 0,
        "root_pool": 8,
        "step_pool": 3,
        "max_tokens": 20,
        "extract": "final-number",
        "grader": "exact",
        "verifiers": (VerifierSettings("prm", "prm", models[1]),),
    }
    return RunSettings(**(values | changes))  # type: ignore[arg-type]


def questions(tmp_path: Path) -> pl.DataFrame:
    from generate.questions import read_questions

    return read_questions(write_questions(tmp_path / "questions.jsonl"))


def contents(path: Path) -> pl.DataFrame:
    """Nodes by their path of draws, whatever ids they got."""
    with open_cache(path) as cache:
        nodes = cache.table("nodes").join(cache.table("scores").drop("run_id"), on="node_id", how="left")
    paths: dict[int, str] = {}
    rows = []
    for node in nodes.sort("node_id").iter_rows(named=True):
        above = "" if node["parent_id"] is None else paths[node["parent_id"]]
        paths[node["node_id"]] = f"{above}/{'g' if node['greedy'] else ''}{node['draw']}"
        rows.append(
            (node["question_id"], paths[node["node_id"]], node["text"], node["tokens"], node["stop"], node["score"])
        )
    return pl.DataFrame(rows, schema=["question", "path", "text", "tokens", "stop", "score"], orient="row").sort(
        "question", "path"
    )


def test_flat_greedy_and_demand_are_fulfilled_and_supported(tmp_path: Path, models: tuple[str, str]) -> None:
    path = tmp_path / "run.duckdb"
    with create_cache(path) as cache:
        recorder = build_recorder(cache, settings(models), questions=questions(tmp_path), device="cpu")
        plan = Demand(STRATEGIES, (2, 4), trials=3, seed=5)
        assert fulfil(cache, recorder, [flat(8), Greedy(), plan]) > 0
        assert fulfil(cache, recorder, [flat(8), Greedy(), plan]) == 0
        forest = load_forest(cache, "base")
        rows = replay(forest, [*STRATEGIES, "sample+oracle"], [2, 4], seed=5).frame
        assert (rows["supported"] == 1).all()
        assert rows.filter(pl.col("strategy") == STRATEGIES[0])["trials"].unique().to_list() == [3]
    with open_cache(path) as cache:
        assert violations(cache) == []
        nodes = cache.table("nodes")
        assert len(cache.table("scores")) == len(nodes)
        assert nodes.filter(pl.col("parent_id").is_null() & ~pl.col("greedy"))["draw"].n_unique() == 8


def test_continuous_batching_records_the_same(tmp_path: Path, models: tuple[str, str]) -> None:
    kept = []
    for sampler in ("plain", "continuous"):
        path = tmp_path / f"{sampler}.duckdb"
        with create_cache(path) as cache:
            recorder = build_recorder(
                cache, settings(models), questions=questions(tmp_path), device="cpu", batch_rows=16, sampler=sampler
            )
            fulfil(cache, recorder, [flat(8), Greedy(), Demand(STRATEGIES, (2, 4), trials=2, seed=5)])
            kept.append(cache.frame("SELECT provenance FROM runs").item())
    plain, continuous = (contents(tmp_path / f"{sampler}.duckdb") for sampler in ("plain", "continuous"))
    assert plain.drop("score").equals(continuous.drop("score"))
    assert (plain["score"] - continuous["score"]).abs().max() < 1e-4  # type: ignore[operator]
    assert [json.loads(text)["sessions"][0]["sampler"] for text in kept] == ["TransformersSampler", "ContinuousSampler"]


def test_scores_are_those_of_the_whole_solution_in_one_pass(tmp_path: Path, models: tuple[str, str]) -> None:
    path = tmp_path / "run.duckdb"
    with create_cache(path) as cache:
        recorder = build_recorder(cache, settings(models), questions=questions(tmp_path), device="cpu")
        fulfil(cache, recorder, [flat(8), Demand(STRATEGIES, (4,), trials=2, seed=0)])
        nodes = {row["node_id"]: row for row in cache.table("nodes").iter_rows(named=True)}
        scores = {row["node_id"]: row["score"] for row in cache.table("scores").iter_rows(named=True)}
        prompts = dict(cache.table("questions").select("question_id", "prompt").iter_rows())
    judge = load_token_classifier(models[1], verifier_id="prm", device="cpu")
    parents = {row["parent_id"] for row in nodes.values()}
    checked = 0
    for leaf in (row for node_id, row in nodes.items() if node_id not in parents):
        steps, node = [], leaf
        while node is not None:
            steps.insert(0, node)
            node = nodes.get(node["parent_id"])
        ids = judge.tokenizer(prompts[leaf["question_id"]])["input_ids"]
        for step in steps:
            ids = ids + judge.tokenizer(step["text"])["input_ids"]
            if step["stop"] == "eos":
                ids = [*ids, judge.tokenizer.eos_token_id]
            with torch.inference_mode():
                logit = judge.model(torch.tensor([ids])).logits[0, -1, 0]
            expected = 0.0 if step["stop"] == "length" else float(torch.sigmoid(logit))
            assert scores[step["node_id"]] == pytest.approx(expected, abs=1e-4)
            checked += 1
    assert checked > 50


def test_chains_follow_the_staircase(tmp_path: Path, models: tuple[str, str]) -> None:
    assert staircase(4) == (4, 4, 2, 2, 1, 1, 1, 1)
    run = settings(models, run_id="revise", kind="revisions", root_pool=8, separator="<next>", max_tokens=8)
    with create_cache(tmp_path / "run.duckdb") as cache:
        recorder = build_recorder(cache, run, questions=questions(tmp_path), device="cpu")
        assert fulfil(cache, recorder, [Chains(staircase(4))]) == 4 * sum(staircase(4))
        assert fulfil(cache, recorder, [Chains(staircase(4))]) == 0
        assert violations(cache) == []
        forest = load_forest(cache, "revise", kind="revisions")
        for sequential in (1, 2, 4):
            rows = replay(forest, [f"revise(sequential={sequential})+oracle"], [4], seed=0).frame
            assert (rows["supported"] == 1).all()


def test_a_run_cannot_go_on_with_other_settings(tmp_path: Path, models: tuple[str, str]) -> None:
    with create_cache(tmp_path / "run.duckdb") as cache:
        start_run(cache, settings(models), {})
        start_run(cache, settings(models), {})
        with pytest.raises(ValueError, match=r"temperature 1\.0 → 0\.5"):
            start_run(cache, settings(models, temperature=0.5), {})


def command(path: Path, models: tuple[str, str], questions_file: str) -> list[str]:
    return [
        "sample", str(path), "--model", models[0], "--verifier", models[1], "--questions", questions_file, "-n", "150",
        "--delimiter", "\\n", "--temperature", "1.0", "--max-tokens", "20", "--answer", "final-number",
        "--grader", "exact", "--batch-rows", "16", "--device", "cpu",
    ]  # fmt: skip


def stamp(path: Path) -> list[tuple[int, int]]:
    """What changes when the file or its write-ahead log is written."""
    files = (path, path.with_name(path.name + ".wal"))
    return [(file.stat().st_mtime_ns, file.stat().st_size) if file.exists() else (0, 0) for file in files]


def test_kill_at_random_moments_then_resume(tmp_path: Path, models: tuple[str, str]) -> None:
    """SIGKILL while batches are committed: what is there is always sound, and in the end the same as undisturbed."""
    file = write_questions(tmp_path / "questions.jsonl")
    undisturbed, killed = tmp_path / "undisturbed.duckdb", tmp_path / "killed.duckdb"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    smallest = ["--commit-draws", "2"]
    done = CliRunner().invoke(app, command(undisturbed, models, file), catch_exceptions=False)
    assert done.exit_code == 0
    chance = random.Random(0)
    kills = 0
    for number in range(KILLS):
        notes = tmp_path / f"commits-{number}"
        code = f"{noting_commits(notes)}\nfrom generate.cli import app; app()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *command(killed, models, file), *smallest],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        commits, before = 0 if number % 4 == 0 else chance.randint(1, 6), stamp(killed)

        def reached(notes: Path = notes, commits: int = commits, before: object = before) -> bool:
            return notes.exists() and notes.stat().st_size >= commits if commits else stamp(killed) != before

        deadline = time.monotonic() + 300
        while process.poll() is None and not reached():  # so many commits, or (0) the first write of any kind
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.02))  # somewhere between two commits, or in one
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= KILLS // 2  # the rest may have come to their end
    with open_cache(killed) as cache:
        assert len(cache.table("nodes")) > 0
    assert CliRunner().invoke(app, command(killed, models, file), catch_exceptions=False).exit_code == 0
    with open_cache(killed) as cache:
        assert violations(cache) == []
    left, right = contents(killed), contents(undisturbed)
    assert left.select("question", "path", "text", "tokens", "stop").equals(
        right.select("question", "path", "text", "tokens", "stop")
    )
    assert (left["score"] - right["score"]).abs().max() < 1e-5  # type: ignore[operator]


def test_demand_file_fill_and_score_by_command(tmp_path: Path, models: tuple[str, str]) -> None:
    from tts_sim.cli.main import command_line

    file = write_questions(tmp_path / "questions.jsonl")
    path, wanted = tmp_path / "run.duckdb", tmp_path / "demand.parquet"
    runner = CliRunner()

    def run(*words: str) -> str:
        done = runner.invoke(command_line(), list(words), catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    run("generate", *command(path, models, file))
    spec = ["--strategy", "beam(width=2)+weighted", "--budget", "4"]
    run("demand", str(path), *spec, "--trials", "2", "-o", str(wanted))
    first = len(pl.read_parquet(wanted))
    assert first > 0
    assert f"{first} draws made" in run("generate", "fill", str(path), "--demand", str(wanted), "--device", "cpu")
    assert "0 draws made" in run("generate", "fill", str(path), "--demand", str(wanted), "--device", "cpu")
    run("generate", "fill", str(path), *spec, "--trials", "2", "--device", "cpu")
    assert "0 draws made" in run("generate", "fill", str(path), *spec, "--trials", "2", "--device", "cpu")
    with open_cache(path) as cache:
        count = len(cache.table("nodes"))
    said = run("generate", "score", str(path), "--verifier", models[1], "--verifier-id", "again", "--device", "cpu")
    assert f"{count} scores of 'again'" in said
    assert "0 scores" in run(
        "generate", "score", str(path), "--verifier", models[1], "--verifier-id", "again", "--device", "cpu"
    )
    with open_cache(path) as cache:
        wide = cache.table("scores").pivot("verifier_id", index="node_id", values="score")
        assert (wide["prm"] - wide["again"]).abs().max() < 1e-5  # type: ignore[operator]


def test_rollouts_of_lookahead_are_recorded_step_by_step(tmp_path: Path) -> None:
    """Each greedy step hangs below the one before, and is what a greedy draw to the end would hold there."""
    spec = "lookahead(width=2,steps=2)+weighted"
    path = tmp_path / "run.duckdb"
    with create_cache(path) as cache:
        run = settings(save_models(tmp_path, seed=2), delimiter="3")  # its greedy solutions have several steps
        recorder = build_recorder(cache, run, questions=questions(tmp_path), device="cpu")
        assert fulfil(cache, recorder, [Demand((spec,), (6, 12), trials=3, seed=5)]) > 0
        assert fulfil(cache, recorder, [Demand((spec,), (6, 12), trials=3, seed=5)]) == 0
        rows = replay(load_forest(cache, "base"), [spec], [6, 12], seed=5).frame
        assert (rows["supported"] == 1).all() and rows["trials"].unique().to_list() == [3]
        assert rows["generations"].to_list() == [6, 12] * 4
        nodes = {row["node_id"]: row for row in cache.table("nodes").iter_rows(named=True)}
        greedy = [node for node in nodes.values() if node["greedy"]]
        below_greedy = [node for node in greedy if nodes[node["parent_id"]]["greedy"]]
        assert len(greedy) > len(below_greedy) > 0
        assert all(node["draw"] == 0 for node in greedy)
        prompts = dict(cache.table("questions").select("question_id", "prompt").iter_rows())
        for second in below_greedy[:8]:
            first = nodes[second["parent_id"]]
            above, tokens, node = "", 0, nodes[first["parent_id"]]
            while node is not None:
                above, tokens, node = node["text"] + above, tokens + node["tokens"], nodes.get(node["parent_id"])
            request = Request(prompts[second["question_id"]], above, 0, prefix_tokens=tokens, greedy=True)
            assert isinstance(recorder.maker, Maker)
            [whole] = recorder.maker.sampler.sample([request])
            assert [step.text for step in whole[:2]] == [first["text"], second["text"]]
    with open_cache(path) as cache:
        assert violations(cache) == []


def test_a_demand_file_asks_for_greedy_steps(tmp_path: Path, models: tuple[str, str]) -> None:
    """`tts-sim demand -o`, `tts-sim generate fill`, in turns, end with nothing missing."""
    from tts_sim.cli.main import command_line

    file = write_questions(tmp_path / "questions.jsonl")
    path, wanted = tmp_path / "run.duckdb", tmp_path / "demand.parquet"
    runner = CliRunner()

    def run(*words: str) -> str:
        done = runner.invoke(command_line(), list(words), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    run("generate", *command(path, models, file))
    spec = ["--strategy", "lookahead(width=2,steps=2)+best", "--budget", "12", "--trials", "2"]
    asked = []
    for _ in range(40):
        run("demand", str(path), *spec, "-o", str(wanted))
        frame = pl.read_parquet(wanted)
        asked.append(frame)
        if not len(frame):
            break
        assert f"{len(frame)} draws made" in run(
            "generate", "fill", str(path), "--demand", str(wanted), "--device", "cpu"
        )
        assert "0 draws made" in run("generate", "fill", str(path), "--demand", str(wanted), "--device", "cpu")
    everything = pl.concat(asked)
    assert not len(asked[-1]) and everything["greedy"].any() and not everything["greedy"].all()
    assert everything.filter("greedy")["node_id"].null_count() == 0
    with open_cache(path) as cache:
        assert violations(cache) == []
        rows = replay(load_forest(cache), ["lookahead(width=2,steps=2)+best"], [12], trials=2, seed=0).frame
        assert (rows["supported"] == 1).all()


def test_a_live_run_is_held_against_the_replay(tmp_path: Path, models: tuple[str, str]) -> None:
    path = tmp_path / "run.duckdb"
    with create_cache(path) as cache:
        recorder = build_recorder(cache, settings(models), questions=questions(tmp_path), device="cpu")
        fulfil(cache, recorder, [flat(8), Demand(STRATEGIES, (4,), trials=3, seed=0)])
    with open_cache(path) as cache:
        frame = compare_live(cache, STRATEGIES[:1], [4], seed=1, repeats=2, device="cpu", keep=str(tmp_path / "kept"))
        row = frame.row(0, named=True)
        assert row["supported"] == 1 and row["num_questions"] == 4 and row["replay_trials"] == 3
        assert row["ci_low"] <= row["difference"] <= row["ci_high"]
        assert row["difference"] == pytest.approx(row["live"] - row["replayed"])
        with pytest.raises(ValueError, match="the cache's own"):
            compare_live(cache, STRATEGIES[:1], [4], seed=0, device="cpu")
        with pytest.raises(ValueError, match="repeats 0"):
            compare_live(cache, STRATEGIES[:1], [4], seed=1, repeats=0, device="cpu")
    with open_cache(tmp_path / "kept" / f"{settings(models).run_id}-2.duckdb") as live:
        assert violations(live) == []
        said = runs_said(live)
    assert "4 questions" in said and "pools 8 and" in said
    write_live_page(tmp_path / "live.md", frame, ["tts-sim", "generate", "live"], said)
    page = (tmp_path / "live.md").read_text(encoding="utf-8")
    assert f"| 4 | {100 * row['live']:.1f} | {100 * row['replayed']:.1f} |" in page and "of 1 intervals" in page
    with pytest.raises(ValueError, match="cannot be written"):
        write_live_page(tmp_path / "nowhere" / "live.md", frame, [])
