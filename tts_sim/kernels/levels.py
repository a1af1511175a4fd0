"""Trees in level order: rows out of parents, solutions under a prompt, scores along paths."""

from __future__ import annotations

import numpy as np

from tts_sim.arrays import Bools, Float32s, Int, Int32s, Int64s, Solutions, Trees
from tts_sim.kernels._jit import kernel
from tts_sim.kernels.draws import cached_child, pool_size

SOUND, WRONG_QUESTION, DOUBLE_DRAW, CYCLE = 0, 1, 2, 3
COMPLETE, MISSING, EXHAUSTED = 0, 1, 2
LAST, MIN, PROD, MEAN = 0, 1, 2, 3


@kernel
def level_order(
    question: Int32s,
    above: Int32s,
    draw: Int32s,
    greedy: Bools,
    question_start: Int64s,
    source: Int32s,
    parent: Int32s,
    child_start: Int32s,
    child_stop: Int32s,
) -> tuple[Int, Int]:
    """Lay nodes out in level order, question by question; return (SOUND, 0) or what is wrong and the node.

    `above` is the place of a node's parent among the nodes, -1 under the prompt. The last five arrays are written:
    `source` is the place of the node that stands in a row, -1 for a prompt. O(N) for draws that come nearly sorted.
    """
    num_questions, num_nodes = len(question_start) - 1, len(question)
    first = np.zeros(num_questions + num_nodes + 1, np.int32)  # by owner: prompts, then nodes
    for i in range(num_nodes):
        if above[i] < 0:
            first[question[i] + 1] += 1
        else:
            if question[above[i]] != question[i]:
                return WRONG_QUESTION, i
            first[num_questions + above[i] + 1] += 1
    for owner in range(num_questions + num_nodes):
        first[owner + 1] += first[owner]
    filled = first[:-1].copy()
    children = np.empty(num_nodes, np.int32)
    for i in range(num_nodes):
        owner = question[i] if above[i] < 0 else num_questions + above[i]
        children[filled[owner]] = i
        filled[owner] += 1
    rank = np.empty(num_nodes, np.int64)  # sampled before greedy, then by draw
    for i in range(num_nodes):
        rank[i] = np.int64(draw[i]) + (np.int64(1) << 40 if greedy[i] else np.int64(0))
    for owner in range(num_questions + num_nodes):
        start, stop = first[owner], first[owner + 1]
        for k in range(start + 1, stop):
            child = children[k]
            place = k
            while place > start and rank[children[place - 1]] > rank[child]:
                children[place] = children[place - 1]
                place -= 1
            children[place] = child
        for k in range(start + 1, stop):
            if rank[children[k]] == rank[children[k - 1]]:
                return DOUBLE_DRAW, np.int64(max(children[k], children[k - 1]))
    tail = 0
    for q in range(num_questions):
        question_start[q] = tail
        source[tail] = -1
        parent[tail] = -1
        head = tail
        tail += 1
        while head < tail:
            owner = q if source[head] < 0 else num_questions + source[head]
            child_start[head] = tail
            sampled = tail
            for k in range(first[owner], first[owner + 1]):
                child = children[k]
                source[tail] = child
                parent[tail] = head
                tail += 1
                if not greedy[child]:
                    sampled = tail
            child_stop[head] = sampled
            head += 1
    question_start[num_questions] = tail
    if tail < num_questions + num_nodes:
        placed = np.zeros(num_nodes, np.bool_)
        for row in range(tail):
            if source[row] >= 0:
                placed[source[row]] = True
        for i in range(num_nodes):
            if not placed[i]:
                return CYCLE, i
    return SOUND, 0


@kernel
def follow(trees: Trees, root_pool: Int, step_pool: Int, found: Solutions) -> None:
    """Fill in what each root draw leads to when draw 0 is taken at every later step."""
    for q in range(len(trees.question_start) - 1):
        prompt = trees.question_start[q]
        for place in range(found.start[q], found.start[q + 1]):
            v = prompt
            draw = place - found.start[q]
            pool = root_pool
            tokens = np.int64(0)
            found.state[place] = COMPLETE
            while True:
                child = cached_child(trees, v, draw, pool)
                if child < 0:
                    found.state[place] = EXHAUSTED if pool_size(trees, v, pool) <= draw else MISSING
                    break
                v = child
                tokens += trees.tokens[v]
                if trees.answer[v] != -1:
                    break
                draw = np.int64(0)
                pool = step_pool
            found.row[place] = v
            found.draw[place] = draw
            found.tokens[place] = tokens


@kernel
def path_scores(trees: Trees, score: Float32s, aggregate: Int, out: Float32s) -> None:
    """Min, product or mean of the scores from the first step to each node; NaN where one of them is not scored.

    float64 along the path, rounded once: sums of float32 values over a few hundred solutions then come out the
    same in any order, so that votes which tie, tie.
    """
    running = np.zeros(len(score), np.float64)
    depth = np.zeros(len(score), np.int32)
    for v in range(len(score)):
        above = trees.parent[v]
        if above < 0:
            running[v] = 0.0 if aggregate == MEAN else (np.inf if aggregate == MIN else 1.0)
            out[v] = np.nan
            continue
        value = np.float64(score[v])
        depth[v] = depth[above] + 1
        if aggregate == MIN:
            if value != value or running[above] != running[above]:
                running[v] = np.nan
            else:
                running[v] = min(value, running[above])
            out[v] = running[v]
        elif aggregate == PROD:
            running[v] = running[above] * value
            out[v] = running[v]
        else:
            running[v] = running[above] + value
            out[v] = running[v] / depth[v]


@kernel
def chain_lengths(trees: Trees, pool: Int, start: Int64s, lengths: Int32s) -> None:
    """Number of attempts in the chain that begins at each cached root child, draw 0 being taken at every later one."""
    for q in range(len(trees.question_start) - 1):
        prompt = trees.question_start[q]
        for i in range(start[q + 1] - start[q]):
            v = np.int64(trees.child_start[prompt]) + i
            length = 0
            while v >= 0:
                length += 1
                v = cached_child(trees, v, np.int64(0), pool)
            lengths[start[q] + i] = length
