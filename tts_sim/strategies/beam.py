"""`beam`: step-wise search guided by a process verifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from tts_sim.arrays import IMPORTED, Float32s, Tally, new_tally
from tts_sim.forest import Forest
from tts_sim.kernels import beam as kernels
from tts_sim.kernels._threads import on_threads
from tts_sim.kernels.children import BORROW, REUSE, new_substitutes
from tts_sim.kernels.lookahead import roll_out
from tts_sim.strategies.plan import (
    OnExhausted,
    Plan,
    refuse_kind,
    refuse_missing_scores,
    refuse_short_pools,
    score_columns,
)
from tts_sim.strategies.search import Search

Finished = Literal["freeze", "absorb", "shrink", "pool"]
FINISHED: tuple[Finished, ...] = ("freeze", "absorb", "shrink", "pool")  # places are the kernel's numbers
POLICIES: dict[OnExhausted, int] = {"reuse": REUSE, "borrow": BORROW}


@dataclass(frozen=True)
class Beam(Search):
    """Keep the best n/width of n candidates by step score, send `width` children from each, for 40 rounds.

    `width` is a number (one above n counts as n) or "sqrt": the integer next to √n. With K = ⌈n/width⌉, `finished` says
    what becomes of a candidate that ends before the others; the last parent in rank sends what remains of the round:

    freeze: it joins the answers, and the next round draws one child less: n answers.
    absorb: it competes, and where it is kept it stands as `width` copies of itself: n answers, equal ones among them.
    shrink: it competes, and where it is kept it holds one of the K places until the end: at most K answers.
    pool: it joins the answers, and the next round draws n again: K are kept, or all if fewer go on, which then share
    the n draws evenly. All answers count: HF's code would keep the first n of them, which favours short solutions.

    Generations are the candidates that were sampled to their end or were unfinished after the last round: n under
    freeze. A candidate that is pruned hands its place on and is not counted, nor is a copy; tokens count everything.
    Source: Snell et al. 2024 (arXiv:2408.03314) §5.2, which leaves early ends open; the readings: statistics 1.3.
    """

    width: int | Literal["sqrt"] = 4
    finished: Finished = "freeze"
    name: ClassVar[str] = "beam"
    kind: ClassVar[str] = "steps"
    uses_scores: ClassVar[bool] = True
    grows_trees: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_width(self.width)
        if self.finished not in FINISHED:
            raise ValueError(f"finished={self.finished}: expected one of {', '.join(FINISHED)}.")

    def __str__(self) -> str:
        finished = "" if self.finished == "freeze" else f",finished={self.finished}"
        return f"{self.name}(width={self.width}{finished})"

    def width_at(self, budget: int) -> int:
        """Children per kept candidate at this budget."""
        return width_at(self.width, budget)

    def replay(self, plan: Plan) -> Tally:
        """Run the kernel. Raises CacheExhausted if a budget exceeds a question's root pool, ScoreMissing for scores."""
        return run_kernel(self, plan, self.width, reading=FINISHED.index(self.finished))


def check_width(width: object) -> None:
    """Raise ValueError unless this is a width."""
    if width != "sqrt" and (not isinstance(width, int) or width < 1):
        raise ValueError(f"width={width}: expected a whole number from 1, or sqrt.")


def width_at(width: int | Literal["sqrt"], n: int) -> int:
    """Children per kept candidate, of n candidates."""
    if width != "sqrt":
        return min(width, n)
    root = math.isqrt(n)
    return root + (n > root * (root + 1))


def run_kernel(search: Search, plan: Plan, width: int | Literal["sqrt"], *, reading: int = 0, steps: int = 0) -> Tally:
    """Replay beam search, with greedy rollouts of so many steps. Raises as the searches say that call it."""
    forest, trees = plan.forest, plan.forest.trees
    candidates = [budget // (steps + 1) for budget in plan.budgets]
    refuse_kind(forest, search.kind, str(search))
    refuse_short_pools(plan, forest.root_pools(), max(candidates), "first steps")
    scores, columns = score_columns(plan, step_scores=True)
    step_score = scores[0]
    look, score = rollouts(forest, step_score, steps)
    tally = new_tally(forest.num_questions, len(plan.budgets), len(plan.selections), plan.room)
    settings = kernels.Settings(
        reading, plan.trials, np.uint64(plan.seed), IMPORTED if forest.root_pool is None else forest.root_pool,
        IMPORTED if forest.step_pool is None else forest.step_pool, steps + 1,
    )  # fmt: skip
    reuse = plan.on_exhausted == "reuse"
    most = max(candidates) if reuse else min(max(candidates), int(forest.root_pools().max(initial=0)))
    largest = max(forest.most_children(), forest.root_pool or 0, forest.step_pool or 0)

    def new_room() -> kernels.Room:
        rows, answers = (int(np.diff(start).max(initial=0)) for start in (trees.question_start, trees.answer_start))
        policy = POLICIES.get(plan.on_exhausted)
        instead = None if policy is None else new_substitutes(policy, step_score, rows)
        return kernels.new_room(most, len(candidates), reading, largest, answers, instead)

    on_threads(
        kernels.beam, forest.num_questions, new_room, trees, score, look, scores, plan.kinds, columns,
        np.array(candidates, np.int64), np.array([width_at(width, n) for n in candidates], np.int64), settings, tally,
    )  # fmt: skip
    refuse_missing_scores(plan, tally)
    return tally


def rollouts(forest: Forest, step_score: Float32s, steps: int) -> tuple[kernels.Rollouts, Float32s]:
    """Where greedy rollouts of so many steps lead, and the scores there; nothing and the step scores for 0 steps."""
    num = len(step_score) if steps else 0
    look, ahead = kernels.Rollouts(np.empty(num, np.int32), np.empty(num, np.int32)), np.empty(num, np.float32)
    if steps:
        roll_out(forest.trees, step_score, steps, look, ahead)
    for column in (*look, ahead):
        column.flags.writeable = False  # always: otherwise kernels are compiled for both
    return look, ahead if steps else step_score
