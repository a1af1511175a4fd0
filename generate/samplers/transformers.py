"""A sampler on transformers: prefixes that occur several times are read once, finished rows leave the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from generate.keys import gumbel_noise, mix_tensor, signed
from generate.protocols import Request, Step
from generate.samplers.boundaries import delimiter_automaton
from generate.samplers.buffer_cache import buffer_cache
from generate.samplers.token_bytes import token_bytes

SAMPLERS = ("auto", "plain", "continuous")
SHRINK = 0.75  # rows are dropped from the batch once fewer than this share of them goes on


class Written(NamedTuple):
    """What a batch wrote, one row a request: tokens, their log-probabilities, and whether a step closed there."""

    tokens: Tensor  # int64 (rows, places)
    logprobs: Tensor  # float32 (rows, places)
    closed: Tensor  # bool (rows, places)
    counts: Tensor  # int64 (rows,): places used
    full: Tensor  # bool (rows,): the longest solution allowed is reached


class TransformersSampler:
    """Continues prefixes with a causal language model, on CPU or CUDA.

    Tokens are drawn at `temperature` from the nucleus `top_p` by keyed Gumbel noise, so a draw does not depend on the
    batch it falls into, but for rounding. A solution ends at an end-of-sequence token, or (stop 'length') at
    `max_tokens`. Batches hold at most `batch_rows` requests, sorted by length; shorter ones are padded on the left.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        delimiter: str,
        temperature: float,
        top_p: float = 1.0,
        max_tokens: int = 2048,
        batch_rows: int = 512,
    ) -> None:
        if not temperature > 0:
            raise ValueError(
                f"temperature {temperature}: expected a number above 0 (greedy draws are asked for apart)."
            )
        if not 0 < top_p <= 1:
            raise ValueError(f"top_p {top_p}: expected a number above 0 and up to 1.")
        self.model, self.tokenizer = model.eval(), tokenizer
        self.temperature, self.top_p = temperature, top_p
        self.max_tokens, self.batch_rows = max_tokens, batch_rows
        self.device = model.device
        self.vocabulary = int(model.config.vocab_size)
        ends = model.generation_config.eos_token_id
        ends = tokenizer.eos_token_id if ends is None else ends
        self.ends = torch.zeros(self.vocabulary, dtype=torch.bool, device=self.device)
        self.ends[torch.tensor([ends] if isinstance(ends, int) else list(ends), device=self.device)] = True
        pieces = token_bytes(tokenizer)
        pieces += [b""] * (self.vocabulary - len(pieces))  # embeddings are often padded beyond the tokenizer
        self.automaton = torch.from_numpy(delimiter_automaton(pieces, delimiter.encode())).to(self.device)
        self.accepted = len(self.automaton)

    @torch.inference_mode()
    def sample(self, requests: Sequence[Request]) -> list[list[Step]]:
        """The steps of each request, in order. Source of the keys: `generate.keys`."""
        contexts = sorted({request.prompt + request.prefix for request in requests})
        encoded: dict[str, list[int]] = dict(zip(contexts, self._encode(contexts), strict=True))
        order = sorted(
            range(len(requests)),
            key=lambda index: (len(encoded[requests[index].prompt + requests[index].prefix]), index),
        )
        results: list[list[Step]] = [[] for _ in requests]
        for start in range(0, len(order), self.batch_rows):
            batch = order[start : start + self.batch_rows]
            written = self._write([requests[index] for index in batch], encoded)
            for index, steps in zip(batch, self._steps(written), strict=True):
                results[index] = steps
        return results

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=True)["input_ids"] if texts else []
        return ids

    def _write(self, requests: Sequence[Request], encoded: dict[str, list[int]]) -> Written:
        """Draws tokens for one batch until every request has what it asked for."""
        names = [request.prompt + request.prefix for request in requests]
        unique = sorted(set(names), key=lambda name: (len(encoded[name]), name))
        place = {name: row for row, name in enumerate(unique)}
        longest = len(encoded[unique[-1]])
        limits = torch.tensor([max(1, self.max_tokens - request.prefix_tokens) for request in requests])
        room = int(limits.max())
        logits, cache, mask = self._read([encoded[name] for name in unique], longest)
        gather = torch.tensor([place[name] for name in names], device=self.device)
        if unique != names:  # fewer, or as many in another order
            cache.batch_select_indices(gather)
            logits = logits[gather]
            mask = mask[gather] if mask is not None else None

        rows = len(requests)
        keys = torch.tensor([signed(request.key) for request in requests], device=self.device)
        to_end = torch.tensor([request.to_end for request in requests], device=self.device)
        split = torch.tensor([request.split for request in requests], device=self.device)
        greedy = torch.tensor([request.greedy for request in requests], device=self.device)
        limits = allowed = limits.to(self.device)
        places = torch.zeros(rows, dtype=torch.int64, device=self.device)
        states = torch.zeros(rows, dtype=torch.int64, device=self.device)
        alive = torch.arange(rows, device=self.device)
        lengths = torch.tensor([len(encoded[name]) for name in names], device=self.device)
        tokens = torch.zeros((rows, room), dtype=torch.int64, device=self.device)
        logprobs = torch.zeros((rows, room), device=self.device)
        closed = torch.zeros((rows, room), dtype=torch.bool, device=self.device)
        counts = torch.zeros(rows, dtype=torch.int64, device=self.device)
        active = torch.ones(rows, dtype=torch.bool, device=self.device)  # of the rows still in the batch
        for position in range(room):
            logits = logits.float()
            chosen = self._choose(logits, keys, places, greedy)
            likelihood = torch.log_softmax(logits, dim=-1).gather(1, chosen[:, None])[:, 0]
            states = self.automaton[states, chosen]
            done = (states == self.accepted) & split
            states = torch.where(states == self.accepted, 0, states)
            ended = self.ends[chosen]
            going = alive[active]
            tokens[going, position] = chosen[active]
            logprobs[going, position] = likelihood[active]
            closed[going, position] = done[active]
            counts[going] = position + 1
            active = active & ~ended & ~(done & ~to_end) & (position + 1 < limits)
            if not bool(active.any()):
                break
            keys = torch.where(done, mix_tensor(keys, torch.ones_like(keys)), keys)  # the next step is draw 0
            places = torch.where(done, 0, places + 1)
            if float(active.float().mean()) < SHRINK:
                kept = active.nonzero()[:, 0]
                cache.batch_select_indices(kept)
                keys, places, states, to_end, split, greedy, limits, alive, lengths, chosen, active = (
                    column[kept]
                    for column in (keys, places, states, to_end, split, greedy, limits, alive, lengths, chosen, active)
                )
                mask = mask[kept] if mask is not None else None
            if mask is not None:
                mask = torch.cat([mask, mask.new_ones((len(mask), 1))], dim=1)
            logits = self.model(
                input_ids=chosen[:, None],
                attention_mask=mask,
                position_ids=(lengths + position)[:, None],
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]
        return Written(tokens.cpu(), logprobs.cpu(), closed.cpu(), counts.cpu(), (counts >= allowed).cpu())

    def _read(
        self,
        contexts: Sequence[Sequence[int]],
        longest: int,
    ) -> tuple[Tensor, Any, Tensor | None]:
        """Reads the contexts: logits of the next token, the filled cache, and the mask if any context is padded."""
        padding = [longest - len(ids) for ids in contexts]
        ids = torch.tensor([[0] * pad + list(ids) for pad, ids in zip(padding, contexts, strict=True)])
        pads = torch.tensor(padding)[:, None]
        positions = (torch.arange(longest)[None, :] - pads).clamp(min=0)
        mask = (torch.arange(longest)[None, :] >= pads).long().to(self.device) if any(padding) else None
        cache = buffer_cache(self.model.config.num_hidden_layers)
        output = self.model(
            input_ids=ids.to(self.device),
            attention_mask=mask,
            position_ids=positions.to(self.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1], cache, mask

    def _choose(self, logits: Tensor, keys: Tensor, places: Tensor, greedy: Tensor) -> Tensor:
        """The next token of each row: the largest scaled logit with its keyed noise, inside the nucleus."""
        scaled = logits / self.temperature
        if self.top_p < 1:
            ordered, places_of = torch.sort(scaled, dim=-1, descending=True)
            before = torch.cumsum(torch.softmax(ordered, dim=-1), dim=-1) - torch.softmax(ordered, dim=-1)
            outside = torch.zeros_like(scaled, dtype=torch.bool).scatter(1, places_of, before >= self.top_p)
            scaled = scaled.masked_fill(outside, float("-inf"))
        noisy = scaled.double() + gumbel_noise(keys, places, self.vocabulary)
        return torch.where(greedy, logits.argmax(dim=-1), noisy.argmax(dim=-1))

    def _steps(self, written: Written) -> list[list[Step]]:
        """Cuts what was written into steps: one decoding of a row, cut where the decodings of its beginnings end."""
        spans: list[tuple[int, int, int]] = []
        for row, (count, closed) in enumerate(zip(written.counts.tolist(), written.closed.tolist(), strict=True)):
            start = 0
            for position in range(count):
                if closed[position] or position + 1 == count:
                    spans.append((row, start, position + 1))
                    start = position + 1
        tokens, logprobs = written.tokens.tolist(), written.logprobs.double().numpy()
        ends = self.ends.tolist()
        texts = self.tokenizer.batch_decode(  # special tokens are kept: read again, the text must give the same tokens
            [tokens[row][: stop - ends[tokens[row][stop - 1]]] for row, _, stop in spans],
            skip_special_tokens=False,
            clean_up_tokenization_spaces=False,
        )
        results: list[list[Step]] = [[] for _ in tokens]
        whole = {row: text for (row, _, _), text in zip(spans, texts, strict=True)}  # the last of a row
        previous = before = -1
        for (row, start, stop), text in zip(spans, texts, strict=True):
            before = before if row == previous else 0
            end = _agreeing(whole[row], text)
            last = tokens[row][stop - 1]
            cut = bool(written.full[row]) and stop == int(written.counts[row])  # even where a step closes there
            reason = "eos" if ends[last] else "length" if cut else "step"
            part = logprobs[row, start:stop]
            written_here = whole[row][before:end]
            results[row].append(Step(written_here, stop - start, float(part.sum()), float(part.min()), reason))
            previous, before = row, end
        return results


def _agreeing(text: str, other: str) -> int:
    """Letters from the start in which the two agree."""
    return next((at for at, (one, two) in enumerate(zip(text, other, strict=False)) if one != two), len(other))


def load_sampler(
    path: str,
    *,
    delimiter: str,
    temperature: float,
    top_p: float = 1.0,
    max_tokens: int = 2048,
    batch_rows: int = 512,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    attention: str = "auto",
    sampler: str = "auto",
) -> TransformersSampler:
    """A sampler with the causal language model at `path`, a directory or a Hugging Face id.

    `sampler` is plain, continuous (continuous batching) or auto: continuous on CUDA, plain elsewhere. All draw the
    same tokens, but for rounding. Raises ValueError for another one, or if the model cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    from generate.loading import load_pretrained

    if sampler not in SAMPLERS:
        raise ValueError(f"sampler '{sampler}': expected {', '.join(SAMPLERS)}.")
    model, tokenizer = load_pretrained(
        AutoModelForCausalLM, path, revision=revision, dtype=dtype, device=device, attention=attention
    )
    made = TransformersSampler
    if sampler == "continuous" or (sampler == "auto" and model.device.type == "cuda"):
        from generate.samplers.continuous import ContinuousSampler

        made = ContinuousSampler
    return made(
        model,
        tokenizer,
        delimiter=delimiter,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        batch_rows=batch_rows,
    )
