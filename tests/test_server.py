"""The sampler on a server: the same plans, texts to the letter, and nothing lost when the server fails."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from cache import create_cache, open_cache
from cache.check import violations
from generate.keys import node_key
from generate.lab.tokenizer import build_tokenizer
from generate.plans import Chains, Demand, Greedy, flat, staircase
from generate.protocols import Request, SamplerStopped, Step
from generate.questions import read_questions
from generate.runs import build_recorder, fulfil
from generate.samplers.completions_client import CompletionsClient, Stopped, parse_url
from generate.samplers.server import ServerSampler, ServerSettings
from generate.samplers.transformers import load_sampler
from generate.settings import RunSettings, VerifierSettings, stored_settings
from tests.command import printed_json, tts_sim
from tests.completions_server import DIALECTS, CompletionsServer, Dialect, Fault, ModelWriter, TextWriter
from tests.tiny import PROMPTS, save_models, write_questions
from tts_sim.load import load_forest
from tts_sim.replay import replay

SOUND = ("vllm", "vllm without inclusion", "sglang", "tgi", "transformers", "lists all", "plain")
STRATEGY = "lookahead(width=2,steps=1)+majority"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return save_models(tmp_path_factory.mktemp("models"), seed=2)


@pytest.fixture(scope="module")
def writer(saved: tuple[str, str]) -> ModelWriter:
    return ModelWriter(saved[0])


def sampler(server: CompletionsServer, **changes: Any) -> ServerSampler:
    settings: dict[str, Any] = {
        "delimiter": "3", "temperature": 1.0, "max_tokens": 20, "connections": 4, "timeout": 10.0, "retries": 2,
        "backoff": 0.01, "say": lambda message: None,
    }  # fmt: skip
    return ServerSampler(server.url, "tiny", **(settings | changes))


def requests(count: int, **changes: Any) -> list[Request]:
    return [Request(prompt, "", node_key(0, prompt, (draw,)), **changes) for prompt in PROMPTS for draw in range(count)]


def text(steps: list[Step]) -> str:
    return "".join(step.text for step in steps)


def run_settings(**changes: Any) -> RunSettings:
    values: dict[str, Any] = {
        "run_id": "base", "kind": "steps", "model": "tiny", "delimiter": "3", "temperature": 1.0, "seed": 0,
        "root_pool": 6, "step_pool": 3, "max_tokens": 16, "extract": "final-number", "grader": "exact",
    }  # fmt: skip
    return RunSettings(**(values | changes))


def questions(tmp_path: Path) -> pl.DataFrame:
    return read_questions(write_questions(tmp_path / "questions.jsonl"))


def contents(path: Path) -> list[tuple[Any, ...]]:
    """Nodes by their path of draws, whatever ids they got."""
    with open_cache(path) as cache:
        nodes = cache.table("nodes").sort("node_id")
    paths: dict[int, str] = {}
    rows = []
    for node in nodes.iter_rows(named=True):
        above = "" if node["parent_id"] is None else paths[node["parent_id"]]
        paths[node["node_id"]] = f"{above}/{'g' if node['greedy'] else ''}{node['draw']}"
        rows.append((node["question_id"], paths[node["node_id"]], node["text"], node["tokens"], node["stop"]))
    assert len({row[:2] for row in rows}) == len(rows)
    return sorted(rows)


@pytest.mark.parametrize("dialect", SOUND)
def test_every_kind_of_server_fills_the_same_plans(
    tmp_path: Path, saved: tuple[str, str], writer: ModelWriter, dialect: str
) -> None:
    plan = Demand((STRATEGY,), (8,), trials=1, seed=5)
    path = tmp_path / "run.duckdb"
    with CompletionsServer(writer, dialect) as server, create_cache(path) as cache:
        reach = ServerSettings(server.url, connections=4, timeout=30)
        judged = run_settings(root_pool=4, verifiers=(VerifierSettings("prm", "prm", saved[1]),))
        recorder = build_recorder(cache, judged, questions=questions(tmp_path), server=reach, device="cpu")
        assert fulfil(cache, recorder, [flat(4), Greedy(), plan]) > 0
        assert fulfil(cache, recorder, [flat(4), Greedy(), plan]) == 0
        rows = replay(load_forest(cache, "base"), [STRATEGY], [8], trials=1, seed=5).frame
        assert (rows["supported"] == 1).all()
        rows = replay(load_forest(cache, "base"), ["sample+oracle"], [4], seed=5).frame
        assert (rows["supported"] == 1).all()
        chains = run_settings(run_id="revise", kind="revisions", root_pool=4, separator="<next>", max_tokens=6)
        recorder = build_recorder(cache, chains, server=reach)
        assert fulfil(cache, recorder, [Chains(staircase(2))]) == 4 * sum(staircase(2))
        assert any("<next>" in body["prompt"] for body in server.bodies)
    with open_cache(path) as cache:
        assert violations(cache) == []
        nodes = cache.table("nodes").filter(pl.col("run_id") == "base")
        assert set(nodes["stop"]) == {"step", "eos", "length"} and nodes["greedy"].any()
        assert (nodes["logprob"].null_count() == len(nodes)) == (not DIALECTS[dialect].lists)
        closed = nodes.filter(pl.col("stop") == "step")["text"]
        assert closed.str.ends_with("3").all() and (closed.str.count_matches("3") == 1).all()
        assert nodes.filter(pl.col("stop") != "step")["text"].str.head(-1).str.contains("3").not_().all()


@pytest.mark.parametrize("dialect", SOUND)
def test_greedy_texts_tokens_and_logprobs_are_those_of_the_model(
    saved: tuple[str, str], writer: ModelWriter, dialect: str
) -> None:
    """Whole solutions, and the same step by step, against the sampler that has the model itself."""
    local = load_sampler(saved[0], delimiter="3", temperature=1.0, max_tokens=20, device="cpu")
    expected = local.sample(requests(1, greedy=True))
    with CompletionsServer(writer, dialect) as server:
        remote = sampler(server, temperature=0.7)
        found = remote.sample(requests(1, greedy=True))
        alone: list[list[Step]] = []
        for request in requests(1, greedy=True, to_end=False):
            steps: list[Step] = []
            while not steps or steps[-1].stop == "step":
                spent = sum(step.tokens for step in steps)
                [step] = remote.sample([replace(request, prefix=text(steps), prefix_tokens=spent)])
                steps += step
            alone.append(steps)
    assert any(len(steps) > 1 for steps in expected)
    for steps in (found, alone):
        assert [[step[:2] + step[4:] for step in row] for row in steps] == [
            [step[:2] + step[4:] for step in row] for row in expected
        ]
    if not DIALECTS[dialect].lists:
        assert {step.logprob for row in found for step in row} == {None}
        return
    for row, wanted in zip(found, expected, strict=True):
        for step, exact in zip(row, wanted, strict=True):
            if step.stop == "eos" and not DIALECTS[dialect].lists_end:
                assert step.logprob is None  # that of the end of sequence is not known
                continue
            assert step.logprob == pytest.approx(exact.logprob, abs=1e-4)
            assert step.min_logprob == pytest.approx(exact.min_logprob, abs=1e-4)


def test_first_letters_follow_the_models_distribution(writer: ModelWriter) -> None:
    """Every draw has a seed of its own, and the same draw the same seed."""
    with CompletionsServer(writer) as server:
        remote = sampler(server, max_tokens=1, temperature=1.5)
        wanted = [Request(PROMPTS[0], "", node_key(3, "q", (draw,))) for draw in range(300)]
        found = [text(steps) for steps in remote.sample(wanted)]
        assert [text(steps) for steps in remote.sample(wanted[::-1][:50])] == found[::-1][:50]
        assert len({body["seed"] for body in server.bodies}) == 300
        assert all(body["temperature"] == 1.5 and body["top_k"] == -1 for body in server.bodies)
    with torch.inference_mode():
        ids = torch.tensor(writer.tokenizer([PROMPTS[0]])["input_ids"])
        shares = torch.softmax(writer.model(ids).logits[0, -1].double() / 1.5, dim=-1).numpy()
    letters = np.array([writer.tokenizer.decode([token]) for token in range(len(shares))])
    letters[writer.tokenizer.eos_token_id] = ""
    for letter in set(letters):
        share = shares[letters == letter].sum()
        assert abs(found.count(letter) / 300 - share) < 5 * math.sqrt(share * (1 - share) / 300) + 1e-9


WORDS = ("naïve ", "数学。", "🙂👍", "→ x", "Ω=", "½", "\n", "a\n\nb", "é", "ab cd ", " ")
SEPARATORS = ("\n\n", "。→", "🙂\n")


@pytest.fixture(scope="module")
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes and few merges: most characters, and all the separators, are split over tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[no-untyped-call]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[no-untyped-call]
    trainer = trainers.BpeTrainer(  # type: ignore[no-untyped-call]
        vocab_size=270,
        special_tokens=["<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["ab cd " * 3, "naïve x " * 3, "\n\n"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")  # type: ignore[no-untyped-call]


def passages(separator: str) -> Callable[[dict[str, Any]], str]:
    """A text that follows from the seed; what stands in the prompt already is left out."""

    def choose(body: dict[str, Any]) -> str:
        name, _, written = body["prompt"].partition("|")
        chance = np.random.default_rng(int(name))
        parts = chance.choice([*WORDS, separator, separator], size=chance.integers(1, 12))
        whole = "".join(parts)
        assert whole.startswith(written)
        return whole[len(written) :]

    return choose


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("dialect", SOUND)
def test_steps_give_back_multi_byte_texts_to_the_letter(
    byte_tokenizer: PreTrainedTokenizerFast, dialect: str, separator: str
) -> None:
    """Characters and delimiters split over tokens; whole solutions, and step by step with the prefix read again."""
    texts = TextWriter(byte_tokenizer, passages(separator))
    wanted = [Request(f"{number}|", "", number << 11, to_end=True) for number in range(50)]
    whole = [texts.choose({"prompt": request.prompt}) for request in wanted]
    said: list[str] = []
    with CompletionsServer(texts, dialect) as server:
        remote = sampler(server, delimiter=separator, max_tokens=400, say=said.append)
        found = remote.sample(wanted)
        stepped: list[list[Step]] = [[] for _ in wanted]
        while open_ones := [place for place, steps in enumerate(stepped) if not steps or steps[-1].stop == "step"]:
            singles = [replace(wanted[place], to_end=False, prefix=text(stepped[place])) for place in open_ones]
            for place, steps in zip(open_ones, remote.sample(singles), strict=True):
                stepped[place] += steps
    assert not any("share" in message for message in said)
    for steps in (found, stepped):
        assert [text(row) for row in steps] == whole
        for row in steps:
            assert all(step.stop == "step" and separator in step.text for step in row[:-1])
            assert row[-1].stop == "eos" and separator not in row[-1].text.rstrip("\n").removesuffix(separator)
    if separator == "\n\n":  # otherwise the number of steps hangs on where tokens end
        assert [len(row) for row in found] == [len(row) for row in stepped]
    tokens = [len(byte_tokenizer(passage)["input_ids"]) + 1 for passage in whole]
    assert [sum(step.tokens for step in row) for row in found] == tokens or not DIALECTS[dialect].lists


def test_tokens_that_do_not_make_up_the_text_are_shared_out(byte_tokenizer: PreTrainedTokenizerFast) -> None:
    class Odd(TextWriter):
        def __init__(self) -> None:
            super().__init__(byte_tokenizer, lambda body: "ab cd \n\nab cd ab cd \n\n")

    server = CompletionsServer(Odd())
    said: list[str] = []
    answer = server.answer

    def mangled(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, found = answer(body)
        listed = found["choices"][0]["logprobs"]["tokens"]
        listed[0] = "?" + listed[0]
        return status, found

    server.answer = mangled  # type: ignore[method-assign]
    with server:
        [steps] = sampler(server, delimiter="\n\n", say=said.append, max_tokens=99).sample([Request("p", "", 1)])
    assert [step.text for step in steps] == ["ab cd \n\n", "ab cd ab cd \n\n"]
    assert sum(step.tokens for step in steps) == len(byte_tokenizer("ab cd \n\nab cd ab cd \n\n")["input_ids"]) + 1
    assert all(step.tokens > 0 and step.logprob is None for step in steps)
    assert len(said) == 1 and "shared out by length" in said[0]


def test_parameters_that_a_server_refuses_are_left_out_and_said_once(writer: ModelWriter) -> None:
    said: list[str] = []
    with CompletionsServer(writer, "transformers") as server:
        remote = sampler(server, say=said.append)
        remote.sample(requests(3, to_end=False))
        remote.sample(requests(3, to_end=False))
        assert len(server.bodies) == 2 * 12 + 4  # one was refused, three showed what becomes of a stop string
        assert all(json.loads(body["generation_config"])["do_sample"] for body in server.bodies[1:])
    assert len(said) == 2 and "include_stop_str_in_output, min_p" in said[0] and "log-probabilities" in said[1]
    with CompletionsServer(writer, "tgi") as server:
        remote = sampler(server, top_p=0.9)
        remote.sample(requests(1, greedy=True))
        remote.sample(requests(1))
        assert {body.get("top_p") for body in server.bodies if body["temperature"]} == {0.9}


def test_connections_are_kept_open(writer: ModelWriter) -> None:
    with CompletionsServer(writer) as server:
        sampler(server, connections=3).sample(requests(10))
        assert len(server.bodies) == 40 and server.connections <= 4


@pytest.fixture(scope="module")
def digits() -> TextWriter:
    """Numbers that follow from the seed, without a model: answers come at once, however busy the machine is."""
    return TextWriter(
        build_tokenizer(), lambda body: "".join(np.random.default_rng(body["seed"]).choice(list("123"), 9))
    )


PASSING = {
    "HTTP 500 (boom)": Fault(500),
    "HTTP 429 (boom)": Fault(429, {"Retry-After": "0.01"}),
    "no answer within 1 s": Fault("slow"),
    "ended before there was an answer": Fault("cut"),
    "answered half-way only": Fault("half"),
    "JSON that is cut off": Fault("truncated"),
    "JSON that holds no completion": Fault("empty"),
    "finish_reason 'abort'": Fault("unfinished"),
}


@pytest.mark.parametrize("what", PASSING)
def test_passing_trouble_is_outlasted(digits: TextWriter, what: str) -> None:
    def fault(number: int) -> Fault | None:
        return PASSING[what] if number in (1, 6, 7) else None

    with CompletionsServer(digits) as server:
        undisturbed = sampler(server).sample(requests(4))
    with CompletionsServer(digits, fault=fault) as server:
        assert sampler(server, timeout=1.0, retries=4).sample(requests(4)) == undisturbed


@pytest.mark.parametrize("what", PASSING)
def test_a_failing_server_loses_nothing(tmp_path: Path, digits: TextWriter, what: str) -> None:
    """It stops half-way for good; one line says so, what was finished is kept, and the same plan goes on from there."""
    given = questions(tmp_path)

    def record(path: Path, server: CompletionsServer, retries: int = 1) -> int:
        with create_cache(path) as cache:
            reach = ServerSettings(server.url, connections=4, timeout=1.0, retries=retries)
            recorder = build_recorder(cache, run_settings(), questions=given, server=reach)
            recorder.maker.sampler.backoff = 0.01  # type: ignore[attr-defined]
            return fulfil(cache, recorder, [flat(6)])

    undisturbed, disturbed = tmp_path / "undisturbed.duckdb", tmp_path / "disturbed.duckdb"
    with CompletionsServer(digits) as server:
        assert record(undisturbed, server, retries=3) == 24
    with CompletionsServer(digits, fault=lambda number: PASSING[what] if number > 9 else None) as server:
        with pytest.raises(SamplerStopped) as stopped:
            record(disturbed, server)
        assert len(server.bodies) < 24  # the others were not tried
    message = str(stopped.value)
    assert "\n" not in message and server.url in message and "2 tries" in message and what in message
    assert "9 of the 24 draws at hand were finished" in message and "run the same command again" in message
    kept = contents(disturbed)
    assert len({row[:2] for row in kept if row[1].count("/") == 1}) == 9
    with CompletionsServer(digits) as server:
        assert record(disturbed, server, retries=3) == 24 - 9
    assert contents(disturbed) == contents(undisturbed) and set(kept) < set(contents(disturbed))
    with open_cache(disturbed) as cache:
        assert violations(cache) == []


@pytest.mark.parametrize(
    "what", ["HTTP 500 (boom)", "no answer within 1 s", "answered half-way", "JSON that is cut off"]
)
def test_a_failing_server_by_the_commands_of_a_user(tmp_path: Path, digits: TextWriter, what: str) -> None:
    """After its retries one line and status 1; the same command, once the server is well, makes exactly the rest."""
    path = tmp_path / "run.duckdb"
    fault = next(fault for name, fault in PASSING.items() if what in name)
    well = threading.Event()
    command = [
        "generate", "run", "--cache", path, "--model", "tiny", "--questions", write_questions(tmp_path / "q.jsonl"),
        "--delimiter", "3", "--max-tokens", "16", "--answer", "final-number", "--grader", "exact", "--flat", "6",
        "--timeout", "1", "--connections", "3", "--num-params", "4000",
    ]  # fmt: skip
    with CompletionsServer(digits, fault=lambda number: fault if number > 9 and not well.is_set() else None) as server:
        command += ["--server", server.url]
        failed = tts_sim(*command, "--retries", 1)
        assert failed.status == 1 and failed.out == ""
        [line] = [line for line in failed.err.splitlines() if line.startswith("tts-sim: ")]
        assert failed.err.endswith(line + "\n") and "2 tries" in line and what in line
        assert "9 of the 24 draws at hand were finished and are kept" in line
        kept = contents(path)
        well.set()
        resumed = tts_sim(*command)
    assert resumed.status == 0 and "run 'base': 15 draws made, plan flat(6) fulfilled" in resumed.out
    assert set(kept) < set(contents(path)) and tts_sim("check", path).status == 0
    rows = printed_json("replay", path, "--strategy", "sample+majority", "--budget", "1,2…6")
    assert {row["supported"] for row in rows} == {1}


def test_ctrl_c_does_not_wait_for_the_server(digits: TextWriter) -> None:
    """An interruption cuts what is under way: each of the threads that hang in a request ends."""
    hanging = 3
    outcomes: list[type[BaseException]] = []

    def ask(client: CompletionsClient) -> None:
        try:
            client.complete({"model": "tiny"}, lambda answer: answer)
        except Exception as error:
            outcomes.append(type(error))

    with (
        CompletionsServer(digits, fault=lambda number: Fault("slow")) as server,
        CompletionsClient(parse_url(server.url), api_key=None, timeout=60.0, retries=3, backoff=1.0) as client,
    ):
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(hanging)]
        for thread in threads:
            thread.start()
        while len(server.bodies) < hanging:
            time.sleep(0.01)
        client.abort()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)
    assert outcomes == [Stopped] * hanging


def test_a_server_that_is_gone(writer: ModelWriter) -> None:
    with CompletionsServer(writer) as server:
        remote = sampler(server)
    with pytest.raises(SamplerStopped, match=r"3 tries; the last one failed: Connection refused\. 0 of the 4 draws"):
        remote.sample(requests(1))


def test_what_another_try_would_not_mend_is_said_at_once(writer: ModelWriter) -> None:
    with CompletionsServer(writer, key="secret") as server:
        with pytest.raises(SamplerStopped, match=r"HTTP 401 \(no such key\).*TTS_SIM_API_KEY"):
            sampler(server).sample(requests(1))
        assert len(server.bodies) == 1
        assert len(sampler(server, api_key="secret").sample(requests(1))) == 4
        with pytest.raises(SamplerStopped, match=r"HTTP 404 \(not here\)\. It serves tiny: name one with --model"):
            ServerSampler(server.url, "other", delimiter="3", temperature=1.0, api_key="secret").sample(requests(1))
    too_long = Dialect("small", refuses=lambda body: "maximum context length is 8 tokens")
    with CompletionsServer(writer, too_long) as server:
        with pytest.raises(SamplerStopped, match=r"HTTP 422 \(maximum context length is 8 tokens\)"):
            sampler(server).sample(requests(1))
        assert len(server.bodies) == 1


def test_servers_whose_steps_cannot_be_told_are_refused(writer: ModelWriter) -> None:
    mute, deaf = Dialect("mute", lists=False), Dialect("deaf", heeds_stop=False)
    said = "drops the stop string, does not say whether it was met"
    with CompletionsServer(writer, mute) as server, pytest.raises(SamplerStopped, match=said):
        sampler(server).sample(requests(4))
    said = r"does not heed 'stop', .* 0 of the 24 draws"
    with CompletionsServer(writer, deaf) as server, pytest.raises(SamplerStopped, match=said):
        sampler(server, max_tokens=120).sample(requests(6, to_end=False))


def test_a_server_that_counts_no_tokens_is_refused(digits: TextWriter) -> None:
    server = CompletionsServer(digits, Dialect("uncounted", says="stop_reason", lists=False))
    answer = server.answer
    server.answer = lambda body: (200, {"choices": answer(body)[1]["choices"]})  # type: ignore[method-assign]
    with server, pytest.raises(SamplerStopped, match="does not count tokens"):
        sampler(server).sample(requests(1))
    assert len(server.bodies) == 1


def test_a_server_that_does_not_sample_is_noticed(writer: ModelWriter) -> None:
    said: list[str] = []
    server = CompletionsServer(writer)
    answer = server.answer
    server.answer = lambda body: answer(body | {"temperature": 0})  # type: ignore[method-assign]
    with server:
        remote = sampler(server, say=said.append)
        remote.sample(requests(3))
        assert not said
        remote.sample(requests(4))
    assert len(said) == 1 and "may not sample at all" in said[0]


def test_a_run_remembers_its_server(
    tmp_path: Path, saved: tuple[str, str], writer: ModelWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`generate sample` and `fill` by command; --server moves the run to another address, and alone sends the key."""
    monkeypatch.setenv("TTS_SIM_API_KEY", "secret")
    from tts_sim.cli.main import command_line

    file, path = write_questions(tmp_path / "questions.jsonl"), tmp_path / "run.duckdb"
    runner = CliRunner()
    sampled = [
        "generate", "sample", str(path), "--model", "tiny", "--questions", file, "-n", "4", "--delimiter", "3",
        "--temperature", "1.0", "--max-tokens", "16", "--answer", "final-number", "--grader", "exact",
        "--num-params", "4000", "--verifier", saved[1],
    ]  # fmt: skip
    spec = ["generate", "fill", str(path), "--strategy", "beam(width=2)+majority", "--budget", "4", "--trials"]

    def made(*words: str) -> int:
        done = runner.invoke(command_line(), list(words), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return int(done.stdout.split(": ")[1].split()[0])

    with CompletionsServer(writer) as first:
        assert made(*sampled, "--server", first.url, "--connections", "2") == 16
        assert made(*sampled) == 0
        assert first.keys == {"Bearer secret"}
        first.keys.clear()
        assert made(*spec, "1", "--retries", "0") > 0
        assert first.keys == {None}
        with open_cache(path) as cache:
            assert stored_settings(cache, "base")[1]["server"] == first.url + "/v1"
            assert cache.table("models")["num_params"].to_list()[0] == 4000
        before = len(first.bodies)
    with CompletionsServer(writer) as second:
        assert made(*spec, "4", "--server", second.url) > 0
        assert len(first.bodies) == before and second.bodies
        with open_cache(path) as cache:
            assert stored_settings(cache, "base")[1]["server"] == second.url + "/v1"
            assert violations(cache) == []
    done = runner.invoke(command_line(), [*spec, "9", "--retries", "0"])
    assert isinstance(done.exception, SamplerStopped) and second.url in str(done.exception)


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/", "http://localhost:8000/v1"),
        ("https://host/api/v1/", "https://host/api/v1"),
        ("http://host/v1/completions", "http://host/v1"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
    ],
)
def test_addresses(url: str, stored: str) -> None:
    assert parse_url(url).url == stored and parse_url(stored).url == stored


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://host", "http://", "http://h:port", "http://u:p@h", "x y"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="expected an address"):
        parse_url(url)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"temperature": 0.0}, r"temperature 0\.0"), ({"top_p": 1.5}, r"top_p 1\.5"), ({"delimiter": ""}, "delimiter")],
)
def test_bad_settings_are_refused(changes: dict[str, Any], said: str) -> None:
    settings: dict[str, Any] = {"delimiter": "\n", "temperature": 1.0}
    with pytest.raises(ValueError, match=said):
        ServerSampler("http://localhost:8000", "tiny", **(settings | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"connections": 0}, "connections 0"), ({"retries": -1}, "retries -1"), ({"timeout": 0.0}, r"timeout 0\.0")],
)
def test_bad_reach_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ServerSettings("http://localhost:8000", **changes)
