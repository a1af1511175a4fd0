"""Continuous batching draws what the plain sampler draws, step for step, with prefixes shared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from generate.keys import node_key
from generate.protocols import Request, Step
from generate.samplers.continuous import ContinuousSampler
from generate.samplers.transformers import TransformersSampler, load_sampler
from tests.tiny import PROMPTS, save_models

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    return save_models(tmp_path_factory.mktemp("models"))[0]


def plain(path: str, **changes: object) -> TransformersSampler:
    settings: dict[str, object] = {"delimiter": "\n", "temperature": 1.0, "max_tokens": 24, "device": "cpu"}
    return load_sampler(path, **(settings | changes))  # type: ignore[arg-type]


def continuous(path: str, **changes: object) -> ContinuousSampler:
    made = plain(path, sampler="continuous", batch_rows=8, **changes)
    assert isinstance(made, ContinuousSampler)
    return made


def same(ours: list[list[Step]], theirs: list[list[Step]]) -> None:
    assert [[step.text for step in steps] for steps in ours] == [[step.text for step in steps] for steps in theirs]
    for left, right in zip(ours, theirs, strict=True):
        for one, other in zip(left, right, strict=True):
            assert (one.tokens, one.stop) == (other.tokens, other.stop)
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
            assert one.min_logprob == pytest.approx(other.min_logprob, abs=1e-4)


def requests(to_end: bool = True, greedy: bool = False, split: bool = True) -> list[Request]:
    return [
        Request(prompt, "", node_key(0, prompt, (draw,)), to_end=to_end, greedy=greedy, split=split)
        for prompt in PROMPTS
        for draw in range(1 if greedy else 12)
    ]


def test_solutions_attempts_and_greedy(base: str) -> None:
    wanted = [*requests(), *requests(greedy=True), *requests(split=False)]
    sampler = continuous(base)
    same(sampler.sample(wanted), plain(base).sample(wanted))
    sampler.close()
