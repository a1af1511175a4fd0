"""Qwen2.5-Math-PRM: a token <extra_0> behind each step, at which a head of two classes is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from generate.protocols import Solution
from generate.verifiers.chat import chat_ids, require_template
from generate.verifiers.odds import label_odds
from generate.verifiers.requirements import require_absent
from generate.verifiers.step_verifier import Reading, StepVerifier, shared_start

STEP_TOKEN = "<extra_0>"
SYSTEM = r"Please reason step by step, and put your final answer within \boxed{}."


class QwenPrmVerifier(StepVerifier):
    """P(second class) at the token <extra_0> behind each step.

    Input: the tokenizer's chat template over
        system: Please reason step by step, and put your final answer within \\boxed{}.
        user: question
        assistant: step 1<extra_0>step 2<extra_0>last step<extra_0>
    the bare question; the steps without the white space around them. Output: softmax over the two classes, the
    second of which is good. A question or step that holds <extra_0> is refused.
    Source: the model cards of Qwen/Qwen2.5-Math-PRM-7B and -72B; Zhang et al. 2025 (arXiv:2501.07301).
    """

    def __init__(self, model: Any, tokenizer: Any, *, verifier_id: str, **more: Any) -> None:
        super().__init__(model, tokenizer, verifier_id=verifier_id, **more)
        require_template(tokenizer, verifier_id)
        step_ids = tokenizer(STEP_TOKEN, add_special_tokens=False)["input_ids"]
        if len(step_ids) != 1 or step_ids[0] == tokenizer.unk_token_id:
            raise ValueError(
                f"verifier '{verifier_id}': its tokenizer has no token {STEP_TOKEN}, so the format qwen-prm does not "
                "fit. Give another --format."
            )
        self.step_id = int(step_ids[0])

    def read(self, solutions: Sequence[Solution]) -> list[Reading]:
        """The tokens and places of each solution. Raises UnreadableSolution."""
        starts: dict[str, list[int]] = {}
        readings = []
        for place, solution in enumerate(solutions):
            question = solution.bare_question
            require_absent(STEP_TOKEN, place, solution)
            asked = [("system", SYSTEM), ("user", question)]
            answer = "".join(step.strip() + STEP_TOKEN for step in solution.steps)
            ids = chat_ids(self.tokenizer, [*asked, ("assistant", answer)])
            if question not in starts:
                starts[question] = chat_ids(self.tokenizer, asked)
            places = [where for where, token in enumerate(ids) if token == self.step_id]
            readings.append(Reading(ids, places, shared_start(ids, starts[question])))
        return readings

    def forward(self, **inputs: Any) -> Tensor:
        """The logits of the two classes at every token; the first thing that the hub's own code gives, too."""
        logits: Tensor = self.model(**inputs)[0]
        return logits

    def log_odds(self, states: Tensor) -> Tensor:
        """The classes' log-odds."""
        return label_odds(states)
