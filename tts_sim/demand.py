"""Demand: the draws that a recording still lacks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from tts_sim.arrays import GREEDY, Int32s, Int64s
from tts_sim.draws import checked_seed
from tts_sim.forest import Forest
from tts_sim.replay import (
    by_search,
    check_budgets,
    checked_budgets,
    checked_strategies,
    checked_trials,
    chosen_verifier,
    default_trials,
)
from tts_sim.selections import Oracle
from tts_sim.spec import Strategy
from tts_sim.strategies.plan import Plan

ROOM = 1024  # missing draws per question that are listed without a second run


def demand(
    forest: Forest,
    strategies: Sequence[Strategy | str],
    budgets: Sequence[int],
    *,
    verifier: str | None = None,
    trials: int | None = None,
    seed: int,
) -> pl.DataFrame:
    """The next layer of draws that the replays lack: question_id, node_id (null: the prompt), draw, greedy.

    Unique, sorted; a draw that is `greedy` is the greedy step below the node, and its number is 0.
    Generate them, score them, and ask again, until nothing is missing: the replays are then fully supported. A replay
    stops in the round where it first misses a draw, so a demand goes one step deeper each time.
    Raises ValueError for a run without pools (an imported run holds what it holds) and for a budget that a search
    cannot spend.
    """
    if forest.root_pool is None:
        raise ValueError(
            f"run {forest.run_id!r} has no root pool: it was imported, and nothing can be asked of it. "
            "Record one with `tts-sim generate sample`."
        )
    wanted = checked_strategies(strategies)
    ascending = checked_budgets(budgets)
    checked_seed(seed)
    checked_trials(trials)
    rows: list[Int32s] = []
    draws: list[Int32s] = []
    for search, members in by_search(wanted).items():
        judge = chosen_verifier(forest, members, verifier) if search.uses_scores and _begun(forest) else None
        check_budgets(search, ascending)
        count = trials if trials is not None else default_trials(forest, search)
        room = ROOM
        while True:
            tally = search.missing(Plan(forest, [Oracle()], ascending, judge, count, seed, room))
            most = int(tally.wanted.max(initial=0))
            if most <= room:
                break
            room = most
        listed = np.arange(room)[None, :] < tally.wanted[:, None]
        rows.append(tally.wanted_row[listed])
        draws.append(tally.wanted_draw[listed])
    return _table(forest, np.concatenate(rows).astype(np.int64), np.concatenate(draws).astype(np.int64))


def _begun(forest: Forest) -> bool:
    """Whether anything is cached: before the first draw there are no scores, and none are needed."""
    return forest.num_nodes > 0


def _table(forest: Forest, rows: Int64s, draws: Int64s) -> pl.DataFrame:
    unique = np.unique(rows << 32 | (draws - GREEDY))
    rows, draws = unique >> 32, (unique & 0xFFFFFFFF) + GREEDY
    greedy = draws == GREEDY
    question = np.searchsorted(forest.trees.question_start, rows, side="right") - 1
    frame = pl.DataFrame(
        {
            "_question": question,
            "node_id": forest.node_id[rows],
            "draw": np.where(greedy, 0, draws).astype(np.int32),
            "greedy": greedy,
        },
        schema={"_question": pl.Int64, "node_id": pl.Int64, "draw": pl.Int32, "greedy": pl.Boolean},
    )
    names = pl.DataFrame(
        {"_question": np.arange(forest.num_questions), "question_id": list(forest.question_ids)},
        schema={"_question": pl.Int64, "question_id": pl.String},
    )
    return (
        frame.join(names, on="_question", how="left")
        .sort("_question", "node_id", "greedy", "draw")
        .select("question_id", pl.when(pl.col("node_id") >= 0).then("node_id").alias("node_id"), "draw", "greedy")
    )
