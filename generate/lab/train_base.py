"""The base and the large model: next-token prediction on reference solutions; no problem comes twice by intent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from generate.lab.models import Fit
from generate.lab.problems import TRAINING_LEVELS, draw_problems
from generate.training.loop import IGNORE, Example, batches, build_optimizers, train_loop


def completion_example(prompt: str, solution: str, tokenizer: PreTrainedTokenizerFast) -> Example:
    """The tokens of prompt, solution and eos; only the solution and its eos are targets."""
    prompt_ids: list[int] = tokenizer(prompt)["input_ids"]
    solution_ids: list[int] = tokenizer(solution + str(tokenizer.eos_token))["input_ids"]
    return Example(prompt_ids + solution_ids, [IGNORE] * len(prompt_ids) + [float(index) for index in solution_ids])


def fit_language_model(
    model: LlamaForCausalLM,
    stream: Iterator[tuple[Tensor, Tensor]],
    *,
    fit: Fit,
    progress: Callable[[str], None],
    label: str,
) -> float:
    """The final cross-entropy per target token, in nats."""

    def loss_of(ids: Tensor, targets: Tensor) -> Tensor:
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        return functional.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten().long(), ignore_index=int(IGNORE))

    optimizers = build_optimizers(model, rate=fit.rate)
    return train_loop(model, stream, loss_of, steps=fit.steps, optimizers=optimizers, progress=progress, label=label)


def reference_stream(
    tokenizer: PreTrainedTokenizerFast,
    *,
    tokens: int,
    seed: int,
    device: torch.device,
    levels: Sequence[int] = TRAINING_LEVELS,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of fresh training problems with their reference solutions."""
    block = 0
    while True:
        problems = draw_problems(1024, seed=seed * 1_000_003 + block, levels=levels)
        examples = [completion_example(problem.prompt, problem.solution, tokenizer) for problem in problems]
        yield from batches(examples, tokens=tokens, seed=block, device=device)
        block += 1
