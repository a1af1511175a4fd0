"""From columns to trees: our level order, and node objects in a loop. The result is the tokens under each prompt."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bench.workloads import Workload, forest_of
from tts_sim.arrays import Float64s


@dataclass
class Node:
    tokens: int
    children: list[Node] = field(default_factory=list)


def arrays(workload: Workload) -> Float64s:
    """Build the forest, checks included."""
    forest = forest_of(workload.nodes, workload.answers, workload.score, workload.forest.num_questions)
    return np.add.reduceat(forest.trees.tokens, forest.trees.question_start[:-1]).astype(np.float64)


def objects(workload: Workload) -> Float64s:
    """Build an object per node, then walk the trees."""
    nodes = workload.nodes
    prompts = [Node(0) for _ in range(workload.forest.num_questions)]
    known: dict[int, Node] = {}
    columns = (nodes.question.tolist(), nodes.node_id.tolist(), nodes.parent_id.tolist(), nodes.tokens.tolist())
    for question, number, parent, tokens in zip(*columns, strict=True):
        node = known[number] = Node(tokens)
        (prompts[question] if parent < 0 else known[parent]).children.append(node)
    totals = []
    for prompt in prompts:
        total, open_nodes = 0, [prompt]
        while open_nodes:
            node = open_nodes.pop()
            total += node.tokens
            open_nodes.extend(node.children)
        totals.append(total)
    return np.array(totals, np.float64)
