"""Small random models made on the spot, saved as a user's would be, and a question file for them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForTokenClassification

from generate.lab.tokenizer import build_tokenizer

PROMPTS = ("12+30\n", "7*8-1\n", "100-5+2*3\n", "9\n")


def tiny_config(**changes: object) -> LlamaConfig:
    """A Llama of a few thousand weights over the lab's characters."""
    tokenizer = build_tokenizer()
    settings: dict[str, object] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return LlamaConfig(**(settings | changes))


def save_models(folder: Path, seed: int = 0) -> tuple[str, str]:
    """Paths of a language model and of a one-label token classifier in `folder`."""
    tokenizer = build_tokenizer()
    paths = []
    for name, auto, changes in (
        ("base", LlamaForCausalLM, {}),
        ("prm", LlamaForTokenClassification, {"num_labels": 1}),
    ):
        torch.manual_seed(seed)
        model = auto(tiny_config(**changes))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(8)  # sharper than the default initialisation: texts and scores differ
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        paths.append(str(folder / name))
    return paths[0], paths[1]


def write_questions(path: Path) -> str:
    """A JSONL of four questions."""
    rows = [
        {"question_id": f"q{number}", "prompt": prompt, "gold": "1", "level": number % 2 + 1}
        for number, prompt in enumerate(PROMPTS)
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return str(path)
