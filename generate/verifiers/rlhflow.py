"""RLHFlow's process reward models: a conversation in which the user shows a step and the assistant says + or −."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from generate.protocols import Solution
from generate.verifiers.chat import chat_ids, require_template
from generate.verifiers.language_model import SignVerifier
from generate.verifiers.step_verifier import Reading, shared_start


class RlhflowVerifier(SignVerifier):
    """P(+) against − as the assistant's word on each step.

    Input: the tokenizer's chat template over
        user: question step 1 · assistant: + · user: step 2 · assistant: + · …
    the bare question, a space and the first step in the first turn, the steps without the white space around them.
    Output: softmax of the logits of + and − at the token *before* the assistant's +, which predicts it; every earlier
    turn says +, so all steps are scored in one pass. The places are where the same conversation with − differs, so
    signs in the text do no harm.
    Source: RLHFlow/RLHF-Reward-Modeling, math-rm/prm_evaluate.py (a pass for each step, logits at -3), and
    Llama3.1-8B-PRM-Deepseek-Data.
    """

    def __init__(self, model: Any, tokenizer: Any, *, verifier_id: str, **more: Any) -> None:
        super().__init__(model, tokenizer, verifier_id=verifier_id, **more)
        require_template(tokenizer, verifier_id)
        ids, other = (self._conversation("a", ("a",), sign) for sign in "+-")
        differs = [place for place, (left, right) in enumerate(zip(ids, other, strict=False)) if left != right]
        if len(ids) != len(other) or len(differs) != 1:
            raise ValueError(
                f"verifier '{verifier_id}': its chat template has no single token for the assistant's + and −, so the "
                "format rlhflow does not fit. Give another --format."
            )
        self.plus, self.minus = ids[differs[0]], other[differs[0]]

    def read(self, solutions: Sequence[Solution]) -> list[Reading]:
        """The tokens and places of each solution."""
        starts: dict[str, list[int]] = {}
        readings = []
        for solution in solutions:
            question = solution.bare_question
            ids, other = (self._conversation(question, solution.steps, sign) for sign in "+-")
            if question not in starts:
                starts[question] = chat_ids(self.tokenizer, [("user", question)])
            places = [
                where - 1
                for where, (left, right) in enumerate(zip(ids, other, strict=False))
                if left == self.plus and right == self.minus
            ]
            readings.append(Reading(ids, places, min(shared_start(ids, starts[question]), *places, len(ids))))
        return readings

    def _conversation(self, question: str, steps: Sequence[str], sign: str) -> list[int]:
        turns = []
        for number, step in enumerate(steps):
            turns += [("user", step.strip() if number else f"{question} {step.strip()}"), ("assistant", sign)]
        return chat_ids(self.tokenizer, turns)
