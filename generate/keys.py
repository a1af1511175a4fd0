"""Random keys of recorded draws, and Gumbel noise from them: a draw is the same in whatever batch it is made.

    prompt   mix(mix(seed, question key), 2^40)
    node     mix(key of its parent, draw + 1)
    noise    of token v at place p of the node's text: from the bits mix(mix(node key, 2^41 + p), v)

`mix` and the question key are those of `tts_sim.draws`; the constants keep recording and replay apart. Adding Gumbel
noise to logits and taking the largest draws from their softmax (Gumbel 1954; Maddison et al. 2014, arXiv 1411.0030).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from tts_sim.draws import mix, question_key

RECORDING = 1 << 40
PLACES = 1 << 41


def node_key(seed: int, question_id: str, draws: Iterable[int]) -> int:
    """The key of the node that `draws` lead to from the prompt, one draw number a level."""
    key = mix(mix(seed, question_key(question_id)), RECORDING)
    for draw in draws:
        key = mix(key, draw + 1)
    return key


def signed(key: int) -> int:
    """The same 64 bits as a signed number, which is what torch has."""
    return key - (1 << 64) if key >= 1 << 63 else key


def mix_tensor(keys: Tensor, counters: Tensor) -> Tensor:
    """`tts_sim.draws.mix` on int64 tensors, broadcast."""
    z = keys + signed(0x9E3779B97F4A7C15) * (counters + 1)
    z = (z ^ _shifted(z, 30)) * signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * signed(0x94D049BB133111EB)
    return z ^ _shifted(z, 31)


def gumbel_noise(keys: Tensor, places: Tensor, size: int) -> Tensor:
    """Standard Gumbel noise, float64, shape (rows, size), for keys and places (int64, shape (rows,))."""
    row_keys = mix_tensor(keys, places + PLACES)
    bits = mix_tensor(row_keys[:, None], torch.arange(size, device=keys.device)[None, :])
    uniform = (_shifted(bits, 11).double() + 0.5) * 2.0**-53  # 53 bits, never 0 or 1
    return -torch.log(-torch.log(uniform))


def _shifted(z: Tensor, places: int) -> Tensor:
    """Logical shift to the right: torch's own keeps the sign."""
    return (z >> places) & ((1 << (64 - places)) - 1)
