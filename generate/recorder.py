"""The recorder: makes the draws that a plan lacks, scores and grades them, and commits them batch by batch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Any, NamedTuple

import polars as pl

from cache import Cache
from cache.errors import TtsSimError
from generate.answers import AnswerBook
from generate.extraction import Extractor
from generate.halving import Halving
from generate.keys import node_key
from generate.meter import Meter
from generate.plans import Draw, Plan
from generate.prompts import Prompts
from generate.protocols import Request, Sampler, SamplerStopped, Solution, Step, Verifier
from generate.verifiers.checked import checked_scores

Progress = Callable[[str, int, int], None]
Scores = Sequence[Sequence[float | None]]
COMMIT_DRAWS = 4096  # a transaction: fills batches, loses little

_COLUMN_TYPES = {"answer_id": pl.Int32, "logprob": pl.Float64, "min_logprob": pl.Float64}  # may be null in all rows
_PATHS = """
WITH RECURSIVE up AS (
    SELECT node_id AS bottom, parent_id, draw, text, tokens, 0 AS height FROM nodes
    WHERE run_id = $run AND node_id IN (SELECT node_id FROM wanted)
    UNION ALL
    SELECT bottom, above.parent_id, above.draw, above.text, above.tokens, height + 1
    FROM up JOIN nodes AS above ON above.run_id = $run AND above.node_id = up.parent_id
)
SELECT bottom, list(text ORDER BY height DESC), list(draw ORDER BY height DESC), sum(tokens)::BIGINT
FROM up GROUP BY bottom
"""


class Path(NamedTuple):
    """What stands above a draw: texts and draw numbers from the prompt down, and the tokens of all."""

    texts: tuple[str, ...]
    draws: tuple[int, ...]
    tokens: int


class RecordingStopped(TtsSimError):
    """A recording that was asked to stop, and did so between two commits."""


class Recorder:
    """Fulfils plans for one run of a cache that is open for writing.

    A batch of draws (nodes, answers, scores) is one transaction. A recorder that is killed loses at most the batch at
    hand: what is missing is worked out from the cache, and a draw's randomness hangs on (seed, question, path of draws)
    alone, so the next recorder makes the same draws. Once `stopping` is set, it raises RecordingStopped before the next
    batch. Where memory runs out, sampler and verifiers are given less at a time. `machine` says what it runs on.
    """

    def __init__(
        self,
        cache: Cache,
        run_id: str,
        sampler: Sampler,
        verifiers: Sequence[Verifier],
        answers: AnswerBook,
        *,
        extract: Extractor,
        seed: int,
        prompts: Prompts,
        commit_draws: int = COMMIT_DRAWS,
        progress: Progress | None = None,
        meter: Meter | None = None,
        stopping: Event | None = None,
        machine: Mapping[str, Any] | None = None,
    ) -> None:
        if commit_draws < 1:
            raise ValueError(f"commit_draws {commit_draws}: expected a whole number from 1.")
        self.cache, self.run_id = cache, run_id
        self.sampler, self.verifiers, self.answers = sampler, verifiers, answers
        self.extract, self.seed, self.prompts = extract, seed, prompts
        self.commit_draws, self.progress, self.stopping = commit_draws, progress, stopping
        self.meter, self.machine = meter or Meter(), dict(machine or {})
        self.questions: dict[str, str] = dict(
            cache.frame("SELECT question_id, coalesce(prompt, '') AS prompt FROM questions").iter_rows()
        )
        self.next_node = cache.next_node_id(run_id)
        self._sampling = Halving(sampler, "the model", _say)
        self._scoring = [Halving(verifier, f"verifier '{verifier.verifier_id}'", _say) for verifier in verifiers]

    def fulfil(self, plan: Plan) -> int:
        """Makes draws until the plan lacks nothing; the number of draws made."""
        made, layer = 0, 0
        while draws := plan.missing(self.cache, self.run_id):
            layer += 1
            self.record(draws, f"{self.run_id}: {plan.name}, layer {layer}")
            made += len(draws)
        return made

    def record(self, draws: Sequence[Draw], what: str = "") -> None:
        """Makes the given draws, in transactions of at most `commit_draws`. Raises RecordingStopped when asked to."""
        paths = self._paths(draws)
        for start in range(0, len(draws), self.commit_draws):
            if self.stopping is not None and self.stopping.is_set():
                raise RecordingStopped(
                    f"stopped with {len(draws) - start} draws of '{what}' left; all others are kept."
                )
            if self.progress:
                self.progress(what, start, len(draws))
            self._record(draws[start : start + self.commit_draws], paths)
        if self.progress:
            self.progress(what, len(draws), len(draws))

    def _paths(self, draws: Sequence[Draw]) -> dict[int | None, Path]:
        parents = sorted({draw.parent_id for draw in draws if draw.parent_id is not None})
        paths: dict[int | None, Path] = {None: Path((), (), 0)}
        if parents:
            cursor = self.cache.connection.cursor()
            cursor.register("wanted", pl.DataFrame({"node_id": parents}).to_arrow())
            for bottom, texts, numbers, tokens in cursor.execute(_PATHS, {"run": self.run_id}).fetchall():
                paths[bottom] = Path(tuple(texts), tuple(numbers), tokens)
        return paths

    def _record(self, draws: Sequence[Draw], paths: dict[int | None, Path]) -> None:
        """Samples, scores, grades and commits one batch; of one that the sampler stops in, what it had finished."""
        revises = self.prompts.revisions is not None
        requests = []
        for draw in draws:
            above = paths[draw.parent_id]
            requests.append(
                Request(
                    self.prompts.full(self.questions[draw.question_id], above.texts if revises else ()),
                    "" if revises else "".join(above.texts),
                    node_key(self.seed, draw.question_id, (*above.draws, draw.draw)),
                    0 if revises else above.tokens,
                    draw.to_end,
                    split=not revises,
                    greedy=draw.greedy,
                )
            )
        stopped: SamplerStopped | None = None
        try:
            sampled = self._sampled(requests)
        except SamplerStopped as stop:
            stopped = stop
            finished = [place for place, steps in enumerate(stop.finished) if steps]
            if not finished:
                raise
            sampled = [steps for steps in stop.finished if steps]
            draws = [draws[place] for place in finished]
        solutions = [
            self._solution(draw, paths[draw.parent_id], steps) for draw, steps in zip(draws, sampled, strict=True)
        ]
        numbers = self._answers(draws, solutions)
        nodes: list[dict[str, Any]] = []
        first_nodes = []
        for draw, steps, number in zip(draws, sampled, numbers, strict=True):
            first_nodes.append(self.next_node)
            for place, step in enumerate(steps):
                nodes.append(
                    {
                        "run_id": self.run_id,
                        "node_id": self.next_node,
                        "question_id": draw.question_id,
                        "parent_id": self.next_node - 1 if place else draw.parent_id,
                        "draw": 0 if place else draw.draw,
                        "greedy": draw.greedy,
                        "text": step.text,
                        "tokens": step.tokens,
                        "logprob": step.logprob,
                        "min_logprob": step.min_logprob,
                        "stop": step.stop,
                        "answer_id": number if place + 1 == len(steps) else None,
                    }
                )
                self.next_node += 1

        def name(place: int, step: int) -> str:
            draw, above = draws[place], draws[place].parent_id
            return (
                f"run '{self.run_id}', question '{draw.question_id}', node {first_nodes[place] + step} (of draw "
                f"{draw.draw} below {'the prompt' if above is None else f'node {above}'})"
            )

        scores: list[tuple[str, int, str, float]] = []
        for verifier, scoring in zip(self.verifiers, self._scoring, strict=True):

            def score(start: int, part: Sequence[Solution], verifier: Verifier = verifier) -> Scores:
                return checked_scores(verifier, part, lambda row, step: name(start + row, step))

            for node_id, values in zip(first_nodes, scoring(score, solutions), strict=True):
                scores += [
                    (self.run_id, node_id + place, verifier.verifier_id, value)
                    for place, value in enumerate(values)
                    if value is not None
                ]
        answers = self.answers.taken()
        self.cache.append(
            answers=pl.DataFrame(answers, infer_schema_length=None) if answers else None,
            nodes=pl.DataFrame(nodes, infer_schema_length=None, schema_overrides=_COLUMN_TYPES),
            scores=pl.DataFrame(scores, schema=["run_id", "node_id", "verifier_id", "score"], orient="row")
            if scores
            else None,
        )
        self.meter.draws += len(draws)
        self.meter.tokens += sum(node["tokens"] for node in nodes)
        self.meter.scored_tokens += sum(node["tokens"] for node in nodes) * len(self.verifiers)
        if stopped is not None:
            raise stopped

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

    def _solution(self, draw: Draw, above: Path, steps: Sequence[Step]) -> Solution:
        """What a verifier reads of a draw."""
        question, before = self.questions[draw.question_id], above.texts
        if self.prompts.revisions is not None:
            prompt, before = self.prompts.plain(question, before), ()
        else:
            prompt = self.prompts.plain(question)
        texts = (*before, *(step.text for step in steps))
        return Solution(prompt, texts, steps[-1].stop, fresh=len(steps), question=question)

    def _answers(self, draws: Sequence[Draw], solutions: Sequence[Solution]) -> list[int | None]:
        """The answer number of each solution that has ended; None for the others and for what cannot be parsed."""
        places: dict[str, list[int]] = {}
        for place, (draw, solution) in enumerate(zip(draws, solutions, strict=True)):
            if solution.stop == "eos":
                places.setdefault(draw.question_id, []).append(place)
        numbers: list[int | None] = [None] * len(draws)
        for question_id, members in places.items():
            texts = [self.extract("".join(solutions[place].steps)) for place in members]
            for place, number in zip(members, self.answers.numbers(question_id, texts), strict=True):
                numbers[place] = number
        return numbers


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
