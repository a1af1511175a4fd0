"""Lines: what one strategy reaches and costs on each question at each budget, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tts_sim.arrays import Float64s, Int64s
from tts_sim.ledger import MIN_SUPPORT
from tts_sim.outcomes import VALUE, Outcomes

SOURCE = ["run", "strategy", "verifier"]


@dataclass(frozen=True, eq=False)
class Line:
    """Accuracy and cost of one strategy, shape (questions, budgets), budgets ascending; no value is missing."""

    run: str | None
    strategy: str
    verifier: str | None
    question_ids: tuple[str, ...]
    budgets: Int64s
    accuracy: Float64s
    cost: Float64s

    def at(self, question_ids: Sequence[str]) -> Line:
        """The same, with these questions, in this order."""
        place = {name: row for row, name in enumerate(self.question_ids)}
        rows = [place[name] for name in question_ids]
        return Line(
            self.run, self.strategy, self.verifier, tuple(question_ids), self.budgets,
            self.accuracy[rows], self.cost[rows],
        )  # fmt: skip


def lines_of(data: Outcomes | pl.DataFrame, cost: str = "generations") -> list[Line]:
    """The lines that the outcomes hold, in their order; or the one of a frame: question_id, budget, accuracy and cost.

    `cost`: the column of the outcomes that a line's cost is; a frame without the column `cost` costs its budget.
    A budget that is supported in less than .9 of the trials on average is left out, and so is a question that lacks a
    value at one of the others: all points of a line are means over the same questions.
    Raises ValueError for columns or costs that are not there, for a question that has two values at a budget, and for
    a line of which nothing is left.
    """
    if isinstance(data, Outcomes):
        rows = data.frame
        if cost not in rows.columns or rows[cost].null_count() == len(rows):
            raise ValueError(f"cost {cost!r}: unknown for these strategies; enter models.num_params into the cache.")
        rows = rows.with_columns(value=VALUE, _cost=pl.col(cost).cast(pl.Float64))
        enough = pl.col("supported").mean().over(*SOURCE, "budget") >= MIN_SUPPORT
        kept = rows.filter(enough)
        if kept.is_empty():
            raise ValueError("outcomes: no strategy is supported at any budget in .9 of the trials; record more.")
    else:
        missing = {"question_id", "budget", "accuracy"} - set(data.columns)
        if missing:
            raise ValueError(
                f"frame: without {', '.join(sorted(missing))}; a line needs question_id, budget, accuracy."
            )
        price = "cost" if "cost" in data.columns else "budget"
        kept = data.with_columns(
            *[pl.lit(None, pl.String).alias(name) for name in SOURCE if name not in data.columns],
            value=pl.col("accuracy").cast(pl.Float64),
            _cost=pl.col(price).cast(pl.Float64),
        )
    return [_line(part) for part in kept.partition_by(SOURCE, maintain_order=True)]


def line_of(data: Outcomes | pl.DataFrame, cost: str = "generations", *, role: str = "line") -> Line:
    """The only line. Raises ValueError if there are more, or as `lines_of`."""
    lines = lines_of(data, cost)
    if len(lines) != 1:
        listed = "; ".join(f"{line.strategy} (run {line.run!r}, verifier {line.verifier or 'none'})" for line in lines)
        raise ValueError(f"{role}: holds {len(lines)} strategies ({listed or 'none'}); expected one.")
    return lines[0]


def shared_questions(lines: Sequence[Line]) -> list[str]:
    """The questions that all lines have, in the order of the first. Raises ValueError if there is none."""
    shared = set.intersection(*(set(line.question_ids) for line in lines))
    if not shared:
        raise ValueError(f"{lines[0].strategy!r} and the others share no question: there is nothing to pair.")
    return [name for name in lines[0].question_ids if name in shared]


def _line(rows: pl.DataFrame) -> Line:
    run, strategy, verifier = (rows[name][0] for name in SOURCE)
    twice = rows.select("question_id", "budget").is_duplicated()
    if twice.any():
        first = rows.filter(twice).row(0, named=True)
        raise ValueError(f"question {first['question_id']!r} has two values at budget {first['budget']}.")
    budgets = rows["budget"].unique().sort()
    tables = [
        rows.pivot("budget", index="question_id", values=column, maintain_order=True) for column in ("value", "_cost")
    ]
    value, cost = (table.select(map(str, budgets)).to_numpy().astype(np.float64) for table in tables)
    there = ~(np.isnan(value) | np.isnan(cost)).any(axis=1)
    if not there.any():
        raise ValueError(f"{strategy or 'line'}: no question has a value at every budget.")
    names = tables[0]["question_id"].cast(pl.String).filter(there).to_list()
    return Line(
        run, strategy or "policy", verifier, tuple(names), budgets.cast(pl.Int64).to_numpy(), value[there], cost[there]
    )
