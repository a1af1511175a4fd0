"""What all training shares, of the lab and from a cache: batches of like length, two optimisers, one loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

IGNORE = -100.0


@dataclass(frozen=True)
class Example:
    """A token sequence and one target a token; `IGNORE` where nothing is to be learned."""

    ids: list[int]
    targets: list[float]


def batches(
    examples: Sequence[Example], *, tokens: int, seed: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """(ids, targets) batches of about `tokens` tokens, each of similar lengths, in random order; right-padded with 0.

    Padding on the right needs no mask under causal attention: no real token can see it.
    """
    random = np.random.default_rng(seed)
    order = sorted(random.permutation(len(examples)).tolist(), key=lambda index: len(examples[index].ids))
    groups: list[list[int]] = [[]]
    for index in order:
        if groups[-1] and (len(groups[-1]) + 1) * len(examples[index].ids) > tokens:
            groups.append([])
        groups[-1].append(index)
    for place in random.permutation(len(groups)):
        group = [examples[index] for index in groups[place]]
        shape = (len(group), max(len(example.ids) for example in group))
        ids = np.zeros(shape, dtype=np.int64)
        targets = np.full(shape, IGNORE, dtype=np.float32)
        for row, example in enumerate(group):
            ids[row, : len(example.ids)] = example.ids
            targets[row, : len(example.ids)] = example.targets
        yield torch.from_numpy(ids).to(device), torch.from_numpy(targets).to(device)


def endless(
    examples: Sequence[Example], *, tokens: int, seed: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches for ever, each epoch in a new order."""
    epoch = 0
    while True:
        yield from batches(examples, tokens=tokens, seed=seed + epoch, device=device)
        epoch += 1


def alternating(*streams: Iterator[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """A batch of each stream in turn, for ever."""
    while True:
        for stream in streams:
            yield next(stream)


def build_optimizers(model: nn.Module, *, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings, norms and heads; frozen parameters are left out.

    Muon brought the base in four minutes where AdamW had not been after eighteen.
    """
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (matrices if parameter.ndim == 2 and ".layers." in name else rest).append(parameter)
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def train_loop(
    model: nn.Module,
    stream: Iterator[tuple[Tensor, Tensor]],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int,
    optimizers: Sequence[torch.optim.Optimizer],
    progress: Callable[[str], None],
    label: str,
) -> float:
    """The smoothed loss after `steps` updates: warm-up over 30, constant to the middle, then linear down to 2 %."""
    model.train()
    smoothed = 0.0
    peaks = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    for step in range(steps):
        share = step / steps
        factor = min(1.0, (step + 1) / 30) * min(1.0, max(0.02, (1 - share) / 0.5))
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * factor
            optimizer.zero_grad()
        loss = loss_of(*next(stream))
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        smoothed = loss.item() if step == 0 else 0.98 * smoothed + 0.02 * loss.item()
        if (step + 1) % 100 == 0:
            progress(f"{label}: step {step + 1} of {steps}, loss {smoothed:.4f}")
    model.eval()
    return smoothed
