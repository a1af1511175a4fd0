"""Levels of questions as commands ask for them: by difficulty in a number of bins, or as the dataset states them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tts_sim.forest import Forest


def question_levels(forests: Sequence[Forest], by: str, bins: int) -> dict[str, int]:
    """Question → level. Difficulty is pass@1 of the first of the runs, cut into quantiles by value, 1 easiest.

    Raises ValueError for an unknown `by`, fewer than 2 questions a bin, and levels that are no numbers.
    """
    from tts_sim.difficulty import difficulty_levels, pass_at_1

    if by == "difficulty":
        measured = pass_at_1(forests[0])
        if bins < 1 or len(measured) < 2 * bins:
            raise ValueError(
                f"--bins {bins}: expected 1 or more, with at least 2 of {len(measured)} questions in each."
            )
        return difficulty_levels(measured, bins)
    if by != "level":
        raise ValueError(f"--by {by}: expected difficulty or level.")
    levels = {
        question: level
        for forest in reversed(forests)
        for question, level in zip(forest.question_ids, forest.levels, strict=True)
        if level is not None
    }
    if not levels or not all(isinstance(level, int) for level in levels.values()):
        raise ValueError("--by level: the cache's questions state no level that is a number; use --by difficulty.")
    return {question: int(level) for question, level in levels.items()}
