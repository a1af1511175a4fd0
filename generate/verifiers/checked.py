"""A verifier's scores with every step accounted for, and the run, question and node named where one is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from generate.protocols import Solution, UnreadableSolution, Verifier

Name = Callable[[int, int], str]


def checked_scores(verifier: Verifier, solutions: Sequence[Solution], name: Name) -> Sequence[Sequence[float | None]]:
    """One score or None (not scored) per fresh step of each solution, as the verifier gives them.

    `name` (place among the solutions, place among the fresh steps) says which node that is. Raises ValueError, with
    that name, for a solution that the verifier cannot read, a number of scores that is not that of the steps, or one
    that is not finite.
    """
    who = f"verifier '{verifier.verifier_id}'"
    try:
        scores = verifier.score(solutions)
    except UnreadableSolution as error:
        solution = solutions[error.place]
        fresh = solution.fresh or len(solution.steps)
        step = fresh - 1 if error.step is None else max(error.step - (len(solution.steps) - fresh), 0)
        raise ValueError(f"{name(error.place, step)}: {who} cannot score it: {error}. Nothing was stored.") from error
    for place, (solution, row) in enumerate(zip(solutions, scores, strict=True)):
        fresh = solution.fresh or len(solution.steps)
        if len(row) != fresh:
            raise ValueError(f"{name(place, fresh - 1)}: {who} gave {len(row)} scores for {fresh} steps.")
        for step, value in enumerate(row):
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name(place, step)}: the score of {who} is {value}, which is not finite.")
    return scores
