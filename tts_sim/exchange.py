"""The exchange of test-time against pretraining compute, in numbers: how many samples of a small model pay for a
larger one, and at which workload they stop to.

    6·N·D·M·d + 2·M·N·I·s·(1 + vL) = 6·N·D·(1 + phi) + 2·N·I·t·x·(1 + rho)        R = I / D

N, M·N: parameters of the small and the larger model. D: pretraining tokens of the small model. I: tokens that the
larger model would generate in its lifetime. x: samples of the small model for each of its answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

Convention = Literal["strict", "snell-v1", "snell-iclr"]
CONVENTIONS: tuple[Convention, ...] = ("strict", "snell-v1", "snell-iclr")
WHO_PAYS: dict[str, str] = {
    "strict": "whoever uses a verifier pays for it",
    "snell-v1": "nobody pays for a verifier",
    "snell-iclr": "both models pay for a verifier as much as for themselves, greedy answers included",
}
CHARGED: dict[str, tuple[float, float]] = {"strict": (1, 0), "snell-v1": (0, 0), "snell-iclr": (1, 1)}  # rho, v_large


@dataclass(frozen=True)
class ExchangeTerms:
    """What an exchange is reckoned with.

    `M`: parameters of the larger model over those of the small one, above 1. `convention` says who pays for a verifier:
    `strict` whoever uses it; `snell-v1` nobody (Snell et al. 2024, arXiv:2408.03314v1); `snell-iclr` both models as
    much as their own tokens, the larger one also where it answers greedily (the formula as published at ICLR).
    `rho`, `v_large`: FLOPs of the verifier for each token over those of the model itself, of the small and of the
    larger model; None: 1 and 0 in `strict`, and what the convention says elsewhere, where nothing else may be given.
    `phi`: finetuning over pretraining compute of the small model, see `finetuning_share`.
    `token_ratio` (t): tokens of a small model's sample over those of the larger model's answer.
    `data_ratio` (d): pretraining tokens of the larger over those of the small model; 1 in the paper.
    `large_samples` (s): what the larger model generates for an answer; 1 is its greedy one.

    Raises ValueError for figures that are no exchange: M or a ratio out of range, an unknown convention, a small model
    whose training costs as much as the larger one's. Source: statistics §5.
    """

    M: float
    convention: Convention = "strict"
    rho: float | None = None
    v_large: float | None = None
    phi: float = 0.0
    token_ratio: float = 1.0
    data_ratio: float = 1.0
    large_samples: float = 1.0

    def __post_init__(self) -> None:
        if self.convention not in CONVENTIONS:
            raise ValueError(f"convention {self.convention!r}: expected one of {', '.join(CONVENTIONS)}.")
        for name, fixed in zip(("rho", "v_large"), CHARGED[self.convention], strict=True):
            given = getattr(self, name)
            if given is not None and self.convention != "strict" and given != fixed:
                raise ValueError(f"{name}={given}: convention {self.convention} sets it to {fixed}; use strict.")
            object.__setattr__(self, name, float(fixed if given is None else given))
        if not 1 < self.M < math.inf:
            raise ValueError(f"M={self.M}: expected the larger model's parameters over the small one's, above 1.")
        for name in ("rho", "v_large", "phi"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)}: expected a share from 0.")
        for name in ("token_ratio", "data_ratio", "large_samples"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)}: expected a number above 0.")
        if self.saved <= 0:
            raise ValueError(
                f"M={self.M}, data_ratio={self.data_ratio}, phi={self.phi}: training the small model costs as much as "
                "training the larger one, so there is no compute to exchange."
            )

    @property
    def saved(self) -> float:
        """Three times the training that the small model saves, in units of its pretraining."""
        return 3 * (self.M * self.data_ratio - 1 - self.phi)

    @property
    def per_sample(self) -> float:
        """Inference of a small model's sample, in units of its generating an answer of the larger one's length."""
        return self.token_ratio * (1 + _known(self.rho))

    @property
    def per_answer(self) -> float:
        """Inference of the larger model's answer, in the same unit."""
        return self.M * self.large_samples * (1 + _known(self.v_large))

    def multiplier(self, R: float) -> float:
        """Samples of the small model for each answer of the larger one at the same total FLOPs; see `multiplier`."""
        if not R > 0:
            raise ValueError(f"R={R}: expected inference over pretraining tokens, above 0.")
        return (self.per_answer + self.saved / R) / self.per_sample

    def break_even_ratio(self, x: float | None) -> float:
        """The R at which `x` samples cost as much as the larger model; see `break_even_ratio`."""
        if x is None:
            return 0.0
        if not x > 0:
            raise ValueError(f"x={x}: expected samples of the small model for each answer, above 0.")
        excess = x * self.per_sample - self.per_answer
        return self.saved / excess if excess > 0 else math.inf


def multiplier(
    R: float,
    M: float,
    *,
    convention: Convention = "strict",
    rho: float | None = None,
    v_large: float | None = None,
    phi: float = 0.0,
    token_ratio: float = 1.0,
    data_ratio: float = 1.0,
    large_samples: float = 1.0,
) -> float:
    """Samples x of the small model for each answer of the larger one that cost the same FLOPs, training included.

    x(R) = [M·s·(1 + v_large) + 3·(M·d − 1 − phi)/R] / (t·(1 + rho)), which falls with R = inference tokens over
    pretraining tokens, to its first term at R = inf. Arguments as in ExchangeTerms. x below 1 means that not even one
    sample can be paid. Raises ValueError for R ≤ 0. Source: statistics §5, case C24.
    """
    terms = ExchangeTerms(M, convention, rho, v_large, phi, token_ratio, data_ratio, large_samples)
    return terms.multiplier(R)


def break_even_ratio(
    x: float | None,
    M: float,
    *,
    convention: Convention = "strict",
    rho: float | None = None,
    v_large: float | None = None,
    phi: float = 0.0,
    token_ratio: float = 1.0,
    data_ratio: float = 1.0,
    large_samples: float = 1.0,
) -> float:
    """R* = 3·(M·d − 1 − phi) / (x·t·(1 + rho) − M·s·(1 + v_large)): below it the small model is the better buy.

    `x`: samples that the small model needs to be as accurate as the larger one; None: no number of them is enough, and
    R* is 0. inf where x samples cost less than one answer of the larger model. The inverse of `multiplier`.
    Raises ValueError for x ≤ 0. Source: statistics §5, case C24.
    """
    terms = ExchangeTerms(M, convention, rho, v_large, phi, token_ratio, data_ratio, large_samples)
    return terms.break_even_ratio(x)


def finetuning_share(
    pretraining_tokens: float,
    *,
    finetuning_tokens: float = 0.0,
    verifier_tokens: float = 0.0,
    rho: float = 1.0,
    rollout_tokens: float = 0.0,
) -> float:
    """phi: finetuning of the small model's kit over its pretraining, in FLOPs.

    `finetuning_tokens`: trained by a model of its size (revisions). `verifier_tokens`: trained by the verifier, of
    which a token costs `rho` of the model's. `rollout_tokens`: generated for their data; generating costs a third of
    training. Raises ValueError for pretraining_tokens ≤ 0 or a negative number. Source: statistics §5.
    """
    if not pretraining_tokens > 0:
        raise ValueError(f"pretraining_tokens={pretraining_tokens}: expected a number above 0.")
    amounts = {"finetuning_tokens": finetuning_tokens, "verifier_tokens": verifier_tokens, "rho": rho,
               "rollout_tokens": rollout_tokens}  # fmt: skip
    for name, amount in amounts.items():
        if not amount >= 0:
            raise ValueError(f"{name}={amount}: expected a number from 0.")
    return (finetuning_tokens + rho * verifier_tokens + rollout_tokens / 3) / pretraining_tokens


class ExchangeTotals(NamedTuple):
    """Both sides of an exchange, in FLOPs."""

    small_training: float  # finetuning included
    small_inference: float  # of one sample for each answer
    large: float  # training and inference of the larger model
    x: float  # samples for each answer that make both sides equal
    small: float  # training and inference of the small model with x samples


def exchange_totals(R: float, num_params: float, pretraining_tokens: float, terms: ExchangeTerms) -> ExchangeTotals:
    """The exchange at R for a small model of `num_params` parameters trained on `pretraining_tokens` tokens.

    Raises ValueError for R ≤ 0. Source: statistics §5, worked example of case C24.
    """
    x = terms.multiplier(R)
    pretraining = 6 * num_params * pretraining_tokens
    token = 2 * num_params * R * pretraining_tokens
    training, inference = pretraining * (1 + terms.phi), token * terms.per_sample
    large = pretraining * terms.M * terms.data_ratio + token * terms.per_answer
    return ExchangeTotals(training, inference, large, x, training + inference * x)


def _known(share: float | None) -> float:
    return 0.0 if share is None else share
