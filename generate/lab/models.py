"""The sizes and training lengths of the lab's five models, by preset."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Shape:
    """A Llama: hidden size, layers, heads; the feed-forward part is three times the hidden size."""

    hidden: int
    layers: int
    heads: int


@dataclass(frozen=True)
class Fit:
    """How long and how fast a model learns: updates, tokens an update, and the peak learning rate."""

    steps: int
    tokens: int
    rate: float


@dataclass(frozen=True)
class Preset:
    """Everything that makes one lab bigger than another; each stage draws its own problems.

    `judged_*`: samples with Monte Carlo step values; `graded_*`: further samples of which only the end is labelled.
    """

    base_shape: Shape
    base_fit: Fit
    large_shape: Shape
    large_fit: Fit
    fresh_layers: int
    process_fit: Fit
    judged_problems: int
    judged_solutions: int
    judged_rollouts: int
    graded_problems: int
    graded_solutions: int
    refined_fit: Fit
    polished_fit: Fit
    polished_problems: int  # with Monte Carlo step values, beside refined_problems graded ones
    refined_problems: int
    refined_solutions: int
    reviser_fit: Fit
    reviser_problems: int
    reviser_samples: int
    reviser_examples: int
    outcome_fit: Fit
    chain_problems: int
    chain_count: int
    chain_attempts: int
    validation_problems: int
    validation_samples: int


PRESETS = {
    "tiny": Preset(
        base_shape=Shape(64, 1, 4),
        base_fit=Fit(40, 1000, 5e-3),
        large_shape=Shape(64, 2, 4),
        large_fit=Fit(40, 1000, 5e-3),
        fresh_layers=2,
        process_fit=Fit(10, 1000, 2e-3),
        judged_problems=12,
        judged_solutions=2,
        judged_rollouts=2,
        graded_problems=12,
        graded_solutions=2,
        refined_fit=Fit(5, 1000, 1e-3),
        polished_fit=Fit(5, 1000, 1e-3),
        polished_problems=4,
        refined_problems=8,
        refined_solutions=2,
        reviser_fit=Fit(10, 1000, 1e-3),
        reviser_problems=8,
        reviser_samples=4,
        reviser_examples=2,
        outcome_fit=Fit(10, 1000, 1e-3),
        chain_problems=8,
        chain_count=2,
        chain_attempts=3,
        validation_problems=12,
        validation_samples=4,
    ),
    "small": Preset(
        base_shape=Shape(64, 3, 4),
        base_fit=Fit(4400, 3400, 5e-3),
        large_shape=Shape(208, 4, 4),
        large_fit=Fit(1700, 4000, 3e-3),
        fresh_layers=3,
        process_fit=Fit(3000, 5000, 3e-3),
        judged_problems=3000,
        judged_solutions=2,
        judged_rollouts=4,
        graded_problems=8000,
        graded_solutions=4,
        refined_fit=Fit(1500, 5000, 1.5e-3),
        polished_fit=Fit(2800, 5000, 1.5e-3),
        polished_problems=1200,
        refined_problems=24_000,
        refined_solutions=2,
        reviser_fit=Fit(4000, 5000, 2e-3),
        reviser_problems=6000,
        reviser_samples=12,
        reviser_examples=4,
        outcome_fit=Fit(2500, 6000, 2e-3),
        chain_problems=4000,
        chain_count=2,
        chain_attempts=5,
        validation_problems=360,
        validation_samples=32,
    ),
    "large": Preset(
        base_shape=Shape(128, 4, 4),
        base_fit=Fit(12_000, 16_000, 3e-3),
        large_shape=Shape(448, 5, 8),
        large_fit=Fit(12_000, 16_000, 2e-3),
        fresh_layers=3,
        process_fit=Fit(10_000, 16_000, 2e-3),
        judged_problems=40_000,
        judged_solutions=2,
        judged_rollouts=8,
        graded_problems=100_000,
        graded_solutions=4,
        refined_fit=Fit(10_000, 16_000, 1e-3),
        polished_fit=Fit(10_000, 16_000, 1e-3),
        polished_problems=20_000,
        refined_problems=200_000,
        refined_solutions=2,
        reviser_fit=Fit(4000, 16_000, 1e-3),
        reviser_problems=10_000,
        reviser_samples=64,
        reviser_examples=6,
        outcome_fit=Fit(3000, 16_000, 1e-3),
        chain_problems=15_000,
        chain_count=2,
        chain_attempts=5,
        validation_problems=1200,
        validation_samples=64,
    ),
}


def build_base(shape: Shape, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> LlamaForCausalLM:
    """A freshly initialised language model of the given shape."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=3 * shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def num_parameters(model: nn.Module) -> int:
    """Number of distinct weights."""
    return sum(parameter.numel() for parameter in model.parameters())
