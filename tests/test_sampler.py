"""The sampler: its draws follow the model's distribution, and depend on the key alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from generate.keys import gumbel_noise, mix_tensor, node_key, signed
from generate.protocols import Request
from generate.samplers.boundaries import delimiter_automaton
from generate.samplers.transformers import TransformersSampler, load_sampler
from tests.tiny import PROMPTS, save_models
from tts_sim.draws import mix


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_models(tmp_path_factory.mktemp("models"))[0]


def sampler(path: str, **changes: object) -> TransformersSampler:
    settings: dict[str, object] = {"delimiter": "\n", "temperature": 1.0, "max_tokens": 24, "device": "cpu"}
    return load_sampler(path, **(settings | changes))  # type: ignore[arg-type]


def requests(count: int, to_end: bool = True) -> list[Request]:
    return [
        Request(prompt, "", node_key(0, prompt, (draw,)), to_end=to_end) for prompt in PROMPTS for draw in range(count)
    ]


def texts(steps: list[list[object]]) -> list[list[str]]:
    return [[step.text for step in row] for row in steps]  # type: ignore[attr-defined]


def test_mix_on_tensors_is_mix_on_integers() -> None:
    keys = [0, 1, (1 << 63) + 5, (1 << 64) - 1]
    counters = [0, 7, 1 << 41, 3]
    mixed = mix_tensor(torch.tensor([signed(key) for key in keys]), torch.tensor(counters))
    assert [int(value) % (1 << 64) for value in mixed] == [mix(k, c) for k, c in zip(keys, counters, strict=True)]


def test_gumbel_noise_draws_from_the_softmax() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0], dtype=torch.float64)
    keys = torch.arange(20_000)
    chosen = (logits[None, :] + gumbel_noise(keys, torch.zeros_like(keys), 4)).argmax(dim=1)
    expected = torch.softmax(logits, dim=0).numpy() * len(keys)
    assert chisquare(np.bincount(chosen.numpy(), minlength=4), expected).pvalue > 1e-4


def test_first_tokens_follow_the_models_distribution(base: str) -> None:
    draws = sampler(base, max_tokens=1, temperature=1.5, batch_rows=1000)
    prompt = PROMPTS[0]
    out = draws.sample([Request(prompt, "", node_key(3, "q", (draw,))) for draw in range(4000)])
    with torch.inference_mode():
        ids = torch.tensor(draws.tokenizer([prompt])["input_ids"])
        probabilities = torch.softmax(draws.model(ids).logits[0, -1].double() / 1.5, dim=-1).numpy()
    letters = [draws.tokenizer.decode([token]) for token in range(len(probabilities))]
    letters[draws.tokenizer.eos_token_id] = ""
    for letter in letters:
        share = probabilities[[place for place, other in enumerate(letters) if other == letter]].sum()
        seen = sum(steps[0].text == letter for steps in out) / len(out)
        assert abs(seen - share) < 5 * (share * (1 - share) / len(out)) ** 0.5 + 1e-9


def test_a_draw_does_not_depend_on_its_batch(base: str) -> None:
    wanted = requests(6)
    together = texts(sampler(base, batch_rows=64).sample(wanted))
    assert texts(sampler(base, batch_rows=5).sample(list(reversed(wanted)))) == list(reversed(together))


def test_distinct_contexts_of_one_length_keep_their_rows(base: str) -> None:
    """Contexts in another order than their texts', none twice: each is continued, not its neighbour."""
    draws = sampler(base)
    wanted = [Request("9\n", f"{digit}\n", node_key(0, "q", (digit,))) for digit in (3, 1, 2)]
    assert texts(draws.sample(wanted)) == [texts(draws.sample([request]))[0] for request in wanted]


def test_step_by_step_is_the_same_as_to_the_end(base: str) -> None:
    draws = sampler(base)
    for request, whole in zip(requests(3), texts(draws.sample(requests(3))), strict=True):
        prompt, number = request.prompt, requests(3).index(request) % 3
        path, steps = [number], []
        tokens = 0
        while True:
            step = draws.sample(
                [Request(prompt, "".join(steps), node_key(0, prompt, path), prefix_tokens=tokens, to_end=False)]
            )[0]
            assert len(step) == 1
            steps.append(step[0].text)
            tokens += step[0].tokens
            path.append(0)
            if step[0].stop != "step":
                break
        assert steps == whole


def test_an_attempt_is_one_piece_whatever_delimiters_it_holds(base: str) -> None:
    wanted = [replace(request, split=False) for request in requests(20)]
    attempts = sampler(base).sample(wanted)
    assert all(len(steps) == 1 and steps[0].stop in ("eos", "length") for steps in attempts)
    assert any("\n" in steps[0].text for steps in attempts)


def test_greedy_and_logprobs_are_those_of_the_model(base: str) -> None:
    draws = sampler(base)
    for prompt in PROMPTS:
        steps = draws.sample([Request(prompt, "", 0, greedy=True)])[0]
        ids = torch.tensor([draws.tokenizer(prompt)["input_ids"]])
        expected = draws.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)
        new = expected[0, ids.shape[1] :]
        ended = steps[-1].stop == "eos"
        assert "".join(step.text for step in steps) == draws.tokenizer.decode(new[: len(new) - ended])
        assert sum(step.tokens for step in steps) == len(new)
        with torch.inference_mode():
            logprobs = torch.log_softmax(draws.model(expected).logits[0, ids.shape[1] - 1 : -1].float(), dim=-1)
        taken = logprobs.gather(1, new[:, None])[:, 0]
        assert sum(step.logprob for step in steps) == pytest.approx(float(taken.sum()), abs=1e-4)
        assert min(step.min_logprob for step in steps) == pytest.approx(float(taken.min()), abs=1e-4)


def test_steps_close_at_the_delimiter_and_the_last_says_why(base: str) -> None:
    for steps in sampler(base).sample(requests(20)):
        assert all(
            step.stop == "step" and step.text.endswith("\n") and "\n" not in step.text[:-1] for step in steps[:-1]
        )
        assert steps[-1].stop in ("eos", "length")
        assert sum(step.tokens for step in steps) <= 24
        assert steps[-1].stop == "eos" or sum(step.tokens for step in steps) == 24


def test_nucleus_leaves_out_the_tail(base: str) -> None:
    narrow = sampler(base, top_p=1e-6, max_tokens=12)
    greedy = narrow.sample([Request(PROMPTS[1], "", 0, greedy=True)])[0]
    assert texts([narrow.sample([Request(PROMPTS[1], "", 99)])[0]]) == texts([greedy])


def test_automaton_finds_delimiters_split_over_tokens() -> None:
    pieces = [b"a", b"\n", b"\n\n", b"b\n", b"\nc", b"x\n\ny"]
    table = delimiter_automaton(pieces, b"\n\n")
    assert len(table) == 5  # what says that a step has ended
    assert table[:2].tolist() == [[0, 1, 5, 1, 0, 5], [0, 5, 5, 1, 5, 5]]


def test_automaton_waits_for_the_rest_of_a_letter() -> None:
    """However "12/é🙂a" is cut into tokens, the step at "/" ends with the first token that leaves no letter open."""
    text, delimiter = "12/é🙂a".encode(), b"/"
    rest = text[text.index(delimiter) :]
    whole = [size for size in range(1, len(rest) + 1) if rest[:size].decode(errors="ignore").encode() == rest[:size]]
    for cuts in range(1 << (len(rest) - 1)):
        ends = [size for size in range(1, len(rest)) if cuts >> (size - 1) & 1] + [len(rest)]
        pieces = [rest[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        table, state, ended = delimiter_automaton(pieces, delimiter), 0, 0
        while state < len(table):
            state, ended = int(table[state, ended]), ended + 1
        assert ends[ended - 1] == min(set(ends) & set(whole))
    table = delimiter_automaton([b"/\xf0", b"\x9f", b"\x99\x82b", b"c", b"\xc3", b"/", b"\xff"], b"/")
    assert table[:, 0].tolist() == [3, 3, 3, 3]  # a letter of four bytes begins, wherever
    assert table[3].tolist() == [3, 2, 4, 4, 1, 4, 4]  # three bytes lack; another letter puts an end to a broken one
    assert table[1].tolist() == [3, 4, 4, 4, 1, 4, 4]


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"temperature": 0.0}, "temperature 0.0"), ({"top_p": 1.5}, "top_p 1.5"), ({"delimiter": ""}, "delimiter")],
)
def test_bad_settings_are_refused(base: str, changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        sampler(base, **changes)


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_sampler(str(tmp_path / "nothing"), delimiter="\n", temperature=1.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_draws_what_the_cpu_draws(base: str) -> None:
    wanted = requests(10)
    assert texts(sampler(base, device="cuda").sample(wanted)) == texts(sampler(base).sample(wanted))
