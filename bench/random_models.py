"""Language models of real shapes with random weights, and a tokenizer that needs no download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

FIRST = 0xE000  # letters of tokens start here: a million code points follow, and none is a surrogate
END = 1


class Shape(NamedTuple):
    """A Qwen2 architecture."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    tied: bool


SHAPES = {  # Qwen2.5's config.json
    "toy": Shape(32, 64, 2, 4, 2, 256, True),
    "0.5b": Shape(896, 4864, 24, 14, 2, 151_936, True),
    "1.5b": Shape(1536, 8960, 28, 12, 2, 151_936, True),
    "7b": Shape(3584, 18_944, 28, 28, 4, 152_064, False),
}


class LetterTokenizer:
    """One letter a token; every `step_tokens`-th token of the vocabulary also ends a step with a line break.

    A model of random weights draws nearly evenly, so steps have that mean length, and solutions hardly ever end early.
    """

    def __init__(self, vocabulary: int, step_tokens: int) -> None:
        self.vocabulary, self.step_tokens, self.eos_token_id = vocabulary, step_tokens, END
        self.added_tokens_decoder: dict[int, str] = {}

    def __len__(self) -> int:
        return self.vocabulary

    def __call__(self, texts: Sequence[str], **_: Any) -> dict[str, list[list[int]]]:
        return {"input_ids": [[ord(letter) - FIRST for letter in text if letter != "\n"] for text in texts]}

    def batch_decode(self, rows: Sequence[Sequence[int]], **_: Any) -> list[str]:
        """The text of each row of tokens."""
        return ["".join(chr(FIRST + token) + "\n" * self.closes(token) for token in row) for row in rows]

    def decode(self, row: Sequence[int], **_: Any) -> str:
        """The text of a row of tokens."""
        return self.batch_decode([row])[0]

    def convert_ids_to_tokens(self, row: Sequence[int]) -> list[str]:
        """The name of each token: its text."""
        return self.batch_decode([[token] for token in row])

    def closes(self, token: int) -> bool:
        """Whether the token ends a step."""
        return token % self.step_tokens == 0


def random_model(shape: Shape, *, device: str, dtype: torch.dtype, places: int, seed: int) -> Any:
    """A causal language model of the shape, made on the device; no token ends its texts in `generate`."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=max(places, 32),
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
        dtype=dtype,
    )
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = Qwen2ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    return model.train(False)
