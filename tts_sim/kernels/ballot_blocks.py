"""Disjoint blocks of a trial: what a selection makes of each, summed over them."""

from __future__ import annotations

import numpy as np

from tts_sim.arrays import Float64s, Int, Int64s, Key
from tts_sim.kernels._jit import kernel_called
from tts_sim.kernels.chains import Ballots
from tts_sim.kernels.draws import TIE, child_key, mix


@kernel_called
def cast_in_order(
    cast: Ballots, order: Int64s, draws: Int64s, reuse: bool, key: Key, stop: Int64s, box: Ballots
) -> None:
    """Write the ballots of the chains `order` one after the other into `box`; those of the first i end at stop[i].

    Of several alternatives the one stands for its chain whose own key in this trial is smallest.
    """
    alternative, place, ballot, tied = cast.alternative, cast.place, cast.ballot, cast.tied
    answer, weight, right = cast.answer, cast.weight, cast.right
    box_answer, box_weight, box_tied, box_right = box.answer, box.weight, box.tied, box.right
    num = len(alternative) - 1
    if ballot[alternative[num]] == num:  # one ballot a chain: nothing to choose, nothing to count
        for i in range(len(order)):
            k = order[i]
            box_answer[i], box_weight[i], box_tied[i], box_right[i] = answer[k], weight[k], tied[k], right[k]
            stop[i + 1] = i + 1
        stop[0] = 0
        return
    filled = 0
    stop[0] = 0
    for i in range(len(order)):
        chosen = alternative[order[i]]
        if alternative[order[i] + 1] - chosen > 1:
            own = child_key(key, i if reuse else draws[order[i]])
            lowest = mix(own, TIE + np.uint64(place[chosen]))
            for m in range(chosen + 1, alternative[order[i] + 1]):
                tie = mix(own, TIE + np.uint64(place[m]))
                if tie < lowest:
                    chosen, lowest = m, tie
        for k in range(ballot[chosen], ballot[chosen + 1]):
            box_answer[filled], box_weight[filled] = answer[k], weight[k]
            box_tied[filled], box_right[filled] = tied[k], right[k]
            filled += 1
        stop[i + 1] = filled


@kernel_called
def sum_votes(box: Ballots, stop: Int64s, size: Int, blocks: Int, sums: Float64s) -> tuple[float, float]:
    """Sum, and sum of squares, over blocks of the share of correct ones among the answers with the most weight.

    Block i holds the ballots of the chains i * size : (i + 1) * size; an empty vote is worth 0. Weights must not be
    negative: sums only grow, so the largest ever seen is the winner's. `sums`, with a place per answer of the question
    and one more, is -1 everywhere and left so.
    """
    answer, weight, correct = box.answer, box.weight, box.right
    total, squares = 0.0, 0.0
    for block in range(blocks):
        first, last = stop[block * size], stop[(block + 1) * size]
        highest, tied, right = -1.0, 0, 0
        for k in range(first, last):
            after = max(sums[answer[k]], 0.0) + weight[k]
            sums[answer[k]] = after
            highest = max(highest, after)
        for k in range(first, last):
            won = sums[answer[k]] == highest
            sums[answer[k]] = -1.0  # an answer is counted once
            tied += won
            right += won * correct[k]
        value = right / tied if tied else 0.0
        total += value
        squares += value * value
    return total, squares


@kernel_called
def sum_best(box: Ballots, stop: Int64s, size: Int, blocks: Int) -> tuple[float, float]:
    """The same of the share of correct ones among the attempts with the highest score."""
    weight, sharing, correct = box.weight, box.tied, box.right
    total, squares = 0.0, 0.0
    for block in range(blocks):
        highest, tied, right = -np.inf, 0, 0
        for k in range(stop[block * size], stop[(block + 1) * size]):
            leads, joins = weight[k] > highest, weight[k] == highest
            tied = sharing[k] if leads else tied + joins * sharing[k]
            right = correct[k] if leads else right + joins * correct[k]
            highest = weight[k] if leads else highest
        value = right / tied if tied else 0.0
        total += value
        squares += value * value
    return total, squares


@kernel_called
def sum_any(box: Ballots, stop: Int64s, size: Int, blocks: Int) -> tuple[float, float]:
    """The same of whether any attempt is correct."""
    correct = box.right
    solved = 0
    for block in range(blocks):
        right = 0
        for k in range(stop[block * size], stop[(block + 1) * size]):
            right += correct[k]
        solved += right > 0
    return float(solved), float(solved)
