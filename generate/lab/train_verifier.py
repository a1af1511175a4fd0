"""Verifiers of the lab: the base's layers with fresh ones on top, to hold a prediction against what came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaForCausalLM, LlamaForTokenClassification, PreTrainedTokenizerFast

from generate.lab.models import Fit
from generate.lab.problems import DELIMITER, Problem
from generate.lab.rollouts import is_correct, sample_texts, step_prefixes
from generate.training.loop import IGNORE, Example, build_optimizers, endless, train_loop


@dataclass(frozen=True)
class Judged:
    """A finished solution after its context, and the value of each step; the last one's is whether it is right."""

    context: str
    solution: str
    values: tuple[float, ...]


def judge_solutions(
    base: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    *,
    solutions: int,
    rollouts: int,
    temperature: float,
    max_new_tokens: int,
    seed: int,
) -> list[Judged]:
    """`solutions` samples of each problem with Monte Carlo step values: the share of `rollouts` that end right.

    With `rollouts` 0 the values of all but the last step are `IGNORE`. Unfinished samples are left out; unfinished
    rollouts count as wrong.
    """
    limits = [max_new_tokens] * len(problems)
    sampled = sample_texts(
        base,
        tokenizer,
        [problem.prompt for problem in problems],
        copies=solutions,
        temperature=temperature,
        max_new_tokens=limits,
        seed=seed,
    )
    kept = [
        (problem, text) for problem, texts in zip(problems, sampled, strict=True) for text in texts if text is not None
    ]
    values: dict[str, float] = {}
    if rollouts:
        prefixes = {problem.prompt + prefix: problem for problem, text in kept for prefix in step_prefixes(text)}
        ends = sample_texts(
            base,
            tokenizer,
            list(prefixes),
            copies=rollouts,
            temperature=temperature,
            max_new_tokens=[max_new_tokens] * len(prefixes),
            seed=seed + 1,
        )
        for (prefix, problem), texts in zip(prefixes.items(), ends, strict=True):
            start = prefix[len(problem.prompt) :]
            values[prefix] = float(np.mean([text is not None and is_correct(problem, start + text) for text in texts]))
    return [
        Judged(
            problem.prompt,
            text,
            (
                *(values.get(problem.prompt + prefix, IGNORE) for prefix in step_prefixes(text)),
                float(is_correct(problem, text)),
            ),
        )
        for problem, text in kept
    ]


def example_of(judged: Judged, tokenizer: PreTrainedTokenizerFast) -> Example:
    """The token sequence with each step's value on all its tokens; only the last token's score is read later."""
    context: list[int] = tokenizer(judged.context)["input_ids"]
    ids, targets = list(context), [IGNORE] * len(context)
    steps = judged.solution.split(DELIMITER)
    for place, (step, value) in enumerate(zip(steps, judged.values, strict=True)):
        end = [tokenizer.eos_token] if place + 1 == len(steps) else [DELIMITER]
        step_ids: list[int] = tokenizer(step + end[0])["input_ids"]
        ids += step_ids
        targets += [value] * len(step_ids)
    return Example(ids, targets)


def fit_verifier(
    model: LlamaForTokenClassification,
    examples: Sequence[Example],
    *,
    frozen_layers: int,
    fit: Fit,
    seed: int,
    progress: Callable[[str], None],
    label: str,
) -> float:
    """The final loss of binary cross-entropy on soft targets; the first `frozen_layers` stay as they are."""

    def loss_of(ids: Tensor, targets: Tensor) -> Tensor:
        logits = model(input_ids=ids, use_cache=False).logits[..., 0]
        known = targets != IGNORE
        return functional.binary_cross_entropy_with_logits(logits[known], targets[known])

    model.requires_grad_(True)
    model.model.embed_tokens.requires_grad_(False)
    model.model.layers[:frozen_layers].requires_grad_(False)
    optimizers = build_optimizers(model, rate=fit.rate)
    stream = endless(examples, tokens=fit.tokens, seed=seed, device=model.device)
    return train_loop(model, stream, loss_of, steps=fit.steps, optimizers=optimizers, progress=progress, label=label)


@torch.inference_mode()
def last_scores(model: LlamaForTokenClassification, examples: Sequence[Example]) -> list[float]:
    """The score at the last token of each example, in [0, 1]."""
    scores = [0.0] * len(examples)
    order = sorted(range(len(examples)), key=lambda index: len(examples[index].ids))
    for first in range(0, len(order), 256):
        rows = order[first : first + 256]
        longest = max(len(examples[row].ids) for row in rows)
        ids = torch.zeros((len(rows), longest), dtype=torch.long, device=model.device)
        for place, row in enumerate(rows):
            ids[place, : len(examples[row].ids)] = torch.tensor(examples[row].ids)
        logits = model(input_ids=ids, use_cache=False).logits[..., 0]
        ends = torch.tensor([len(examples[row].ids) - 1 for row in rows], device=model.device)
        read = torch.sigmoid(logits[torch.arange(len(rows), device=model.device), ends].float()).tolist()
        for row, score in zip(rows, read, strict=True):
            scores[row] = score
    return scores
