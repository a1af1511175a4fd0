"""The corpus of forests that every test runs on: awkward ones by hand, and random ones.

A case is written like native JSONL (one dict per question) plus the settings of its run, so that the naive
specification and the importers can read it too.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tts_sim.forest import AnswerColumns, Forest, NodeColumns, build_forest

Question = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """Questions of one run; pools None as in an imported run."""

    name: str
    questions: list[Question] = field(default_factory=list)
    kind: str = "steps"
    root_pool: int | None = None
    step_pool: int | None = None


def to_forest(case: Case, order: Sequence[int] | None = None) -> Forest:
    """The case as a Forest; `order` picks and orders its questions."""
    questions = case.questions if order is None else [case.questions[q] for q in order]
    nodes: list[tuple[Any, ...]] = []
    answers: list[tuple[int, int, bool]] = []
    scores: dict[str, list[tuple[int, float]]] = {}
    offset = 0
    for q, question in enumerate(questions):
        texts: dict[str, int] = {}
        for node in question["nodes"]:
            number = -1
            if node.get("answer") is not None:
                if node["answer"] not in texts:
                    texts[node["answer"]] = len(texts)
                    answers.append((q, texts[node["answer"]], node["answer"] == question["gold"]))
                number = texts[node["answer"]]
            stop = 1 if "answer" in node else 0
            parent = -1 if node["parent"] is None else node["parent"] + offset
            nodes.append((q, node["id"] + offset, parent, node.get("draw", 0), node.get("greedy", False),
                          node["tokens"], number, stop))  # fmt: skip
            for verifier, score in node.get("scores", {}).items():
                scores.setdefault(verifier, []).append((node["id"] + offset, score))
        offset += 1 + max((node["id"] for node in question["nodes"]), default=0)
    columns = list(zip(*nodes, strict=True)) or [()] * 8
    types = (np.int32, np.int64, np.int64, np.int32, np.bool_, np.int32, np.int32, np.int8)
    answer_columns = list(zip(*answers, strict=True)) or [()] * 3
    return build_forest(
        run_id=case.name,
        kind=case.kind,
        question_ids=[question["question_id"] for question in questions],
        levels_of=[question.get("level") for question in questions],
        nodes=NodeColumns(*(np.array(column, kind) for column, kind in zip(columns, types, strict=True))),
        answers=AnswerColumns(
            np.array(answer_columns[0], np.int32),
            np.array(answer_columns[1], np.int32),
            np.array(answer_columns[2], np.bool_),
        ),
        scores={
            verifier: (np.array([i for i, _ in pairs], np.int64), np.array([s for _, s in pairs], np.float32))
            for verifier, pairs in scores.items()
        },
        root_pool=case.root_pool,
        step_pool=case.step_pool,
    )


class Grower:
    """Writes nodes down with running numbers."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []

    def add(self, parent: int | None, draw: int, tokens: int, score: float | None, **more: Any) -> int:
        node = {"id": len(self.nodes) + 1, "parent": parent, "draw": draw, "tokens": tokens, **more}
        if score is not None:
            node["scores"] = {"prm": score}
        self.nodes.append(node)
        return len(self.nodes)

    def question(self, name: str, gold: str = "A", level: int | None = None) -> Question:
        return {"question_id": name, "prompt": name, "gold": gold, "level": level, "nodes": self.nodes}


def lone_prompt(name: str = "lone") -> Question:
    return Grower().question(name)


def star(name: str, solutions: Sequence[tuple[str | None, float | None]], gold: str = "A") -> Question:
    """Solutions of one step under the prompt."""
    grower = Grower()
    for draw, (answer, score) in enumerate(solutions):
        grower.add(None, draw, 3 + draw % 4, score, answer=answer)
    return grower.question(name, gold)


def chain(name: str, length: int, answer: str | None = "A", roots: int = 1) -> Question:
    """`roots` solutions of `length` steps each."""
    grower = Grower()
    for draw in range(roots):
        parent = None
        for step in range(length):
            more = {"answer": answer} if step == length - 1 else {}
            parent = grower.add(parent, draw if step == 0 else 0, step + 1, 0.5 + 0.25 * (step % 2), **more)
    return grower.question(name)


def comb(name: str, length: int, width: int) -> Question:
    """A spine of which every step has `width` children: the first goes on, the others end."""
    grower = Grower()
    parent = None
    for step in range(length):
        spine = None
        for draw in range(width):
            if draw == 0 and step < length - 1:
                spine = grower.add(parent, draw, 2, 0.5)
            else:
                grower.add(parent, draw, 5 + draw, 0.25 * (draw % 4), answer="ABC"[(draw + step) % 3])
        parent = spine
    return grower.question(name)


def tree(
    name: str, shape: Sequence[tuple[float, str | Sequence[tuple[str | None, float]]]], gold: str = "A"
) -> Question:
    """Two levels: first steps (score, [(answer, score) …]); a first step with a str as children ends there."""
    grower = Grower()
    for draw, (score, leaves) in enumerate(shape):
        if isinstance(leaves, str):
            grower.add(None, draw, 4, score, answer=leaves)
            continue
        first = grower.add(None, draw, 4, score)
        for place, (answer, leaf_score) in enumerate(leaves):
            grower.add(first, place, 2, leaf_score, answer=answer)
    return grower.question(name, gold)


def chains(name: str, attempts: Sequence[Sequence[tuple[str | None, float | None]]], gold: str = "A") -> Question:
    """Revision chains."""
    grower = Grower()
    for draw, chain_ in enumerate(attempts):
        parent = None
        for step, (answer, score) in enumerate(chain_):
            parent = grower.add(parent, draw if step == 0 else 0, 2 + (step + draw) % 5, score, answer=answer)
    return grower.question(name, gold)


AWKWARD = [
    Case(
        "one-step star",
        [star("star", [("A", 0.5), ("B", 0.75), ("A", 0.25), (None, 1.0), ("C", 0.75), ("B", 0.125)])],
    ),
    Case("one chain", [chain("chain", 5)]),
    Case("long chains", [chain("long", 45, roots=4)]),
    Case("comb", [comb("comb", 6, 4)]),
    Case("nobody answers", [star("mute", [(None, 0.5)] * 4)]),
    Case("exact tie", [star("tie", [("A", 0.5), ("B", 0.5), ("A", 0.25), ("B", 0.25), ("C", 0.75)])]),
    Case("gold never sampled", [star("gold", [("B", 0.5), ("C", 0.25), ("B", 0.125), (None, 0.5)])]),
    Case("duplicate siblings", [star("same", [("A", 0.5)] * 3 + [("B", 0.5)] * 2)]),
    Case("zero scores", [star("zero", [("B", 0.0), ("A", 0.0), ("B", 0.0), ("C", 0.5)])]),
    Case(
        "early ends",
        [
            tree(
                "early",
                [
                    (0.625, "A"),
                    (0.75, [("A", 0.875), ("B", 0.5), ("A", 0.25)]),
                    (0.625, [("C", 0.25), ("B", 0.875), ("B", 0.375)]),
                    (0.5, [("A", 1.0), ("A", 0.75), ("B", 0.125)]),
                ],
            )
        ],
    ),
    Case(
        "dead ends",
        [
            tree(
                "dead",
                [
                    (0.75, [("A", 0.875), ("B", 0.5)]),
                    (0.625, []),
                    (0.5, [("A", 1.0)]),
                    (0.25, [("C", 0.5), ("A", 0.25)]),
                ],
            )
        ],
    ),
    Case("unscored abstentions", [star("nan", [("A", 0.5), (None, None), ("B", 0.5), (None, None)])]),
    Case("two questions", [comb("first", 3, 4), chain("second", 3, None, roots=4), chain("third", 1, "B", roots=5)]),
]
LONE = Case("lone prompt", [lone_prompt()])


def random_case(seed: int, *, recorded: bool = False, holes: bool = False, continuous: bool = False) -> Case:
    """Trees with few answers and dyadic scores, so that ties abound; `holes` drops draws of a recorded run."""
    chance = random.Random(seed)
    step_pool = chance.choice([2, 4, 5])
    root_pool = chance.choice([8, 9, 16])
    questions = []
    for q in range(chance.randint(1, 4)):
        grower = Grower()

        def score() -> float:
            return chance.random() if continuous else chance.randrange(9) / 8

        def grow(parent: int | None, pool: int, depth: int) -> None:
            ended_here = depth >= chance.choice([1, 2, 3])
            for draw in range(pool):
                if holes and chance.random() < 0.08:
                    continue
                tokens = chance.randrange(12)
                if ended_here or chance.random() < 0.3:
                    answer = chance.choice(["A", "B", "C", "D", None])
                    grower.add(parent, draw, tokens, score(), answer=answer)  # noqa: B023
                else:
                    grow(grower.add(parent, draw, tokens, score()), step_pool, depth + 1)  # noqa: B023
            if chance.random() < 0.3:
                grower.add(parent, 0, 3, score(), greedy=True, answer="A")  # noqa: B023

        grow(None, root_pool, 1)
        chance.shuffle(grower.nodes)  # the order in which nodes are listed must not matter
        questions.append(grower.question(f"q{seed}-{q}", level=1 + q))
    pools = (root_pool, step_pool) if recorded else (None, None)
    return Case(f"random {seed}", questions, "steps", *pools)


def with_rollouts(case: Case, seed: int, share: float) -> Case:
    """The case with greedy steps below its sampled ones; each is left out with probability 1 - share."""
    chance = random.Random(seed)
    questions = []
    for question in case.questions:
        nodes = [node for node in question["nodes"] if not node.get("greedy", False)]
        number = max((node["id"] for node in nodes), default=0)
        for node in list(nodes):
            parent, ended = node["id"], "answer" in node
            for _ in range(4):
                if ended or chance.random() > share:
                    break
                number += 1
                ended = chance.random() < 0.3
                more: dict[str, Any] = {"answer": chance.choice(["A", "B", None])} if ended else {}
                score = {"prm": chance.randrange(9) / 8}
                tokens = chance.randint(1, 9)
                nodes.append(
                    {"id": number, "parent": parent, "tokens": tokens, "scores": score, "greedy": True, **more}
                )
                parent = number
        chance.shuffle(nodes)
        questions.append({**question, "nodes": nodes})
    return replace(case, questions=questions)


def random_chains(seed: int, *, recorded: bool = False) -> Case:
    """Revision chains of staircase lengths: chain i of 2N holds min(N, 2N / i) attempts."""
    chance = random.Random(seed)
    most = chance.choice([4, 8])
    questions = []
    for q in range(chance.randint(1, 3)):
        attempts = [
            [(chance.choice(["A", "B", "C", None]), chance.randrange(9) / 8) for _ in range(min(most, 2 * most // i))]
            for i in range(1, 2 * most + 1)
        ]
        questions.append(chains(f"c{seed}-{q}", attempts))
    return Case(f"chains {seed}", questions, "revisions", 2 * most if recorded else None, 1 if recorded else None)


def cut(case: Case, seed: int, share: float) -> Case:
    """The case as it stands in the middle of a recording: whole subtrees are not there yet."""
    chance = random.Random(seed)
    questions = []
    for question in case.questions:
        kept: set[int | None] = {None}
        nodes = []
        for node in sorted(question["nodes"], key=lambda node: node["id"]):
            if node["parent"] in kept and chance.random() < share:
                kept.add(node["id"])
                nodes.append(node)
        questions.append({**question, "nodes": nodes})
    return replace(case, questions=questions)
