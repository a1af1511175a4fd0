"""Verifiers that are language models: the score of a step is the chance of + against − as the next token."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from generate.verifiers.step_verifier import StepVerifier

RESCALED = ("final_logit_softcapping", "logits_scaling", "logit_scale")


class SignVerifier(StepVerifier):
    """Log-odds of the token `plus` against the token `minus`; a family sets both.

    Only the states at the places go through the head: the logits of all tokens over the whole vocabulary would fill
    a GPU. Raises ValueError for architectures that alter their logits behind the head.
    """

    plus: int
    minus: int

    def __init__(self, model: Any, tokenizer: Any, *, verifier_id: str, **more: Any) -> None:
        super().__init__(model, tokenizer, verifier_id=verifier_id, **more)
        altered = [name for name in RESCALED if getattr(model.config, name, None) not in (None, 1.0)]
        if altered:
            raise ValueError(f"verifier '{verifier_id}': a model with {altered[0]} cannot be read for + and −.")

    def forward(self, **inputs: Any) -> Tensor:
        """The last layer's states at every token, without the head."""
        states: Tensor = self.model.base_model(**inputs).last_hidden_state
        return states

    def log_odds(self, states: Tensor) -> Tensor:
        """Log-odds of + against −: their softmax is the sigmoid of the difference of logits."""
        logits = self.model.get_output_embeddings()(states).float()
        difference: Tensor = logits[:, self.plus] - logits[:, self.minus]
        return difference
