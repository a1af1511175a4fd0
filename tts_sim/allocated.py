"""A total budget allocated over questions or bins of them, from outcomes: what it promises, and what it keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tts_sim.allocation import Allocation, allocate
from tts_sim.arrays import Bools, Float64s, Int64s
from tts_sim.best_option import FOLDS, SPLITS
from tts_sim.draws import checked_seed
from tts_sim.intervals import t_interval
from tts_sim.lines import lines_of, shared_questions
from tts_sim.outcomes import Outcomes
from tts_sim.resampling import fold_numbers


@dataclass(frozen=True)
class AllocatedOutcomes:
    """An allocation and its accuracy over all questions.

    `allocation` is made on all questions; `naive` is the accuracy that it promises for them, which flatters.
    `accuracy`, its 95 % interval (t over questions) and `cost` are cross-fitted: what allocations made on other
    questions reach and spend here. `uniform` is the best single option for the same total, chosen and measured alike;
    `gain`, with its interval, the paired difference; null where the total pays for no option on every question. All of
    these are null where every question is an item: no other question tells its values.
    """

    allocation: Allocation
    unit: str
    num_questions: int
    naive: float
    uniform_naive: float | None
    accuracy: float | None
    se: float | None
    ci_low: float | None
    ci_high: float | None
    cost: float | None
    uniform: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    seed: int


def allocate_outcomes(
    outcomes: Outcomes | pl.DataFrame,
    total: float,
    *,
    groups: Mapping[str, Any] | None = None,
    unit: str = "generations",
    abstain: bool = True,
    folds: int = FOLDS,
    splits: int = SPLITS,
    seed: int = 0,
) -> AllocatedOutcomes:
    """Allocates `total`, in `unit` over all questions together, to bins of questions: a strategy and a budget for each.

    `groups` (question → bin) says which questions get the same; None: each question by itself, an upper envelope, as
    its values are only known once it has been answered. Questions without a bin are left out. Options are all
    strategies and budgets of the outcomes, and nothing at all if `abstain`. Bins that are made of the samples that are
    evaluated flatter even what is cross-fitted.
    Raises ValueError as `allocate`, and for groups that hold none of the questions. Source: statistics §4.
    """
    checked_seed(seed)
    if folds < 2 or splits < 1:
        raise ValueError(f"folds={folds}, splits={splits}: expected at least 2 folds and 1 split.")
    lines = lines_of(outcomes, unit)
    names = shared_questions(lines)
    if groups is not None:
        names = [name for name in names if groups.get(name) is not None]
        if not names:
            raise ValueError("groups: none of the questions is in a group.")
    lines = [line.at(names) for line in lines]
    options = _Options(
        pl.DataFrame(
            [(line.run, line.strategy, line.verifier, int(budget)) for line in lines for budget in line.budgets],
            schema={"run": pl.String, "strategy": pl.String, "verifier": pl.String, "budget": pl.Int64},
            orient="row",
        ),
        np.hstack([line.accuracy for line in lines]),
        np.hstack([line.cost for line in lines]),
    )
    count = len(names)
    items = names if groups is None else sorted({groups[name] for name in names})
    place = {item: number for number, item in enumerate(items)}
    item_of = np.array([place[name if groups is None else groups[name]] for name in names], np.int64)
    sizes = np.bincount(item_of, minlength=len(items))
    everyone = np.ones(count, np.bool_)
    chosen = allocate(options.frame(items, item_of, sizes, everyone), total, abstain=abstain)
    figures: dict[str, Any] = dict.fromkeys(
        ("accuracy", "se", "ci_low", "ci_high", "cost", "uniform", "gain", "gain_low", "gain_high")
    )
    best = options.uniform(everyone, total / count)
    if groups is not None and count > 1:
        figures = _held_out(options, items, item_of, sizes, total, abstain, min(folds, count), splits, seed)
    naive_uniform = None if best is None else float(options.accuracy[:, best].mean())
    return AllocatedOutcomes(
        allocation=chosen, unit=unit, num_questions=count, naive=chosen.value / count, uniform_naive=naive_uniform,
        seed=seed, **figures,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Options:
    """All strategies and budgets, and what each reaches and costs, shape (questions, options)."""

    names: pl.DataFrame
    accuracy: Float64s
    costs: Float64s

    def frame(self, items: Sequence[Any], item_of: Int64s, sizes: Int64s, known: Bools) -> pl.DataFrame:
        """Options of each item by the mean over its known questions (all known ones, where it has none)."""
        parts = []
        for number, item in enumerate(items):
            rows = known & (item_of == number)
            rows = rows if rows.any() else known
            parts.append(
                self.names.with_columns(
                    item=pl.lit(item),
                    weight=pl.lit(float(sizes[number])),
                    option=pl.int_range(len(self.names)),
                    cost=pl.Series(self.costs[rows].mean(axis=0)),
                    value=pl.Series(self.accuracy[rows].mean(axis=0)),
                )
            )
        return pl.concat(parts)

    def uniform(self, known: Bools, each: float) -> int | None:
        """The best option within a cost for each question, the cheaper one at a tie; None: there is none."""
        costs, values = self.costs[known].mean(axis=0), self.accuracy[known].mean(axis=0)
        fits = np.flatnonzero(costs <= each * (1 + 1e-9))
        if not len(fits):
            return None
        top = fits[values[fits] >= values[fits].max() - 1e-12]
        return int(top[np.argmin(costs[top])])


def _held_out(
    options: _Options, items: Sequence[Any], item_of: Int64s, sizes: Int64s, total: float, abstain: bool, folds: int,
    splits: int, seed: int,
) -> dict[str, float | None]:  # fmt: skip
    """Figures of allocations that are made without the questions on which they are measured."""
    random = np.random.default_rng(seed)
    count = len(item_of)
    value, cost, uniform = np.zeros(count), np.zeros(count), np.zeros(count)
    uniform_fits = True
    for _ in range(splits):
        fold = fold_numbers(count, folds, random)
        for number in range(folds):
            known, here = fold != number, np.flatnonzero(fold == number)
            picks = allocate(options.frame(items, item_of, sizes, known), total, abstain=abstain).frame["option"]
            pick = np.array([-1 if option is None else option for option in picks], np.int64)[item_of[here]]
            answered = pick >= 0
            value[here[answered]] += options.accuracy[here[answered], pick[answered]]
            cost[here[answered]] += options.costs[here[answered], pick[answered]]
            best = options.uniform(known, total / count)
            if best is None:
                uniform_fits = False
            else:
                uniform[here] += options.accuracy[here, best]
    value, uniform = value / splits, uniform / splits
    figures: dict[str, float | None] = dict.fromkeys(("uniform", "gain", "gain_low", "gain_high"))
    figures["cost"] = float(cost.sum()) / splits
    means = {"accuracy": value}
    if uniform_fits:
        figures["uniform"] = float(uniform.mean())
        means["gain"] = value - uniform
    for name, values in means.items():
        mean, se = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(count)
        low, high = t_interval(mean, se, count)
        if name == "accuracy":
            figures |= {"accuracy": mean, "se": se, "ci_low": low, "ci_high": high}
        else:
            figures |= {"gain": mean, "gain_low": low, "gain_high": high}
    return figures
