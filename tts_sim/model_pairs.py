"""The two models of an exchange, as a cache knows them: their runs, parameters and training tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from tts_sim.exchange import Convention, ExchangeTerms, finetuning_share
from tts_sim.outcomes import Outcomes

if TYPE_CHECKING:
    from cache import Cache


class RunModel(NamedTuple):
    """A run and the model that generated it; None where the cache does not say."""

    run: str
    kind: str
    model: str | None
    num_params: int | None
    pretraining_tokens: int | None
    finetuning_tokens: int | None


def run_models(cache: Cache) -> dict[str, RunModel]:
    """The model of each run, in the order in which runs were started."""
    rows = cache.frame(
        "SELECT run_id, kind, model_id, num_params, pretraining_tokens, finetuning_tokens "
        "FROM runs LEFT JOIN models USING (model_id) ORDER BY started NULLS LAST, run_id"
    )
    return {row[0]: RunModel(*row) for row in rows.iter_rows()}


def model_pair(cache: Cache, small: str | None = None, large: str | None = None) -> tuple[RunModel, RunModel]:
    """The small and the larger model by their runs: the first of kind `steps`, and the largest other model's.

    Raises ValueError for a run that is not there, and where there is no second model.
    """
    runs = run_models(cache)
    for name in (small, large):
        if name is not None and name not in runs:
            known = ", ".join(f"{run.run} ({run.kind})" for run in runs.values()) or "none"
            raise ValueError(f"run {name!r}: not in the cache; its runs: {known}.")
    if small is None:
        steps = [run for run in runs.values() if run.kind == "steps" and run.run != large]
        if not steps:
            raise ValueError("small model: the cache holds no run of kind 'steps' for it; record one.")
        small = steps[0].run
    first = runs[small]
    if large is None:
        others = [
            run
            for run in runs.values()
            if run.kind == "steps" and run.run != small and (run.num_params or 0) > (first.num_params or 0)
        ]
        if not others:
            raise ValueError(
                f"no second model: the cache holds no run of a model that is known to be larger than that of run "
                f"{small!r}; record one with `tts-sim generate sample`, or name its run."
            )
        large = max(others, key=lambda run: run.num_params or 0).run
    if small == large:
        raise ValueError(f"run {small!r} is both the small and the larger model; an exchange needs two.")
    return first, runs[large]


def size_ratio(small: RunModel, large: RunModel) -> float:
    """M: parameters of the larger over those of the small model. Raises ValueError where the cache lacks them."""
    for run in (small, large):
        if not run.num_params:
            raise ValueError(
                f"model {run.model!r} of run {run.run!r}: the cache has no parameter count; enter models.num_params, "
                "or give the ratio of sizes."
            )
    return (large.num_params or 0) / (small.num_params or 1)


def data_ratio(small: RunModel, large: RunModel) -> float:
    """d: pretraining tokens of the larger over those of the small model. Raises ValueError where they are missing."""
    for run in (small, large):
        if not run.pretraining_tokens:
            raise ValueError(
                f"model {run.model!r} of run {run.run!r}: the cache has no pretraining tokens; enter "
                "models.pretraining_tokens."
            )
    return (large.pretraining_tokens or 0) / (small.pretraining_tokens or 1)


def verifier_share(outcomes: Outcomes) -> float | None:
    """rho: FLOPs of the verifier over those of the generator, of priced outcomes; 0 without one, None if unknown."""
    rows = outcomes.frame.filter(pl.col("verifier").is_not_null() & pl.col("tokens").is_not_null())
    if rows.is_empty():
        return 0.0
    if (
        "verifier_flops" not in rows.columns
        or rows["verifier_flops"].null_count()
        or rows["generator_flops"].null_count()
    ):
        return None
    return float(rows["verifier_flops"].sum()) / float(rows["generator_flops"].sum())


def known_finetuning(cache: Cache, small: RunModel, verifier: str | None, rho: float) -> float:
    """phi as far as the cache tells: finetuning tokens of the run's model and of the verifier's.

    Raises ValueError without pretraining tokens to compare them with.
    """
    if not small.pretraining_tokens:
        data_ratio(small, small)
    tokens = cache.frame(
        "SELECT finetuning_tokens FROM verifiers AS v JOIN models AS m "
        "ON m.model_id = coalesce(v.model_id, verifier_id) WHERE verifier_id = $verifier",
        {"verifier": verifier or ""},
    )
    judged = float(tokens["finetuning_tokens"].sum())
    return finetuning_share(
        small.pretraining_tokens or 0, finetuning_tokens=small.finetuning_tokens or 0, verifier_tokens=judged, rho=rho
    )


def pair_terms(
    small: RunModel,
    large: RunModel,
    *,
    convention: Convention = "strict",
    M: float | None = None,
    rho: float | None = None,
    v_large: float | None = None,
    phi: float = 0.0,
    token_ratio: float = 1.0,
    own_data: bool = False,
    large_samples: float = 1.0,
) -> ExchangeTerms:
    """The terms of an exchange between two runs, M from the cache unless given.

    `own_data` charges each model for the tokens that it was pretrained on; else both for the small model's, as in the
    paper. Raises ValueError for what the cache lacks, and as ExchangeTerms.
    """
    return ExchangeTerms(
        M=size_ratio(small, large) if M is None else M,
        convention=convention,
        rho=rho if convention == "strict" else None,
        v_large=v_large if convention == "strict" else None,
        phi=phi,
        token_ratio=token_ratio,
        data_ratio=data_ratio(small, large) if own_data else 1.0,
        large_samples=large_samples,
    )
