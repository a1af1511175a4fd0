"""Runs of trees in which draws have roles, and the runs that some of their draws make up."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from tests.forests import Case, Grower, Question
from tts_sim.roles import Roles

POOL, STEP_POOL = 48, 4


def run_of_trees(seed: int, *, recorded: bool = True, pool: int = POOL) -> Case:
    """Two questions, trees of two to three steps, greedy steps among them."""
    chance = random.Random(seed)
    questions = []
    for q in range(2):
        grower = Grower()
        for draw in range(pool):
            parents = [grower.add(None, draw, chance.randrange(9), chance.randrange(9) / 8)]
            for depth in (2, 3):
                below = []
                for parent in parents:
                    ends = depth == 3 or chance.random() < 0.4
                    for place in range(STEP_POOL):
                        more: dict[str, Any] = {"answer": chance.choice(["A", "B", "C", None])} if ends else {}
                        number = grower.add(parent, place, chance.randrange(9), chance.randrange(9) / 8, **more)
                        below += [] if ends else [number]
                    grower.add(parent, 0, 1, 0.5, greedy=True, answer="A")
                parents = below
        questions.append(grower.question(f"q{seed}-{q}"))
    return Case("trees", questions, "steps", pool if recorded else None, STEP_POOL if recorded else None)


def only(case: Case, draws: dict[str, list[int]], root_pool: int | None) -> Case:
    """The case with these root draws of each question alone, whole subtrees, numbered anew."""
    questions: list[Question] = []
    for question in case.questions:
        taken = draws[question["question_id"]]
        kept: set[int] = set()
        nodes = []
        for node in question["nodes"]:
            if node["parent"] is None and not node.get("greedy", False) and node["draw"] in taken:
                nodes.append({**node, "draw": taken.index(node["draw"])})
            elif node["parent"] in kept:
                nodes.append(node)
            else:
                continue
            kept.add(node["id"])
        questions.append({**question, "nodes": nodes})
    return replace(case, questions=questions, root_pool=root_pool)


def rest(case: Case, chosen: dict[str, list[int]], size: int | None) -> dict[str, list[int]]:
    """The first `size` of the other draws, all where it is None."""
    pools = {q["question_id"]: sum(node["parent"] is None for node in q["nodes"]) for q in case.questions}
    pool = case.root_pool
    return {
        name: [draw for draw in range(pools[name] if pool is None else pool) if draw not in taken][:size]
        for name, taken in chosen.items()
    }


def listed(roles: Roles) -> dict[str, list[int]]:
    return {name: draws.tolist() for name, draws in roles.draws.items()}


def stays(question: Question, node: dict[str, Any], left: dict[str, list[int]]) -> bool:
    """Whether a node hangs below one of these root draws."""
    nodes = {other["id"]: other for other in question["nodes"]}
    while node["parent"] is not None:
        node = nodes[node["parent"]]
    return node["draw"] in left[question["question_id"]]
