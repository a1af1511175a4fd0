"""`transformers serve` itself, on a tiny model, fills the plans; killed half-way and started again, nothing is lost."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cache import open_cache
from generate.keys import node_key
from generate.loading import load_tokenizer
from generate.prompts import Prompts, chat_renderer
from generate.protocols import Request
from generate.samplers.completion import begins_before
from generate.samplers.completions_client import CompletionsClient
from generate.samplers.server import ServerSampler
from generate.samplers.transformers import load_sampler
from tests.command import printed_json, tts_sim
from tests.families import SPECIAL, save_family
from tests.test_generate_run import CHAINS, TREES, write_config
from tests.test_server import contents

for package in ("accelerate", "fastapi", "openai", "uvicorn"):
    pytest.importorskip(package)

DELIMITER = "\n\n"  # the chat template's last letter is a line break, too


class Served:
    """`transformers serve MODEL` on a port of this machine."""

    def __init__(self, model: str, folder: Path) -> None:
        self.model, self.log = model, folder / "serve.log"
        self.environment = os.environ | {"HF_HOME": str(folder), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        with socket.socket() as place:
            place.bind(("127.0.0.1", 0))
            self.port = place.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Starts it, and returns once it answers."""
        command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()"]
        command += ["serve", self.model, "--host", "127.0.0.1", "--port", str(self.port), "--device", "cpu"]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)
        for _ in range(3000):
            assert self.process.poll() is None, self.log.read_text()
            try:
                with urllib.request.urlopen(self.url + "/health", timeout=60) as answer:
                    assert answer.status == 200
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def kill(self) -> None:
        """As kill -9 does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    torch.set_num_threads(1)
    return save_family("qwen2", tmp_path_factory.mktemp("family"))


@pytest.fixture(scope="module")
def served(models: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(models[0], tmp_path_factory.mktemp("serve"))
    yield server
    server.kill()


def config(folder: Path, models: tuple[str, str], served: Served, **changes: Any) -> str:
    """A config file for the server."""
    settings = {
        "server": served.url, "connections": 4, "retries": 1, "device": None, "delimiter": DELIMITER, "chat": True,
        "system_prompt": "good", "max_tokens": 24, "num_params": 4000,
    }  # fmt: skip
    return write_config(folder, models, **(settings | changes))


def test_it_fills_every_plan(tmp_path: Path, models: tuple[str, str], served: Served) -> None:
    file = config(
        tmp_path,
        models,
        served,
        greedy=True,
        chains=2,
        strategies=[*TREES, *CHAINS, "sample+majority"],
        budgets="4",
        trials=2,
    )
    made = tts_sim("generate", "run", "--config", file)
    assert made.status == 0 and "flat(8), greedy, demand fulfilled" in made.out and "chains, demand" in made.out
    for said in ("does not take min_p, repetition_penalty, top_k: left out", "gives no log-probabilities"):
        assert made.err.count(said) == 2, made.err  # once for each run
    assert "may not sample" not in made.err and "accelerate" not in made.err
    cache = tmp_path / "run.duckdb"
    assert tts_sim("check", cache).status == 0
    for run, specs in (("base", [*TREES, "sample+majority"]), ("revise", CHAINS)):
        words = [word for spec in specs for word in ("--strategy", spec)]
        rows = printed_json("replay", cache, "--run", run, *words, "--budget", 4, "--trials", 2, "--seed", 0)
        assert len(rows) == len(specs) and {row["supported"] for row in rows} == {1}
    rows = printed_json("replay", cache, "--run", "base", "--strategy", "sample+majority", "--budget", "1,2…8")
    assert {row["supported"] for row in rows} == {1}
    again = tts_sim("generate", "run", "--config", file)
    assert again.status == 0 and "run 'base': 0 draws" in again.out and "run 'revise': 0 draws" in again.out
    what_it_gives(cache, models[0])


def what_it_gives(path: Path, model: str) -> None:
    """Whole steps, counts of tokens, no log-probabilities; an end where the model ended and nowhere else."""
    prompts = Prompts("{prompt}", "good", chat_renderer(load_tokenizer(model), "qwen2"))
    with open_cache(path) as cache:
        nodes = cache.table("nodes").sort("node_id")
    assert nodes["logprob"].null_count() == nodes["min_logprob"].null_count() == len(nodes)
    assert nodes["tokens"].min() > 0 and set(nodes["stop"]) == {"step", "eos", "length"}
    before: dict[int | None, str] = {None: ""}
    for node in nodes.filter(nodes["run_id"] == "base").iter_rows(named=True):
        text, above = node["text"], before[node["parent_id"]]
        before[node["node_id"]] = above + text
        assert (DELIMITER in text) == (node["stop"] == "step") or node["stop"] == "length"
        if node["stop"] == "eos" and begins_before(prompts.full("") + above, text, DELIMITER):
            assert node["tokens"] > 1  # not the one token at which the server stopped, but the end that came after it


def test_steps_are_those_of_the_model(models: tuple[str, str], served: Served) -> None:
    """Texts, counts and ends; where a delimiter begins in the prompt, the server stops there, and is asked to go on."""
    settings: dict[str, Any] = {"delimiter": DELIMITER, "temperature": 1.0, "max_tokens": 12}
    local = load_sampler(models[0], **settings, device="cpu")
    remote = ServerSampler(served.url, models[0], **settings, connections=4)
    requests = [Request(prompt, "", 0, to_end=False, greedy=True) for prompt in ("go", "Add 12 and 30.", "7*8", "1")]
    found, expected = remote.sample(requests), local.sample(requests)
    special = re.compile("|".join(map(re.escape, SPECIAL)))  # the server leaves such tokens out of the text
    assert [step[:2] + step[4:] for [step] in found] == [
        (special.sub("", step.text), step.tokens, step.stop) for [step] in expected
    ]
    border = Request("7\n", "", 0, to_end=False, greedy=True)
    [[step]], [[exact]] = remote.sample([border]), local.sample([border])
    assert begins_before(border.prompt, exact.text, DELIMITER)
    assert step.stop == "step" and DELIMITER in step.text and step.text[0] == exact.text[0]


def test_draws_come_from_the_whole_model(models: tuple[str, str], served: Served) -> None:
    """Not from the 50 likeliest tokens, and though the model's generation_config.json does not say do_sample."""
    local = load_sampler(models[0], delimiter=DELIMITER, temperature=3.0, max_tokens=1, device="cpu")
    remote = ServerSampler(served.url, models[0], delimiter=DELIMITER, temperature=3.0, max_tokens=1, connections=4)
    drawn = remote.sample([Request("Add 1.", "", node_key(0, "q", (draw,)), split=False) for draw in range(400)])
    texts = [steps[0].text for steps in drawn]
    with torch.inference_mode():
        ids = torch.tensor([local.tokenizer("Add 1.")["input_ids"]])
        shares = torch.softmax(local.model(ids).logits[0, -1].double() / 3, dim=-1)
    letters = [local.tokenizer.decode([token], skip_special_tokens=True) for token in range(len(shares))]
    for letter in set(letters):
        share = sum(float(shares[place]) for place, other in enumerate(letters) if other == letter)
        assert abs(texts.count(letter) / 400 - share) < 5 * (share * (1 - share) / 400) ** 0.5 + 1e-9
    likely = {letters[place] for place in shares.topk(50).indices.tolist()}
    assert not set(texts) <= likely


def test_killed_half_way_and_started_again(
    tmp_path: Path, models: tuple[str, str], served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command ends with one line while the server is gone, and then makes exactly what is missing."""
    file, path = config(tmp_path, models, served, flat=12, commit_draws=6), tmp_path / "run.duckdb"
    complete, asked = CompletionsClient.complete, 0

    def counted(self: CompletionsClient, body: Any, read: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 20:
            served.kill()
        return complete(self, body, read)

    with monkeypatch.context() as broken:
        broken.setattr(CompletionsClient, "complete", counted)
        first = tts_sim("generate", "run", "--config", file)
    assert asked >= 20
    kept = contents(path)
    second = tts_sim("generate", "run", "--config", file, "--retries", 0)
    for ended, tries in ((first, "2 tries"), (second, "1 try")):
        assert ended.status == 1 and ended.out == ""
        last = ended.err.splitlines()[-1]
        assert last.startswith(f"tts-sim: server {served.url}/v1: no completion after {tries}; the last one ")
        assert "Traceback" not in ended.err and "run the same command again to go on" in last
    assert contents(path) == kept
    first_steps = sum(row[1].count("/") == 1 for row in kept)
    assert 0 < first_steps < 36

    served.start()
    resumed = tts_sim("generate", "run", "--config", file)
    assert resumed.status == 0 and f"run 'base': {36 - first_steps} draws made" in resumed.out
    found = contents(path)
    assert set(kept) <= set(found) and sum(row[1].count("/") == 1 for row in found) == 36
    assert tts_sim("check", path).status == 0
    rows = printed_json("replay", path, "--strategy", "sample+majority", "--budget", "1,2,4…8,12")
    assert {row["supported"] for row in rows} == {1}


def test_what_it_refuses_is_one_line(tmp_path: Path, models: tuple[str, str], served: Served) -> None:
    file = config(tmp_path, ("other", models[1]), served, chat=False, system_prompt=None)
    ended = tts_sim("generate", "run", "--config", file)
    assert ended.status == 1 and "HTTP 400 (Server is pinned to" in ended.err.splitlines()[-1]
