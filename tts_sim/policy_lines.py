"""What a policy is held against: each strategy by itself, and the best arm of each question after the fact."""

from __future__ import annotations

import numpy as np

from tts_sim.arms import Arms, largest_of_each
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


def envelope(arms: Arms, rules: Rules) -> Means:
    """The best arm of each question, ties to the cheaper, among those whose mean over all is within a limit."""
    value, cost = (np.full((len(rules.limits), len(arms.question_ids)), np.nan) for _ in range(2))
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = arms.sums(np.ones((1, len(arms.question_ids))))
        mean_cost = (sums.cost / sums.priced)[0]
    for place, limit in enumerate(rules.limits):
        within = mean_cost <= limit * (1 + CLOSE)
        if not within.any():
            continue
        score = np.where(np.isnan(arms.value), -np.inf, arms.value)[:, within]
        price = np.where(score >= score.max(axis=1, keepdims=True), arms.cost[:, within], np.inf)
        best = np.where(np.isnan(price), np.inf, price).argmin(axis=1)[:, None]
        value[place] = np.take_along_axis(arms.value[:, within], best, axis=1)[:, 0]
        cost[place] = np.take_along_axis(arms.cost[:, within], best, axis=1)[:, 0]
    return Means(value, cost)
