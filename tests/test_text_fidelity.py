"""A thousand solutions: their steps are the sampler's text and tokens to the letter, and their log-probabilities."""

from __future__ import annotations

import codecs
from collections import Counter
from typing import Any

import pytest
import torch
from tokenizers import pre_tokenizers

from generate.keys import node_key
from generate.protocols import Request, Step
from generate.samplers.continuous import ContinuousSampler
from generate.samplers.token_bytes import token_bytes
from generate.samplers.transformers import TransformersSampler, Written
from tests.bigrams import END, bigram_model, byte_tokenizer, passages

SOLUTIONS = 1000
BROKEN = "\N{REPLACEMENT CHARACTER}"
PROMPTS = ("Ω=½ naïve ", "数学。ab", "12→ x🙂👍", "été")
DELIMITERS = ("\n\n", "。→∎", "🙂\n")


def bytes_of(tokenizer: Any) -> list[bytes]:
    """What each token writes, by GPT-2's table: bytes that print stand for themselves, the others follow from 256."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}
    assert set(table) == set(pre_tokenizers.ByteLevel.alphabet())
    names = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    return [b"" if name == END else bytes(table[letter] for letter in name) for name in names]


def lacks_bytes(written: bytes) -> bool:
    """Whether a letter has begun at the end and is not complete, by Python's own decoder."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(written)
    return decoder.getstate()[0] != b""


def record_rows(sampler: TransformersSampler) -> list[tuple[list[int], list[Step]]]:
    """Fills with the tokens of each row that the sampler writes, and the steps that it makes of them."""
    rows: list[tuple[list[int], list[Step]]] = []
    cut = sampler._steps

    def steps(written: Written) -> list[list[Step]]:
        found = cut(written)
        for tokens, count, made in zip(written.tokens.tolist(), written.counts.tolist(), found, strict=True):
            rows.append((tokens[:count], made))
        return found

    sampler._steps = steps  # type: ignore[method-assign]
    return rows


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("kind", [TransformersSampler, ContinuousSampler])
def test_steps_are_what_was_written(kind: type[TransformersSampler], delimiter: str) -> None:
    torch.set_num_threads(1)
    texts = passages(delimiter, 300, seed=1)
    tokenizer = byte_tokenizer(texts)
    model = bigram_model(tokenizer, texts)
    sampler = kind(model, tokenizer, delimiter=delimiter, temperature=1.0, max_tokens=40, batch_rows=128)
    rows = record_rows(sampler)
    count = SOLUTIONS // len(DELIMITERS) + 1
    wanted = [
        Request(PROMPTS[draw % len(PROMPTS)], "", node_key(0, "q", (draw,)), greedy=False) for draw in range(count)
    ]
    results = sampler.sample(wanted)
    assert len(rows) == count and sorted(map(repr, results)) == sorted(repr(steps) for _, steps in rows)

    pieces, closing = bytes_of(tokenizer), delimiter.encode()
    whole_texts = closed = torn = 0
    splits: Counter[tuple[bytes, ...]] = Counter()
    for tokens, steps in rows:
        ended = tokens[-1] == tokenizer.eos_token_id
        text = tokenizer.decode(tokens[: len(tokens) - ended], skip_special_tokens=False)
        assert "".join(step.text for step in steps) == text
        whole_texts += BROKEN not in text and not text.isascii()
        lengths, start = [], 0
        for place in range(len(tokens)):
            written = b"".join(pieces[token] for token in tokens[start : place + 1])
            if closing in written and not lacks_bytes(written):
                used = [pieces[token] for token in tokens[start : place + 1]]
                while closing in b"".join(used[1:]):
                    used = used[1:]
                splits[tuple(used)] += 1
                lengths.append(place + 1 - start)
                start = place + 1
        lengths += [len(tokens) - start] * (start < len(tokens))
        assert [step.tokens for step in steps] == lengths
        for step in steps[:-1]:
            assert step.stop == "step" and delimiter in step.text
            assert step.text.endswith(delimiter) or not step.text.endswith(BROKEN)
        assert steps[-1].stop == "eos" if ended else steps[-1].stop == "length" and len(tokens) == 40
        closed += len(steps) - 1
        torn += any(len(pieces[token].decode(errors="ignore").encode()) < len(pieces[token]) for token in tokens)
    assert closed > count and whole_texts > count / 3 and torn > count / 3
    assert len({tuple(map(len, split)) for split in splits}) >= 2 and max(map(len, splits)) >= len(delimiter)

    with torch.inference_mode():
        for request, steps in zip(wanted[:100], results, strict=False):
            matching = [tokens for tokens, made in rows if made is steps]
            tokens = matching[0] if matching else next(tokens for tokens, made in rows if made == steps)
            prompt = tokenizer(request.prompt)["input_ids"]
            logits = model(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1].double()
            taken = torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(tokens)[:, None])[:, 0]
            for step, part in zip(steps, taken.split([step.tokens for step in steps]), strict=True):
                assert step.logprob == pytest.approx(float(part.sum()), abs=1e-4)
                assert step.min_logprob == pytest.approx(float(part.min()), abs=1e-4)
    if isinstance(sampler, ContinuousSampler):
        sampler.close()


@pytest.mark.parametrize("kind", [TransformersSampler, ContinuousSampler])
def test_a_single_step_is_the_first_of_a_solution(kind: type[TransformersSampler]) -> None:
    """Also where the token that completes the delimiter holds the first bytes of a letter: the step takes the rest."""
    torch.set_num_threads(1)
    delimiter = "\n"
    texts = [text for letter in "🙂👍🙃👎😀🤣🚀🐍" for text in passages(delimiter + letter, 100, seed=1)]
    tokenizer = byte_tokenizer(texts)
    model = bigram_model(tokenizer, texts)
    sampler = kind(model, tokenizer, delimiter=delimiter, temperature=1.0, max_tokens=40, batch_rows=128)
    rows = record_rows(sampler)
    wanted = [Request(PROMPTS[0], "", node_key(0, "q", (draw,)), to_end=True) for draw in range(300)]
    single = [Request(one.prompt, "", one.key, to_end=False) for one in wanted]
    whole = sampler.sample(wanted)
    rows.clear()
    steps = sampler.sample(single)
    pieces = bytes_of(tokenizer)
    waited = 0
    for [step], [first, *_] in zip(steps, whole, strict=True):
        assert (step.text, step.tokens, step.stop) == (first.text, first.tokens, first.stop)
    for tokens, [step] in rows:
        written = [pieces[token] for token in tokens]
        waited += delimiter.encode() in b"".join(written[:-1])
        assert step.stop != "step" or not lacks_bytes(b"".join(written))
        assert step.text == tokenizer.decode(tokens[: len(tokens) - (step.stop == "eos")], skip_special_tokens=False)
    assert waited > 5
    if isinstance(sampler, ContinuousSampler):
        sampler.close()


def test_bytes_of_tokens() -> None:
    tokenizer = byte_tokenizer(passages("\n\n", 50, seed=2))
    expected = bytes_of(tokenizer)
    expected[tokenizer.eos_token_id] = END.encode()
    assert token_bytes(tokenizer) == expected
