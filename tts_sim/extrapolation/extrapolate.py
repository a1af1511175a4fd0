"""Accuracy beyond the cache: by a model that passed its tests, with bounds that need none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from tts_sim.arrays import Float64s
from tts_sim.draws import checked_seed
from tts_sim.errors import CacheExhausted
from tts_sim.extrapolation import gate
from tts_sim.extrapolation.bounds import coverage_bounds
from tts_sim.extrapolation.counts import Counts, counts_of, coverage, powers
from tts_sim.extrapolation.coverage_models import COVERAGE_MODELS, coverage_refits
from tts_sim.extrapolation.plugin import votes_beyond
from tts_sim.extrapolation.power_law import saturating
from tts_sim.extrapolation.resampling import Refit, percentiles, question_weights, seen
from tts_sim.forest import Forest
from tts_sim.outcomes import VALUE
from tts_sim.replay import check_budgets, checked_budgets, checked_choice, checked_strategies, chosen_verifier, replay
from tts_sim.selections import Majority, Oracle, Weighted
from tts_sim.spec import Strategy
from tts_sim.strategies.sample import Sample

COLUMNS: dict[str, Any] = {
    "run": pl.String,
    "strategy": pl.String,
    "model": pl.String,
    "k": pl.Int64,
    "value": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "range_low": pl.Float64,
    "range_high": pl.Float64,
    "bound_low": pl.Float64,
    "bound_high": pl.Float64,
    "limit": pl.Float64,
    "near_ties": pl.Float64,
    "misfit": pl.Float64,
    "held_out_z": pl.Float64,
    "num_samples": pl.Int64,
    "num_questions": pl.Int64,
    "seed": pl.UInt64,
    "refused": pl.String,
}
MODELS = ("auto", *COVERAGE_MODELS, "plugin")
FEWEST_SAMPLES = 8  # a quarter of them must still tell a spread of rates
FEWEST_SAMPLES_CURVE = 32  # four budgets within a quarter of them, for three parameters
FEWEST_QUESTIONS = 20
NO_MODEL = (
    "best-of-n has no model: beyond the samples it is decided by scores higher than any that were seen, and resampling "
    "cannot exceed the cached maximum. Record more samples, or fit the curve (model power-law, up to 4 times the cache)"
)


def extrapolate(
    forest: Forest,
    strategies: Sequence[Strategy | str] = ("sample+oracle",),
    budgets: Sequence[int] | None = None,
    *,
    model: str = "auto",
    verifier: str | None = None,
    seed: int,
) -> pl.DataFrame:
    """What strategies that sample would reach at budgets `k` above the K samples that every question holds.

    One row per (strategy, k), with the columns COLUMNS. `value` and its interval (95 %, over questions; the model is
    refitted to resampled questions) are null where `refused` names a reason; `bound_low` and `bound_high` hold without
    the model. `range_low`, `range_high`: what all models that pass say. `misfit` (largest error in the cache, in SE)
    and `held_out_z` (a quarter of the samples predicts K) are what the gate judged by. Without `budgets`: 2K to 16K.

    | strategy | models, the first is `auto` | bounds |
    |---|---|---|
    | sample+oracle | zoibb, beta-binomial, power-law | any mixture of success rates that fits |
    | sample+majority, sample+weighted | plugin, power-law | near-ties all lost, all won |
    | sample+best | none (refused), power-law | 0, and the upper bound of coverage |

    `power-law` is exponentiated for coverage, to 4K; for the others it is A - c n^-g, to 4K. `limit` and `near_ties`
    come with `plugin`: accuracy of infinitely many samples by the shares seen, and the share of questions where an
    answer that would change it is within 1.96 SE. Deterministic in `seed`.
    Raises ValueError for a strategy that does not sample, a model that is not for it, and budgets that the cache
    holds; CacheExhausted for questions without a solution. Source: statistics §6, with its gate.
    """
    wanted = checked_strategies(strategies)
    models = checked_models(wanted, model)
    checked_seed(seed)
    counts = counts_of(forest)
    _check_solutions(forest, counts)
    asked = _beyond(budgets, counts.num_samples)
    judge = chosen_verifier(forest, wanted, verifier)
    weights = question_weights(forest.num_questions, seed)
    rows: list[dict[str, Any]] = []
    for strategy, name in models.items():
        if isinstance(strategy.selection, Oracle):
            found = _coverage(counts, asked, name, weights)
        elif name == "plugin" and isinstance(strategy.selection, Majority | Weighted):
            found = _votes(forest, strategy.selection, counts, judge, asked, seed)
        else:
            found = _curve(forest, strategy, counts, judge, asked, name, weights, seed)
        shared = {"run": forest.run_id, "strategy": str(strategy), "model": name, "seed": seed}
        shared |= {"num_samples": counts.num_samples, "num_questions": forest.num_questions}
        for k, row in zip(asked, found, strict=True):
            reasons = row.pop("reasons")
            if reasons:
                row |= dict.fromkeys(("value", "ci_low", "ci_high", "range_low", "range_high", "limit"))
                row["refused"] = "; ".join(reasons)
            rows.append(shared | {"k": k} | row)
    return pl.DataFrame(rows, schema=COLUMNS)


def checked_models(strategies: Sequence[Strategy], model: str) -> dict[Strategy, str]:
    """The model of each strategy, "none" where there is none by itself.

    Raises ValueError for a strategy that does not sample, and a model that is unknown or not for it.
    """
    checked_choice("model", model, MODELS)
    models = {}
    for strategy in strategies:
        if not isinstance(strategy.search, Sample):
            raise ValueError(
                f"strategy '{strategy}': only sample is extrapolated; what a search would meet beyond the cache is "
                "unknown."
            )
        selection = strategy.selection
        known: Sequence[str] = COVERAGE_MODELS if isinstance(selection, Oracle) else ("none", "power-law")
        if isinstance(selection, Majority | Weighted):
            known = ("plugin", "power-law")
        if model not in ("auto", *known):
            listed = ", ".join(name for name in known if name != "none")
            raise ValueError(f"model {model!r}: not for {strategy}; for it there is {listed}.")
        models[strategy] = known[0] if model == "auto" else model
    return models


def _check_solutions(forest: Forest, counts: Counts) -> None:
    if forest.kind != "steps":
        raise ValueError(f"run {forest.run_id!r} is of kind {forest.kind!r}; samples are in runs of kind 'steps'.")
    empty = np.flatnonzero(counts.total == 0)
    if len(empty) or not len(counts.total):
        what = f"{len(empty)} of {len(counts.total)} questions" if len(empty) else "the run"
        first = f" (first: {forest.question_ids[int(empty[0])]!r})" if len(empty) else ""
        verb = "hold" if len(empty) > 1 else "holds"
        raise CacheExhausted(
            f"run {forest.run_id!r}: {what}{first} {verb} no complete solution. Record with `tts-sim generate`."
        )


def _beyond(budgets: Sequence[int] | None, num_samples: int) -> list[int]:
    """The budgets, ascending; ValueError for one that the cache holds."""
    if budgets is None:
        return [num_samples * times for times in (2, 4, 8, 16)]
    asked = checked_budgets(budgets)
    check_budgets(Sample(), asked)
    held = [budget for budget in asked if budget <= num_samples]
    if held:
        listed = ", ".join(map(str, held))
        raise ValueError(
            f"budget {listed}: inside the cache, which holds {num_samples} samples of every question; use replay."
        )
    return asked


def _coverage(counts: Counts, budgets: Sequence[int], model: str, weights: Float64s) -> list[dict[str, Any]]:
    """Rows of coverage: figures, bounds and `reasons` to refuse."""
    bounds = _coverage_bounds(counts, budgets)
    reasons = _few(counts, FEWEST_SAMPLES) or _one_sided(counts)
    if reasons:
        return [bound | {"reasons": reasons} for bound in bounds]
    grid = powers(counts.num_samples)
    observed = seen(coverage(counts, grid), grid, weights)
    refits, unsolvable = coverage_refits(counts, budgets, weights, observed)
    verdicts = {name: gate.judged(refit, observed) for name, refit in refits.items()}
    if unsolvable > gate.MOST_UNSOLVABLE:
        verdicts["power-law"].reasons.append(f"plateau: at least {unsolvable:.3f} of the questions seem unsolvable")
    horizons = dict.fromkeys(COVERAGE_MODELS, gate.COVERAGE_HORIZON) | {"power-law": gate.CURVE_HORIZON}
    rows = []
    for place, bound in enumerate(bounds):
        why = {
            name: verdict.reasons + gate.beyond_horizon(budgets[place], counts.num_samples, horizons[name])
            for name, verdict in verdicts.items()
        }
        passed = [float(refits[name].values[0, place]) for name in COVERAGE_MODELS if not why[name]]
        row = _figures(refits[model], verdicts[model], place) | bound | {"reasons": why[model]}
        rows.append(row | {"range_low": min(passed, default=None), "range_high": max(passed, default=None)})
    return rows


def _votes(
    forest: Forest, selection: Majority | Weighted, counts: Counts, judge: str | None, budgets: Sequence[int], seed: int
) -> list[dict[str, Any]]:
    """Rows of a vote by the plug-in."""
    few = _few(counts, FEWEST_SAMPLES)
    if forest.num_questions < 2:
        return [{"reasons": few} for _ in budgets]
    votes = votes_beyond(forest, selection, judge, budgets, seed=seed)
    shared = {"limit": votes.limit, "near_ties": votes.near_ties, "held_out_z": votes.held_out_z}
    return [
        {
            "value": votes.value[place],
            "ci_low": votes.ci_low[place],
            "ci_high": votes.ci_high[place],
            "bound_low": votes.bound_low[place],
            "bound_high": votes.bound_high[place],
            "reasons": few
            + votes.reasons
            + gate.beyond_horizon(budgets[place], counts.num_samples, gate.COVERAGE_HORIZON),
        }
        | shared
        for place in range(len(budgets))
    ]


def _curve(
    forest: Forest,
    strategy: Strategy,
    counts: Counts,
    judge: str | None,
    budgets: Sequence[int],
    model: str,
    weights: Float64s,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of an accuracy curve that is fitted, or of best-of-n without a model."""
    if isinstance(strategy.selection, Majority | Weighted):
        kept = ("bound_low", "bound_high", "near_ties")
        votes = _votes(forest, strategy.selection, counts, judge, budgets, seed)
        bounds = [{key: row[key] for key in kept if key in row} for row in votes]
    else:
        bounds = [bound | {"bound_low": 0.0} for bound in _coverage_bounds(counts, budgets)]
    reasons = [NO_MODEL] if model == "none" else _few(counts, FEWEST_SAMPLES_CURVE)
    if reasons:
        return [bound | {"reasons": reasons} for bound in bounds]
    grid = powers(counts.num_samples)
    rows = replay(forest, [strategy], grid, verifier=judge, seed=seed).frame.with_columns(value=VALUE)
    table = rows.pivot("budget", index="question_id", values="value", maintain_order=True).drop("question_id")
    values = table.to_numpy().astype(np.float64)
    observed = seen(values, grid, weights)
    refit = saturating(observed, budgets)
    verdict = gate.judged(refit, observed)
    reasons = gate.falls(values, grid) + verdict.reasons
    return [
        _figures(refit, verdict, place)
        | bound
        | {"reasons": reasons + gate.beyond_horizon(budgets[place], counts.num_samples, gate.CURVE_HORIZON)}
        for place, bound in enumerate(bounds)
    ]


def _figures(refit: Refit, verdict: gate.Verdict, place: int) -> dict[str, Any]:
    """The value of the model at one budget, its interval, and what the gate judged by."""
    low, high = percentiles(refit.values[:, place])
    value = float(refit.values[0, place])
    return {
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "misfit": verdict.misfit,
        "held_out_z": verdict.held_out_z,
    }


def _coverage_bounds(counts: Counts, budgets: Sequence[int]) -> list[dict[str, Any]]:
    if len(counts.total) < 2:
        return [{} for _ in budgets]
    low, high = coverage_bounds(counts, budgets)
    return [{"bound_low": a, "bound_high": b} for a, b in zip(low.tolist(), high.tolist(), strict=True)]


def _few(counts: Counts, fewest_samples: int) -> list[str]:
    """Why there is too little to fit and to test a model, or nothing."""
    if len(counts.total) < FEWEST_QUESTIONS:
        return [f"questions: {len(counts.total)}, and a distribution over questions takes {FEWEST_QUESTIONS}"]
    if counts.num_samples < fewest_samples:
        return [f"samples: {counts.num_samples} a question, and a hold-out on a quarter of them takes {fewest_samples}"]
    return []


def _one_sided(counts: Counts) -> list[str]:
    """Why no spread of success rates can be told, or nothing."""
    if not counts.correct.any():
        return ["no question has a correct sample: how small the success rates are cannot be told"]
    if counts.correct.all():
        return ["every question has a correct sample: nothing is left to extrapolate"]
    return []
