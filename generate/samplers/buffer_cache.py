"""A key-value cache with room for a whole batch: growing by concatenation copied everything at each token."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


class BufferLayer(DynamicLayer):
    """A cache layer that writes into one buffer of `capacity` places."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.length = 0

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Appends the new keys and values; returns all so far."""
        rows, heads, new, size = key_states.shape
        if not self.is_initialized:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.keys = key_states.new_empty((rows, heads, self.capacity, size))
            self.values = value_states.new_empty((rows, heads, self.capacity, value_states.shape[-1]))
            self.is_initialized = True
        self.keys[:, :, self.length : self.length + new] = key_states
        self.values[:, :, self.length : self.length + new] = value_states
        self.length += new
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def get_seq_length(self) -> int:
        """Number of places filled."""
        return self.length


def buffer_cache(num_layers: int, capacity: int) -> Cache:
    """An empty cache for a model of plain full-attention layers."""
    return Cache(layers=[BufferLayer(capacity) for _ in range(num_layers)])
