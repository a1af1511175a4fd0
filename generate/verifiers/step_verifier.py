"""What all verifiers of steps share: batches by length, prefixes that are read once, and checks of what was read."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from generate.protocols import Solution, UnreadableSolution
from generate.samplers.buffer_cache import buffer_cache
from generate.verifiers.odds import probabilities
from generate.verifiers.requirements import max_tokens, require_length


class Reading(NamedTuple):
    """A solution as a family's model wants it: all its tokens, and one place a step, where its score is taken.

    The first `shared` tokens are those of the question: the same for all its solutions.
    """

    ids: Sequence[int]
    places: Sequence[int]
    shared: int = 0


class Part(NamedTuple):
    """A reading cut in two: what was read before, what is read now, and the places in the latter."""

    context: tuple[int, ...]
    tail: tuple[int, ...]
    places: tuple[int, ...]


class StepVerifier(ABC):
    """Scores all steps of a solution in one pass. A family adds its input (`read`) and its output (`log_odds`).

    What stands before the steps to be scored is read once for all solutions that share it, where the model is causal.
    `batch_tokens` bounds a batch; small batches that stay in the processor's cache were twice as fast on a CPU.
    A solution cut off by length scores 0 at its last step: it has no answer to be right.
    Raises UnreadableSolution where the places are not one a step, or the input is longer than the model allows:
    nothing is cut off, and nothing scored 0 for it.
    """

    ends_only = False

    def __init__(
        self, model: Any, tokenizer: Any, *, verifier_id: str, kind: str = "prm", batch_tokens: int | None = None
    ) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.verifier_id, self.kind = verifier_id, kind
        self.device = model.device
        self.batch_tokens = batch_tokens or (4096 if self.device.type == "cpu" else 65_536)
        self.is_causal = _is_ours(model) and "past_key_values" in inspect.signature(model.forward).parameters
        self.max_tokens = max_tokens(model, tokenizer if not self.is_causal else None)

    @abstractmethod
    def read(self, solutions: Sequence[Solution]) -> list[Reading]:
        """The tokens and places of each solution. Raises UnreadableSolution."""

    @abstractmethod
    def log_odds(self, states: Tensor) -> Tensor:
        """Log-odds that a step is good, shape (count,), from what `forward` gave at its place, (count, features)."""

    def forward(self, **inputs: Any) -> Tensor:
        """What the model gives at every token, shape (rows, tokens, features): here its logits."""
        logits: Tensor = self.model(**inputs).logits
        return logits

    @torch.inference_mode()
    def score(self, solutions: Sequence[Solution]) -> list[list[float]]:
        """The scores, in [0, 1], of the `fresh` last steps of each solution, in order."""
        parts = [
            self._part(place, solution, reading)
            for place, (solution, reading) in enumerate(zip(solutions, self.read(solutions), strict=True))
        ]
        scores: list[list[float]] = [[] for _ in solutions]
        for batch in self._batches(parts):
            good = iter(self._good([parts[index] for index in batch]))
            for index in batch:
                scores[index] = [next(good) for _ in parts[index].places]
                if solutions[index].stop == "length":
                    scores[index][-1] = 0.0
        return scores

    def _part(self, place: int, solution: Solution, reading: Reading) -> Part:
        if len(reading.places) != len(solution.steps):
            raise UnreadableSolution(
                place, f"its input has {len(reading.places)} places for the scores of {len(solution.steps)} steps"
            )
        require_length(place, len(reading.ids), self.max_tokens)
        known = len(solution.steps) - (solution.fresh or len(solution.steps))
        wanted = reading.places[known:]
        if wanted[0] < 0:
            raise UnreadableSolution(place, "its prompt and first step are empty", step=0)
        cut = (reading.places[known - 1] + 1 if known else reading.shared) if self.is_causal else 0
        cut = min(cut, wanted[0])  # the place of an empty step is the token before it
        return Part(tuple(reading.ids[:cut]), tuple(reading.ids[cut:]), tuple(where - cut for where in wanted))

    def _batches(self, parts: Sequence[Part]) -> Iterator[list[int]]:
        order = sorted(
            range(len(parts)),
            key=lambda index: (len(parts[index].context), len(parts[index].tail), parts[index].context),
        )
        batch, tokens = list[int](), 0
        for index in order:
            part = parts[index]
            new = not batch or part.context != parts[batch[-1]].context
            more = len(part.tail) + (len(part.context) if new else 0)
            if batch and tokens + more > self.batch_tokens:
                yield batch
                batch, tokens, more = [], 0, len(part.tail) + len(part.context)
            batch.append(index)
            tokens += more
        if batch:
            yield batch

    def _good(self, parts: Sequence[Part]) -> list[float]:
        """P(good) at the places of the parts, one after the other. Contexts are padded left, tails right."""
        contexts = list(dict.fromkeys(part.context for part in parts))
        longest = max(len(context) for context in contexts)
        cache, before = None, None
        if longest:
            cache = buffer_cache(self.model.config.get_text_config().num_hidden_layers)
            before = torch.zeros((len(contexts), longest), dtype=torch.int64)
            ids = torch.zeros_like(before)
            for row, context in enumerate(contexts):
                before[row, longest - len(context) :] = 1
                ids[row, longest - len(context) :] = torch.tensor(context, dtype=torch.int64)
            padded = bool((before == 0).any())
            self.forward(
                input_ids=ids.to(self.device),
                attention_mask=before.to(self.device) if padded else None,
                position_ids=(before.cumsum(1) - 1).clamp(min=0).to(self.device),
                past_key_values=cache,
                use_cache=True,
            )
            row_of = {context: row for row, context in enumerate(contexts)}
            rows = torch.tensor([row_of[part.context] for part in parts])
            cache.batch_select_indices(rows.to(self.device))
            before = before[rows]
        ids, here = padded_right([part.tail for part in parts], self.tokenizer.pad_token_id or 0)
        mask = here if before is None else torch.cat([before, here], dim=1)
        extra: dict[str, Any] = {"past_key_values": cache, "use_cache": True} if cache is not None else {}
        if self.is_causal:
            extra["position_ids"] = (mask.cumsum(1) - 1)[:, -ids.shape[1] :].clamp(min=0).to(self.device)
        states = self.forward(
            input_ids=ids.to(self.device),
            attention_mask=mask.to(self.device) if bool((mask == 0).any()) else None,
            **extra,
        )
        rows = torch.tensor([row for row, part in enumerate(parts) for _ in part.places], device=states.device)
        places = torch.tensor([place for part in parts for place in part.places], device=states.device)
        scores: list[float] = probabilities(self.log_odds(states[rows, places])).tolist()
        return scores


def padded_right(sequences: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """The sequences as rows of one tensor, and the mask of what is not padding; both int64 (rows, longest)."""
    ids = torch.full((len(sequences), max(map(len, sequences))), pad_id)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.int64)
        mask[row, : len(sequence)] = 1
    return ids, mask


def shared_start(ids: Sequence[int], other: Sequence[int]) -> int:
    """Number of leading tokens that the two have in common."""
    count = 0
    for left, right in zip(ids, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _is_ours(model: Any) -> bool:
    """Whether the model's code is not a hub's own, whose caches follow no contract."""
    return not type(model).__module__.startswith("transformers_modules")
