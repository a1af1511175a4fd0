"""The two protocols that a recorder needs: a sampler that continues prefixes, a verifier that scores steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from cache.errors import TtsSimError


@dataclass(frozen=True)
class Request:
    """One draw to make: continue `prompt + prefix`, up to the step delimiter or (`to_end`) to the end of the solution.

    `key` is the random key of the draw's node (`generate.keys`); the steps that follow in a request to the end are
    draw 0 of the step before. Without `split` the whole continuation is one node (an attempt of a revision chain).
    `prefix_tokens` counts towards the longest solution allowed. `greedy` takes the likeliest token instead.
    """

    prompt: str
    prefix: str
    key: int
    prefix_tokens: int = 0
    to_end: bool = True
    split: bool = True
    greedy: bool = False


class Step(NamedTuple):
    """One sampled step: its text with the delimiter that closes it, and what the model says of it.

    `logprob` sums, and `min_logprob` is the smallest of, the natural-log probabilities of its tokens (end of sequence
    included) under the model itself, at temperature 1 and without nucleus; None where a server does not tell.
    `stop` is step, eos or length.
    """

    text: str
    tokens: int
    logprob: float | None
    min_logprob: float | None
    stop: str


class SamplerStopped(TtsSimError):
    """A sampler that cannot go on. `finished` has the steps of each request, None for those that were not made."""

    def __init__(self, message: str, finished: Sequence[list[Step] | None]) -> None:
        super().__init__(message)
        self.finished = finished


class Sampler(Protocol):
    """Continues prefixes. The same request gives the same steps in any batch, as far as arithmetic allows."""

    def sample(self, requests: Sequence[Request]) -> list[list[Step]]:
        """The steps of each request, in order: one, or (`to_end`) all up to the last.

        Raises SamplerStopped, with the requests that are done, if it cannot go on.
        """
        ...


@dataclass(frozen=True)
class Solution:
    """What a verifier reads: the prompt and the steps so far. `stop` is that of the last step.

    Scores are wanted for the `fresh` last steps, or (0) for all. `prompt` is the generator's own, with its template and
    (in a run of revisions) the earlier attempts; `question` is the bare one, for verifiers with a template of their
    own ("": the prompt is bare).
    """

    prompt: str
    steps: tuple[str, ...]
    stop: str
    fresh: int = 0
    question: str = ""

    @property
    def bare_question(self) -> str:
        """The question without the generator's template."""
        return self.question or self.prompt


class UnreadableSolution(ValueError):
    """A solution that a verifier's format cannot hold: which of those given, and which of its steps (None: all)."""

    def __init__(self, place: int, what: str, *, step: int | None = None) -> None:
        super().__init__(what)
        self.place, self.step = place, step


class Verifier(Protocol):
    """Scores the steps of solutions; with `ends_only`, only the last step of those that have ended."""

    verifier_id: str
    kind: str
    ends_only: bool

    def score(self, solutions: Sequence[Solution]) -> Sequence[Sequence[float | None]]:
        """One score per fresh step of each solution; None where the verifier gives none. Raises UnreadableSolution."""
        ...
