"""What is in a cache, as plain data."""

from __future__ import annotations

from typing import Any

import polars as pl

from cache.store import Cache

_RUNS = """
WITH unit AS (
    SELECT run_id, count(*) AS nodes, sum(tokens)::BIGINT AS tokens, count(*) FILTER (stop <> 'step') AS solutions,
           count(DISTINCT question_id) AS questions, count(*) FILTER (greedy) AS greedy_nodes,
           count(*) FILTER (parent_id IS NULL AND NOT greedy) AS root_draws
    FROM nodes GROUP BY run_id
),
finished AS (
    SELECT run_id, count(*) FILTER (correct) AS correct
    FROM nodes JOIN answers ON answers.question_id = nodes.question_id AND answers.answer_id = nodes.answer_id
    WHERE stop <> 'step' GROUP BY run_id
)
SELECT run_id, kind, model_id, exchangeable, temperature, top_p, root_pool, step_pool, started, finished,
       coalesce(questions, 0) AS questions,
       coalesce(nodes, 0) AS nodes, coalesce(tokens, 0) AS tokens, coalesce(solutions, 0) AS solutions,
       coalesce(correct, 0) AS correct,
       coalesce(root_draws, 0) AS root_draws, coalesce(greedy_nodes, 0) AS greedy_nodes
FROM runs LEFT JOIN unit USING (run_id) LEFT JOIN finished AS ending USING (run_id) ORDER BY started, run_id
"""
_VERIFIERS = """
WITH scored AS (
    SELECT verifier_id, run_id, count(*) AS scores, min(score) AS min, avg(score) AS mean, max(score) AS max
    FROM scores GROUP BY ALL
),
unit AS (SELECT run_id, count(*) AS nodes FROM nodes GROUP BY run_id)
SELECT verifier_id, kind, model_id, run_id, coalesce(scores, 0) AS scores, nodes, scores / nodes AS coverage,
       min, mean, max
FROM verifiers LEFT JOIN scored USING (verifier_id) LEFT JOIN unit USING (run_id) ORDER BY verifier_id, run_id
"""
_LEVELS = """
SELECT level, count(*) AS questions FROM questions GROUP BY level ORDER BY level
"""
_ANSWERS = """
SELECT count(*) AS answers, count(*) FILTER (correct) AS correct, count(DISTINCT question_id) AS questions,
       list(DISTINCT grader ORDER BY grader) FILTER (grader IS NOT NULL) AS graders
FROM answers
"""


def describe(cache: Cache) -> dict[str, Any]:
    """What the cache holds: schema, models, runs with their counts and pools, verifiers with coverage, answers,
    questions by level.

    Counts are numbers, coverage is the share of a run's nodes that a verifier scored, times are ISO text; ready for
    JSON.
    """
    meta = dict(cache.connection.execute("SELECT key, value FROM meta").fetchall())
    levels = _rows(cache, _LEVELS)
    return {
        "path": str(cache.path),
        "schema_version": int(meta["schema_version"]),
        "tool_version": meta.get("tool_version"),
        "created": meta.get("created"),
        "models": _rows(cache, "SELECT * FROM models ORDER BY model_id"),
        "questions": sum(row["questions"] for row in levels),
        "questions_by_level": levels,
        "answers": _rows(cache, _ANSWERS)[0],
        "runs": _rows(cache, _RUNS),
        "verifiers": _rows(cache, _VERIFIERS),
    }


def _rows(cache: Cache, sql: str) -> list[dict[str, Any]]:
    frame = cache.frame(sql)
    return frame.with_columns(pl.col(pl.Datetime).dt.to_string("iso:strict")).to_dicts()
