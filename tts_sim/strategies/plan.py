"""What every search is asked to do, and the checks that all of them make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from tts_sim.arrays import Float32s, Float64s, Int64s, Tally
from tts_sim.errors import CacheExhausted, ScoreMissing
from tts_sim.forest import Forest
from tts_sim.selections import Best, Selection, Weighted

OnExhausted = Literal["refuse", "bounds", "reuse", "borrow"]
ON_EXHAUSTED: tuple[OnExhausted, ...] = ("refuse", "bounds", "reuse", "borrow")


@dataclass(frozen=True)
class Plan:
    """One kernel run: every selection of a search at every budget. Budgets ascend without repetition.

    `room` is the number of missing draws to list per question; 0 for a replay. `on_exhausted` says what a replay does
    where the cache ends: `refuse` a budget above a pool, count such trials as unsupported (`bounds`), draw from what is
    cached with replacement (`reuse`), or take the children of a like sibling (`borrow`).
    """

    forest: Forest
    selections: Sequence[Selection]
    budgets: Sequence[int]
    verifier: str | None
    trials: int
    seed: int
    room: int = 0
    on_exhausted: OnExhausted = "refuse"

    @property
    def kinds(self) -> Int64s:
        return np.array([selection.kind for selection in self.selections], np.int64)


class Exact(NamedTuple):
    """What is known without chance, NaN elsewhere: shapes (Q, B, S) for `value` and `within`, (Q, B) for the rest.

    `within` estimates the variance of a value over new generations, without bias; it may be negative.
    """

    value: Float64s
    within: Float64s
    tokens: Float64s
    critical: Float64s
    prefix: Float64s


def score_columns(plan: Plan, step_scores: bool) -> tuple[Float32s, Int64s]:
    """Score columns, shape (C, N), and the column of each selection; column 0 holds step scores if asked for.

    Selections that need no score point at column 0. Raises ValueError for votes weighted by negative scores.
    """
    forest = plan.forest
    stack: list[Float32s] = []
    places: dict[str, int] = {}
    if step_scores:
        unscored = plan.verifier is None and forest.num_nodes == 0  # a recording before its first draw
        stack.append(
            np.full(len(forest.node_id), np.nan, np.float32) if unscored else forest.path_score(_named(plan), "last")
        )
        places["last"] = 0
    columns = []
    for selection in plan.selections:
        if not isinstance(selection, Best | Weighted):
            columns.append(0)
            continue
        verifier = _named(plan)
        agg = "last" if forest.kind == "revisions" else selection.agg  # an attempt is a solution of one step
        if agg not in places:
            places[agg] = len(stack)
            stack.append(forest.path_score(verifier, agg))
        if isinstance(selection, Weighted) and bool((stack[places[agg]] < 0).any()):
            raise ValueError(
                f"{selection}: verifier {verifier!r} gives negative scores, which cannot be summed into a vote. "
                "Use best, or map the scores to positive ones (a sigmoid of logits)."
            )
        columns.append(places[agg])
    matrix = np.zeros((1, 1), np.float32) if not stack else stack[0][None, :] if len(stack) == 1 else np.stack(stack)
    matrix.flags.writeable = False  # always: otherwise kernels are compiled for both
    return matrix, np.array(columns, np.int64)


def _named(plan: Plan) -> str:
    if plan.verifier is None:
        raise ValueError("This strategy needs a verifier.")
    return plan.verifier


def refuse_missing_scores(plan: Plan, tally: Tally) -> None:
    """Raise ScoreMissing if a question of the tally lacked a score."""
    lacking = np.flatnonzero(tally.status)
    if len(lacking):
        raise score_missing(plan, int(lacking[0]))


def score_missing(plan: Plan, question: int) -> ScoreMissing:
    """The error for a score that is needed on `question` and is not there."""
    forest, verifier = plan.forest, _named(plan)
    nodes = forest.node_id >= 0
    covered = int(np.count_nonzero(~np.isnan(forest.scores[verifier][nodes])))
    return ScoreMissing(
        f"verifier {verifier!r} covers {covered} of {int(nodes.sum())} nodes of run {forest.run_id!r}; "
        f"question {forest.question_ids[question]!r} needs one that is not scored. Run `tts-sim generate score`, "
        "or choose another verifier."
    )


def refuse_short_pools(plan: Plan, pools: Int64s, needed: int, what: str) -> None:
    """Raise CacheExhausted if a question's pool is smaller than `needed`, and the plan refuses that."""
    if plan.on_exhausted != "refuse":
        return
    forest = plan.forest
    short = np.flatnonzero(pools < needed)
    if len(short):
        first = int(short[0])
        raise CacheExhausted(
            f"{len(short)} of {len(pools)} questions hold fewer than {needed} {what} "
            f"(first: {forest.question_ids[first]!r}, {int(pools[first])}). Lower the budget, or record more."
        )


def refuse_policy(plan: Plan, search: str, *known: OnExhausted) -> None:
    """Raise ValueError unless the search knows how to go on in this way where the cache ends."""
    if plan.on_exhausted not in known:
        raise ValueError(f"on_exhausted={plan.on_exhausted!r}: {search} knows {', '.join(known)}.")


def refuse_kind(forest: Forest, kind: str, search: str) -> None:
    """Raise ValueError unless the run is of the kind that a search replays."""
    if forest.kind != kind:
        what = "revision chains" if kind == "revisions" else "step trees of independent solutions"
        raise ValueError(
            f"{search} replays {what}, a run of kind {kind!r}; run {forest.run_id!r} is of kind {forest.kind!r}."
        )
