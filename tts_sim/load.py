"""From a cache to a Forest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tts_sim.errors import CacheInvalid
from tts_sim.forest import AnswerColumns, Forest, NodeColumns, build_forest

if TYPE_CHECKING:
    from cache import Cache

KINDS = ("steps", "revisions")

NODES = """
    SELECT q.place, node_id, coalesce(parent_id, -1) AS parent_id, draw, greedy, tokens,
           coalesce(answer_id, -1) AS answer_id,
           (CASE stop WHEN 'step' THEN 0 WHEN 'eos' THEN 1 WHEN 'length' THEN 2 ELSE 3 END)::TINYINT AS stop
    FROM nodes JOIN wanted_questions AS q USING (question_id) WHERE run_id = $run
"""
ANSWERS = "SELECT q.place, answer_id, correct FROM answers JOIN wanted_questions AS q USING (question_id)"
SCORES = "SELECT node_id, score FROM scores WHERE run_id = $run AND verifier_id = $verifier"


def load_forest(
    cache: Cache, run_id: str | None = None, *, kind: str = "steps", questions: Sequence[str] | None = None
) -> Forest:
    """The trees of one run, with the scores of every verifier that scored it. About 0.5 s per million nodes.

    Default run: the first of that kind by start and id. `questions` chooses and orders the questions, with or without
    nodes; default: those of which the run holds nodes, by id.
    Raises ValueError for an unknown run, CacheInvalid (question, node, remedy) for a broken requirement.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}: expected one of {', '.join(KINDS)}.")
    run = _run(cache, run_id, kind)
    name = str(run["run_id"])
    table = _questions(cache, name, questions)
    cache.connection.register("wanted_questions", table.select("question_id", "place").to_arrow())
    try:
        nodes = _fetch(cache, NODES, run=name)
        answers = _fetch(cache, ANSWERS)
    finally:
        cache.connection.unregister("wanted_questions")
    if (nodes["stop"] == 3).any():
        odd = nodes.row(int((nodes["stop"] == 3).arg_max() or 0), named=True)
        raise CacheInvalid(
            f"question {table['question_id'][odd['place']]!r}, node {odd['node_id']} of run {name!r}: unknown stop; "
            "expected step, eos or length. Run `tts-sim check`."
        )
    verifiers = _fetch(
        cache,
        "SELECT verifier_id, kind FROM verifiers WHERE verifier_id IN "
        "(SELECT DISTINCT verifier_id FROM scores WHERE run_id = $run) ORDER BY verifier_id",
        run=name,
    )
    known = None
    scores = {}
    for verifier in verifiers["verifier_id"]:
        column = _fetch(cache, SCORES, run=name, verifier=verifier)
        if questions is not None:  # other questions of the run are not loaded
            known = nodes["node_id"] if known is None else known
            column = column.filter(pl.col("node_id").is_in(known.implode()))
        scores[verifier] = (_array(column, "node_id", np.int64), _array(column, "score", np.float32))
        if np.isnan(scores[verifier][1]).any():
            node = int(scores[verifier][0][np.argmax(np.isnan(scores[verifier][1]))])
            raise CacheInvalid(f"node {node} of run {name!r}: its score by {verifier!r} is NaN; remove the row.")
    return build_forest(
        run_id=name,
        kind=str(run["kind"]),
        question_ids=table["question_id"].to_list(),
        levels_of=table["level"].to_list(),
        nodes=NodeColumns(
            question=_array(nodes, "place", np.int32),
            node_id=_array(nodes, "node_id", np.int64),
            parent_id=_array(nodes, "parent_id", np.int64),
            draw=_array(nodes, "draw", np.int32),
            greedy=_array(nodes, "greedy", np.bool_),
            tokens=_array(nodes, "tokens", np.int32),
            answer_id=_array(nodes, "answer_id", np.int32),
            stop=_array(nodes, "stop", np.int8),
        ),
        answers=AnswerColumns(
            question=_array(answers, "place", np.int32),
            answer_id=_array(answers, "answer_id", np.int32),
            correct=_array(answers, "correct", np.bool_),
        ),
        scores=scores,
        root_pool=run["root_pool"],
        step_pool=run["step_pool"],
        recorded=json.loads(run["provenance"]) if run["provenance"] else {},
        exchangeable=bool(run["exchangeable"]),
        verifier_kinds=dict(zip(verifiers["verifier_id"], verifiers["kind"], strict=True)),
    )


def _run(cache: Cache, run_id: str | None, kind: str) -> dict[str, Any]:
    runs = _fetch(
        cache,
        "SELECT run_id, kind, root_pool, step_pool, exchangeable, provenance::VARCHAR AS provenance FROM runs "
        "ORDER BY started NULLS LAST, run_id",
    )
    chosen = runs.filter(pl.col("kind") == kind if run_id is None else pl.col("run_id") == run_id)
    if len(chosen):
        return chosen.row(0, named=True)
    known = ", ".join(f"{row['run_id']} ({row['kind']})" for row in runs.to_dicts()) or "none"
    if run_id is None:
        raise ValueError(f"kind {kind!r}: the cache holds no run of this kind; its runs: {known}.")
    raise ValueError(f"run {run_id!r}: not in the cache; its runs: {known}.")


def _questions(cache: Cache, run_id: str, wanted: Sequence[str] | None) -> pl.DataFrame:
    """question_id, level, place of the questions to load."""
    if wanted is None:
        table = _fetch(
            cache,
            "SELECT question_id, level FROM questions SEMI JOIN "
            "(SELECT DISTINCT question_id FROM nodes WHERE run_id = $run) USING (question_id) ORDER BY question_id",
            run=run_id,
        )
    else:
        levels = _fetch(cache, "SELECT question_id, level FROM questions")
        asked = pl.DataFrame({"question_id": list(wanted)}, schema={"question_id": pl.String})
        if asked["question_id"].is_duplicated().any():
            raise ValueError("questions: an id is given twice.")
        unknown = asked.join(levels, on="question_id", how="anti")
        if len(unknown):
            raise ValueError(f"question {unknown['question_id'][0]!r}: not in the cache.")
        table = asked.join(levels, on="question_id", how="left", maintain_order="left")
    return table.with_columns(place=pl.int_range(len(table), dtype=pl.Int32))


def _fetch(cache: Cache, query: str, **parameters: str) -> pl.DataFrame:
    """A query's rows; through Arrow, which DuckDB 2 hands over without a copy."""
    relation = cache.connection.sql(query, params=parameters or None)
    frame: pl.DataFrame = relation.pl()
    return frame


def _array(frame: pl.DataFrame, column: str, dtype: Any) -> Any:
    return np.ascontiguousarray(frame[column].to_numpy(), dtype=dtype)
