"""Outcome reward models: a sequence classifier that scores a finished solution once, at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from generate.protocols import Solution, UnreadableSolution
from generate.verifiers.chat import chat_ids
from generate.verifiers.odds import label_odds, probabilities, rounded
from generate.verifiers.requirements import max_tokens, require_length, require_two_labels
from generate.verifiers.step_verifier import padded_right


class OutcomeVerifier:
    """One score for the last step of a solution that has ended; steps before it, and prefixes, are not scored.

    Input: with a chat template, user: question (bare), assistant: the solution; without one, the generator's prompt
    (in a run of revisions with the earlier attempts) and the solution as one text with the tokenizer's own special
    tokens, closed by the end-of-sequence token if the solution has ended by itself.
        user: question · assistant: solution        or        prompt solution <eos>
    Output: two labels, the softmax of the second; one label, its logit as it is (a reward of no fixed scale, rounded to
    1/8192: `sigmoid(ID)` maps it to [0, 1] in a replay), or its sigmoid where the model's config says
    `problem_type: multi_label_classification`, transformers' name for training with a logistic loss.
    A probability of a solution cut off by length is 0; a reward of it is the model's own.
    Which token is read is the model's affair: transformers' decoders read the last one that is not padding. Without a
    padding token in the config, they read one solution at a time.
    """

    ends_only = True

    def __init__(
        self, model: Any, tokenizer: Any, *, verifier_id: str, kind: str = "orm", batch_tokens: int | None = None
    ) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.verifier_id, self.kind = verifier_id, kind
        self.device = model.device
        self.batch_tokens = batch_tokens or (4096 if self.device.type == "cpu" else 65_536)
        require_two_labels(model, verifier_id)
        self.is_chat = bool(getattr(tokenizer, "chat_template", None))
        self.max_tokens = max_tokens(model, None if hasattr(model.config, "rope_parameters") else tokenizer)
        self.is_probability = model.config.num_labels == 2 or (
            getattr(model.config, "problem_type", None) == "multi_label_classification"
        )

    def read(self, solution: Solution) -> list[int]:
        """The tokens of a solution."""
        text = "".join(solution.steps)
        if self.is_chat:
            return chat_ids(self.tokenizer, [("user", solution.bare_question), ("assistant", text.strip())])
        ids: list[int] = list(self.tokenizer(solution.prompt + text)["input_ids"])
        end = self.tokenizer.eos_token_id
        if solution.stop == "eos" and end is not None and ids[-1:] != [end]:
            ids.append(end)
        return ids

    @torch.inference_mode()
    def score(self, solutions: Sequence[Solution]) -> list[list[float | None]]:
        """One entry per fresh step of each solution: None but for the last step of one that has ended."""
        scores: list[list[float | None]] = [[None] * (one.fresh or len(one.steps)) for one in solutions]
        ids: dict[int, list[int]] = {}
        for place, solution in enumerate(solutions):
            if solution.stop == "step":
                continue
            ids[place] = self.read(solution)
            require_length(place, len(ids[place]), self.max_tokens)
            if not ids[place]:
                raise UnreadableSolution(place, "it is empty")
        order = sorted(ids, key=lambda place: (len(ids[place]), place))
        pad_id = self.model.config.get_text_config().pad_token_id
        start = 0
        while start < len(order):
            stop = start + 1
            while pad_id is not None and stop < len(order):
                if (stop + 1 - start) * len(ids[order[stop]]) > self.batch_tokens:
                    break
                stop += 1
            rows, mask = padded_right([ids[place] for place in order[start:stop]], pad_id or 0)
            logits = label_odds(
                self.model(input_ids=rows.to(self.device), attention_mask=mask.to(self.device)).logits.float()
            )
            values = probabilities(logits) if self.is_probability else rounded(logits)
            for place, value in zip(order[start:stop], values.tolist(), strict=True):
                cut_off = self.is_probability and solutions[place].stop == "length"
                scores[place][-1] = 0.0 if cut_off else value
            start = stop
        return scores
