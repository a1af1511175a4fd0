"""What a verifier asks of a model and of a solution before it reads it; what cannot be read whole is refused."""

from __future__ import annotations

import re
from typing import Any

from generate.protocols import Solution, UnreadableSolution


def require_two_labels(model: Any, verifier_id: str) -> None:
    """Raises ValueError for a classifier with more than two labels: which of them is good is not known."""
    if model.config.num_labels > 2:
        raise ValueError(f"verifier '{verifier_id}': its model has {model.config.num_labels} labels; expected 1 or 2.")


def max_tokens(model: Any, tokenizer: Any = None) -> int | None:
    """The longest input that the model was made for, by its config and (if given) its tokenizer; None if unknown."""
    limit: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if tokenizer is not None and tokenizer.model_max_length < 1 << 30:  # larger ones stand for "not known"
        own = int(tokenizer.model_max_length)
        return own if limit is None else min(limit, own)
    return limit


def require_length(place: int, length: int, limit: int | None) -> None:
    """Raises UnreadableSolution for an input that the model would have to cut."""
    if limit is not None and length > limit:
        raise UnreadableSolution(
            place,
            f"its input has {length} tokens, the verifier's model reads {limit}. Score the run by a model with a "
            "longer context, or record solutions with a smaller --max-tokens",
        )


def require_absent(pattern: str, place: int, solution: Solution) -> None:
    """Raises UnreadableSolution if the question or a step holds what a format itself puts between steps."""
    for step, text in enumerate((solution.bare_question, *solution.steps), start=-1):
        if found := re.search(pattern, text):
            what = "its question" if step < 0 else f"its step {step + 1}"
            raise UnreadableSolution(
                place,
                f"{what} holds {found[0].strip()!r}, which the verifier's format puts between steps: how many there "
                "are would not be clear",
                step=max(step, 0),
            )
