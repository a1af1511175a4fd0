"""The very solution that a strategy selects for each question: what distillation writes down."""

from __future__ import annotations

import numpy as np
import polars as pl

from tts_sim.arrays import Float32s
from tts_sim.draws import PERMUTE, checked_seed, mix, question_key
from tts_sim.errors import CacheExhausted
from tts_sim.forest import Forest
from tts_sim.replay import checked_budgets, chosen_verifier
from tts_sim.selections import Best, Majority, Oracle, Weighted
from tts_sim.spec import Strategy, parse_strategy
from tts_sim.strategies.plan import Plan
from tts_sim.strategies.sample import Sample, ready

TIED = 1 << 35  # counters of the draws among tied solutions; replays and verifiers use those below


def selected_solutions(
    forest: Forest, strategy: Strategy | str, budget: int, *, verifier: str | None = None, seed: int
) -> pl.DataFrame:
    """question_id, node_id (the solution's end), correct: one row per question, of the solution that is selected.

    The draws are those of trial 0 of `replay` with this seed. `best` gives the highest-scored solution; `weighted` the
    highest-scored one with the winning answer; `majority` any one with the winning answer, `oracle` any right one, with
    equal chances. Ties go to one of the tied, with equal chances: right and wrong ones alike. node_id is null where
    nothing is selected: nobody answered, or (oracle) nobody right.
    Raises ValueError for any search but `sample` (a tree search ends in candidates that share steps; a replay keeps
    their votes, not which one was taken), CacheExhausted for a budget above a pool or a draw that is not there,
    ScoreMissing as `replay` does.
    """
    wanted = parse_strategy(strategy) if isinstance(strategy, str) else strategy
    if not isinstance(wanted.search, Sample):
        raise ValueError(
            f"strategy '{wanted}': a solution can be exported for sample+best, sample+weighted, sample+majority and "
            "sample+oracle only; a replay of other searches does not keep which solution was selected."
        )
    [number] = checked_budgets([budget])
    judge = chosen_verifier(forest, [wanted], verifier)
    plan = Plan(forest, [wanted.selection], [number], judge, 1, checked_seed(seed))
    found, scores, columns = ready(wanted.search, plan)
    rows: list[tuple[str, int | None, bool]] = []
    for q, name in enumerate(forest.question_ids):
        key = mix(mix(seed, question_key(name)), 0)
        places = found.start[q] + np.array(_permuted(key, int(found.start[q + 1] - found.start[q]))[:number], np.int64)
        if bool((found.state[places] != 0).any()):
            raise CacheExhausted(
                f"question '{name}' lacks some of the {number} draws of this selection. "
                "Fill them with `tts-sim generate fill`, or lower the budget."
            )
        chosen = _chosen(forest, wanted, scores[columns[0]], [int(row) for row in found.row[places]], mix(key, TIED))
        right = chosen is not None and bool(forest.trees.answer_correct[forest.trees.answer[chosen]])
        rows.append((name, None if chosen is None else int(forest.node_id[chosen]), right))
    return pl.DataFrame(
        rows, schema={"question_id": pl.String, "node_id": pl.Int64, "correct": pl.Boolean}, orient="row"
    )


def _permuted(key: int, pool: int) -> list[int]:
    """The keyed permutation of range(pool), as in `kernels.sample.shuffle`."""
    order = list(range(pool))
    for i in range(pool):
        j = i + ((mix(key, PERMUTE + i) >> 32) * (pool - i) >> 32)
        order[i], order[j] = order[j], order[i]
    return order


def _chosen(forest: Forest, strategy: Strategy, score: Float32s, rows: list[int], key: int) -> int | None:
    """The row of the selected solution among those of `rows` that have an answer."""
    answer = {row: int(forest.trees.answer[row]) for row in rows if forest.trees.answer[row] >= 0}
    members = list(answer)
    selection = strategy.selection
    if isinstance(selection, Oracle):
        members = [row for row in members if forest.trees.answer_correct[answer[row]]]
    if isinstance(selection, Majority | Weighted):
        sums: dict[int, float] = {}
        for row in members:
            sums[answer[row]] = sums.get(answer[row], 0.0) + (
                1.0 if isinstance(selection, Majority) else float(score[row])
            )
        most = max(sums.values(), default=0.0)
        winner = _drawn([one for one, total in sums.items() if total == most], mix(key, 0))
        members = [row for row in members if answer[row] == winner]
    if isinstance(selection, Best | Weighted):
        highest = max((score[row] for row in members), default=0.0)
        members = [row for row in members if score[row] == highest]
    return _drawn(members, mix(key, 1))


def _drawn(members: list[int], bits: int) -> int | None:
    """One of the members with equal chances; None of none."""
    return members[(bits >> 32) * len(members) >> 32] if members else None
