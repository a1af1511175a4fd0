"""A sampler on transformers' continuous batching: paged attention, prefixes shared by pages, no padding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig
from transformers.generation.continuous_batching import ContinuousBatchingManager
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingLogitsProcessorList
from transformers.generation.logits_process import LogitsProcessorList

from generate.protocols import Request, Step
from generate.samplers.keyed_choice import KeyedChoice
from generate.samplers.transformers import TransformersSampler, Written

ROUNDS = 4  # requests handed over at once, in batches: a finished one is replaced from them


class ContinuousSampler(TransformersSampler):
    """Continues prefixes as TransformersSampler does, token for token but for rounding: a draw hangs on its key alone.

    At most `batch_rows` requests are in a forward pass; one that ends is replaced by the next. Whole pages of
    `page_size` tokens of a prefix are read once: by the requests of one call, which follow a first reading of their
    prefix, and by later calls (the next steps of a tree) as long as the pages have not been needed for others. What is
    left of a prefix beyond its whole pages is read for each request. Flash attention, where it is installed, wants
    pages of 256 tokens.
    Memory for pages is `cache_share` of what this process has left of the GPU at the first call; on a CPU, which is
    meant for tests, room for `batch_rows` requests of the first call.
    Raises ValueError where the model's attention cannot be paged, and what the library's own thread died of.
    Source: transformers ≥ 5.23, `generation/continuous_batching`; the choice of tokens is ours (`keyed_choice`).
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        page_size: int | None = None,
        cache_share: float = 0.7,
        **settings: Any,
    ) -> None:
        super().__init__(model, tokenizer, **settings)
        if page_size is not None and page_size < 4:
            raise ValueError(f"page size {page_size}: expected a whole number from 4.")
        if not 0 < cache_share <= 1:
            raise ValueError(f"cache share {cache_share}: expected a number above 0 and up to 1.")
        self.page_size = page_size or (256 if self.device.type == "cuda" else 16)
        self.cache_share = cache_share
        self.end_tokens: list[int] = self.ends.nonzero()[:, 0].tolist()
        self.closing: list[int] = (self.automaton[0] == self.accepted).nonzero()[:, 0].tolist()
        self.choice = KeyedChoice(
            self._choose, self.automaton, self.ends, slots=ROUNDS * self.batch_rows, places=self.max_tokens
        )
        self.manager: ContinuousBatchingManager | None = None

    @torch.no_grad()
    def sample(self, requests: Sequence[Request]) -> list[list[Step]]:
        """The steps of each request, in order. Source of the keys: `generate.keys`."""
        contexts = sorted({request.prompt + request.prefix for request in requests})
        encoded = dict(zip(contexts, self._encode(contexts), strict=True))
        order = sorted(range(len(requests)), key=lambda index: (encoded[_context(requests[index])], index))
        results: list[list[Step]] = [[] for _ in requests]
        for start in range(0, len(order), self.choice.slots):
            batch = order[start : start + self.choice.slots]
            members = [requests[index] for index in batch]
            written = self._run(members, [encoded[_context(request)] for request in members])
            for index, steps in zip(batch, self._steps(written), strict=True):
                results[index] = steps
        return results

    def close(self) -> None:
        """Gives the pages back; the next call takes new ones."""
        if self.manager is not None:
            self.manager.destroy()
            self.manager = None
        self.model.destroy_cached_continuous_batching_manager()

    def _run(self, requests: Sequence[Request], prompts: Sequence[Sequence[int]]) -> Written:
        """Draws tokens for one round until every request has what it asked for."""
        limits = [max(1, self.max_tokens - request.prefix_tokens) for request in requests]
        self.choice.begin(requests, [len(prompt) for prompt in prompts])
        manager = self._started(max(map(len, prompts)) + max(limits))
        finished = False
        try:
            self._wait()  # the library computes on a stream of its own
            self._read_shared(manager, prompts)
            for slot, (request, prompt) in enumerate(zip(requests, prompts, strict=True)):
                single = request.split and not request.to_end
                manager.add_request(
                    list(prompt),
                    request_id=str(slot),
                    max_new_tokens=limits[slot],
                    eos_token_id=self.end_tokens + (self.closing if single else []),
                    slot=slot,
                )
            lengths = self._collect(manager, {str(slot) for slot in range(len(requests))})
            self._wait()
            finished = True
        finally:
            manager.stop(block=True, keep_for_next_session=finished, hard_stop=not finished)
            if not finished:
                self.close()
        return self._written([lengths[str(slot)] for slot in range(len(requests))], limits)

    def _written(self, lengths: Sequence[int], limits: Sequence[int]) -> Written:
        rows, places = len(lengths), max(lengths)
        columns = self.choice.tokens, self.choice.logprobs, self.choice.closed, self.choice.stopped
        tokens, logprobs, closed, stopped = (self.choice.rows(column, rows, places) for column in columns)
        counts = torch.tensor(lengths)
        counts = counts - stopped[torch.arange(rows), counts - 1].long()
        return Written(tokens.long(), logprobs, closed, counts, counts >= torch.tensor(limits))

    def _read_shared(self, manager: ContinuousBatchingManager, prompts: Sequence[Sequence[int]]) -> None:
        """Reads prefixes of several requests once, so that their pages are there when the requests come.

        Two tokens are written: the library does not keep the pages of a request that ends with its first.
        """
        shared = [
            prompt
            for prompt, count in Counter(map(tuple, prompts)).items()
            if count > 1 and len(prompt) > self.page_size
        ]
        names = {f"prefix {place}" for place in range(len(shared))}
        for place, prompt in enumerate(shared):
            manager.add_request(list(prompt), request_id=f"prefix {place}", max_new_tokens=2, eos_token_id=[])
        self._collect(manager, names)

    def _collect(self, manager: ContinuousBatchingManager, names: set[str]) -> dict[str, int]:
        """Tokens written by each of the named requests, once all have ended."""
        lengths: dict[str, int] = {}
        while len(lengths) < len(names):
            result = manager.get_result(timeout=1)
            if result is None:
                if (error := manager.background_thread_status.fatal_error) is not None:
                    raise error
                if not manager.is_running():
                    raise RuntimeError("continuous batching ended before its requests. Use --sampler plain.")
            elif result.error is not None:
                if (error := manager.background_thread_status.fatal_error) is not None:
                    raise error
                raise RuntimeError(f"continuous batching failed: {result.error} Use --sampler plain.")
            elif result.is_finished() and result.request_id in names:
                lengths[result.request_id] = len(result.generated_tokens)
        return lengths

    def _started(self, longest: int) -> ContinuousBatchingManager:
        """The manager, running; made at the first call."""
        flash = self.model.dtype in (torch.float16, torch.bfloat16)  # flash attention has no float32
        if self.manager is None:
            self.model.destroy_cached_continuous_batching_manager()  # another sampler's, on the same model
            pages = None if self.device.type == "cuda" else -(-self.batch_rows * longest // self.page_size) + 2
            self.manager = self.model.init_continuous_batching(
                generation_config=GenerationConfig(  # type: ignore[no-untyped-call]
                    do_sample=False, eos_token_id=self.end_tokens
                ),
                continuous_batching_config=ContinuousBatchingConfig(
                    page_size=self.page_size,
                    num_blocks=pages,
                    max_memory_percent=self.cache_share,
                    max_requests_per_batch=self.batch_rows,
                    allow_block_sharing=True,
                    auto_switch_to_flash=flash,
                ),
            )
            processors = ContinuousBatchingLogitsProcessorList(LogitsProcessorList([self.choice]))
            processors.tensors_required = 1
            self.manager.logit_processor = processors
        else:
            self.manager.switch_to_cb_friendly_attn(self.model, flash)
        if not self.manager.warmed_up:
            self.manager.warmup()
        self.manager.start()
        return self.manager

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _context(request: Request) -> str:
    return request.prompt + request.prefix
