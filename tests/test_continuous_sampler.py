"""Continuous batching draws what the plain sampler draws, step for step, with prefixes shared."""

from __future__ import annotations

import pytest
import torch

from generate.keys import node_key
from generate.protocols import Request, Step
from generate.samplers.continuous import ContinuousSampler
from generate.samplers.transformers import TransformersSampler, load_sampler
from tests.tiny import PROMPTS, save_models


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    return save_models(tmp_path_factory.mktemp("models"))[0]


def plain(path: str, **changes: object) -> TransformersSampler:
    settings: dict[str, object] = {"delimiter": "\n", "temperature": 1.0, "max_tokens": 24, "device": "cpu"}
    return load_sampler(path, **(settings | changes))  # type: ignore[arg-type]


def continuous(path: str, page_size: int = 16, **changes: object) -> ContinuousSampler:
    loaded = plain(path)
    settings: dict[str, object] = {"delimiter": "\n", "temperature": 1.0, "max_tokens": 24}
    return ContinuousSampler(
        loaded.model,
        loaded.tokenizer,
        page_size=page_size,
        batch_rows=8,
        **(settings | changes),  # type: ignore[arg-type]
    )


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


@pytest.mark.parametrize("delimiter", ["\n", "+", "\n1", "0<"])
def test_single_steps_end_at_the_delimiter(base: str, delimiter: str) -> None:
    wanted = requests(to_end=False)
    sampler, other = continuous(base, delimiter=delimiter), plain(base, delimiter=delimiter)
    first = other.sample(wanted)
    same(sampler.sample(wanted), first)
    second = [
        Request(
            request.prompt,
            steps[0].text,
            node_key(1, "q", (place,)),
            prefix_tokens=steps[0].tokens,
            to_end=place % 2 == 0,
        )
        for place, (request, steps) in enumerate(zip(wanted, first, strict=True))
        if steps[0].stop == "step"
    ]
    same(sampler.sample(second), other.sample(second))
    sampler.close()


def test_delimiters_over_several_tokens_close_steps(base: str) -> None:
    """The test above is not empty: some steps close at the second letter of a delimiter, and lose nothing."""
    with_pairs = plain(base, delimiter="\n1", max_tokens=400)
    closed = [steps[0] for steps in with_pairs.sample(requests(to_end=False)) if steps[0].stop == "step"]
    assert closed and all(step.text.endswith("\n1") for step in closed)
    sampler = continuous(base, delimiter="\n1", max_tokens=400)
    same(sampler.sample(requests(to_end=False)), with_pairs.sample(requests(to_end=False)))
    sampler.close()


def test_prefixes_are_read_once(base: str) -> None:
    prefix = "12+30\n" * 20
    wanted = [Request(PROMPTS[0], prefix, node_key(0, "q", (draw,)), to_end=False) for draw in range(8)]
    sampler = continuous(base, page_size=8)
    read: list[int] = []
    sampler.model.register_forward_pre_hook(
        lambda _, __, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    drawn = sampler.sample(wanted)
    length = len(sampler.tokenizer(PROMPTS[0] + prefix)["input_ids"])
    written = sum(step.tokens for steps in drawn for step in steps)
    assert sum(read) < length + 8 * 8 + written
    read.clear()
    again = sampler.sample(wanted)  # a later call finds the pages of this one
    assert sum(read) < 9 * 8 + written
    assert again == drawn
    same(drawn, plain(base).sample(wanted))
    sampler.close()


def test_more_requests_than_slots_and_pages(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds follow each other, and requests that are evicted for want of pages go on where they were."""
    from generate.samplers import continuous as module

    class Few(module.ContinuousBatchingConfig):
        def __post_init__(self) -> None:
            self.num_blocks = 6
            super().__post_init__()

    monkeypatch.setattr(module, "ContinuousBatchingConfig", Few)
    wanted = requests()
    sampler = continuous(base, page_size=8, max_tokens=30)
    assert len(wanted) > sampler.choice.slots
    same(sampler.sample(wanted), plain(base, max_tokens=30).sample(wanted))
    assert sampler.manager is not None
    assert sampler.manager.continuous_batching_config.num_blocks == 6
    sampler.close()


def test_a_failure_inside_the_library_is_raised_and_the_next_call_works(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = continuous(base)

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("no memory left")

    with monkeypatch.context() as broken:
        broken.setattr(sampler, "_choose", fail)
        broken.setattr(sampler.choice, "choose", fail)
        with pytest.raises(torch.OutOfMemoryError, match="no memory left"):
            sampler.sample(requests())
    same(sampler.sample(requests()), plain(base).sample(requests()))
    sampler.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"page_size": 1}, "page size 1"), ({"cache_share": 1.5}, "cache share 1.5")],
)
def test_bad_settings_are_refused(base: str, changes: dict[str, object], said: str) -> None:
    loaded = plain(base)
    with pytest.raises(ValueError, match=said):
        ContinuousSampler(loaded.model, loaded.tokenizer, delimiter="\n", temperature=1.0, **changes)  # type: ignore[arg-type]


def test_samplers_by_name(base: str) -> None:
    assert type(plain(base)) is TransformersSampler  # auto, on a CPU
    assert type(plain(base, sampler="plain")) is TransformersSampler
    assert type(plain(base, sampler="continuous")) is ContinuousSampler
    with pytest.raises(ValueError, match="sampler 'fast': expected auto, plain, continuous"):
        plain(base, sampler="fast")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("to_end", [True, False])
def test_cuda_draws_what_the_cpu_draws(base: str, to_end: bool) -> None:
    sampler = plain(base, device="cuda")
    assert isinstance(sampler, ContinuousSampler)
    same(sampler.sample(requests(to_end)), plain(base).sample(requests(to_end)))
    sampler.close()
