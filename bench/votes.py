"""Votes over samples by vectorised numpy and by the usual Python loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.workloads import SEED, Workload
from tts_sim.arrays import Float64s, Int64s, UInt64s
from tts_sim.draws import MASK, mix


def numpy_weighted(workload: Workload) -> Float64s:
    """Weighted votes, every trial of a question at once: sums per answer by bincount."""
    return _numpy_votes(workload, workload.score)


def numpy_majority(workload: Workload) -> Float64s:
    """The same with weights of one."""
    return _numpy_votes(workload, np.ones(len(workload.score), np.float32))


def _numpy_votes(workload: Workload, weight: Any) -> Float64s:
    trees, budgets = workload.forest.trees, workload.budgets
    accuracy = np.empty((workload.forest.num_questions, len(budgets)))
    for q, answer, weights in _solutions(workload, weight):
        order = orders(workload, q, len(answer))
        correct = trees.answer_correct[trees.answer_start[q] : trees.answer_start[q + 1]]
        drawn, weighed = answer[order], weights[order].astype(np.float64)
        for b, budget in enumerate(budgets):
            used = len(answer) // budget * budget
            voted = drawn[:, :used].reshape(-1, budget)  # a row for each block of each trial
            cell = voted + len(correct) * np.arange(len(voted))[:, None]
            sums = np.bincount(cell.ravel(), weighed[:, :used].ravel(), len(voted) * len(correct))
            sums = sums.reshape(len(voted), len(correct))
            tied = sums == sums.max(axis=1, keepdims=True)
            accuracy[q, b] = ((tied & correct).sum(axis=1) / tied.sum(axis=1)).mean()
    return accuracy


def loop_weighted(workload: Workload) -> Float64s:
    """Weighted votes by dictionaries, a block at a time, as scripts of the field do with their subsets."""
    return _loop_votes(workload, workload.score)


def loop_majority(workload: Workload) -> Float64s:
    """The same with weights of one."""
    return _loop_votes(workload, np.ones(len(workload.score), np.float32))


def _loop_votes(workload: Workload, weight: Any) -> Float64s:
    trees, budgets = workload.forest.trees, workload.budgets
    accuracy = np.empty((workload.forest.num_questions, len(budgets)))
    for q, answers, weights in _solutions(workload, weight):
        answer, value = answers.tolist(), weights.tolist()
        correct = trees.answer_correct[trees.answer_start[q] : trees.answer_start[q + 1]].tolist()
        worth = [0.0] * len(budgets)
        for order in orders(workload, q, len(answer)).tolist():
            for b, budget in enumerate(budgets):
                blocks = len(answer) // budget
                for start in range(0, blocks * budget, budget):
                    sums: dict[int, float] = {}
                    for i in order[start : start + budget]:
                        sums[answer[i]] = sums.get(answer[i], 0.0) + value[i]
                    highest = max(sums.values())
                    tied = [correct[a] for a, total in sums.items() if total == highest]
                    worth[b] += sum(tied) / len(tied) / blocks
        accuracy[q] = np.array(worth) / workload.trials
    return accuracy


def _solutions(workload: Workload, weight: Any) -> list[tuple[int, Int64s, Any]]:
    """Question, answers and weights of its solutions, in draw order (as they were grown)."""
    num_questions = workload.forest.num_questions
    start = np.searchsorted(workload.nodes.question, np.arange(num_questions + 1))
    return [
        (q, workload.nodes.answer_id[start[q] : start[q + 1]].astype(np.int64), weight[start[q] : start[q + 1]])
        for q in range(num_questions)
    ]


def orders(workload: Workload, q: int, pool: int) -> Int64s:
    """The order in which each trial visits the samples, shape (trials, K): our random stream, so that results agree."""
    question_key = mix(SEED, int(workload.forest.trees.question_key[q]))
    key = np.array([mix(question_key, trial) for trial in range(workload.trials)], np.uint64)
    places = np.tile(np.arange(pool), (workload.trials, 1))
    rows = np.arange(workload.trials)
    for i in range(pool):
        bits = _mixed(key, (1 << 32) + i) >> np.uint64(32)
        j = i + ((bits * np.uint64(pool - i)) >> np.uint64(32)).astype(np.int64)
        taken = places[rows, j]
        places[rows, j] = places[:, i]
        places[:, i] = taken
    return places


def _mixed(key: UInt64s, counter: int) -> UInt64s:
    z = key + np.uint64((0x9E3779B97F4A7C15 * (counter + 1)) & MASK)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
