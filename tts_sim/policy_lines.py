"""What a policy is held against: each strategy by itself, and the best arm of each question after the fact."""

from __future__ import annotations

import numpy as np

from tts_sim.arms import Arms, largest_of_each
from tts_sim.arrays import Int64s
from tts_sim.choosing import CLOSE, NOTHING, Rules
from tts_sim.crossfit import Means, figures
from tts_sim.ledger import MIN_SUPPORT


def baselines(arms: Arms, rules: Rules) -> dict[str, Means]:
    """Each strategy at its largest supported budget within each limit."""
    sums = arms.sums(np.ones((1, len(arms.question_ids))))
    with np.errstate(invalid="ignore", divide="ignore"):
        usable = (sums.supported / sums.size >= MIN_SUPPORT - CLOSE) & (sums.priced > 0)
        within = usable & (sums.cost / sums.priced <= np.array(rules.limits)[:, None] * (1 + CLOSE))
    largest = largest_of_each(within, arms.strategy_of)
    lines = {}
    for number, strategy in enumerate(arms.strategies):
        mine = largest & (arms.strategy_of == number)
        arm = np.where(mine.any(axis=1), mine.argmax(axis=1), NOTHING)[:, None]
        everyone = np.arange(len(arms.question_ids))
        lines[strategy] = Means(*figures(arms, arm, np.ones(len(everyone), np.int64), everyone))
    return lines


def envelope(arms: Arms, rules: Rules, levels: Int64s) -> Means:
    """The best arm of each question, ties to the cheaper, among those whose mean, over all or its level, is in a limit.

    Its level counts because a policy may run there what would be too dear for all.
    """
    value, cost = (np.full((len(rules.limits), len(arms.question_ids)), np.nan) for _ in range(2))
    with np.errstate(invalid="ignore", divide="ignore"):
        members = (levels == np.arange(levels.max() + 1)[:, None]).astype(np.float64)
        members[0] = 1.0  # no level is 0: all questions
        sums = arms.sums(members)
        mean_cost = sums.cost / sums.priced
    for place, limit in enumerate(rules.limits):
        fits = mean_cost <= limit * (1 + CLOSE)
        within = fits[levels] | fits[0]  # (Q, A)
        score = np.where(np.isnan(arms.value) | ~within, -np.inf, arms.value)
        there = score > -np.inf
        price = np.where(there & (score >= score.max(axis=1, keepdims=True)), arms.cost, np.inf)
        best = np.where(np.isnan(price), np.inf, price).argmin(axis=1)[:, None]
        some = there.any(axis=1)
        value[place] = np.where(some, np.take_along_axis(arms.value, best, axis=1)[:, 0], np.nan)
        cost[place] = np.where(some, np.take_along_axis(arms.cost, best, axis=1)[:, 0], np.nan)
    return Means(value, cost)
