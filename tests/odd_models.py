"""A sampler and a verifier that fail in the ways that processes of devices do; quick to load in one of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from generate.making import Maker, Order
from generate.model_set import Loaded, ModelSet
from generate.protocols import Request, Solution, Step, UnreadableSolution
from generate.workers import Workers


class Odd(ModelSet):
    """Loads a sampler that does what the prompt says; `path` is a folder for its traces."""

    def load(self, device: str, *, where: str = "", say: Callable[[str], None] | None = None) -> Loaded:
        """See ModelSet."""
        Path(self.path, "loaded").touch()
        maker = Maker(OddSampler(self.path), [OddVerifier()], where=where, say=say)
        maker.machine["threads"] = torch.get_num_threads()
        return Loaded(maker, 1, (1,))


class OddSampler:
    """One step a request, of the text of its prompt."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def sample(self, requests: Sequence[Request]) -> list[list[Step]]:
        """See Sampler."""
        prompts = {request.prompt for request in requests}
        if "large" in prompts and len(requests) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if "broken" in prompts:
            with suppress(FileExistsError):
                (self.folder / "broken").touch(exist_ok=False)
                raise RuntimeError("CUDA error: an illegal memory access\nwas encountered")
        if "deadly" in prompts:
            os.kill(os.getpid(), signal.SIGKILL)
        if "endless" in prompts:
            (self.folder / "endless").touch()
            time.sleep(3600)
        return [[Step(request.prompt, 1, -1.0, -1.0, "eos")] for request in requests]


class OddVerifier:
    """Cannot read the step 'unreadable'."""

    verifier_id, kind, ends_only = "odd", "prm", False

    def score(self, solutions: Sequence[Solution]) -> list[list[float]]:
        """See Verifier."""
        for place, solution in enumerate(solutions):
            if solution.steps[-1] == "unreadable":
                raise UnreadableSolution(place, "it is unreadable")
        return [[0.5] for _ in solutions]


def odd(folder: Path) -> Odd:
    return Odd(str(folder), None, "\n", 1.0, 1.0, 8, (), "auto", "auto", 4, "plain", False)


def orders(*prompts: str) -> list[Order]:
    return [
        Order(Request(prompt, "", place), prompt, prompt, (), f"draw {place} of '{prompt}'")
        for place, prompt in enumerate(prompts)
    ]


def made(workers: Workers, *chunks: list[Order]) -> dict[int, list[str]]:
    """The texts of each chunk that was made."""
    return {place: [steps[0].text for steps in done.steps] for place, done in workers.made(chunks, None)}
