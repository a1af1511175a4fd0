"""`tts-sim generate run`: from a configuration to a cache that supports the asked-for grid, come what may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from cache import open_cache
from cache.check import violations
from tests.families import FAMILIES, save_family
from tts_sim.cli.main import app
from tts_sim.load import load_forest
from tts_sim.replay import replay

TREES = (
    "beam(width=2)+weighted",
    "rebase+best(agg=min)",
    "lookahead(width=2,steps=1)+majority",
    "dvts(width=2)+oracle",
)
CHAINS = ("revise(sequential=2)+weighted", "revise(ratio=1:1)+oracle")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("families")
    return {family: save_family(family, folder) for family in FAMILIES}


def write_config(folder: Path, models: tuple[str, str], **changes: Any) -> str:
    """A config file in `folder`; keys that are None are left out."""
    rows = [{"question_id": f"q{n}", "prompt": f"Add {n} and 30.", "gold": str(n + 30), "level": n} for n in range(3)]
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    values: dict[str, Any] = {
        "cache": str(folder / "run.duckdb"),
        "model": models[0],
        "device": "cpu",
        "questions": str(folder / "questions.jsonl"),
        "delimiter": "\n",
        "temperature": 1.0,
        "max_tokens": 16,
        "answer": "final-number",
        "grader": "exact",
        "flat": 8,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in (values | changes).items() if value is not None]
    lines += ["[[verifiers]]", 'id = "prm"', f"model = {json.dumps(models[1])}"]
    (folder / "run.toml").write_text("\n".join(lines))
    return str(folder / "run.toml")


def run(*words: str, status: int = 0) -> str:
    """stdout of `tts-sim generate run`."""
    done = CliRunner().invoke(app, ["generate", "run", *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return done.stdout


@pytest.mark.parametrize("family", FAMILIES)
def test_every_plan_from_a_config(tmp_path: Path, models: dict[str, tuple[str, str]], family: str) -> None:
    """Flat, greedy, chains and demand in one call; nothing is left to do, and replays are supported on the grid."""
    config = write_config(
        tmp_path,
        models[family],
        chat=True,
        system_prompt=None if family == "mistral" else "good",
        greedy=True,
        chains=4,
        strategies=[*TREES, *CHAINS, "sample+majority"],
        budgets="4",
        trials=2,
    )
    said = run("--config", config)
    assert "run 'base': " in said and "run 'revise': " in said and "flat(8), greedy, demand fulfilled" in said
    with open_cache(tmp_path / "run.duckdb") as cache:
        assert violations(cache) == []
        steps, chains = load_forest(cache, "base"), load_forest(cache, "revise", kind="revisions")
        for forest, specs in ((steps, [*TREES, "sample+majority"]), (chains, CHAINS)):
            rows = replay(forest, specs, [4], seed=0).frame
            assert len(rows) == 3 * len(specs) and (rows["supported"] == 1).all()
        assert (replay(steps, ["sample+oracle"], [1, 2, 8], seed=0).frame["supported"] == 1).all()
        for sequential in (1, 2, 4):
            rows = replay(chains, [f"revise(sequential={sequential})+weighted"], [4], seed=0).frame
            assert (rows["supported"] == 1).all()
        nodes = cache.table("nodes")
        assert len(cache.table("scores")) == len(nodes)
        assert set(nodes["stop"]) == {"step", "eos", "length"}
        made = cache.table("runs").sort("run_id")["run_id"].to_list()
        assert made == ["base", "revise"]
    again = run("--config", config)
    assert "run 'base': 0 draws made" in again and "run 'revise': 0 draws made" in again
    left = json.loads(run("--config", config, "--dry-run", "--json"))
    assert [row["solutions"] for row in left] == [0] * len(left) and not any(row["at_most"] for row in left)
