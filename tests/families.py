"""A tiny model of each architecture family, its tokenizer trained on a few lines, with a chat template like its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForTokenClassification,
    MistralConfig,
    MistralForCausalLM,
    MistralForTokenClassification,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForTokenClassification,
)

LINES = ["Add 12 and 30.\n12+30=42\n", "So 7*8=56\n\nNo, 55.\n", "user system assistant: good, été ∎\n", "100-5=95\n"]
SPECIAL = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "[INST]", "[/INST]", "<|eot|>"]
TEMPLATES = {
    "llama": "{{ bos_token }}{% for turn in messages %}{{ turn['role'] + '\n' + turn['content'] + '<|eot|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant\n' }}{% endif %}",
    "qwen2": "{% for turn in messages %}{{ '<|im_start|>' + turn['role'] + '\n' + turn['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "mistral": "{{ bos_token }}{% for turn in messages %}{% if turn['role'] == 'user' %}"
    "{{ '[INST]' + turn['content'] + '[/INST]' }}{% elif turn['role'] == 'assistant' %}{{ turn['content'] + '</s>' }}"
    "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}",
}
ENDS = {"llama": "<|eot|>", "qwen2": "<|im_end|>", "mistral": "</s>"}
CLASSES: dict[str, tuple[Any, Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM, LlamaForTokenClassification),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, Qwen2ForTokenClassification),
    "mistral": (MistralConfig, MistralForCausalLM, MistralForTokenClassification),
}
FAMILIES = tuple(CLASSES)


def family_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """Byte-level pieces with a few merges; Llama's and Mistral's put <s> in front, and so do their templates."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(vocab_size=90, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(LINES, trainer)
    if family != "qwen2":
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token=None if family == "qwen2" else "<s>",
        eos_token=ENDS[family],
        chat_template=TEMPLATES[family],
        clean_up_tokenization_spaces=False,
    )


def save_family(family: str, folder: Path, seed: int = 1) -> tuple[str, str]:
    """Paths of a language model, whose solutions have several lines and come to an end, and of a token classifier."""
    tokenizer = family_tokenizer(family)
    config_class, *classes = CLASSES[family]
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}
    more = {"num_key_value_heads": 1, "vocab_size": len(tokenizer), "max_position_embeddings": 512}
    paths = []
    for name, chosen, labels in zip(("base", "prm"), classes, (None, 1), strict=True):
        torch.manual_seed(seed)
        model = chosen(config_class(**size, **ids, **more, **({} if labels is None else {"num_labels": labels})))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(8)  # sharper than the default initialisation: texts and scores differ
            if labels is None:  # often a line break, sometimes the end
                for piece, weight in (("Ċ", 4.0), (ENDS[family], 3.0)):
                    model.lm_head.weight[tokenizer.convert_tokens_to_ids(piece)] *= weight
        path = folder / family / name
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)
        paths.append(str(path))
    return paths[0], paths[1]
