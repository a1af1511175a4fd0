"""What a thread needs to draw children and to count votes, large enough for every question of a plan."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tts_sim.arrays import Float32s, Float64s
from tts_sim.kernels.children import Draws, Substitutes, new_draws, new_substitutes
from tts_sim.strategies.beam import POLICIES
from tts_sim.strategies.plan import Plan


class Scratch(NamedTuple):
    """Arrays of one thread."""

    most: int  # draws that a budget can ask of a prompt
    draws: Draws
    instead: Substitutes | None
    sums: Float64s  # by answer of a question


def new_scratch(plan: Plan, step_score: Float32s) -> Scratch:
    """Scratch for one thread; by their step scores nodes find whom to borrow from."""
    forest, trees = plan.forest, plan.forest.trees
    most = max(plan.budgets)
    if plan.on_exhausted != "reuse":
        most = min(most, int(forest.root_pools().max(initial=0)))
    pools = [pool for pool in (forest.root_pool, forest.step_pool) if pool is not None]
    largest = max([forest.most_children(), *pools])
    policy = POLICIES.get(plan.on_exhausted)
    rows, answers = (int(np.diff(start).max(initial=0)) for start in (trees.question_start, trees.answer_start))
    instead = None if policy is None else new_substitutes(policy, step_score, rows)
    return Scratch(most, new_draws(largest, most), instead, np.empty(answers, np.float64))
