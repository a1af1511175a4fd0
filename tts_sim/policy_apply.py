"""A fitted policy on other outcomes: what it reaches there, and what a policy of their own would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tts_sim.arms import Arm, Arms, arms_of
from tts_sim.arrays import Float64s, Int64s
from tts_sim.choosing import CLOSE
from tts_sim.crossfit import figures
from tts_sim.errors import CacheExhausted
from tts_sim.ledger import MIN_SUPPORT
from tts_sim.outcomes import Outcomes
from tts_sim.policy import FittedPolicy, fit_policy
from tts_sim.policy_file import Policy
from tts_sim.policy_tables import summary


@dataclass(frozen=True, eq=False)
class AppliedPolicy:
    """What a policy reaches on outcomes that it was not fitted on; intervals t over questions, 95 %.

    values  one row a budget: `accuracy`, `se`, `ci_low`, `ci_high`, `cost` (realised), `own` (the policy that these
            outcomes would choose, cross-fitted), `loss` (own minus applied, paired by question) with `loss_low`,
            `loss_high`, `num_questions`, `without_value`, `unit`
    levels  one row per (level, budget): `strategy`, `generations` of the policy and its figures as above;
            `own_strategy`, `own_generations` and `own`, `loss` of the choice made here; `fitted` (its accuracy where
            it was fitted), `num_questions` here and `fitted_questions` there, `moved` (the choices differ)
    own     the policy that these outcomes choose in the same bins
    """

    values: pl.DataFrame
    levels: pl.DataFrame
    own: FittedPolicy


def apply_policy(policy: Policy, outcomes: Outcomes, difficulty: Mapping[str, float], *, seed: int) -> AppliedPolicy:
    """Applies a policy to other outcomes with the same strategies; its bins stay as they are.

    `difficulty` as in `fit_policy`, of the kind that the policy was fitted with. A loss can be negative: a choice that
    was made here can be worse than one that was made on more questions.
    Raises ValueError for outcomes without a choice of the policy, CacheExhausted where less than .9 of its trials at a
    level are supported.
    """
    known = {question: value for question, value in difficulty.items() if value is not None}
    arms = arms_of(outcomes, policy.unit, known)
    levels = policy.bins.levels([known[question] for question in arms.question_ids])
    chosen = _chosen(policy, arms, levels)
    value, cost = figures(arms, chosen, levels, np.arange(len(levels)))
    fit = policy.fit
    own = fit_policy(
        outcomes, known, policy.budgets, seed=seed, unit=policy.unit, bins=policy.bins,
        n_min=_setting(fit, "n_min", 20), one_se=fit.get("one_se") is True, sizes=_sizes(fit),
        folds=min(_setting(fit, "folds", 5), len(levels)), splits=_setting(fit, "splits", 20),
    )  # fmt: skip
    own_value = own.heldout.sort("budget", "question_id")["accuracy"].fill_null(np.nan).to_numpy()
    own_value = own_value.reshape(len(policy.budgets), -1)
    everyone = np.ones(len(levels), np.bool_)
    values = [
        {"budget": budget, "unit": policy.unit, "without_value": int(np.isnan(value[place]).sum())}
        | _compared(value[place], cost[place], own_value[place], everyone)
        for place, budget in enumerate(policy.budgets)
    ]
    rows = []
    for g in range(policy.bins.num_bins):
        for place, budget in enumerate(policy.budgets):
            there = policy.at(g + 1, budget)
            here = own.policy.at(g + 1, budget)
            rows.append(
                {"level": g + 1, "budget": budget, "strategy": there.strategy, "generations": there.generations,
                 "fitted": there.accuracy, "fitted_questions": there.num_questions,
                 "own_strategy": here.strategy, "own_generations": here.generations,
                 "moved": (there.strategy, there.generations) != (here.strategy, here.generations)}
                | _compared(value[place], cost[place], own_value[place], levels == g + 1)
            )  # fmt: skip
    figures_ = {name: pl.Float64 for name in ("accuracy", "se", "ci_low", "ci_high", "cost", *OWN)}
    counts = {"num_questions": pl.Int64}
    budget_type = own.curves.schema["budget"]
    of_values: dict[str, Any] = {
        "budget": budget_type,
        **figures_,
        **counts,
        "without_value": pl.Int64,
        "unit": pl.String,
    }
    of_levels: dict[str, Any] = {
        "level": pl.Int64, "budget": budget_type, "strategy": pl.String, "generations": pl.Int64, **figures_,
        "own_strategy": pl.String, "own_generations": pl.Int64, "moved": pl.Boolean, **counts, "fitted": pl.Float64,
        "fitted_questions": pl.Int64,
    }  # fmt: skip
    return AppliedPolicy(pl.DataFrame(values, schema=of_values), pl.DataFrame(rows, schema=of_levels), own)


OWN = ("own", "loss", "loss_low", "loss_high")


def _chosen(policy: Policy, arms: Arms, levels: Int64s) -> Int64s:
    """The arms of the policy, shape (L, B)."""
    place = {arm: number for number, arm in enumerate(arms.arms)}
    chosen = np.empty((len(policy.budgets), policy.bins.num_bins), np.int64)
    for limit, budget in enumerate(policy.budgets):
        for g in range(policy.bins.num_bins):
            choice = policy.at(g + 1, budget)
            arm = Arm(choice.strategy, choice.generations)
            if arm not in place:
                raise ValueError(
                    f"the policy chooses {arm.strategy} at {arm.budget} (level {g + 1}); these outcomes do not hold it."
                )
            chosen[limit, g] = place[arm]
            supported = arms.supported[levels == g + 1, place[arm]]
            if len(supported) and supported.mean() < MIN_SUPPORT - CLOSE:
                raise CacheExhausted(
                    f"the policy chooses {arm.strategy} at {arm.budget} for level {g + 1}, where this cache supports "
                    f"{supported.mean():.2f} of its trials. Record what it lacks (`tts-sim demand`)."
                )
    return chosen


def _compared(value: Float64s, cost: Float64s, own: Float64s, members: Any) -> dict[str, Any]:
    """Figures of some questions under the policy, under their own, and the loss between them."""
    priced = cost[members & ~np.isnan(cost)]
    loss = summary((own - value)[members])
    return summary(value[members]) | {
        "cost": float(priced.mean()) if len(priced) else None,
        "own": summary(own[members])["accuracy"],
        "loss": loss["accuracy"],
        "loss_low": loss.get("ci_low"),
        "loss_high": loss.get("ci_high"),
    }


def _setting(fit: Mapping[str, Any], name: str, default: int) -> int:
    """A setting of the fit, or the default where the file does not say it properly."""
    value = fit.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else default


def _sizes(fit: Mapping[str, Any]) -> Any:
    return "largest" if fit.get("sizes") == "largest" else "any"
