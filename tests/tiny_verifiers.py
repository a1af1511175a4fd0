"""A tiny model and a tokenizer of each family of verifiers, made on the spot, saved as a user's would be.

So that an input can be written down by hand, a token's id is its place in a list: WORDS (a word with the blank before
it, a digit, a sign, a line break) or, for Qwen2's tokenizer, which transformers insists on, CHARACTERS.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Tokenizer,
)

from generate.verifiers.qwen2_heads import Qwen2ForPrmModel, Qwen2ForProcessRewardModel

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<extra_0>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<next>")
WORDS = (
    *SPECIAL,  # 0 … 9
    *"0123456789",  # 10 … 19
    *(f" {digit}" for digit in "0123456789"),  # 20 … 29
    *"+-*=\n",  # 30 … 34
    " +", " -", " ки", "so", " so",  # 35 … 39
)  # fmt: skip
CHARACTERS = (*SPECIAL, *map(chr, range(33, 127)), "Ċ", "Ġ")  # the last two stand for line break and blank
PAD, BOS, EOS, UNK, EXTRA = range(5)
CHAT = "{% for turn in messages %}{{ '<|' + turn['role'] + '|>' + turn['content'] + '<|end|>' }}{% endfor %}"
SIZE: dict[str, Any] = {
    "vocab_size": len(CHARACTERS),
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "pad_token_id": PAD,
}


def tiny_tokenizer(*, bos: bool = False, chat: bool = False, qwen: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer; with `bos` it has <s> (and puts it in front, but for Qwen's), with `chat` a template."""
    named = {
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "additional_special_tokens": list(SPECIAL[EXTRA:]),
    } | ({"bos_token": "<s>"} if bos else {})
    tokenizer: PreTrainedTokenizerBase
    if qwen:
        tokenizer = Qwen2Tokenizer(vocab={word: index for index, word in enumerate(CHARACTERS)}, merges=[], **named)
    else:
        inner = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
        inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n| ?\p{L}+| ?\d| ?[^\s\p{L}\d]"), "isolated")
        inner.decoder = decoders.Fuse()
        if bos:
            inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, clean_up_tokenization_spaces=False, **named)
    if chat:
        tokenizer.chat_template = CHAT
    return tokenizer


def save_verifier(folder: Path, family: str) -> str:
    """The path of a model of the family in `folder`, with weights large enough that scores differ."""
    torch.manual_seed(7)
    build, tokenizer = {
        "token-classifier": (lambda: LlamaForTokenClassification(LlamaConfig(**SIZE, num_labels=1)), {}),
        "trl": (lambda: LlamaForTokenClassification(LlamaConfig(**SIZE, num_labels=2)), {"bos": True}),
        "math-shepherd": (lambda: MistralForCausalLM(MistralConfig(**SIZE, sliding_window=6)), {"bos": True}),
        "rlhflow": (lambda: LlamaForCausalLM(LlamaConfig(**SIZE)), {"chat": True}),
        "qwen-prm": (lambda: Qwen2ForProcessRewardModel(Qwen2Config(**SIZE)), {"chat": True, "qwen": True}),
        "skywork": (lambda: Qwen2ForPrmModel(Qwen2Config(**SIZE)), {"bos": True, "qwen": True}),
        "outcome": (lambda: LlamaForSequenceClassification(LlamaConfig(**SIZE, num_labels=1)), {}),
    }[family]
    model = build()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
    path = folder / family
    model.save_pretrained(path)
    tiny_tokenizer(**tokenizer).save_pretrained(path)
    return str(path)
