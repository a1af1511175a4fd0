"""Work on many items at once that takes fewer at a time when memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
OWN_BATCHES = ("batch_rows", "batch_tokens")  # how samplers and verifiers name the size of theirs


class Halving:
    """Calls a worker with at most `limit` items; the limit, and the worker's own batches, halve when it runs out.

    What stays small once is small from then on. Raises ValueError if a single item is too much.
    """

    def __init__(self, worker: object, name: str, say: Callable[[str], None]) -> None:
        self.worker, self.name, self.say = worker, name, say
        self.limit: int | None = None

    def __call__(self, work: Callable[[int, Sequence[Item]], Sequence[Result]], items: Sequence[Item]) -> list[Result]:
        """The results of all items, in order; `work` is told the place of its first item."""
        results: list[Result] = []
        while len(results) < len(items):
            start = len(results)
            part = items[start : start + (self.limit or len(items))]
            try:
                results += work(start, part)
                continue
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                reason = " ".join(str(error).split())[:200]
            self._halve(len(part), reason)  # outside the handler, which holds on to what was allocated
        return results

    def _halve(self, size: int, reason: str) -> None:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        own = [(name, value) for name in OWN_BATCHES if isinstance(value := getattr(self.worker, name, None), int)]
        batch = min([size, *(value for name, value in own if name == "batch_rows")])
        if batch <= 1:
            raise ValueError(
                f"{self.name} is out of memory with a single sequence ({reason}). Lower max_tokens, take "
                'dtype = "bfloat16" or a smaller model, or free the device of other work. What was made is kept.'
            )
        self.limit = batch // 2
        for name, value in own:
            set_to: Any = max(1, min(value // 2, self.limit) if name == "batch_rows" else value // 2)
            setattr(self.worker, name, set_to)
        self.say(f"{self.name}: out of memory; {self.limit} at a time from here on.")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or in torch's allocator for the CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
