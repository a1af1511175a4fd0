"""Skywork-o1-Open-PRM: a value head, read at the line break that ends a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from generate.protocols import Solution
from generate.verifiers.odds import label_odds
from generate.verifiers.step_verifier import Reading, StepVerifier


class SkyworkVerifier(StepVerifier):
    """Sigmoid of the value at the line break behind each step.

    Input: the tokens of the tokenizer's <bos> text, the bare question and a line break; then each line of the
    solution, tokenised apart, and the token of a line break (an empty line is that token alone):
        <bos>question⏎ | line 1 | ⏎ | line 2 | ⏎ | …
    Line breaks around a step are taken off, one is put behind it, and there its score is read; a step of several lines
    is scored at its last. Output: the sigmoid of the value. No place is searched for in the text, so none can be
    mistaken.
    Source: SkyworkAI/skywork-o1-prm-inference, io_utils.prepare_input with step_token "\\n", which scores every line.
    """

    def __init__(self, model: Any, tokenizer: Any, *, verifier_id: str, **more: Any) -> None:
        super().__init__(model, tokenizer, verifier_id=verifier_id, **more)
        self.break_id = int(tokenizer("\n", add_special_tokens=False)["input_ids"][-1])

    def read(self, solutions: Sequence[Solution]) -> list[Reading]:
        """The tokens and places of each solution."""
        asked = {one.bare_question: f"{self.tokenizer.bos_token or ''}{one.bare_question}\n" for one in solutions}
        lines = {line for one in solutions for step in one.steps for line in step.strip("\n").split("\n")}
        texts = sorted({*asked.values(), *lines})
        encoded = self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        ids_of: dict[str, list[int]] = dict(zip(texts, encoded, strict=True))
        readings = []
        for solution in solutions:
            ids, places = list(ids_of[asked[solution.bare_question]]), []
            shared = len(ids)
            for step in solution.steps:
                for line in step.strip("\n").split("\n"):
                    ids += [*ids_of[line], self.break_id]
                places.append(len(ids) - 1)
            readings.append(Reading(ids, places, shared))
        return readings

    def log_odds(self, states: Tensor) -> Tensor:
        """The value itself."""
        return label_odds(states)
