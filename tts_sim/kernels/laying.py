"""Laying nodes out in level order, batch by batch: each loop checks what it reads and returns what is wrong, and where.

A node's slot is its number less the smallest one. Arrays by slot hold `question` -1 where there is no node.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tts_sim.arrays import Bools, Float32s, Int, Int8s, Int32s, Int64s
from tts_sim.kernels._jit import kernel_inlined, kernel_lean

SOUND, TWICE, NO_PARENT, WRONG_QUESTION, NEGATIVE_DRAW, DOUBLE_DRAW, CYCLE = 0, 1, 2, 3, 4, 5, 6
NEGATIVE_TOKENS, UNKNOWN_STOP, ANSWER_WITHOUT_END, UNKNOWN_ANSWER, CHILDREN_OF_THE_ENDED = 7, 8, 9, 10, 11
STRAY_SCORE, INFINITE_SCORE, NAN_SCORE = 12, 13, 14


@kernel_lean
def take_links(
    low: Int, node_id: Int64s, parent_id: Int64s, place: Int32s, draw: Int32s, greedy: Int8s,
    above: Int32s, question: Int32s, packed: Int32s, sizes: Int64s,
) -> tuple[Int, Int]:  # fmt: skip
    """Note parent (-1: the prompt), question and draw of each node at its slot; count the nodes of each question.

    A greedy child's draw d is packed as -1 - d.
    """
    span = len(question)
    for i in range(len(node_id)):
        slot = node_id[i] - low
        if slot < 0 or slot >= span:
            continue
        if question[slot] >= 0:
            return TWICE, slot
        question[slot] = place[i]
        sizes[place[i]] += 1
        if draw[i] < 0:
            return NEGATIVE_DRAW, slot
        packed[slot] = -1 - draw[i] if greedy[i] else draw[i]
        above[slot] = -1
        if parent_id[i] >= 0:
            above[slot] = parent_id[i] - low
            if parent_id[i] < low or parent_id[i] >= low + span:
                return NO_PARENT, slot
    return SOUND, 0


@kernel_lean
def gather_children(above: Int32s, question: Int32s, first: Int32s, children: Int32s) -> tuple[Int, Int]:
    """Write the slots of all children owner by owner, prompts before nodes: first[o] : first[o + 1] for owner o.

    `first` comes as zeros, two longer than there are owners: counts are kept two places on, so that filling in moves
    each start to where it belongs.
    """
    num_prompts = len(first) - 2 - len(question)
    for slot in range(len(question)):
        if question[slot] >= 0:
            if above[slot] < 0:
                first[question[slot] + 2] += 1
            else:
                if question[above[slot]] != question[slot]:
                    return (NO_PARENT if question[above[slot]] < 0 else WRONG_QUESTION), slot
                first[num_prompts + above[slot] + 2] += 1
    for owner in range(2, len(first)):
        first[owner] += first[owner - 1]
    for slot in range(len(question)):
        if question[slot] >= 0:
            owner = question[slot] if above[slot] < 0 else num_prompts + above[slot]
            children[first[owner + 1]] = slot
            first[owner + 1] += 1
    return SOUND, 0


@kernel_inlined
def goes_after(one: Int, other: Int) -> Any:
    """Whether a packed draw ranks behind another: sampled ones by draw, then greedy ones by draw."""
    if (one < 0) != (other < 0):
        return one < 0
    return one < other if one < 0 else one > other


@kernel_lean
def level_order(
    first: Int32s, children: Int32s, packed: Int32s, question_start: Int64s, row_of: Int32s, child_start: Int32s,
    child_stop: Int32s, queue: Int32s,
) -> tuple[Int, Int]:  # fmt: skip
    """Give each node its row: level by level, siblings by draw, the greedy child last.

    Siblings are sorted in place, in O(N) where they come nearly sorted. `queue` is scratch for the largest question.
    CYCLE comes with the question of which not all nodes were reached.
    """
    num_questions = len(question_start) - 1
    for q in range(num_questions):
        base = question_start[q]
        num, head = np.int64(1), np.int64(0)
        while head < num:
            owner = np.int64(q) if head == 0 else np.int64(num_questions + queue[head])
            start, stop = first[owner], first[owner + 1]
            for k in range(start + 1, stop):
                child, place = children[k], k
                while place > start and goes_after(packed[children[place - 1]], packed[child]):
                    children[place] = children[place - 1]
                    place -= 1
                children[place] = child
            child_start[base + head] = base + num
            sampled = num
            for k in range(start, stop):
                child = children[k]
                if k > start and packed[child] == packed[children[k - 1]]:
                    return DOUBLE_DRAW, max(child, children[k - 1])
                queue[num] = child
                row_of[child] = base + num
                num += 1
                if packed[child] >= 0:
                    sampled = num
            child_stop[base + head] = base + sampled
            head += 1
        if base + num < question_start[q + 1]:
            return CYCLE, q
    return SOUND, 0


@kernel_lean
def lay_draws(packed: Int32s, row_of: Int32s, draw: Int32s) -> None:
    """Unpack the draws into their rows."""
    for slot in range(len(row_of)):
        if row_of[slot] >= 0:
            draw[row_of[slot]] = packed[slot] if packed[slot] >= 0 else -1 - packed[slot]


@kernel_lean
def lay_numbers(low: Int, ranked: Int64s, row_of: Int32s, node_id: Any) -> None:
    """Write each node's number into its row: `low` + slot, or ranked[slot] if there are ranks."""
    for slot in range(len(row_of)):
        if row_of[slot] >= 0:
            node_id[row_of[slot]] = ranked[slot] if len(ranked) else low + slot


@kernel_lean
def take_ends(
    low: Int, node_id: Int64s, tokens: Int32s, answer_id: Int32s, stop: Int8s, row_of: Int32s, tokens_laid: Int32s,
    answer_laid: Int32s,
) -> tuple[Int, Int]:  # fmt: skip
    """Lay tokens and answers into their rows; an answer is the question's own number, -1 none, -2 not parsable."""
    for i in range(len(node_id)):
        slot = node_id[i] - low
        if slot < 0 or slot >= len(row_of) or row_of[slot] < 0:
            continue
        if tokens[i] < 0:
            return NEGATIVE_TOKENS, slot
        if stop[i] == 3:
            return UNKNOWN_STOP, slot
        if stop[i] == 0 and answer_id[i] >= 0:
            return ANSWER_WITHOUT_END, slot
        tokens_laid[row_of[slot]] = tokens[i]
        answer_laid[row_of[slot]] = answer_id[i] if answer_id[i] >= 0 else (-1 if stop[i] == 0 else -2)
    return SOUND, 0


@kernel_lean
def take_scores(
    low: Int, node_id: Int64s, score: Float32s, row_of: Int32s, partial: bool, column: Float32s
) -> tuple[Int, Int]:
    """Lay scores into their rows. Scores of nodes that are not here are passed over if `partial`, refused otherwise.

    What is wrong comes with its place in the batch.
    """
    for i in range(len(node_id)):
        slot = node_id[i] - low
        if slot < 0 or slot >= len(row_of) or row_of[slot] < 0:
            if not partial:
                return STRAY_SCORE, i
        elif score[i] != score[i]:
            return NAN_SCORE, i
        elif np.isinf(score[i]):
            return INFINITE_SCORE, i
        else:
            column[row_of[slot]] = score[i]
    return SOUND, 0


@kernel_lean
def finish(
    question_start: Int64s, child_start: Int32s, answer_start: Int64s, known: Bools, solutions_end: bool,
    answer: Int32s, parent: Int32s,
) -> tuple[Int, Int]:  # fmt: skip
    """Turn answers into rows of the answer table, and write each row's parent; what is wrong comes with its row.

    `solutions_end`: below a step with an answer there must be nothing.
    """
    for q in range(len(question_start) - 1):
        parent[question_start[q]] = -1
        for v in range(question_start[q], question_start[q + 1]):
            stop = child_start[v + 1] if v + 1 < question_start[q + 1] else question_start[q + 1]
            if solutions_end and answer[v] != -1 and child_start[v] < stop:
                return CHILDREN_OF_THE_ENDED, v
            for child in range(child_start[v], stop):
                parent[child] = v
            if answer[v] >= 0:
                row = answer_start[q] + answer[v]
                if row >= answer_start[q + 1] or not known[row]:
                    return UNKNOWN_ANSWER, v
                answer[v] = row
    return SOUND, 0
