"""Markov families: what a model writes next depends on a hidden state alone, so each strategy's accuracy is known.

Every question of a forest that `trees` or `chains` grows is a cache of its own, drawn afresh from the family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tts_sim.forest import AnswerColumns, Forest, NodeColumns, build_forest

GOLD, UNPARSABLE = "A", "?"
ANSWERS = ("B", GOLD, "C")  # the right one never stands first


class Step(NamedTuple):
    """A step, or an attempt: its state, the verifier's score, and the answer that ends here (None: it goes on)."""

    state: str
    score: float
    answer: str | None = None


Law = Mapping[Step, float]  # probability of each next step


@dataclass(frozen=True)
class Family:
    """Laws of the first step and of the step after each state; `last` is the law of step number `depth`."""

    first: Law
    later: Mapping[str, Law]
    last: Mapping[str, Law]
    depth: int

    def following(self, step: Step | None, depth: int) -> Law:
        """The law of step number `depth`, counted from 1, below `step` (None: the prompt)."""
        if step is None:
            return self.first
        return (self.last if depth == self.depth else self.later)[step.state]

    def greedy(self, step: Step | None, depth: int) -> Step:
        """The likeliest step number `depth`: what decoding at temperature 0 gives."""
        law = self.following(step, depth)
        return max(law, key=lambda following: law[following])


def _end(answer: str, score: float) -> Step:
    return Step("end", score, answer)


GOOD, FAIR, BAD = Step("good", 0.75), Step("fair", 0.5), Step("bad", 0.25)
TREES = Family(
    # fair and bad look alike at first, good and fair after two greedy steps: ties between states that differ
    first={GOOD: 0.3, FAIR: 0.36, Step("bad", 0.5): 0.24, _end("A", 0.625): 0.04, _end("B", 0.625): 0.06},
    later={
        "good": {GOOD: 0.5, BAD: 0.2, _end("A", 0.875): 0.25, _end("B", 0.5): 0.05},
        "fair": {Step("good", 0.625): 0.35, FAIR: 0.25, BAD: 0.2, _end("A", 0.5): 0.08, _end("C", 0.5): 0.12},
        "bad": {BAD: 0.4, FAIR: 0.25, _end("B", 0.375): 0.25, _end(UNPARSABLE, 0.0625): 0.1},
    },
    last={
        "good": {_end("A", 0.875): 0.7, _end("B", 0.625): 0.3},
        "fair": {_end("A", 0.5): 0.45, _end("B", 0.5): 0.35, _end("C", 0.5): 0.2},
        "bad": {
            _end("B", 0.375): 0.55, _end("A", 0.375): 0.15, _end("C", 0.25): 0.2, _end(UNPARSABLE, 0.0625): 0.1
        },
    },
    depth=3,
)  # fmt: skip
RIGHT, CLOSE, LOST = Step("right", 0.75, "A"), Step("close", 0.75, "B"), Step("lost", 0.5, "C")
MUTE = Step("lost", 0.125, UNPARSABLE)
_ATTEMPTS = {
    "right": {RIGHT: 0.6, CLOSE: 0.25, Step("right", 0.5, "A"): 0.15},
    "close": {RIGHT: 0.35, CLOSE: 0.4, LOST: 0.25},
    "lost": {RIGHT: 0.1, CLOSE: 0.2, LOST: 0.6, MUTE: 0.1},
}
CHAINS = Family(first={RIGHT: 0.25, CLOSE: 0.3, LOST: 0.4, MUTE: 0.05}, later=_ATTEMPTS, last=_ATTEMPTS, depth=10**9)


def trees(
    family: Family, *, questions: int, roots: int, children: int, rollout: int = 0, seed: int, name: str = "c"
) -> Forest:
    """An imported forest of `questions` caches: `roots` first steps, `children` under every step that goes on.

    `rollout` greedy steps hang below every sampled step, as far as they do not end before.
    """
    chance = np.random.default_rng(seed)
    sampler = _Sampler(family)
    rows = _Rows()
    above = _Level(np.arange(questions), np.full(questions, -1), np.full(questions, -1))
    for depth in range(1, family.depth + 1):
        count = roots if depth == 1 else children
        question, parent, step = (np.repeat(column, count) for column in above)
        draw = np.tile(np.arange(count), len(above.question))
        level = _Level(question, parent, sampler.drawn(step, depth, chance))
        above = sampler.going_on(rows.add(level, draw))
        tip = above
        for ahead in range(1, rollout + 1):
            below = _Level(tip.question, tip.node, sampler.greedy(tip.step, depth + ahead))
            tip = sampler.going_on(rows.add(below, np.zeros(len(tip.node), np.int64), greedy=True))
    return rows.forest("steps", questions, sampler.steps, name)


def chains(family: Family, *, questions: int, lengths: Sequence[int], seed: int) -> Forest:
    """An imported forest of revision chains with these numbers of attempts."""
    chance = np.random.default_rng(seed)
    sampler = _Sampler(family)
    rows = _Rows()
    for draw, length in enumerate(lengths):
        above = _Level(np.arange(questions), np.full(questions, -1), np.full(questions, -1))
        for depth in range(1, length + 1):
            level = _Level(above.question, above.node, sampler.drawn(above.step, depth, chance))
            above = rows.add(level, np.full(questions, draw if depth == 1 else 0))
    return rows.forest("revisions", questions, sampler.steps, "c")


class _Level(NamedTuple):
    """Steps that stand side by side; where they are parents, `node` is their own number, before that their parent's."""

    question: Any
    node: Any
    step: Any


class _Sampler:
    """The steps of a family as numbers, drawn by the array."""

    def __init__(self, family: Family) -> None:
        self.family = family
        laws = [family.first, *family.later.values(), *family.last.values()]
        self.steps = list(dict.fromkeys(step for law in laws for step in law))
        self.ends = np.array([step.answer is not None for step in self.steps])

    def drawn(self, above: Any, depth: int, chance: np.random.Generator) -> Any:
        """A random step below each of these (-1: the prompt)."""
        drawn = np.empty(len(above), np.int64)
        for number in np.unique(above):
            law = self.family.following(None if number < 0 else self.steps[number], depth)
            here = np.flatnonzero(above == number)
            among = np.array([self.steps.index(step) for step in law])
            drawn[here] = among[chance.choice(len(among), len(here), p=list(law.values()))]
        return drawn

    def greedy(self, above: Any, depth: int) -> Any:
        """The likeliest step below each of these."""
        following = [
            -1 if step.answer is not None else self.steps.index(self.family.greedy(step, depth)) for step in self.steps
        ]
        return np.array(following)[above]

    def going_on(self, level: _Level) -> _Level:
        """Those of the steps that do not end."""
        open_ = ~self.ends[level.step]
        return _Level(*(column[open_] for column in level))


class _Rows:
    """Gathers nodes level by level."""

    def __init__(self) -> None:
        self.num_nodes = 0
        self.parts: list[tuple[Any, ...]] = []

    def add(self, level: _Level, draw: Any, greedy: bool = False) -> _Level:
        """Number the steps of a level, of which `node` holds the parents; return them as parents."""
        node = self.num_nodes + np.arange(len(level.node))
        self.num_nodes += len(node)
        self.parts.append((level.question, node, level.node, draw, np.full(len(node), greedy), level.step))
        return _Level(level.question, node, level.step)

    def forest(self, kind: str, questions: int, steps: Sequence[Step], name: str) -> Forest:
        """Everything that was added, as an imported run with the verifier `prm`."""
        question, node, parent, draw, greedy, step = (
            np.concatenate(column) for column in zip(*self.parts, strict=True)
        )
        answer = np.array([ANSWERS.index(step.answer) if step.answer in ANSWERS else -1 for step in steps], np.int32)
        score = np.array([step.score for step in steps], np.float32)
        ends = np.array([step.answer is not None for step in steps], np.int8)
        return build_forest(
            run_id="markov",
            kind=kind,
            question_ids=[f"{name}{q}" for q in range(questions)],
            levels_of=[None] * questions,
            nodes=NodeColumns(
                question.astype(np.int32),
                node,
                parent,
                draw.astype(np.int32),
                greedy,
                np.ones(len(node), np.int32),
                answer[step],
                ends[step],
            ),
            answers=AnswerColumns(
                np.repeat(np.arange(questions, dtype=np.int32), len(ANSWERS)),
                np.tile(np.arange(len(ANSWERS), dtype=np.int32), questions),
                np.tile(np.array([answer == GOLD for answer in ANSWERS]), questions),
            ),
            scores={"prm": (node, score[step])},
        )
