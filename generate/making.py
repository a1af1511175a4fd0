"""From orders to steps and scores: what sampler and verifiers do of a recording, in whatever process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from threading import Event
from typing import Any, NamedTuple, Protocol

from generate.halving import Halving
from generate.protocols import Request, Sampler, SamplerStopped, Solution, Step, Verifier
from generate.verifiers.checked import checked_scores

Scores = Sequence[Sequence[float | None]]


class Order(NamedTuple):
    """One draw, as sampler and verifiers need it.

    Verifiers are shown `prompt`, the bare `question` and the steps `before` with those that are drawn. `name` says in
    errors which draw that is: run, question and draw.
    """

    request: Request
    prompt: str
    question: str
    before: tuple[str, ...]
    name: str

    def solution(self, steps: Sequence[Step]) -> Solution:
        """What a verifier reads once these steps are drawn."""
        texts = (*self.before, *(step.text for step in steps))
        return Solution(self.prompt, texts, steps[-1].stop, fresh=len(steps), question=self.question)


class Made(NamedTuple):
    """What came of a chunk of orders: of those at `places` the steps, and by verifier the scores of each step.

    `stopped` is why the sampler cannot go on; without it, all orders are made.
    """

    places: list[int]
    steps: list[list[Step]]
    scores: dict[str, Scores]
    stopped: str | None = None


Results = Generator[tuple[int, Made], None, None]  # the place of a chunk among all, and what came of it


class Making(Protocol):
    """Makes chunks of orders, here or elsewhere."""

    def chunk_draws(self, draws: int, most: int) -> int:
        """The size of chunks, up to `most`, that suits so many draws."""
        ...

    def made(self, chunks: Iterable[Sequence[Order]], stopping: Event | None) -> Results:
        """What came of each chunk, as it is ready; once `stopping` is set, no other is begun."""
        ...

    def session(self) -> dict[str, Any]:
        """What the provenance says of the machines, and of what they did since the last call."""
        ...

    def close(self) -> None:
        """Ends what was started for it."""
        ...


class Maker:
    """Makes orders with a sampler and verifiers in this process; where memory runs out, they are given less at a time.

    `where` (' on cuda:1') follows the names of models in what is said of memory. `machine` goes into the provenance.
    """

    def __init__(
        self,
        sampler: Sampler,
        verifiers: Sequence[Verifier],
        *,
        where: str = "",
        say: Callable[[str], None] | None = None,
        machine: Mapping[str, Any] | None = None,
    ) -> None:
        self.sampler, self.verifiers, self.machine = sampler, verifiers, dict(machine or {})
        say = say or say_on_stderr
        self._sampling = Halving(sampler, f"the model{where}", say)
        self._scoring = [Halving(verifier, f"verifier '{verifier.verifier_id}'{where}", say) for verifier in verifiers]

    def make(self, orders: Sequence[Order]) -> Made:
        """Samples and scores one chunk; where the sampler stops, what it had finished.

        Raises ValueError, with the order's name, for a solution that a verifier cannot read.
        """
        places, stopped = list(range(len(orders))), None
        try:
            sampled = self._sampled([order.request for order in orders])
        except SamplerStopped as stop:
            stopped = str(stop)
            places = [place for place, steps in enumerate(stop.finished) if steps]
            sampled = [steps for steps in stop.finished if steps]
        members = [orders[place] for place in places]
        solutions = [order.solution(steps) for order, steps in zip(members, sampled, strict=True)]

        def name(place: int, step: int) -> str:
            return f"{members[place].name}, step {step + 1} of it"

        scores: dict[str, Scores] = {}
        for verifier, scoring in zip(self.verifiers, self._scoring, strict=True):

            def score(start: int, part: Sequence[Solution], verifier: Verifier = verifier) -> Scores:
                return checked_scores(verifier, part, lambda row, step: name(start + row, step))

            scores[verifier.verifier_id] = scoring(score, solutions)
        return Made(places, sampled, scores, stopped)

    def chunk_draws(self, draws: int, most: int) -> int:
        """See Making."""
        return most

    def made(self, chunks: Iterable[Sequence[Order]], stopping: Event | None) -> Results:
        """See Making."""
        for place, orders in enumerate(chunks):
            if stopping is not None and stopping.is_set():
                return
            yield place, self.make(orders)

    def session(self) -> dict[str, Any]:
        """See Making."""
        return self.machine

    def close(self) -> None:
        """See Making."""

    def _sampled(self, requests: Sequence[Request]) -> list[list[Step]]:
        """The steps of each request. Raises SamplerStopped, with all that is finished, if the sampler does."""
        finished: list[list[Step] | None] = []

        def sample(start: int, part: Sequence[Request]) -> list[list[Step]]:
            try:
                steps = self.sampler.sample(part)
            except SamplerStopped as stop:
                raise SamplerStopped(str(stop), [*finished, *stop.finished]) from None
            finished.extend(steps)
            return steps

        return self._sampling(sample, requests)


def say_on_stderr(message: str) -> None:
    """A line for people."""
    print(message, file=sys.stderr, flush=True)
