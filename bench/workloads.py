"""What the comparisons work on: forests that are grown from a seed, in three sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tts_sim.budgets import powers_of_two
from tts_sim.forest import AnswerColumns, Forest, NodeColumns, build_forest

VERIFIER = "prm"
SEED = 5
NUM_ANSWERS = 12


@dataclass(frozen=True)
class Workload:
    """Columns of a run, its forest, and the replays to make of it. Question q is called `q<q>`."""

    nodes: NodeColumns
    answers: AnswerColumns
    score: Any  # (N,) float32, by node
    forest: Forest
    budgets: tuple[int, ...]
    trials: int

    def first(self, num_questions: int) -> Workload:
        """The same for the first questions only; a question's replays do not depend on the others."""
        if num_questions >= self.forest.num_questions:
            return self
        kept, known = self.nodes.question < num_questions, self.answers.question < num_questions
        nodes = NodeColumns(*(column[kept] for column in vars(self.nodes).values()))
        answers = AnswerColumns(*(column[known] for column in vars(self.answers).values()))
        score = self.score[kept]
        forest = forest_of(nodes, answers, score, num_questions)
        return replace(self, nodes=nodes, answers=answers, score=score, forest=forest)


def forest_of(nodes: NodeColumns, answers: AnswerColumns, score: Any, num_questions: int) -> Forest:
    """An imported run of these columns."""
    return build_forest(
        run_id="bench",
        kind="steps",
        question_ids=[f"q{q}" for q in range(num_questions)],
        levels_of=[None] * num_questions,
        nodes=nodes,
        answers=answers,
        scores={VERIFIER: (nodes.node_id, score)},
    )


def grow(
    num_questions: int, roots: int, children: int, ends: Sequence[float], budgets: Sequence[int], trials: int
) -> Workload:
    """Trees of `roots` first steps, `children` under each step that goes on; step d ends with probability ends[d]."""
    chance = np.random.default_rng(SEED)
    question, parent = np.repeat(np.arange(num_questions), roots), np.full(num_questions * roots, -1)
    draw = np.tile(np.arange(roots), num_questions)
    levels: list[tuple[Any, ...]] = []
    num_nodes = 0
    for share in ends:
        node = num_nodes + np.arange(len(question))
        num_nodes += len(node)
        ended = chance.random(len(node)) < share
        levels.append((question, node, parent, draw, ended))
        question, parent = np.repeat(question[~ended], children), np.repeat(node[~ended], children)
        draw = np.tile(np.arange(children), int((~ended).sum()))
    question, node, parent, draw, ended = (np.concatenate(column) for column in zip(*levels, strict=True))
    answer = np.where(ended, np.minimum(chance.geometric(0.3, num_nodes) - 1, NUM_ANSWERS - 1), -1)
    nodes = NodeColumns(
        question=question.astype(np.int32),
        node_id=node,
        parent_id=parent,
        draw=draw.astype(np.int32),
        greedy=np.zeros(num_nodes, np.bool_),
        tokens=chance.integers(5, 60, num_nodes).astype(np.int32),
        answer_id=answer.astype(np.int32),
        stop=ended.astype(np.int8),
    )
    answers = AnswerColumns(
        question=np.repeat(np.arange(num_questions), NUM_ANSWERS).astype(np.int32),
        answer_id=np.tile(np.arange(NUM_ANSWERS), num_questions).astype(np.int32),
        correct=np.tile(np.arange(NUM_ANSWERS) == 1, num_questions),
    )
    score = chance.random(num_nodes).astype(np.float32)
    forest = forest_of(nodes, answers, score, num_questions)
    return Workload(nodes, answers, score, forest, tuple(budgets), trials)


def stars(size: str) -> Workload:
    """Solutions of one step: what best-of-n and majority are replayed on."""
    num_questions, samples, trials = {"tiny": (4, 8, 5), "small": (100, 64, 100), "full": (500, 256, 200)}[size]
    return solutions(num_questions, samples, powers_of_two(1, samples), trials)


def solutions(num_questions: int, samples: int, budgets: Sequence[int], trials: int) -> Workload:
    """So many solutions of one step to every question."""
    return grow(num_questions, samples, 1, [1.0], budgets, trials)


def bushes(size: str) -> Workload:
    """Trees of up to four steps with four children each, a tenth of the first steps ending at once."""
    num_questions, roots, trials = {"tiny": (4, 8, 4), "small": (50, 16, 64), "full": (500, 32, 256)}[size]
    return grow(num_questions, roots, 4, [0.1, 0.2, 0.5, 1.0], powers_of_two(1, roots), trials)
