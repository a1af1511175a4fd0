"""Costs and support: what a tally of trials says about one selection, in the columns of Outcomes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tts_sim.arrays import Bools, Float64s, Int64s, Tally
from tts_sim.strategies.plan import Exact

COSTS = ("generations", "tokens", "critical_tokens", "calls", "prefix_tokens")
MIN_SUPPORT = 0.9  # below it no accuracy is given, only bounds


@dataclass(frozen=True)
class Account:
    """Figures of one strategy, each of shape (Q, B); NaN where there is none."""

    accuracy: Float64s  # mean over supported trials; NaN below MIN_SUPPORT
    lower: Float64s  # every unsupported trial wrong
    upper: Float64s  # every unsupported trial right
    supported: Float64s  # shares of trials
    missing: Float64s
    exhausted: Float64s
    exact: Bools
    trials: int
    variance: Float64s  # Monte Carlo variance of `accuracy`; 0 if exact, NaN for a single trial
    within: Float64s  # variance of `accuracy` over new generations, an unbiased estimate (may be negative)
    generations: Float64s
    tokens: Float64s
    critical_tokens: Float64s
    calls: Float64s
    prefix_tokens: Float64s
    borrowed: Float64s  # share of the draws that were taken from elsewhere


def account(tally: Tally, selection: int, trials: int) -> Account:
    """The figures of one selection of a tally.

    An unsupported trial contributes [0, 1]: Manski bounds, valid in expectation without assumptions (statistics 2.5).
    `within` is the squared accuracy less the mean product of disjoint blocks (statistics 3, estimand B).
    """
    count = tally.supported.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift, squares = tally.shift[:, :, selection], tally.squares[:, :, selection]
        mean = np.where(count > 0, tally.first[:, :, selection] + shift / count, np.nan)
        spread = np.maximum(squares - shift * shift / count, 0.0)
        variance = np.where(count > 1, spread / (count - 1) / count, np.nan)
        whole = (tally.paired == tally.supported) & (count > 0)
        within = np.where(whole, mean * mean - variance - tally.products[:, :, selection] / count, np.nan)
        means = {
            name: getattr(tally, column) / count
            for name, column in (
                ("generations", "generations"),
                ("tokens", "tokens"),
                ("critical_tokens", "critical"),
                ("calls", "calls"),
                ("prefix_tokens", "prefix"),
            )
        }
        means["borrowed"] = np.where(tally.calls > 0, tally.borrowed / tally.calls, 0.0)
    supported = count / trials
    lower = np.where(count > 0, mean, 0.0) * supported
    return Account(
        accuracy=np.where(supported >= MIN_SUPPORT, mean, np.nan),
        lower=lower,
        upper=lower + (1.0 - supported),
        supported=supported,
        missing=tally.missing / trials,
        exhausted=tally.exhausted / trials,
        exact=np.zeros(count.shape, np.bool_),
        trials=trials,
        variance=variance,
        within=within,
        **means,
    )


def at_budgets(estimate: Account, places: Int64s, num_budgets: int) -> Account:
    """The estimate among `num_budgets` budgets, at these places; NaN (False) at the others."""
    figures: dict[str, Any] = {}
    for name in Account.__annotations__:
        part = getattr(estimate, name)
        if name != "trials":
            figures[name] = np.full((len(part), num_budgets), False if name == "exact" else np.nan, part.dtype)
            figures[name][:, places] = part
    return replace(estimate, **figures)


def with_exact(estimate: Account | None, exact: Exact, selection: int, generations: Float64s) -> Account:
    """What is known without chance where it is, the estimate elsewhere (None: every value is known).

    Costs may be known where the value is not; they are NaN where they are not.
    """
    value = exact.value[:, :, selection]
    known, nothing = ~np.isnan(value), np.zeros(value.shape)
    sure = Account(
        accuracy=value,
        lower=value,
        upper=value,
        supported=nothing + 1.0,
        missing=nothing,
        exhausted=nothing,
        exact=known,
        trials=estimate.trials if estimate else 0,
        variance=nothing,
        within=exact.within[:, :, selection],
        generations=generations,
        tokens=exact.tokens,
        critical_tokens=exact.critical,
        calls=generations,
        prefix_tokens=exact.prefix,
        borrowed=nothing,
    )
    if estimate is None:
        return sure
    priced = ~np.isnan(exact.tokens)
    merged = {
        name: np.where(priced if name in COSTS else known, getattr(sure, name), getattr(estimate, name))
        for name in Account.__annotations__
        if name not in ("exact", "trials")
    }
    return replace(sure, **merged)
