"""Keyed draws inside continuous batching: a logits processor that picks each request's token and keeps its record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingLogitsProcessor

from generate.keys import mix_tensor, signed
from generate.protocols import Request

Choose = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
ROWS = 64  # noise of so many rows at a time: of all, it would take more memory than the weights
SPARE = 4  # places beyond the longest solution: one may be computed past the end, and each writes to the next


class KeyedChoice(ContinuousBatchingLogitsProcessor):
    """Makes the chosen token the only one possible, so that the library's argmax takes it.

    The library knows neither random keys nor steps, and hands out log-probabilities of processed logits. So a request
    carries a slot, and a table on the device holds for each slot and place the random key, the place within the step
    and the state of the delimiter's automaton before the token, and the token, its log-probability at temperature 1 and
    whether it closed a step. Places are absolute: a request that the library evicts and reads again goes on where it
    was. A step of a single-step request that closes over several tokens is followed by one end token that is not part
    of it (`stopped`): a request can end at a given token only. Rows without a slot use the last one.
    """

    supported_kwargs: dict[str, type] = {"slot": int}  # noqa: RUF012 (the library's interface)
    ignored_kwargs: tuple[str, ...] = ()

    def __init__(self, choose: Choose, automaton: Tensor, ends: Tensor, *, slots: int, places: int) -> None:
        self.choose, self.automaton = choose, automaton
        self.accepted, self.end_token = len(automaton), int(ends.nonzero()[0, 0])
        self.slots, self.width = slots, places + SPARE
        if (slots + 1) * self.width >= 1 << 31:
            raise ValueError(f"{slots} slots × {self.width} places: expected fewer than 2³¹ cells.")
        device, cells = automaton.device, (slots + 1) * self.width
        self.prompt_lengths = [0] * slots
        self.split, self.to_end, self.greedy = (
            torch.zeros(slots + 1, dtype=torch.bool, device=device) for _ in range(3)
        )
        self.keys = torch.zeros(cells, dtype=torch.int64, device=device)
        self.offsets = torch.zeros(cells, dtype=torch.int32, device=device)
        self.states = torch.zeros(cells, dtype=torch.int32, device=device)
        self.stopped, self.closed = (torch.zeros(cells, dtype=torch.bool, device=device) for _ in range(2))
        self.tokens = torch.zeros(cells, dtype=torch.int32, device=device)
        self.logprobs = torch.zeros(cells, device=device)

    def begin(self, requests: Sequence[Request], prompt_lengths: Sequence[int]) -> None:
        """Enters requests into the slots 0 : len(requests)."""
        count, device = len(requests), self.keys.device
        first = torch.arange(count, device=device) * self.width
        self.prompt_lengths[:count] = prompt_lengths
        for column, name in ((self.split, "split"), (self.to_end, "to_end"), (self.greedy, "greedy")):
            column[:count] = torch.tensor([getattr(request, name) for request in requests], device=device)
        self.keys[first] = torch.tensor([signed(request.key) for request in requests], device=device)
        for column in (self.offsets, self.states, self.stopped):
            column[first] = 0

    def rows(self, column: Tensor, count: int, places: int) -> Tensor:
        """The first `places` cells of the first `count` slots of a column, shape (count, places), on the CPU."""
        return column.view(self.slots + 1, self.width)[:count, :places].cpu()

    def fill_defaults(self, int32_tensor: Tensor) -> None:
        """Rows without a slot: padding, and prefixes that are read in advance."""
        int32_tensor.fill_(self.slots * self.width)

    def prepare_tensor_args(self, requests_with_new_token: list[Any]) -> Tensor:
        """The cell of each new token. The library has counted what it is about to read into `position_offset`."""
        cells = []
        for request in requests_with_new_token:
            slot = request.state.logit_processor_kwargs.get("slot", self.slots)
            place = request.state.position_offset - self.prompt_lengths[slot] if slot < self.slots else 0
            cells.append(slot * self.width + min(place, self.width - 2))
        return torch.tensor(cells, dtype=torch.int32, device="cpu")

    def __call__(self, scores: Tensor, tensor_arg: Tensor) -> Tensor:
        """Scores, shape (rows, vocabulary), that are 0 at the chosen token and −∞ elsewhere."""
        cells = tensor_arg[: len(scores)].long()
        slots = cells // self.width
        keys, offsets, states = self.keys[cells], self.offsets[cells].long(), self.states[cells].long()
        parts = (torch.split(column, ROWS) for column in (scores, keys, offsets, self.greedy[slots]))
        chosen = torch.cat([self.choose(*part) for part in zip(*parts, strict=True)])
        chosen = torch.where(self.stopped[cells], self.end_token, chosen)
        after = self.automaton[states, chosen]
        done = (after == self.accepted) & self.split[slots]
        self.tokens[cells] = chosen.int()
        self.logprobs[cells] = torch.log_softmax(scores, dim=-1).gather(1, chosen[:, None])[:, 0]
        self.closed[cells] = done
        self.keys[cells + 1] = torch.where(done, mix_tensor(keys, torch.ones_like(keys)), keys)
        self.offsets[cells + 1] = torch.where(done, 0, offsets + 1).int()
        self.states[cells + 1] = torch.where(after == self.accepted, 0, after).int()
        self.stopped[cells + 1] = done & ~self.to_end[slots]
        return torch.full_like(scores, float("-inf")).scatter_(1, chosen[:, None], 0.0)
