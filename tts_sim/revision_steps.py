"""Revision chains attempt by attempt: how often an attempt is right, and what the next one makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from tts_sim.arrays import Bools, Float64s, Int64s
from tts_sim.draws import checked_seed
from tts_sim.forest import Forest
from tts_sim.intervals import t_quantile
from tts_sim.strategies.revise import chains_of

BOOTSTRAP_DRAWS = 10_000


def revision_steps(forest: Forest, *, seed: int, draws: int = BOOTSTRAP_DRAWS) -> pl.DataFrame:
    """One row per attempt, and a last one (attempt null) for all steps together. Shares are in [0, 1].

    pass_at_1 is the mean over questions of the share of their chains whose attempt is right, with its standard error
    over questions and a t interval (95 %). right_turned_wrong is the share of right attempts that the next one turned
    wrong, wrong_turned_right the reverse, pooled over questions and chains (num_right, num_wrong: the denominators);
    `_low` and `_high` are percentiles (2.5, 97.5) of a bootstrap of questions with `draws` Poisson weights.
    An attempt without an answer is wrong. Null: nothing to divide by, or an interval over fewer than two questions.
    Raises ValueError for a run of another kind. Source: Snell et al. 2024 (arXiv:2408.03314) §6.1; statistics 2.7.
    """
    if forest.kind != "revisions":
        raise ValueError(
            f"revision steps are those of a run of kind 'revisions'; run {forest.run_id!r} is of kind {forest.kind!r}."
        )
    checked_seed(seed)
    question, step, right = _attempts(forest)
    num_questions, longest = forest.num_questions, int(step.max(initial=-1)) + 1

    def counts(chosen: Bools) -> Float64s:
        """By question and attempt."""
        cells = question[chosen] * longest + step[chosen]
        return np.bincount(cells, minlength=num_questions * longest).reshape(num_questions, longest).astype(np.float64)

    goes_on, next_right = np.zeros(len(step), np.bool_), np.zeros(len(step), np.bool_)
    goes_on[:-1] = step[1:] > 0
    next_right[:-1] = right[1:]
    columns: dict[str, Any] = {"attempt": pl.Series([*range(1, longest + 1), None], dtype=pl.Int64)}
    columns |= _levels(counts(right), counts(np.ones(len(step), np.bool_)))
    weights = np.random.default_rng(seed).poisson(1.0, (draws, num_questions)).astype(np.float64)
    for name, denominator, was, turned in (
        ("right_turned_wrong", "num_right", right, right & ~next_right),
        ("wrong_turned_right", "num_wrong", ~right, ~right & next_right),
    ):
        columns |= _turns(name, denominator, counts(goes_on & turned), counts(goes_on & was), weights)
    return pl.DataFrame(columns, nan_to_null=True)


def _attempts(forest: Forest) -> tuple[Int64s, Int64s, Bools]:
    """Question, place in its chain (from 0) and correctness of every attempt, chain after chain."""
    trees, chains = forest.trees, chains_of(forest)
    lengths = np.diff(chains.attempt)
    rows = chains.rows[: chains.attempt[-1]]
    question = np.repeat(np.repeat(np.arange(forest.num_questions), np.diff(chains.start)), lengths)
    step = np.arange(len(rows)) - np.repeat(chains.attempt[:-1], lengths)
    answer = trees.answer[rows]
    right = np.append(trees.answer_correct, False)[np.maximum(answer, -1)] & (answer >= 0)
    return question, step, right


def _levels(right: Float64s, chains: Float64s) -> dict[str, Any]:
    """Columns of pass@1 by attempt, null in the last row."""
    held = (chains > 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = right / chains
        mean = np.nansum(shares, axis=0) / held
        spread = np.nansum((shares - mean) ** 2, axis=0) / (held - 1)
        error = np.where(held > 1, np.sqrt(spread / held), np.nan)
    reach = np.array([t_quantile(0.975, int(n) - 1) if n > 1 else np.nan for n in held]) * error
    figures = {"pass_at_1": mean, "se": error, "ci_low": mean - reach, "ci_high": mean + reach}
    columns = {name: np.append(values, np.nan) for name, values in figures.items()}
    columns["num_questions"] = np.append(held, (chains.sum(axis=1) > 0).sum()).astype(np.int64)
    columns["num_chains"] = np.append(chains.sum(axis=0), chains[:, :1].sum()).astype(np.int64)
    return columns


def _turns(name: str, denominator: str, turned: Float64s, before: Float64s, weights: Float64s) -> dict[str, Any]:
    """Columns of a pooled share with its interval: by attempt, and over all in the last row."""
    turned, before = (np.hstack([counts, counts.sum(axis=1, keepdims=True)]) for counts in (turned, before))
    known = before.sum(axis=0) > 0
    ends = np.full((2, len(known)), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = turned.sum(axis=0) / before.sum(axis=0)
        if len(turned) > 1:
            drawn = (weights @ turned[:, known]) / (weights @ before[:, known])
            ends[:, known] = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    count = before.sum(axis=0).astype(np.int64)
    return {name: share, f"{name}_low": ends[0], f"{name}_high": ends[1], denominator: count}
