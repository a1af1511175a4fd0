"""A process reward model as a transformers token classifier: the score of a step is read at its last token."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from generate.protocols import Solution
from generate.samplers.buffer_cache import buffer_cache

GRAIN = 2048  # a batch's rounding moves log-odds by about 1e-6


class Reading(NamedTuple):
    """A solution as tokens: what is only read, what is scored, and the places in the latter where a score is taken."""

    context: tuple[int, ...]
    tail: tuple[int, ...]
    ends: tuple[int, ...]


class TokenClassifierVerifier:
    """Scores every step of a solution in one pass: P(good) at the last token of each step.

    The input is the prompt's tokens, then those of each step (tokenised apart, as TRL's PRM trainer does, delimiter
    included), then the end-of-sequence token if the solution has ended. One label: the sigmoid of its logit; two:
    the softmax of the second. Log-odds are rounded to 1/2048 (at most 6e-5 of a score), so that equal steps score
    equal in whatever batch they were read, and a search breaks their tie alike. A solution cut off by length scores 0
    at its last step: it has no answer to be right.
    What stands before the steps to be scored is read once for all solutions that share it, where the model is causal.
    `batch_tokens` bounds a batch; small batches that stay in the processor's cache were twice as fast on a CPU.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, verifier_id: str, kind: str = "prm", batch_tokens: int | None = None
    ) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.verifier_id, self.kind = verifier_id, kind
        self.device = model.device
        self.batch_tokens = batch_tokens or (4096 if self.device.type == "cpu" else 65_536)
        self.is_causal = "past_key_values" in inspect.signature(model.forward).parameters

    @torch.inference_mode()
    def score(self, solutions: Sequence[Solution]) -> list[list[float]]:
        """The scores, in [0, 1], of the `fresh` last steps of each solution, in order."""
        readings = self._readings(solutions)
        order = sorted(
            range(len(readings)),
            key=lambda index: (len(readings[index].context), len(readings[index].tail), readings[index].context),
        )
        scores: list[list[float]] = [[] for _ in solutions]
        start = 0
        while start < len(order):
            stop, tokens = start, 0
            while stop < len(order):
                reading = readings[order[stop]]
                new = stop == start or reading.context != readings[order[stop - 1]].context
                tokens += len(reading.tail) + (len(reading.context) if new else 0)
                if stop > start and tokens > self.batch_tokens:
                    break
                stop += 1
            batch = order[start:stop]
            good = self._read([readings[index] for index in batch])
            for row, index in enumerate(batch):
                scores[index] = [float(good[row, end]) for end in readings[index].ends]
                if solutions[index].stop == "length":
                    scores[index][-1] = 0.0
            start = stop
        return scores

    def _readings(self, solutions: Sequence[Solution]) -> list[Reading]:
        texts = sorted({text for solution in solutions for text in (solution.prompt, *solution.steps)})
        encoded = self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        ids_of: dict[str, list[int]] = dict(zip(texts, encoded, strict=True))
        readings = []
        for solution in solutions:
            known = len(solution.steps) - (solution.fresh or len(solution.steps))
            context, tail, ends = list(ids_of[solution.prompt]), list[int](), []
            for step in solution.steps[:known]:
                context += ids_of[step]
            for step in solution.steps[known:]:
                tail += ids_of[step]
                ends.append(len(tail) - 1)
            if solution.stop == "eos":
                tail.append(self.tokenizer.eos_token_id)
                ends[-1] = len(tail) - 1
            if not self.is_causal or not context:
                ends = [len(context) + end for end in ends]
                context, tail = [], context + tail
            readings.append(Reading(tuple(context), tuple(tail), tuple(ends)))
        return readings

    def _read(self, readings: Sequence[Reading]) -> Any:
        """P(good) at every token of the tails, shape (rows, longest tail). Contexts are padded left, tails right."""
        contexts = list(dict.fromkeys(reading.context for reading in readings))
        longest = max(len(context) for context in contexts)
        cache, before = None, None
        if longest:
            cache = buffer_cache(self.model.config.num_hidden_layers)
            before = torch.zeros((len(contexts), longest), dtype=torch.int64)
            ids = torch.zeros_like(before)
            for row, context in enumerate(contexts):
                before[row, longest - len(context) :] = 1
                ids[row, longest - len(context) :] = torch.tensor(context)
            padded = bool((before == 0).any())
            self.model(
                input_ids=ids.to(self.device),
                attention_mask=before.to(self.device) if padded else None,
                position_ids=(before.cumsum(1) - 1).clamp(min=0).to(self.device),
                past_key_values=cache,
                use_cache=True,
            )
            place = {context: row for row, context in enumerate(contexts)}
            rows = torch.tensor([place[reading.context] for reading in readings])
            cache.batch_select_indices(rows.to(self.device))
            before = before[rows]
        width = max(len(reading.tail) for reading in readings)
        ids = torch.full((len(readings), width), self.tokenizer.pad_token_id or 0)
        here = torch.zeros_like(ids)
        for row, reading in enumerate(readings):
            ids[row, : len(reading.tail)] = torch.tensor(reading.tail)
            here[row, : len(reading.tail)] = 1
        mask = here if before is None else torch.cat([before, here], dim=1)
        positions = (mask.cumsum(1) - 1)[:, -width:].clamp(min=0)
        extra: dict[str, Any] = {"past_key_values": cache, "use_cache": True} if cache is not None else {}
        if self.is_causal:
            extra["position_ids"] = positions.to(self.device)
        logits = self.model(
            input_ids=ids.to(self.device),
            attention_mask=mask.to(self.device) if bool((mask == 0).any()) else None,
            **extra,
        ).logits.float()
        odds = logits[..., 0] if logits.shape[-1] == 1 else logits[..., 1] - logits[..., 0]
        return torch.sigmoid((odds * GRAIN).round() / GRAIN).cpu().numpy()


def load_token_classifier(
    path: str,
    *,
    verifier_id: str,
    kind: str = "prm",
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
) -> TokenClassifierVerifier:
    """A verifier with the token classifier at `path`, a directory or a Hugging Face id. Raises ValueError."""
    from transformers import AutoModelForTokenClassification

    from generate.loading import load_pretrained

    model, tokenizer = load_pretrained(
        AutoModelForTokenClassification, path, revision=revision, dtype=dtype, device=device
    )
    return TokenClassifierVerifier(model, tokenizer, verifier_id=verifier_id, kind=kind)
