"""What a recording has made so far, and how fast."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass, field


@dataclass
class Meter:
    """Counts of one call, from its beginning. `scored_tokens` counts a step once for each verifier."""

    draws: int = 0
    tokens: int = 0
    scored_tokens: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.started

    def line(self) -> str:
        """Tokens, their rate, and memory, for people."""
        rate = self.tokens / max(self.seconds, 1e-9)
        return f"{short(self.tokens)} tokens · {short(rate)}/s · {memory()}"


def short(number: float) -> str:
    """Three digits and a unit: 1.23 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"


def duration(seconds: float) -> str:
    """h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def memory() -> str:
    """Memory of the GPU that is used, of all; without a GPU, the most that this process has held."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        free, total = torch.cuda.mem_get_info()
        return f"GPU {(total - free) / 2**30:.1f} of {total / 2**30:.1f} GiB"
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.1f} GiB"
