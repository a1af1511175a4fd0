"""Compute-optimal policies: which strategy for which difficulty at which budget, and what that is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from cache.version import tool_version
from tts_sim.arms import Arms, arms_of
from tts_sim.arrays import Int64s
from tts_sim.bins import Bins, Rule
from tts_sim.choosing import NOTHING, Chosen, Rules, Sizes, choose_arms
from tts_sim.crossfit import Means, bootstrap_values, crossfit, figures, over_splits, split_folds
from tts_sim.draws import checked_seed
from tts_sim.outcomes import Outcomes
from tts_sim.policy_file import Candidate, Choice, Policy
from tts_sim.policy_lines import baselines, envelope
from tts_sim.policy_tables import (
    BEST_SINGLE,
    CROSSFITTED,
    ENVELOPE,
    NAIVE,
    choices_table,
    curves_table,
    folds_table,
    gains_table,
    heldout_table,
    picks_table,
    with_bootstrap,
)


@dataclass(frozen=True, eq=False)
class FittedPolicy:
    """A policy with what it is worth. Accuracies are means over questions, intervals t over questions, 95 %.

    curves   one row per (line, budget): `line` (`policy, cross-fitted`; `policy, naive`, fitted and judged on the same
             questions: its distance to the first is the optimism; `best single strategy, cross-fitted`, chosen without
             looking at difficulty; each strategy by name, at its largest budget within the limit; `envelope (oracle,
             per question)`, the best arm of each question after the fact: a bound, not a policy), `difficulty`,
             `budget`, `accuracy`, `se`, `ci_low`, `ci_high`, `cost` (realised mean, in `unit`), `num_questions`,
             `without_value` (questions left out because no supported trial gives them a value), `unit`
    choices  one row per (level, budget): `strategy`, `generations` (what it is run at), `accuracy` with its interval
             (cross-fitted, of this level's questions), `cost` (of the choice), `naive`, `num_questions`, `pooled` (too
             few questions: chosen over all levels), `agreed` (share of training sets that chose the same)
    gains    one row per (baseline, budget): `difference` of the cross-fitted policy to the baseline, paired by question
    heldout  one row per (question, budget): `level`, `accuracy`, `cost`, cross-fitted, means over the splits
    picks    one row per (split, fold, level, budget): what was chosen without that fold: `strategy`, `generations`;
             levels are those of the training folds' bins
    folds    one row per (split, question): the `fold` that holds it out
    """

    policy: Policy
    curves: pl.DataFrame
    choices: pl.DataFrame
    gains: pl.DataFrame
    heldout: pl.DataFrame
    picks: pl.DataFrame
    folds: pl.DataFrame
    left_out: int  # questions that a strategy lacks, or whose difficulty is unknown

    @property
    def levels(self) -> dict[str, int]:
        """Level of each question."""
        return dict(self.heldout.select("question_id", "level").unique(maintain_order=True).rows())


def fit_policy(
    outcomes: Outcomes,
    difficulty: Mapping[str, float],
    budgets: Sequence[float],
    *,
    seed: int,
    unit: str = "generations",
    num_bins: int | None = None,
    rule: Rule = "value",
    thresholds: Sequence[float] | None = None,
    bins: Bins | None = None,
    n_min: int = 20,
    one_se: bool = False,
    sizes: Sizes = "any",
    folds: int = 5,
    splits: int = 20,
    fold_of: Mapping[str, int] | None = None,
    bootstrap: int = 0,
    kind: str = "oracle",
    about: Mapping[str, Any] | None = None,
    cache: Mapping[str, Any] | None = None,
) -> FittedPolicy:
    """Chooses a strategy for each level of difficulty and each budget, and judges the choice on held-out questions.

    `difficulty`: question → number, high = easy; it should come from other samples than the outcomes, or the value is
    too high by O(1/samples). `budgets` are limits on the mean cost of a level, in `unit`. Candidates are all strategies
    of the outcomes at all their budgets (`sizes="largest"`: at the largest within the limit). Ties go to the cheaper,
    then by name; `one_se` lets all within one paired standard error of the best tie. Levels of fewer than `n_min`
    training questions choose over all levels. Cross-fitted over `folds` folds, stratified by level, and averaged over
    `splits` random splits; bins are fitted on the training folds (`bins` fixes them, `fold_of` a single split).
    `bootstrap`: so many resamples of the whole pipeline give the cross-fitted line its standard error and percentile
    interval in place of t. `kind`, `about` and `cache` go into the policy file.

    A question counts with its supported trials; without any under the arm it is given, it is left out and counted. A
    strategy whose support at a level is below .9 is no candidate there.
    Raises ValueError for too few questions for bins or folds, a budget below every strategy's cost, unknown units.
    Source: statistics §4; Snell et al. 2024 (arXiv:2408.03314) §3.2, two folds there.
    """
    checked_seed(seed)
    if isinstance(bootstrap, bool) or not isinstance(bootstrap, int) or bootstrap < 0 or bootstrap == 1:
        raise ValueError(f"bootstrap {bootstrap!r}: expected 0, or a number of resamples from 2.")
    rules = Rules(
        tuple(sorted({_plain(budget) for budget in budgets})), bins, num_bins, rule, thresholds, n_min, one_se, sizes
    )
    known = {question: value for question, value in difficulty.items() if value is not None}
    arms = arms_of(outcomes, unit, known)
    bounds = [strategy for strategy in arms.strategies if strategy.endswith("+oracle")]
    if bounds:
        raise ValueError(f"strategy {bounds[0]!r} knows the answer: a bound, not a choice. Leave it out.")
    values = np.array([known[question] for question in arms.question_ids], np.float64)
    whole = rules.bins_for(values)
    levels = whole.levels(values)
    if fold_of is None:
        splits_of = split_folds(arms.question_ids, levels, folds=folds, splits=splits, seed=seed)
    else:
        splits_of = _given_folds(arms.question_ids, fold_of)
    chosen = _choose(arms, levels, whole.num_bins, rules)
    everyone = np.arange(len(values))
    naive = Means(*figures(arms, chosen.arm, levels, everyone))
    held_out = crossfit(arms, values, splits_of, rules)
    crossfitted = over_splits(held_out)
    single = over_splits(crossfit(arms, values, splits_of, rules.unbinned()))
    lines = {CROSSFITTED: crossfitted, NAIVE: naive, BEST_SINGLE: single, **baselines(arms, rules)}
    lines[ENVELOPE] = envelope(arms, rules, levels)
    curves = curves_table(lines, rules, arms, kind)
    if bootstrap:
        draws = bootstrap_values(arms, values, levels, rules, folds=folds, draws=bootstrap, seed=seed)
        curves = with_bootstrap(curves, draws)
    choices = choices_table(arms, chosen, levels, rules, crossfitted, naive, held_out.picks)
    fit = {
        "num_questions": len(values), "left_out": outcomes.frame["question_id"].n_unique() - len(values),
        "folds": int(splits_of.max()) + 1, "splits": len(splits_of), "n_min": n_min, "one_se": one_se,
        "sizes": sizes, "seed": seed, "tool_version": tool_version(),
    }  # fmt: skip
    policy = Policy(
        unit=arms.unit,
        bins=whole,
        table=tuple(Choice(**row) for row in choices.select(list(Choice.__annotations__)).to_dicts()),
        candidates=_candidates(arms),
        difficulty={"kind": kind, "num_questions": np.bincount(levels, minlength=whole.num_bins + 1)[1:].tolist()}
        | dict(about or {}),
        fit=fit,
        cache=dict(cache or {}),
    )
    return FittedPolicy(
        policy=policy,
        curves=curves,
        choices=choices,
        gains=gains_table(lines, rules),
        heldout=heldout_table(arms, crossfitted, levels, rules),
        picks=picks_table(arms, held_out.picks, rules),
        folds=folds_table(arms, splits_of),
        left_out=int(fit["left_out"]),
    )


def policy_curves(
    outcomes: Outcomes, difficulties: Mapping[str, Mapping[str, float]], budgets: Sequence[float], **options: Any
) -> pl.DataFrame:
    """`curves` of `fit_policy` for several difficulties by name (oracle, predicted), one below the other.

    Lines that do not depend on difficulty stand under each. `options` as for `fit_policy`.
    """
    if not difficulties:
        raise ValueError("difficulties: expected at least one, for example {'oracle': {…}}.")
    return pl.concat(
        fit_policy(outcomes, difficulty, budgets, kind=name, **options).curves
        for name, difficulty in difficulties.items()
    )


def _plain(budget: float) -> float:
    """The budget as a Python number, whole where it is whole. Raises ValueError for what is no number."""
    if isinstance(budget, bool) or not isinstance(budget, int | float | np.integer | np.floating):
        raise ValueError(f"budget {budget!r}: expected a number above 0.")
    return int(budget) if float(budget).is_integer() and budget < 2**53 else float(budget)


def _given_folds(question_ids: Sequence[str], fold_of: Mapping[str, int]) -> Int64s:
    """One split from given folds, which are numbered from 0 in ascending order."""
    missing = [question for question in question_ids if question not in fold_of]
    if missing:
        raise ValueError(f"fold_of names no fold of {len(missing)} questions (first: {missing[0]!r}).")
    names, folds = np.unique([fold_of[question] for question in question_ids], return_inverse=True)
    if len(names) < 2:
        raise ValueError("fold_of: expected at least two folds.")
    return np.asarray(folds, np.int64)[None, :]


def _choose(arms: Arms, levels: Int64s, num_bins: int, rules: Rules) -> Chosen:
    """The policy that all questions choose. Raises ValueError where nothing is within a limit."""
    weights = np.ones(len(levels))
    chosen = choose_arms(arms, levels, weights, num_bins, rules, at_least_the_cheapest=False)
    if (chosen.arm == NOTHING).any():
        limit, level = (int(place[0]) for place in np.nonzero(chosen.arm == NOTHING))
        least = choose_arms(arms, levels, weights, num_bins, rules, at_least_the_cheapest=True).arm[0, level]
        if least == NOTHING:
            raise ValueError(f"level {level + 1}: no strategy is supported on .9 of its trials. Lower the budgets.")
        where = levels == level + 1 if not chosen.pooled[level] else np.ones(len(levels), bool)
        raise ValueError(
            f"budget {rules.limits[limit]:g} {arms.unit}: below every strategy at level {level + 1}; the cheapest is "
            f"{arms.arms[least].strategy} at {arms.arms[least].budget}, {np.nanmean(arms.cost[where, least]):.4g}."
        )
    return chosen


def _candidates(arms: Arms) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(strategy, tuple(arm.budget for arm in arms.arms if arm.strategy == strategy), *arms.sources[strategy])
        for strategy in arms.strategies
    )
