"""The choice of a policy: the best arm of each level within each limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import numpy as np

from tts_sim.arms import Arms, largest_of_each
from tts_sim.arrays import Bools, Float64s, Int64s
from tts_sim.bins import Bins, Rule, fit_bins
from tts_sim.ledger import MIN_SUPPORT

Sizes = Literal["any", "largest"]
SIZES: tuple[Sizes, ...] = get_args(Sizes)
EQUAL = 1e-12  # means that differ by rounding tie
CLOSE = 1e-9  # and costs, relatively
NOTHING = -1  # in place of an arm


@dataclass(frozen=True)
class Rules:
    """How a policy is fitted. `bins` fixes them; otherwise they are fitted with the policy."""

    limits: tuple[float, ...]
    bins: Bins | None = None
    num_bins: int | None = None
    rule: Rule = "value"
    thresholds: Sequence[float] | None = None
    n_min: int = 20
    one_se: bool = False
    sizes: Sizes = "any"

    def __post_init__(self) -> None:
        if self.n_min < 1:
            raise ValueError(f"n_min {self.n_min}: expected a whole number of questions from 1.")
        if self.sizes not in SIZES:
            raise ValueError(f"sizes {self.sizes!r}: expected one of {', '.join(SIZES)}.")
        if not self.limits or not all(0 < limit < np.inf for limit in self.limits):
            raise ValueError(f"budgets {self.limits}: expected at least one, all above 0.")

    def bins_for(self, values: Float64s) -> Bins:
        """The bins of a policy that is fitted on questions of this difficulty."""
        if self.bins is not None:
            return self.bins
        return fit_bins(values, self.num_bins, self.rule, thresholds=self.thresholds)

    def unbinned(self) -> Rules:
        """The same with a single level."""
        return replace(self, bins=Bins("absolute", ()))


class Chosen(NamedTuple):
    """Arms by limit and level, NOTHING where none is within the limit; levels that were too small to choose."""

    arm: Int64s  # (L, B)
    pooled: Bools  # (B,)


def choose_arms(
    arms: Arms, levels: Int64s, weights: Float64s, num_bins: int, rules: Rules, *, at_least_the_cheapest: bool
) -> Chosen:
    """For each level and limit the arm of the highest mean accuracy among those whose mean cost is within the limit.

    `levels` and `weights` (how often a question counts) have shape (Q,). A level of fewer than n_min questions takes
    the means over all. An arm that is supported on less than .9 of a level's trials is no candidate there. Ties go to
    the cheaper, then to the first by name and budget; with `one_se` all within one paired standard error of the best
    tie. With sizes `largest` a strategy takes part with its largest budget within the limit only (as in Snell et al.).
    Where nothing is within the limit: NOTHING, or the cheapest. Source: statistics §4.
    """
    members = (levels == np.arange(1, num_bins + 1)[:, None]) * weights
    pooled = members.sum(axis=1) < rules.n_min
    members[pooled] = weights
    sums = arms.sums(members)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, cost = sums.value / sums.valued, sums.cost / sums.priced
        supported = sums.supported / sums.size[:, None]
    usable = (supported >= MIN_SUPPORT - CLOSE) & (sums.valued > 0) & (sums.priced > 0)
    limits = np.array(rules.limits)[:, None, None]
    allowed = usable & (cost <= limits * (1 + CLOSE))  # (L, B, A)
    if at_least_the_cheapest:
        cheapest = usable & (cost <= np.where(usable, cost, np.inf).min(axis=1, keepdims=True) * (1 + CLOSE))
        allowed |= cheapest & ~allowed.any(axis=2, keepdims=True)
    if rules.sizes == "largest":
        allowed = largest_of_each(allowed, arms.strategy_of)
    score = np.where(allowed, mean, -np.inf)
    best = score.max(axis=2, keepdims=True)
    tied = allowed & (score >= best - EQUAL)
    if rules.one_se:
        tied |= allowed & (score >= best - _errors(arms, members, score.argmax(axis=2)))
    price = np.where(tied, cost, np.inf)
    cheapest = tied & (price <= price.min(axis=2, keepdims=True) * (1 + CLOSE))
    return Chosen(np.where(allowed.any(axis=2), cheapest.argmax(axis=2), NOTHING), pooled)


def _errors(arms: Arms, members: Float64s, best: Int64s) -> Float64s:
    """Standard error of each arm's mean difference to the best one, paired by question, shape (L, B, A)."""
    errors = np.zeros((*best.shape, len(arms.arms)))
    for g, weights in enumerate(members):
        taken = weights > 0
        count = weights[taken][:, None]
        for a in np.unique(best[:, g]):
            difference = arms.value[taken] - arms.value[taken, a][:, None]
            there = ~np.isnan(difference)
            difference = np.where(there, difference, 0.0)
            size = (count * there).sum(axis=0)
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = (count * difference).sum(axis=0) / size
                variance = (count * there * (difference - mean) ** 2).sum(axis=0) / (size - 1)
                error = np.sqrt(variance / size)
            errors[best[:, g] == a, g] = np.where(np.isfinite(error), error, 0.0)
    return errors
