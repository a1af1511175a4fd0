"""Names for the arrays that travel through tts_sim, and the bundles in which they travel."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Int8s = NDArray[np.int8]
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]
UInt64s = NDArray[np.uint64]
Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
# Scalars inside a kernel: numba infers their types, Python's and NumPy's mix freely.
Int = Any
Key = Any  # 64 unsigned bits that key a random stream

NO_ANSWER = -1  # no solution ends at this node
UNPARSABLE = -2  # a solution ends here, but no answer could be read out of it
IMPORTED = -1  # as a pool size: the pool is what is cached
GREEDY = -1  # as the number of a missing draw: the greedy continuation


class Trees(NamedTuple):
    """All that a kernel may see of a forest: read-only, C-contiguous.

    Question q owns the rows question_start[q] : question_start[q + 1]; the first is its prompt, the others follow in
    level order. The sampled children of v are the rows child_start[v] : child_stop[v] in draw order; a cached greedy
    child, if there is one, stands at row child_stop[v] and has v as its parent.
    """

    question_start: Int64s  # (Q + 1,)
    question_key: UInt64s  # (Q,) hash of the question's id: keys its random stream
    parent: Int32s  # (N,) -1 at a prompt
    child_start: Int32s  # (N,)
    child_stop: Int32s  # (N,)
    tokens: Int32s  # (N,) 0 at a prompt
    answer: Int32s  # (N,) row of the answer table, NO_ANSWER or UNPARSABLE
    draw: Int32s  # (N,) place of the node among its parent's i.i.d. children
    answer_start: Int64s  # (Q + 1,)
    answer_correct: Bools  # (A,)


class Solutions(NamedTuple):
    """What each draw of the root pool leads to when draw 0 is taken at every later step.

    The draws of question q are the places start[q] : start[q + 1]; a place is `complete`, or it stopped at `row`
    because draw `draw` of that node is missing (recorded runs) or was never made (imported runs).
    """

    start: Int64s  # (Q + 1,)
    state: Int8s  # (L,) 0 complete, 1 missing, 2 exhausted
    row: Int32s  # (L,) last node that was reached
    draw: Int32s  # (L,) the draw that is missing there; 0 where complete
    tokens: Int64s  # (L,)


class Tally(NamedTuple):
    """What a search counts while it is replayed, for Q questions, B budgets and S selections.

    Values are summed as differences from the first one, so trials that all agree have a variance of exactly 0.
    """

    supported: Int64s  # (Q, B) trials
    missing: Int64s  # (Q, B) trials
    exhausted: Int64s  # (Q, B) trials
    generations: Int64s  # (Q, B) this and the next four are summed over supported trials
    tokens: Int64s  # (Q, B)
    critical: Int64s  # (Q, B)
    calls: Int64s  # (Q, B) sampling calls: each reads its context anew where none is kept
    prefix: Int64s  # (Q, B) tokens above the sampled units that these calls read again, prompts aside
    first: Float64s  # (Q, B, S) value of the first supported trial
    shift: Float64s  # (Q, B, S) sum of value - first
    squares: Float64s  # (Q, B, S) sum of (value - first)^2
    products: Float64s  # (Q, B, S) sum over paired trials of the mean product of two disjoint blocks' values
    paired: Int64s  # (Q, B) trials that hold two disjoint blocks
    borrowed: Int64s  # (Q, B) draws of supported trials that were taken from elsewhere, where the plan allows it
    status: Int8s  # (Q,) 0, or 1: a score that was needed is not there
    wanted: Int64s  # (Q,) missing draws met (may exceed the room below)
    wanted_row: Int32s  # (Q, room)
    wanted_draw: Int32s  # (Q, room)


def new_tally(num_questions: int, num_budgets: int, num_selections: int, room: int = 0) -> Tally:
    """An empty tally; `room` is the number of missing draws that it can list per question."""
    two, three = (num_questions, num_budgets), (num_questions, num_budgets, num_selections)
    return Tally(
        supported=np.zeros(two, np.int64),
        missing=np.zeros(two, np.int64),
        exhausted=np.zeros(two, np.int64),
        generations=np.zeros(two, np.int64),
        tokens=np.zeros(two, np.int64),
        critical=np.zeros(two, np.int64),
        calls=np.zeros(two, np.int64),
        prefix=np.zeros(two, np.int64),
        first=np.zeros(three, np.float64),
        shift=np.zeros(three, np.float64),
        squares=np.zeros(three, np.float64),
        products=np.zeros(three, np.float64),
        paired=np.zeros(two, np.int64),
        borrowed=np.zeros(two, np.int64),
        status=np.zeros(num_questions, np.int8),
        wanted=np.zeros(num_questions, np.int64),
        wanted_row=np.zeros((num_questions, room), np.int32),
        wanted_draw=np.zeros((num_questions, room), np.int32),
    )
