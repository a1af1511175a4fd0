"""The greedy solutions of a run as outcomes: one answer a question, decoded at temperature 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tts_sim.outcomes import COLUMNS, Outcomes

if TYPE_CHECKING:
    from cache import Cache

STRATEGY = "greedy"
# each question's greedy path from the prompt; in a run of revisions it ends at the first attempt
PATHS = """
WITH RECURSIVE walk AS (
    SELECT question_id, node_id, tokens, answer_id, stop
    FROM nodes WHERE run_id = $run AND greedy AND parent_id IS NULL
    UNION ALL
    SELECT node.question_id, node.node_id, walk.tokens + node.tokens, node.answer_id, node.stop
    FROM walk JOIN nodes AS node ON node.run_id = $run AND node.greedy AND node.parent_id = walk.node_id
    WHERE walk.stop = 'step'
)
SELECT walk.question_id, walk.tokens::DOUBLE AS tokens, coalesce(answer.correct, false)::INTEGER::DOUBLE AS accuracy
FROM walk LEFT JOIN answers AS answer
    ON answer.question_id = walk.question_id AND answer.answer_id = walk.answer_id
WHERE walk.stop <> 'step' ORDER BY walk.question_id
"""
FIGURES = {
    "strategy": pl.lit(STRATEGY),
    "verifier": pl.lit(None, pl.String),
    "budget": pl.lit(1, pl.Int64),
    "lower": pl.col("accuracy"),
    "upper": pl.col("accuracy"),
    "supported": pl.lit(1.0),
    "method": pl.lit("exact"),
    "trials": pl.lit(0, pl.Int64),
    "variance": pl.lit(0.0),
    "within": pl.lit(0.0),
    "generations": pl.lit(1.0),
    "verifier_tokens": pl.lit(0.0),
    "critical_tokens": pl.col("tokens"),
    "calls": pl.lit(1.0),
    "prefix_tokens": pl.lit(0.0),
    "borrowed": pl.lit(0.0),
    "missing": pl.lit(0.0),
    "exhausted": pl.lit(0.0),
    "exchangeable": pl.lit(True),
}


def greedy_outcomes(cache: Cache, run: str) -> Outcomes:
    """Strategy `greedy` at budget 1: whether the run's greedy solution of each question is correct, and its tokens.

    Questions without a finished greedy solution have no row; one whose answer cannot be parsed is wrong. New
    generations would be the same, so `within` is 0.
    """
    rows = cache.frame(PATHS, {"run": run})
    return Outcomes(rows.with_columns(run=pl.lit(run), **FIGURES).select(COLUMNS))
