"""The recorder: makes the draws that a plan lacks, scores and grades them, and commits them batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import polars as pl

from cache import Cache
from generate.answers import AnswerBook
from generate.extraction import Extractor
from generate.keys import node_key
from generate.plans import Draw, Plan
from generate.protocols import Request, Sampler, SamplerStopped, Solution, Verifier
from generate.verifiers.checked import checked_scores

Progress = Callable[[str, int, int], None]
COMMIT_DRAWS = int(os.environ.get("TTS_SIM_COMMIT_DRAWS", "4096"))  # a transaction: fills batches, loses little

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


class RevisionContext(NamedTuple):
    """How earlier attempts enter the next prompt: the latest `most`, each closed by `separator`, then the question."""

    separator: str
    most: int

    def prompt(self, question: str, attempts: Sequence[str]) -> str:
        """The prompt of the next attempt."""
        return "".join(attempt + self.separator for attempt in attempts[-self.most :]) + question


class Recorder:
    """Fulfils plans for one run of a cache that is open for writing.

    A batch of draws (nodes, answers, scores) is one transaction. A recorder that is killed loses at most the batch at
    hand: what is missing is worked out from the cache, and a draw's randomness hangs on (seed, question, path of draws)
    alone, so the next recorder makes the same draws.
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
        prompt_template: str = "{prompt}",
        revisions: RevisionContext | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.cache, self.run_id = cache, run_id
        self.sampler, self.verifiers, self.answers = sampler, verifiers, answers
        self.extract, self.seed, self.revisions = extract, seed, revisions
        self.progress = progress
        prompts = cache.frame("SELECT question_id, coalesce(prompt, '') AS prompt FROM questions")
        self.questions: dict[str, str] = dict(prompts.iter_rows())
        self.prompts = {name: prompt_template.replace("{prompt}", text) for name, text in self.questions.items()}
        self.next_node = cache.next_node_id(run_id)

    def fulfil(self, plan: Plan) -> int:
        """Makes draws until the plan lacks nothing; the number of draws made."""
        made, layer = 0, 0
        while draws := plan.missing(self.cache, self.run_id):
            layer += 1
            self.record(draws, f"{self.run_id}: {plan.name}, layer {layer}")
            made += len(draws)
        return made

    def record(self, draws: Sequence[Draw], what: str = "") -> None:
        """Makes the given draws, in transactions of at most COMMIT_DRAWS."""
        paths = self._paths(draws)
        for start in range(0, len(draws), COMMIT_DRAWS):
            if self.progress:
                self.progress(what, start, len(draws))
            self._record(draws[start : start + COMMIT_DRAWS], paths)
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
        requests, contexts = [], []
        for draw in draws:
            above = paths[draw.parent_id]
            prompt, before = self.prompts[draw.question_id], above.texts
            if self.revisions is not None:
                prompt, before = self.revisions.prompt(prompt, before), ()
            contexts.append((prompt, before))
            requests.append(
                Request(
                    prompt,
                    "".join(before),
                    node_key(self.seed, draw.question_id, (*above.draws, draw.draw)),
                    0 if self.revisions is not None else above.tokens,
                    draw.to_end,
                    split=self.revisions is None,
                    greedy=draw.greedy,
                )
            )
        stopped: SamplerStopped | None = None
        try:
            sampled = self.sampler.sample(requests)
        except SamplerStopped as stop:
            stopped = stop
            finished = [place for place, steps in enumerate(stop.finished) if steps]
            if not finished:
                raise
            sampled = [steps for steps in stop.finished if steps]
            draws, contexts = [draws[place] for place in finished], [contexts[place] for place in finished]
        solutions = [
            Solution(
                prompt,
                (*before, *(step.text for step in steps)),
                steps[-1].stop,
                fresh=len(steps),
                question=self.questions[draw.question_id],
            )
            for draw, (prompt, before), steps in zip(draws, contexts, sampled, strict=True)
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
        for verifier in self.verifiers:
            for node_id, values in zip(first_nodes, checked_scores(verifier, solutions, name), strict=True):
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
        if stopped is not None:
            raise stopped

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
