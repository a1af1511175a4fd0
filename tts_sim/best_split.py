"""The best split of a total of FLOPs between parameters and test-time compute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tts_sim.arrays import Float64s
from tts_sim.best_option import crossfitted
from tts_sim.draws import checked_seed
from tts_sim.exchange import CHARGED, CONVENTIONS, Convention
from tts_sim.intervals import t_interval
from tts_sim.lines import Line, lines_of, shared_questions
from tts_sim.outcomes import Outcomes

COLUMNS: dict[str, Any] = {
    "bin": pl.Int64,
    "R": pl.Float64,
    "convention": pl.String,
    "total": pl.Float64,
    "model": pl.String,
    "run": pl.String,
    "strategy": pl.String,
    "verifier": pl.String,
    "budget": pl.Int64,
    "flops": pl.Float64,
    "training_share": pl.Float64,
    "accuracy": pl.Float64,
    "se": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "naive": pl.Float64,
    "best": pl.Boolean,
    "num_questions": pl.Int64,
    "seed": pl.UInt64,
}


@dataclass(frozen=True)
class SplitCandidates:
    """Strategies of one model, as `best_split` weighs them.

    `lines`: outcomes, or a frame of question_id, budget, accuracy, cost. `size`: parameters over those of the small
    model (1 for that one). `data`, `phi`: its pretraining and finetuning tokens over the small model's pretraining
    tokens. `rho` charges a verifier in the convention strict, strategies without a verifier excepted. `unit`: cost of
    one answer of the length that R counts.
    """

    model: str
    lines: Outcomes | pl.DataFrame
    size: float = 1.0
    data: float = 1.0
    phi: float = 0.0
    rho: float = 1.0
    unit: float = 1.0

    def __post_init__(self) -> None:
        for name in ("size", "data", "unit"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)} of {self.model!r}: expected a number above 0.")
        for name in ("phi", "rho"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)} of {self.model!r}: expected a share from 0.")

    @property
    def training(self) -> float:
        """In units of the small model's pretraining."""
        return self.size * (self.data + self.phi)

    def charged(self, line: Line, convention: Convention) -> float:
        """FLOPs of the verifier over those of the model."""
        if convention != "strict":
            return CHARGED[convention][0]
        return self.rho if line.verifier is not None else 0.0


def best_split(
    models: Sequence[SplitCandidates],
    *,
    ratio: float,
    totals: Sequence[float],
    convention: Convention = "strict",
    levels: Mapping[str, int] | None = None,
    cost: str = "generations",
    seed: int = 0,
) -> pl.DataFrame:
    """For each total and model the strategy and budget that it allows with the highest accuracy; columns COLUMNS.

    `ratio`: R, answers' tokens over the small model's pretraining tokens. `totals`: FLOPs for training and inference,
    in units of the small model's pretraining, 6·N·D. A model trained for T on which an answer costs x spends
    T + (R/3)·size·(1 + rho)·x. `best` marks the best model at a total, the cheaper one at a tie: it says how much of
    the total is best spent on parameters (`training_share` of `flops`, what is really spent). A model without a row at
    a total cannot be had for it. `levels` adds rows for each level, `bin`, to those of all questions (null).

    `accuracy`, `se` and the t interval are cross-fitted (the choice is made on four fifths of the questions and
    measured on the last, averaged over 20 splits), for a best of many flatters; `naive` is that flattered mean.
    Raises ValueError for a ratio ≤ 0, no model, no total, and models that share no question. Source: statistics §5, §3.
    """
    if not 0 < ratio < math.inf:
        raise ValueError(f"R={ratio}: expected inference over pretraining tokens, above 0.")
    if convention not in CONVENTIONS:
        raise ValueError(f"convention {convention!r}: expected one of {', '.join(CONVENTIONS)}.")
    if not models or not totals:
        raise ValueError(f"{len(models)} models, {len(totals)} totals: expected at least one of each.")
    checked_seed(seed)
    entries = [(model, line) for model in models for line in lines_of(model.lines, cost)]
    names = shared_questions([line for _, line in entries])
    points: dict[str, list[_Point]] = {}
    for model, line in entries:
        held = line.at(names)
        price = (ratio / 3) * model.size * (1 + model.charged(line, convention)) / model.unit
        for b in range(len(held.budgets)):
            spent = model.training + price * held.cost[:, b]
            points.setdefault(model.model, []).append(_Point(model, held, b, held.accuracy[:, b], spent))
    rows = []
    for level, members in _groups(names, levels):
        for total in totals:
            found = [
                row
                for candidates in points.values()
                if (row := _chosen([point.at(members) for point in candidates], total, seed)) is not None
            ]
            top = max((row["accuracy"] for row in found), default=0.0)
            cheapest = min((row["flops"] for row in found if row["accuracy"] >= top - 1e-12), default=0.0)
            for row in found:
                row["best"] = row["accuracy"] >= top - 1e-12 and row["flops"] <= cheapest
                row |= {"bin": level, "R": ratio, "convention": convention, "total": total, "seed": seed}
            rows += found
    return pl.DataFrame(rows, schema=COLUMNS)


@dataclass(frozen=True, eq=False)
class _Point:
    model: SplitCandidates
    line: Line
    column: int
    accuracy: Float64s  # (questions,)
    flops: Float64s

    def at(self, members: Any) -> _Point:
        return _Point(self.model, self.line, self.column, self.accuracy[members], self.flops[members])


def _chosen(points: Sequence[_Point], total: float, seed: int) -> dict[str, Any] | None:
    """The row of one model at a total; None if nothing can be had for it."""
    fitting = sorted(
        (point for point in points if point.flops.mean() <= total * (1 + 1e-9)), key=lambda point: point.flops.mean()
    )
    if not fitting:
        return None
    values = np.stack([point.accuracy for point in fitting], axis=1)
    means = values.mean(axis=0)
    place = int(np.flatnonzero(means >= means.max() - 1e-12)[0])  # ties go to the cheaper
    best, held_out = fitting[place], crossfitted(values, seed=seed)
    flops = float(best.flops.mean())
    accuracy = float(held_out.mean())
    row: dict[str, Any] = {
        "model": best.model.model,
        "run": best.line.run,
        "strategy": best.line.strategy,
        "verifier": best.line.verifier,
        "budget": int(best.line.budgets[best.column]),
        "flops": flops,
        "training_share": best.model.training / flops,
        "accuracy": accuracy,
        "naive": float(means[place]),
        "num_questions": len(values),
    }
    if len(values) > 1:
        row["se"] = float(held_out.std(ddof=1)) / math.sqrt(len(values))
        row["ci_low"], row["ci_high"] = t_interval(accuracy, row["se"], len(values))
    return row


def _groups(names: Sequence[str], levels: Mapping[str, int] | None) -> list[tuple[int | None, Any]]:
    """All questions, then the places of those of each level."""
    groups: list[tuple[int | None, Any]] = [(None, slice(None))]
    if levels is not None:
        found = np.array([levels.get(name, 0) or 0 for name in names], np.int64)
        groups += [(int(level), found == level) for level in np.unique(found[found != 0])]
    return groups
