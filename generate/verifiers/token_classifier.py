"""A process reward model as a transformers token classifier: the score of a step is read at its last token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from generate.protocols import Solution


class TokenClassifierVerifier:
    """Scores every step of a solution in one pass: P(good) at the last token of each step.

    The input is the prompt's tokens, then those of each step (tokenised apart, as TRL's PRM trainer does, delimiter
    included), then the end-of-sequence token if the solution has ended. One label: the sigmoid of its logit; two:
    the softmax of the second. A solution cut off by length scores 0 at its last step: it has no answer to be right.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, verifier_id: str, kind: str = "prm", batch_tokens: int = 32768
    ) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.verifier_id, self.kind = verifier_id, kind
        self.batch_tokens = batch_tokens
        self.device = model.device

    @torch.inference_mode()
    def score(self, solutions: Sequence[Solution]) -> list[list[float]]:
        """One score in [0, 1] per step of each solution, in order."""
        texts = sorted({text for solution in solutions for text in (solution.prompt, *solution.steps)})
        encoded = self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        ids_of: dict[str, list[int]] = dict(zip(texts, encoded, strict=True))
        sequences: list[list[int]] = []
        ends: list[list[int]] = []
        for solution in solutions:
            ids = list(ids_of[solution.prompt])
            closes = []
            for step in solution.steps:
                ids = ids + ids_of[step]
                closes.append(len(ids) - 1)
            if solution.stop == "eos":
                ids = [*ids, self.tokenizer.eos_token_id]
                closes[-1] += 1
            sequences.append(ids)
            ends.append(closes)
        order = sorted(range(len(solutions)), key=lambda index: len(sequences[index]))
        scores: list[list[float]] = [[] for _ in solutions]
        start = 0
        while start < len(order):
            stop = start + 1
            while stop < len(order) and (stop + 1 - start) * len(sequences[order[stop]]) <= self.batch_tokens:
                stop += 1
            batch = order[start:stop]
            for index, row in zip(batch, self._read([sequences[index] for index in batch]), strict=True):
                scores[index] = [float(row[end]) for end in ends[index]]
                if solutions[index].stop == "length":
                    scores[index][-1] = 0.0
            start = stop
        return scores

    def _read(self, sequences: Sequence[Sequence[int]]) -> Any:
        """P(good) at every token, padded on the right, shape (rows, longest)."""
        longest = max(len(ids) for ids in sequences)
        padding = [longest - len(ids) for ids in sequences]
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([[*ids, *([pad] * extra)] for ids, extra in zip(sequences, padding, strict=True)])
        mask = None
        if any(padding):
            mask = (torch.arange(longest)[None, :] < longest - torch.tensor(padding)[:, None]).long().to(self.device)
        logits = self.model(input_ids=ids.to(self.device), attention_mask=mask).logits.float()
        good = torch.sigmoid(logits[..., 0]) if logits.shape[-1] == 1 else torch.softmax(logits, dim=-1)[..., 1]
        return good.cpu().numpy()


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
