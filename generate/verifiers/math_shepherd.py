"""Math-Shepherd: a language model reads a step tag behind each step and says + or −."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from generate.protocols import Solution
from generate.verifiers.language_model import SignVerifier
from generate.verifiers.requirements import require_absent
from generate.verifiers.step_verifier import Reading, shared_start

TAG = "ки"
TAG_IN_TEXT = rf"(?:^|\s){TAG}"


class MathShepherdVerifier(SignVerifier):
    """P(+) against − at the tag ки behind each step.

    Input: one text, tokenised as a whole with the tokenizer's own special tokens (<s> in front):
        <s> question step 1 ки⏎step 2 ки⏎last step ки
    the bare question, a space, and the steps without the white space around them, each followed by a space and the
    tag, joined by line breaks. Output: softmax of the logits of " +" and " -" at the token of " ки" (648, 387 and
    12902 in the original's vocabulary). The original was trained on steps that begin with "Step 1: ", "Step 2: ";
    nothing of the kind is added here.
    A question or step that holds the tag is refused.
    Source: Wang et al. 2023 (arXiv:2312.08935) §3.4, and the model card of peiyi9979/math-shepherd-mistral-7b-prm.
    """

    def __init__(self, model: Any, tokenizer: Any, *, verifier_id: str, **more: Any) -> None:
        super().__init__(model, tokenizer, verifier_id=verifier_id, **more)
        self.tag, self.plus, self.minus = (self._token_after_a_word(f" {text}") for text in (TAG, "+", "-"))

    def read(self, solutions: Sequence[Solution]) -> list[Reading]:
        """The tokens and places of each solution. Raises UnreadableSolution."""
        starts: dict[str, list[int]] = {}
        readings = []
        for place, solution in enumerate(solutions):
            question = solution.bare_question
            require_absent(TAG_IN_TEXT, place, solution)
            ids = self.tokenizer(f"{question} " + "\n".join(f"{step.strip()} {TAG}" for step in solution.steps))
            ids = ids["input_ids"]
            if question not in starts:
                starts[question] = self.tokenizer(question)["input_ids"]
            places = [where for where, token in enumerate(ids) if token == self.tag]
            readings.append(Reading(ids, places, shared_start(ids, starts[question])))
        return readings

    def _token_after_a_word(self, text: str) -> int:
        word, both = (self.tokenizer(one, add_special_tokens=False)["input_ids"] for one in ("a", f"a{text}"))
        if both[:-1] != word or self.tokenizer.decode(both[-1:]).strip() != text.strip():
            raise ValueError(
                f"verifier '{self.verifier_id}': its tokenizer has no single token for {text!r}, so the format "
                "math-shepherd does not fit. Give another --format."
            )
        return int(both[-1])
