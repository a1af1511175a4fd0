"""Conversations as tokens, by the chat template that comes with a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def chat_ids(tokenizer: Any, turns: Sequence[tuple[str, str]]) -> list[int]:
    """The tokens of a conversation of (role, content), without a prompt for a further turn."""
    messages = [{"role": role, "content": content} for role, content in turns]
    ids: list[int] = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    return ids


def require_template(tokenizer: Any, verifier_id: str) -> None:
    """Raises ValueError for a tokenizer that has no chat template."""
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            f"verifier '{verifier_id}': its tokenizer has no chat template, which the format needs. "
            "Give another --format."
        )
