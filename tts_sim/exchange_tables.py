"""The exchange on questions: what the small model reaches with the compute that a larger one would take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from tts_sim.arrays import Float64s, Int64s
from tts_sim.exchange import ExchangeTerms
from tts_sim.intervals import DRAWS, ROUNDING, t_interval
from tts_sim.lines import line_of, shared_questions
from tts_sim.outcomes import Outcomes
from tts_sim.resampling import percentile_interval, resampled_means

SLACK = 1 + 1e-9  # a multiplier that is a budget comes out of its formula with rounding
EXCHANGE: dict[str, Any] = {
    "strategy": pl.String,
    "bin": pl.Int64,
    "R": pl.Float64,
    "convention": pl.String,
    "x": pl.Float64,
    "x_read": pl.Float64,
    "bound": pl.String,
    "small": pl.Float64,
    "large": pl.Float64,
    "difference": pl.Float64,
    "se": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "boot_low": pl.Float64,
    "boot_high": pl.Float64,
    "status": pl.String,
    "num_questions": pl.Int64,
    "seed": pl.UInt64,
}
BREAK_EVEN: dict[str, Any] = {
    "strategy": pl.String,
    "bin": pl.Int64,
    "convention": pl.String,
    "x_star": pl.Float64,
    "small": pl.Float64,
    "large": pl.Float64,
    "r_star": pl.Float64,
    "r_low": pl.Float64,
    "r_high": pl.Float64,
    "r_at_most": pl.Float64,
    "num_questions": pl.Int64,
    "seed": pl.UInt64,
}


def exchange_table(
    small: Outcomes | pl.DataFrame,
    large: Outcomes | pl.DataFrame,
    terms: ExchangeTerms,
    *,
    ratios: Sequence[float],
    levels: Mapping[str, int] | None = None,
    cost: str = "generations",
    seed: int = 0,
    draws: int = DRAWS,
) -> pl.DataFrame:
    """Accuracy of the small model with x(R) samples against the larger model's, per R: one row each, columns EXCHANGE.

    `small`, `large`: outcomes of one strategy, or a frame of question_id, budget, accuracy and cost (a policy's curve).
    The larger model counts at the budget `terms.large_samples`. `levels` (question → level) adds rows for each level
    to those of all questions, whose `bin` is null. `cost`: the column that says what a budget costs; x is counted in
    the mean cost of one of the larger model's generations: budgets as they are for `generations`.

    The small model's accuracy is interpolated in log2 x between budgets, question by question, and paired with the
    larger model's: `difference`, `se`, `ci_low`, `ci_high` (t over questions, 95 %), `boot_low`, `boot_high` (bootstrap
    over questions, which draws costs too). `status` is `inside`; `beyond cache`: x exceeds the last budget, where the
    figures are read (`x_read`), and `bound` says ">=" if accuracy rises up to there, so that more can be hoped for;
    `below cache`: x is less than the first budget costs; `below one sample`: x does not pay for one. The last two have
    no figures.

    Levels must not stem from the samples that are evaluated here, or few: the bins would favour the small model.
    Raises ValueError for R ≤ 0, no R, and sides that share no question. Source: statistics §5, exchange curve.
    """
    multiples = [terms.multiplier(ratio) for ratio in ratios]
    if not multiples:
        raise ValueError("ratios: expected at least one, such as 0.16, 0.79, 22.")
    rows: list[dict[str, Any]] = []
    sides = _Sides.of(small, large, terms, cost)
    for level, part in sides.by_level(levels):
        means, sample = part.means(), part.resampled(seed, draws)
        grid = part.grid(means)[0]
        one = grid[0] / sides.first_budget
        for ratio, x in zip(ratios, multiples, strict=True):
            rows.append({
                "strategy": sides.name, "bin": level, "R": ratio, "convention": terms.convention, "x": x,
                "large": means[0, -2], "num_questions": len(part.table), "seed": seed,
            })  # fmt: skip
            if x * SLACK < grid[0]:
                rows[-1]["status"] = "below one sample" if x * SLACK < one else "below cache"
                continue
            beyond = x > grid[-1] * SLACK
            curve = part.curve(means)[0]
            rows[-1] |= {
                "status": "beyond cache" if beyond else "inside",
                "x_read": min(x, float(grid[-1])),
                "bound": ">=" if beyond and curve[-1] > curve[0] and curve[-1] >= curve.max() - ROUNDING else None,
            }
            rows[-1] |= part.figures(x, grid, sample)
    return pl.DataFrame(rows, schema=EXCHANGE)


def break_even(
    small: Outcomes | pl.DataFrame,
    large: Outcomes | pl.DataFrame,
    terms: ExchangeTerms,
    *,
    levels: Mapping[str, int] | None = None,
    cost: str = "generations",
    interpolated: bool = False,
    seed: int = 0,
    draws: int = DRAWS,
) -> pl.DataFrame:
    """The R below which the small model is the better buy, for all questions and per level: columns BREAK_EVEN.

    `x_star`: cost of the smallest budget with which the small model is as accurate as the larger one (or, if
    `interpolated`, of the first point of its curve); null if none in the cache is. `r_star`: its R*, 0 where there is
    none, inf where the small model wins at any R. `r_low`, `r_high`: 95 %, bootstrap over questions of both models
    together, draws kept at 0 and inf; they jump with the budgets unless `interpolated`. `r_at_most`: where none is
    reached, the R that just reaching it beyond the last budget could give at most. Arguments and errors as in
    `exchange_table`. Source: statistics §5, break-even R; case C24.
    """
    rows: list[dict[str, Any]] = []
    sides = _Sides.of(small, large, terms, cost)
    for level, part in sides.by_level(levels):
        means, sample = part.means(), part.resampled(seed, draws)
        x_star = float(part.reached(means, interpolated)[0])
        found = math.isfinite(x_star)
        row: dict[str, Any] = {
            "strategy": sides.name, "bin": level, "convention": terms.convention,
            "x_star": x_star if found else None,
            "large": means[0, -2], "r_star": terms.break_even_ratio(x_star if found else None),
            "r_at_most": None if found else terms.break_even_ratio(float(part.grid(means)[0, -1])),
            "num_questions": len(part.table), "seed": seed,
        }  # fmt: skip
        if found:
            row["small"] = float(_read(part.curve(means), part.grid(means), x_star)[0])
        if sample is not None:
            row["r_low"], row["r_high"] = percentile_interval(_ratios(part.reached(sample, interpolated), terms))
        rows.append(row)
    return pl.DataFrame(rows, schema=BREAK_EVEN)


class _Part(NamedTuple):
    """Questions of one level: accuracy and cost of the small model by budget, of the larger model, side by side."""

    table: Float64s  # (questions, 2 · budgets + 2)

    def means(self) -> Float64s:
        return np.asarray(self.table.mean(axis=0, keepdims=True), np.float64)

    def resampled(self, seed: int, draws: int) -> Float64s | None:
        return resampled_means(self.table, seed=seed, draws=draws) if len(self.table) > 1 else None

    def curve(self, means: Float64s) -> Float64s:
        """Accuracy of the small model by budget, one row for each row of means."""
        return means[:, : (means.shape[1] - 2) // 2]

    def grid(self, means: Float64s) -> Float64s:
        """x by budget: the cost of the small model in costs of one generation of the larger one."""
        num_budgets = (means.shape[1] - 2) // 2
        return np.asarray(np.maximum.accumulate(means[:, num_budgets:-2] / means[:, -1:], axis=1), np.float64)

    def figures(self, x: float, grid: Float64s, sample: Float64s | None) -> dict[str, float]:
        """Both accuracies at x, their difference, its error and its intervals."""
        accuracy = self.curve(self.table)
        small, large = _read(accuracy, np.broadcast_to(grid, accuracy.shape), x), self.table[:, -2]
        differences = small - large
        figures = {"small": float(small.mean()), "large": float(large.mean()), "difference": float(differences.mean())}
        if sample is not None:
            se = float(differences.std(ddof=1)) / math.sqrt(len(differences))
            low, high = t_interval(figures["difference"], se, len(differences))
            drawn = _read(self.curve(sample), self.grid(sample), x) - sample[:, -2]
            boot_low, boot_high = (float(value) for value in np.quantile(drawn, [0.025, 0.975]))
            figures |= {"se": se, "ci_low": low, "ci_high": high, "boot_low": boot_low, "boot_high": boot_high}
        return figures

    def reached(self, means: Float64s, interpolated: bool) -> Float64s:
        """The first x at which the small model's accuracy is the larger model's, inf where none is."""
        above = self.curve(means) - means[:, -2:-1]
        grid = self.grid(means)
        there = above >= -ROUNDING
        place = there.argmax(axis=1)
        rows = np.arange(len(means))
        x = grid[rows, place]
        if interpolated:
            before = np.maximum(place - 1, 0)
            rise = above[rows, place] - above[rows, before]
            share = np.where(rise > 0, -above[rows, before] / np.where(rise > 0, rise, 1.0), 1.0)
            x = grid[rows, before] * (x / grid[rows, before]) ** np.clip(share, 0.0, 1.0)
        return np.where(there.any(axis=1), x, np.inf)


class _Sides(NamedTuple):
    """Both models on the questions that they share."""

    name: str
    first_budget: int
    question_ids: list[str]
    table: Float64s

    @classmethod
    def of(
        cls, small: Outcomes | pl.DataFrame, large: Outcomes | pl.DataFrame, terms: ExchangeTerms, cost: str
    ) -> _Sides:
        left, right = line_of(small, cost, role="small"), line_of(large, cost, role="large")
        names = shared_questions([left, right])
        left, right = left.at(names), right.at(names)
        column = _at(right.budgets, terms.large_samples, right.strategy)
        price = right.cost[:, column : column + 1] / terms.large_samples
        if not left.cost.mean(axis=0)[0] > 0 or not price.mean() > 0:
            raise ValueError(f"cost {cost!r}: a budget that costs nothing cannot be exchanged.")
        table = np.hstack([left.accuracy, left.cost, right.accuracy[:, column : column + 1], price])
        return cls(left.strategy, int(left.budgets[0]), names, table)

    def by_level(self, levels: Mapping[str, int] | None) -> Iterator[tuple[int | None, _Part]]:
        """All questions, then those of each level. Questions without a level are only in the first."""
        yield None, _Part(self.table)
        if levels is None:
            return
        found = np.array([levels.get(name, 0) or 0 for name in self.question_ids], np.int64)
        if not found.any():
            raise ValueError("levels: none of the questions that both models have is among them.")
        for level in np.unique(found[found != 0]):
            yield int(level), _Part(self.table[found == level])


def _at(budgets: Int64s, wanted: float, strategy: str) -> int:
    """The column of the larger model's budget."""
    if wanted not in budgets:
        listed = ", ".join(map(str, budgets))
        raise ValueError(f"large: {strategy} holds budgets {listed}, not {wanted:g}; set large_samples to one of them.")
    return int(np.flatnonzero(budgets == wanted)[0])


def _read(values: Float64s, grid: Float64s, x: float) -> Float64s:
    """The values of each row at x, linear in log2 x between its grid points; the outermost outside of them."""
    if grid.shape[1] == 1:
        return values[:, 0]
    rows = np.arange(len(values))
    place = np.clip((grid <= x).sum(axis=1) - 1, 0, grid.shape[1] - 2)
    low, high = np.log2(grid[rows, place]), np.log2(grid[rows, place + 1])
    wide = high > low
    share = np.where(wide, np.clip((math.log2(x) - low) / np.where(wide, high - low, 1.0), 0.0, 1.0), 1.0)
    return np.asarray(values[rows, place] * (1 - share) + values[rows, place + 1] * share, np.float64)


def _ratios(x: Float64s, terms: ExchangeTerms) -> Float64s:
    """R* of each x; 0 where it is inf."""
    excess = x * terms.per_sample - terms.per_answer
    wins = excess <= 0
    return np.where(wins, np.inf, terms.saved / np.where(wins, 1.0, excess))
