"""A process reward model as a transformers token classifier: the score of a step is read at its last token.

Two formats. `token-classifier` is this project's own, which its training writes; in a run of revisions it is the
verifier that sees the history. `trl` is that of TRL's PRMTrainer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from generate.protocols import Solution
from generate.verifiers.odds import label_odds
from generate.verifiers.requirements import require_two_labels
from generate.verifiers.step_verifier import Reading, StepVerifier


class TokenClassifierVerifier(StepVerifier):
    """P(good) at the last token of each step.

    Input: the tokens of the generator's prompt, then those of each step, tokenised apart and delimiter included, then
    the end-of-sequence token if the solution has ended (its last score is taken there); no token is added in front.
        prompt | step 1 ⏎ | step 2 ⏎ | … | last step <eos>
    In a run of revisions the prompt holds the earlier attempts, as the generator saw them (`RevisionContext`), and
    the attempt is one step: the verifier sees the history.
        attempt 1 <next> | attempt 2 <next> | question | attempt 3 <eos>
    Output: one label, the sigmoid of its logit; two, the softmax of the second.
    """

    def __init__(self, model: Any, tokenizer: Any, *, verifier_id: str, **more: Any) -> None:
        super().__init__(model, tokenizer, verifier_id=verifier_id, **more)
        require_two_labels(model, verifier_id)

    def read(self, solutions: Sequence[Solution]) -> list[Reading]:
        """The tokens and places of each solution."""
        ids_of = self.encode({text for solution in solutions for text in (solution.prompt, *solution.steps)})
        readings = []
        for solution in solutions:
            ids, places = list(ids_of[solution.prompt]), []
            shared = len(ids)
            for step in solution.steps:
                ids += ids_of[step]
                places.append(len(ids) - 1)
            if solution.stop == "eos":
                ids.append(self.tokenizer.eos_token_id)
                places[-1] = len(ids) - 1
            readings.append(Reading(ids, places, shared))
        return readings

    def log_odds(self, states: Tensor) -> Tensor:
        """The labels' log-odds."""
        return label_odds(states)

    def encode(self, texts: set[str]) -> dict[str, list[int]]:
        """The tokens of each text, alone and without special ones."""
        ordered = sorted(texts)
        encoded = self.tokenizer(ordered, add_special_tokens=False)["input_ids"] if ordered else []
        return dict(zip(ordered, encoded, strict=True))


class TrlVerifier(TokenClassifierVerifier):
    """P(good) at the separator that follows each step.

    Input: the tokenizer's beginning-of-sequence token if it has one, the bare question, then each step without the
    white space around it and the tokens of the separator, all tokenised apart. The separator is
    `step_separator` of the model's config, or else a line break, PRMTrainer's default (it leaves no mark there).
        <bos> question | step 1 | ⏎ | step 2 | ⏎
    Output: as TokenClassifierVerifier.
    Source: TRL, PRMTrainer.tokenize_row.
    """

    def __init__(self, model: Any, tokenizer: Any, *, verifier_id: str, **more: Any) -> None:
        super().__init__(model, tokenizer, verifier_id=verifier_id, **more)
        separator = getattr(model.config, "step_separator", "\n")
        self.separator = list(tokenizer(separator, add_special_tokens=False)["input_ids"])
        if not self.separator:
            raise ValueError(f"step separator {separator!r}: the tokenizer of '{verifier_id}' makes no token of it.")

    def read(self, solutions: Sequence[Solution]) -> list[Reading]:
        """The tokens and places of each solution."""
        ids_of = self.encode(
            {text for one in solutions for text in (one.bare_question, *(step.strip() for step in one.steps))}
        )
        start = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        readings = []
        for solution in solutions:
            ids, places = start + ids_of[solution.bare_question], []
            shared = len(ids)
            for step in solution.steps:
                ids += ids_of[step.strip()] + self.separator
                places.append(len(ids) - 1)
            readings.append(Reading(ids, places, shared))
        return readings


def load_token_classifier(path: str, **settings: Any) -> StepVerifier:
    """The verifier of this project's own format at `path`: `load_verifier` with format token-classifier."""
    from generate.verifiers.registry import load_verifier

    verifier = load_verifier(path, format="token-classifier", **settings)
    assert isinstance(verifier, StepVerifier)
    return verifier
