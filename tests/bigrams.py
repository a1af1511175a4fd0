"""A byte-level tokenizer and a model that writes like a few multi-byte passages, both made on the spot."""

from __future__ import annotations

import random
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = ("naïve ", "été", "数学。", "证明", "🙂👍", "→ x", "Ω=½", "12", "ab cd ", "Ça, ", "だから", "∎")
END = "<eos>"


def passages(delimiter: str, count: int, seed: int) -> list[str]:
    """Words in any order, every fourth a delimiter."""
    chance = random.Random(seed)
    return ["".join(chance.choices([*WORDS, *[delimiter] * 4], k=chance.randint(4, 16))) for _ in range(count)]


def byte_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Bytes and few merges, so that many letters are split over tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)  # type: ignore[no-untyped-call]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[no-untyped-call]
    trainer = trainers.BpeTrainer(  # type: ignore[no-untyped-call]
        vocab_size=310,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)  # type: ignore[no-untyped-call]


def bigram_model(tokenizer: Any, texts: list[str], seed: int = 0) -> LlamaForCausalLM:
    """A Llama that continues each token as the texts do, and a little by all that stands before it.

    It learns from texts in which every third token is taken apart: so it writes letters and delimiters in several ways.
    """
    size, chance = len(tokenizer), random.Random(seed)
    counts = torch.full((size, size), 1e-4)
    for ids in tokenizer(texts)["input_ids"]:
        names = tokenizer.convert_ids_to_tokens(ids)
        ids = tokenizer.convert_tokens_to_ids(
            [part for name in names for part in (list(name) if chance.random() < 1 / 3 else [name])]
        )
        for left, right in zip(ids, [*ids[1:], tokenizer.eos_token_id], strict=True):
            counts[left, right] += 1
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=size, hidden_size=size + size % 2, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=512, head_dim=8, bos_token_id=None, pad_token_id=None,
        eos_token_id=tokenizer.eos_token_id, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    width = config.hidden_size
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(size, width))
        shares = (counts / counts.sum(dim=1, keepdim=True)).log()
        model.lm_head.weight.zero_()
        model.lm_head.weight[:, :size] = shares.T / width**0.5  # the norm before it makes a one of √width
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.mul_(0.5)
            layer.mlp.down_proj.weight.mul_(0.5)
    return model.eval()
