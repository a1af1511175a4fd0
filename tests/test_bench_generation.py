"""The benchmark of generation at toy size: contenders record the same work, and the bound is counted right."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from bench.generation import (
    TOY,
    Machine,
    Recorded,
    bound,
    flat,
    machine,
    made,
    main,
    ours,
    plain_generate,
    prompts,
    tree,
)
from bench.random_models import END, SHAPES, LetterTokenizer, random_model
from generate.protocols import Request


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_letters_give_the_tokens_back() -> None:
    letters = LetterTokenizer(256, 4)
    tokens = list(range(256))
    text = letters.batch_decode([tokens])[0]
    assert letters([text])["input_ids"] == [tokens]
    assert text.count("\n") == 64
    assert not letters.closes(END)
    assert all("\n" not in prompt and len(prompt) == TOY.prompt for prompt in prompts(TOY, 256))


def test_the_bound_counts_weights_keys_values_and_prompts() -> None:
    shape = SHAPES["toy"]
    model = random_model(shape, device="cpu", dtype=torch.float32, places=32, seed=0)
    weights = sum(parameter.numel() for parameter in model.parameters())
    cached = 2 * 2 * 2 * 8 * 4  # keys and values, layers, heads, places of a head, bytes
    recorded = Recorded(tokens=100, read=1000, prompts=10)
    slow_memory, slow_products = Machine(bandwidth=1.0, matmul=1e30), Machine(bandwidth=1e30, matmul=1.0)
    assert bound(model, shape, recorded, 5, slow_memory) == pytest.approx(20 * weights * 4 + 1000 * cached)
    assert bound(model, shape, recorded, 5, slow_products) == pytest.approx(2 * weights * 110)


@pytest.mark.parametrize("record", [flat, tree])
def test_contenders_record_the_same_requests(record: object) -> None:
    shape = SHAPES["toy"]
    model = random_model(shape, device="cpu", dtype=torch.float32, places=64, seed=0)
    letters = LetterTokenizer(shape.vocabulary, TOY.step)
    asked = prompts(TOY, shape.vocabulary)
    seen: list[int] = []

    def watched(draw: object) -> object:
        def run(requests: list[Request]) -> list[tuple[str, int]]:
            drawn = draw(requests)  # type: ignore[operator]
            for request, (text, tokens) in zip(requests, drawn, strict=True):
                assert len(letters([text])["input_ids"][0]) in (tokens, tokens - 1)  # an end token has no text
                assert 1 <= tokens <= TOY.solution - request.prefix_tokens
                assert request.to_end or "\n" not in text[:-1]
            seen.append(sum(tokens for _, tokens in drawn))
            return drawn

        return run

    draws = [ours(made("plain", model, letters, TOY)), partial(plain_generate, model, letters, TOY)]
    layers = []
    for draw in draws:
        seen.clear()
        recorded = record(watched(draw), TOY, asked, 0)  # type: ignore[operator]
        assert recorded.tokens == sum(seen)
        assert recorded.prompts == TOY.questions * TOY.prompt
        assert recorded.read >= recorded.tokens * TOY.prompt
        layers.append(len(seen))
    assert layers == ([1, 1] if record is flat else [TOY.layers, TOY.layers])


def test_rates_of_the_machine_are_positive() -> None:
    assert min(machine("cpu", torch.float32, size=1 << 16, side=16)) > 0


def test_the_command_prints_every_contender(capsys: pytest.CaptureFixture[str]) -> None:
    rows = main(["--shape", "toy", "--device", "cpu", "--repeats", "1", "--sampler", "plain"])
    assert [(row.recording, row.contender) for row in rows] == [
        ("flat", "sampler, plain"),
        ("tree", "sampler, plain"),
        ("flat", "plain generate"),
        ("tree", "plain generate"),
    ]
    assert all(row.rate > 0 and row.bound > 0 for row in rows)
    printed = capsys.readouterr().out
    assert "GB/s" in printed and printed.count("\n| ") == 5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_command_on_cuda() -> None:
    rows = main(["--shape", "0.5b", "--device", "cuda", "--repeats", "1", "--questions", "2", "--layers", "3"])
    assert {row.contender for row in rows} == {"sampler, continuous", "plain generate"}
    assert all(row.bound < row.seconds for row in rows)
