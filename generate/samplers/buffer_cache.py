"""A key-value cache that writes into a buffer: growing by concatenation copied everything at each token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

ROOM = 32  # places beyond the first text: most steps fit


class BufferLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A cache layer with spare places, which doubles when they are used up."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.length = 0

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Appends the new keys and values; returns all so far."""
        stop = self.length + key_states.shape[-2]
        if self.keys is None or self.values is None:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.keys, self.values = _with_room(key_states, stop + ROOM), _with_room(value_states, stop + ROOM)
            self.is_initialized = True
        elif stop > self.keys.shape[-2]:
            self.keys, self.values = (
                _with_room(old[:, :, : self.length], 2 * stop) for old in (self.keys, self.values)
            )
        self.keys[:, :, self.length : stop] = key_states
        self.values[:, :, self.length : stop] = value_states
        self.length = stop
        return self.keys[:, :, :stop], self.values[:, :, :stop]

    def get_seq_length(self) -> int:
        """Number of places filled."""
        return self.length

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps (or repeats) rows of the batch; only filled places are copied."""
        if self.keys is not None and self.values is not None:
            room = self.keys.shape[-2]
            self.keys, self.values = (
                _with_room(old[:, :, : self.length].index_select(0, indices), room) for old in (self.keys, self.values)
            )


def _with_room(states: Tensor, places: int) -> Tensor:
    rows, heads, filled, size = states.shape
    buffer = torch.empty((rows, heads, places, size), dtype=states.dtype, device=states.device)
    buffer[:, :, :filled] = states
    return buffer


def buffer_cache(num_layers: int) -> Cache:
    """An empty cache for a model of plain full-attention layers."""
    return Cache(layers=[BufferLayer() for _ in range(num_layers)])
