"""The recorder: has the draws made that a plan lacks, grades them, and commits them batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from threading import Event
from typing import Any, NamedTuple

import polars as pl

from cache import Cache
from cache.errors import TtsSimError
from generate.answers import AnswerBook
from generate.extraction import Extractor
from generate.keys import node_key
from generate.making import Made, Making, Order
from generate.meter import Meter
from generate.plans import Draw, Plan
from generate.prompts import Prompts
from generate.protocols import Request, SamplerStopped, Step

Progress = Callable[[str, int, int], None]
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

    `maker` makes steps and scores, in this process or in several others; the recorder alone writes. A chunk of draws
    (nodes, answers, scores) is one transaction, of at most `commit_draws` draws. A recorder that is killed loses at
    most the chunks at hand: what is missing is worked out from the cache, and a draw's randomness hangs on (seed,
    question, path of draws) alone, so the next recorder makes the same draws. Once `stopping` is set, it raises
    RecordingStopped after the chunks at hand.
    """

    def __init__(
        self,
        cache: Cache,
        run_id: str,
        maker: Making,
        answers: AnswerBook,
        *,
        extract: Extractor,
        seed: int,
        prompts: Prompts,
        commit_draws: int = COMMIT_DRAWS,
        progress: Progress | None = None,
        meter: Meter | None = None,
        stopping: Event | None = None,
    ) -> None:
        if commit_draws < 1:
            raise ValueError(f"commit_draws {commit_draws}: expected a whole number from 1.")
        self.cache, self.run_id, self.maker, self.answers = cache, run_id, maker, answers
        self.extract, self.seed, self.prompts = extract, seed, prompts
        self.commit_draws, self.progress, self.stopping = commit_draws, progress, stopping
        self.meter = meter or Meter()
        self.questions: dict[str, str] = dict(
            cache.frame("SELECT question_id, coalesce(prompt, '') AS prompt FROM questions").iter_rows()
        )
        self.next_node = cache.next_node_id(run_id)

    def close(self) -> None:
        """Ends the processes that make draws, if there are any."""
        self.maker.close()

    def fulfil(self, plan: Plan) -> int:
        """Makes draws until the plan lacks nothing; the number of draws made."""
        made, layer = 0, 0
        while draws := plan.missing(self.cache, self.run_id):
            layer += 1
            self.record(draws, f"{self.run_id}: {plan.name}, layer {layer}")
            made += len(draws)
        return made

    def record(self, draws: Sequence[Draw], what: str = "") -> None:
        """Has the given draws made, and commits each chunk as it comes. Raises RecordingStopped when asked to."""
        paths = self._paths(draws)
        size = self.maker.chunk_draws(len(draws), self.commit_draws)
        chunks = [draws[start : start + size] for start in range(0, len(draws), size)]
        orders = ([self._order(draw, paths[draw.parent_id]) for draw in chunk] for chunk in chunks)
        done = 0
        self._report(what, 0, len(draws))
        with closing(self.maker.made(orders, self.stopping)) as results:
            for place, made in results:
                if made.places:
                    self._commit([chunks[place][member] for member in made.places], made, paths)
                if made.stopped is not None:
                    raise SamplerStopped(made.stopped, [])
                done += len(chunks[place])
                self._report(what, done, len(draws))
        if done < len(draws):
            raise RecordingStopped(f"stopped with {len(draws) - done} draws of '{what}' left; all others are kept.")

    def _report(self, what: str, done: int, total: int) -> None:
        if self.progress:
            self.progress(what, done, total)

    def _paths(self, draws: Sequence[Draw]) -> dict[int | None, Path]:
        parents = sorted({draw.parent_id for draw in draws if draw.parent_id is not None})
        paths: dict[int | None, Path] = {None: Path((), (), 0)}
        if parents:
            cursor = self.cache.connection.cursor()
            cursor.register("wanted", pl.DataFrame({"node_id": parents}).to_arrow())
            for bottom, texts, numbers, tokens in cursor.execute(_PATHS, {"run": self.run_id}).fetchall():
                paths[bottom] = Path(tuple(texts), tuple(numbers), tokens)
        return paths

    def _order(self, draw: Draw, above: Path) -> Order:
        """What is to be made of a draw."""
        question, revises = self.questions[draw.question_id], self.prompts.revisions is not None
        below = "the prompt" if draw.parent_id is None else f"node {draw.parent_id}"
        request = Request(
            self.prompts.full(question, above.texts if revises else ()),
            "" if revises else "".join(above.texts),
            node_key(self.seed, draw.question_id, (*above.draws, draw.draw)),
            0 if revises else above.tokens,
            draw.to_end,
            split=not revises,
            greedy=draw.greedy,
        )
        return Order(
            request,
            self.prompts.plain(question, above.texts if revises else ()),
            question,
            () if revises else above.texts,
            f"run '{self.run_id}', question '{draw.question_id}', draw {draw.draw} below {below}",
        )

    def _commit(self, draws: Sequence[Draw], made: Made, paths: Mapping[int | None, Path]) -> None:
        """Grades and stores one chunk, in one transaction."""
        numbers = self._answers(draws, made.steps, paths)
        nodes: list[dict[str, Any]] = []
        first_nodes = []
        for draw, steps, number in zip(draws, made.steps, numbers, strict=True):
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
        scores = [
            (self.run_id, node_id + place, verifier_id, value)
            for verifier_id, rows in made.scores.items()
            for node_id, values in zip(first_nodes, rows, strict=True)
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
        tokens = sum(node["tokens"] for node in nodes)
        self.meter.draws += len(draws)
        self.meter.tokens += tokens
        self.meter.scored_tokens += tokens * len(made.scores)

    def _answers(
        self, draws: Sequence[Draw], drawn: Sequence[Sequence[Step]], paths: Mapping[int | None, Path]
    ) -> list[int | None]:
        """The answer number of each solution that has ended; None for the others and for what cannot be parsed."""
        places: dict[str, list[int]] = {}
        for place, (draw, steps) in enumerate(zip(draws, drawn, strict=True)):
            if steps[-1].stop == "eos":
                places.setdefault(draw.question_id, []).append(place)
        numbers: list[int | None] = [None] * len(draws)
        for question_id, members in places.items():
            texts = [self.extract(self._text(paths[draws[place].parent_id], drawn[place])) for place in members]
            for place, number in zip(members, self.answers.numbers(question_id, texts), strict=True):
                numbers[place] = number
        return numbers

    def _text(self, above: Path, steps: Sequence[Step]) -> str:
        """The whole solution; of a revision, the attempt alone."""
        before = above.texts if self.prompts.revisions is None else ()
        return "".join((*before, *(step.text for step in steps)))
