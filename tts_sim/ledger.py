"""Costs and support: what a tally of trials says about one selection, in the columns of Outcomes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tts_sim.arrays import Bools, Float64s, Tally

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
    tokens: Float64s
    critical_tokens: Float64s


def account(tally: Tally, selection: int, trials: int) -> Account:
    """The figures of one selection of a tally.

    An unsupported trial contributes [0, 1]: Manski bounds, valid in expectation without assumptions (statistics 2.5).
    """
    count = tally.supported.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift, squares = tally.shift[:, :, selection], tally.squares[:, :, selection]
        mean = np.where(count > 0, tally.first[:, :, selection] + shift / count, np.nan)
        spread = np.maximum(squares - shift * shift / count, 0.0)
        variance = np.where(count > 1, spread / (count - 1) / count, np.nan)
        tokens, critical = tally.tokens / count, tally.critical / count
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
        tokens=tokens,
        critical_tokens=critical,
    )


def exact_where_known(estimate: Account | None, value: Float64s, tokens: Float64s, critical: Float64s) -> Account:
    """The closed form where `value` has one, the estimate elsewhere (None: it is known everywhere)."""
    nothing = np.zeros(value.shape)
    exact = Account(
        accuracy=value,
        lower=value,
        upper=value,
        supported=nothing + 1.0,
        missing=nothing,
        exhausted=nothing,
        exact=~np.isnan(value),
        trials=estimate.trials if estimate else 0,
        variance=nothing,
        tokens=tokens,
        critical_tokens=critical,
    )
    if estimate is None:
        return exact
    merged = {
        name: np.where(exact.exact, getattr(exact, name), getattr(estimate, name))
        for name in Account.__annotations__
        if name not in ("exact", "trials")
    }
    return replace(exact, **merged)
