"""`tts-sim generate run`: from a configuration to a cache that supports the asked-for grid."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
import torch
from typer.testing import CliRunner

from cache import open_cache
from cache.check import violations
from generate.prompts import Prompts, RevisionContext, chat_renderer
from generate.settings import stored_settings
from tests.command import printed_json, tts_sim
from tests.families import FAMILIES, family_tokenizer, save_family
from tts_sim.cli.main import command_line

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
    done = CliRunner().invoke(command_line(), ["generate", "run", *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return done.stdout


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_plan_from_a_config(tmp_path: Path, models: dict[str, tuple[str, str]], family: str, chat: bool) -> None:
    """Flat, greedy, chains and demand by one command; nothing is left to do, and replays are supported on the grid."""
    trees, revisions, longest = (TREES, CHAINS, 4) if chat else (TREES[2:3], CHAINS[:1], 2)
    config = write_config(
        tmp_path,
        models[family],
        chat=chat,
        system_prompt="good" if chat and family != "mistral" else None,
        greedy=True,
        chains=longest,
        strategies=[*trees, *revisions, "sample+majority"],
        budgets="4",
        trials=2,
    )
    said = run("--config", config)
    assert "run 'base': " in said and "run 'revise': " in said and "flat(8), greedy, demand fulfilled" in said
    path = tmp_path / "run.duckdb"
    assert tts_sim("check", path).status == 0
    for name, specs, budgets in (
        ("base", [*trees, "sample+majority"], "4"),
        ("base", ["sample+oracle"], "1,2,8"),
        ("revise", revisions, "4"),
        (
            "revise",
            [f"revise(sequential={length})+weighted" for length in (1, 2, 4) if length <= longest],
            str(longest),
        ),
    ):
        words = [word for spec in specs for word in ("--strategy", spec)]
        rows = printed_json("replay", path, "--run", name, *words, "--budget", budgets, "--trials", 2)
        assert len(rows) == len(specs) * len(budgets.split(",")) and {row["supported"] for row in rows} == {1}
    with open_cache(path) as cache:
        nodes = cache.table("nodes")
        assert len(cache.table("scores")) == len(nodes)
        assert set(nodes["stop"]) == {"step", "eos", "length"}
        made = cache.table("runs").sort("run_id")["run_id"].to_list()
        assert made == ["base", "revise"]
    again = run("--config", config)
    assert "run 'base': 0 draws made" in again and "run 'revise': 0 draws made" in again
    left = json.loads(run("--config", config, "--dry-run", "--json"))
    assert [row["solutions"] for row in left] == [0] * len(left) and not any(row["at_most"] for row in left)


def dry(*words: str) -> list[dict[str, Any]]:
    """The rows of the estimate."""
    rows: list[dict[str, Any]] = json.loads(run(*words, "--dry-run", "--json"))
    return rows


def test_an_estimate_before_and_after(tmp_path: Path, models: dict[str, tuple[str, str]]) -> None:
    """Before, max_tokens bounds a solution and nothing is written; later the mean of what is cached counts."""
    config = write_config(tmp_path, models["llama"], greedy=True, chains=2)
    before = dry("--config", config, "--throughput", "100", "--verifier-throughput", "400")
    assert [(row["run"], row["plan"], row["solutions"], row["tokens"]) for row in before] == [
        ("base", "flat(8)", 24, 24 * 16),
        ("base", "greedy", 3, 3 * 16),
        ("revise", "chains", 3 * (2 + 2 + 1 + 1), 18 * 16),
    ]
    assert all(row["at_most"] and not row["measured"] for row in before)
    assert before[0]["verifier_tokens"] == 24 * 16
    assert before[0]["hours"] == pytest.approx((24 * 16 / 100 + 24 * 16 / 400) / 3600)
    assert not (tmp_path / "run.duckdb").exists()

    run("--config", config, "--no-greedy", "--chains", "0")
    with open_cache(tmp_path / "run.duckdb") as cache:
        nodes = cache.table("nodes")
    mean = nodes["tokens"].sum() / 24
    after = dry("--config", config)
    assert [(row["solutions"], row["at_most"]) for row in after] == [(0, False), (3, False), (18, True)]
    assert after[1]["measured"] and after[1]["tokens"] == round(3 * mean) and after[1]["hours"] is None

    narrow = CliRunner().invoke(
        command_line(),
        ["generate", "run", "--config", config, "--dry-run", "-s", "rebase+oracle", "-b", "8,16", "--root-pool", "16"],
    )
    assert "step pool of 8, and rebase+oracle may send 16" in narrow.stderr
    trees = dry("--config", config, "--strategy", TREES[0], "--budget", "4,8", "--trials", "3")[2]
    assert (trees["solutions"], trees["at_most"]) == (3 * 3 * (4 + 8), True)
    more = tmp_path / "more.jsonl"
    more.write_text((tmp_path / "questions.jsonl").read_text() + '\n{"question_id": "r", "prompt": "?", "gold": "1"}')
    assert dry("--config", config, "--questions", str(more))[0]["solutions"] == 8

    with pytest.raises(ValueError, match="throughput 0"):
        run("--config", config, "--dry-run", "--throughput", "0")


def test_the_estimate_of_a_tree_is_kept(tmp_path: Path, models: dict[str, tuple[str, str]]) -> None:
    config = write_config(tmp_path, models["mistral"], strategies=list(TREES), budgets=[4], trials=2, flat=None)
    [row] = dry("--config", config)
    run("--config", config)
    with open_cache(tmp_path / "run.duckdb") as cache:
        assert 0 < cache.table("nodes")["tokens"].sum() <= row["tokens"]


def test_demands_share_nodes(tmp_path: Path, models: dict[str, tuple[str, str]]) -> None:
    """Two strategies in one run, or one after the other, make the same nodes, fewer than the two by themselves."""
    made = {}
    for name, calls in (
        ("both", [TREES[:2]]),
        ("turns", [TREES[:1], TREES[:2]]),
        ("a", [TREES[:1]]),
        ("b", [TREES[1:2]]),
    ):
        folder = tmp_path / name
        folder.mkdir()
        for specs in calls:
            run(
                "--config",
                write_config(folder, models["llama"], strategies=list(specs), budgets=[4], flat=None, step_pool=4),
            )
        with open_cache(folder / "run.duckdb") as cache:
            nodes = cache.table("nodes")
            made[name] = sorted(nodes.select("question_id", "text", "draw").rows())
    assert made["both"] == made["turns"]
    assert max(len(made["a"]), len(made["b"])) < len(made["both"]) < len(made["a"]) + len(made["b"])


def test_what_is_recorded_of_a_run(tmp_path: Path, models: dict[str, tuple[str, str]]) -> None:
    config = write_config(tmp_path, models["qwen2"], chat=True, system_prompt="good")
    run("--config", config, "--limit", "2")
    run("--config", config)
    with open_cache(tmp_path / "run.duckdb") as cache:
        settings, stored = stored_settings(cache, "base")
        nodes = cache.table("nodes")
        assert cache.table("runs")["finished"].null_count() == 0
    assert settings.chat and settings.system_prompt == "good" and settings.root_pool == 8
    assert set(stored["software"]) >= {"python", "torch", "transformers", "tts-sim"} and stored["hardware"]
    assert set(stored["hashes"]) == {"prompts", "prompt_template", "questions"}
    first, second = stored["sessions"]
    assert [first["draws"], second["draws"]] == [16, 8]
    assert (
        first["tokens"] + second["tokens"] == nodes["tokens"].sum() == first["scored_tokens"] + second["scored_tokens"]
    )
    assert first["ended"] == "fulfilled" and first["seconds"] > 0 and first["dtype"] == "float32"
    assert first["plans"] == ["flat(8)"] and first["device"] == "cpu" and first["batch_rows"] == 512


def test_a_run_goes_on_with_the_same_prompts_only(tmp_path: Path, models: dict[str, tuple[str, str]]) -> None:
    folder = tmp_path / "own"
    own = save_family("qwen2", folder)
    config = write_config(tmp_path, own, chat=True, flat=2)
    run("--config", config)
    with pytest.raises(ValueError, match="chat True → False"):
        run("--config", config, "--no-chat")
    template = Path(own[0]) / "chat_template.jinja"
    template.write_text(template.read_text().replace("assistant", "helper"))
    with pytest.raises(ValueError, match="was begun with another chat template"):
        run("--config", config, "--flat", "2")


def test_chat_prompts(models: dict[str, tuple[str, str]]) -> None:
    """One beginning of sequence, turns for earlier attempts, and refusals that say what the template says."""
    tokenizers = {family: family_tokenizer(family) for family in FAMILIES}
    first = {
        "llama": "system\ngood<|eot|>user\n1+1?<|eot|>assistant\n",
        "qwen2": "<|im_start|>system\ngood<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n",
        "mistral": "[INST]1+1?[/INST]",
    }
    for family, tokenizer in tokenizers.items():
        chat = chat_renderer(tokenizer, family)
        prompts = Prompts("{prompt}?", None if family == "mistral" else "good", chat)
        assert prompts.full("1+1") == first[family] and prompts.plain("1+1") == "1+1?"
        assert tokenizer(prompts.full("1+1"))["input_ids"].count(1) == (family != "qwen2")  # 1 is <s>
    context = RevisionContext("|", 2, "again")
    revising = Prompts("{prompt}", None, chat_renderer(tokenizers["mistral"], "mistral"), context)
    said = "[INST]q[/INST]b</s>[INST]again[/INST]c</s>[INST]again[/INST]"
    assert revising.full("q", ("a", "b", "c")) == said and revising.plain("q", ("a", "b", "c")) == "b|c|q"
    with pytest.raises(ValueError, match=r"'mistral': its chat template refuses the turns \(only user and assistant"):
        Prompts("{prompt}", "good", chat_renderer(tokenizers["mistral"], "mistral")).full("q")
    tokenizers["llama"].chat_template = None
    with pytest.raises(ValueError, match="'llama': its tokenizer has no chat template"):
        chat_renderer(tokenizers["llama"], "llama")


def test_functions_extract_and_grade(
    tmp_path: Path, models: dict[str, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named in the configuration they are called; named by a cache only, they are not, unless that is asked for."""
    (tmp_path / "mine.py").write_text(
        "def last(text):\n    return text.split()[-1] if text.split() else None\n\n"
        "def same(gold, answer):\n    if answer == '2':\n        raise ValueError\n    return len(answer) < 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    config = write_config(tmp_path, models["qwen2"], answer="mine:last", grader="mine:same", flat=16)
    run("--config", config)
    with open_cache(tmp_path / "run.duckdb") as cache:
        answers = cache.table("answers")
        assert violations(cache) == []
    assert set(answers["grader"]) == {"mine:same"}
    assert answers["correct"].to_list() == [len(text) < 3 for text in answers["text"]] and "2" not in set(
        answers["text"]
    )
    fill = ["generate", "fill", str(tmp_path / "run.duckdb"), "-s", TREES[0], "-b", "2", "--device", "cpu"]
    refused = CliRunner().invoke(command_line(), fill)
    assert isinstance(refused.exception, ValueError) and "--trust-functions" in str(refused.exception)
    assert CliRunner().invoke(command_line(), [*fill, "--trust-functions"], catch_exceptions=False).exit_code == 0


def test_a_file_without_tables_is_gone_on_with(tmp_path: Path, models: dict[str, tuple[str, str]]) -> None:
    """A call that is killed as it makes the cache leaves an empty file, or a DuckDB file without tables."""
    config = write_config(tmp_path, models["llama"], flat=1)
    duckdb.connect(tmp_path / "run.duckdb").close()
    assert "3 draws made" in run("--config", config)
