"""A question's rows depend on nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import polars as pl

from tests import forests
from tts_sim.replay import replay


def assert_rows_stand_alone(
    case: forests.Case, specs: Sequence[str], budgets: Sequence[int], some: list[int], **more: Any
) -> None:
    """Rows are bit-identical with the questions in another order, with `some` of them alone, and on one thread."""

    def outcome(order: list[int]) -> pl.DataFrame:
        frame = replay(forests.to_forest(case, order), specs, budgets, seed=5, **more).frame
        return frame.sort("question_id", "strategy", "budget")

    everything = list(range(len(case.questions)))
    whole = outcome(everything)
    assert outcome(everything[::-1]).equals(whole)
    part = outcome(some)
    assert part.equals(whole.filter(pl.col("question_id").is_in(part["question_id"].unique().implode())))
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        assert outcome(everything).equals(whole)
    finally:
        numba.set_num_threads(before)
