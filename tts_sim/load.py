"""From a cache to a Forest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import polars as pl

from tts_sim.forest import Forest
from tts_sim.laying import Ends, Layout, Links, Slots, answer_table

if TYPE_CHECKING:
    from cache import Cache

KINDS = ("steps", "revisions")

BATCH = 1 << 17  # rows: large enough to forget the loop around it, small beside the trees

WANTED = "FROM nodes JOIN wanted_questions USING (question_id) WHERE run_id = $run"
EXTENT = f"SELECT coalesce(min(node_id), 0), coalesce(max(node_id), 0), count(*) {WANTED}"
NUMBERS = f"SELECT node_id {WANTED}"
LINKS = f"SELECT node_id, coalesce(parent_id, -1), place, draw, greedy::TINYINT {WANTED}"
ENDS = """
    SELECT node_id, tokens, coalesce(answer_id, -1),
           (CASE stop WHEN 'step' THEN 0 WHEN 'eos' THEN 1 WHEN 'length' THEN 2 ELSE 3 END)::TINYINT
    FROM nodes WHERE run_id = $run
"""
ANSWERS = "SELECT place, answer_id, correct FROM answers JOIN wanted_questions USING (question_id)"
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
    with _source(cache) as source:
        run = _run(source, run_id, kind)
        name = str(run["run_id"])
        table = _questions(source, name, questions)
        question_ids = table["question_id"].to_list()
        source.register("wanted_questions", table.select("question_id", "place").to_arrow())
        low, high, num_nodes = (int(value) for value in _fetch(source, EXTENT, run=name).row(0))
        slots = Slots(low, high, num_nodes, lambda: _fetch(source, NUMBERS, run=name)["node_id"].to_numpy())
        layout = Layout(name, question_ids, slots)
        layout.take_links(Links(*columns) for columns in _batches(source, LINKS, run=name))
        layout.take_ends(Ends(*columns) for columns in _batches(source, ENDS, run=name))
        answers = _fetch(source, ANSWERS)
        verifiers = _fetch(
            source,
            "SELECT verifier_id, kind FROM verifiers WHERE verifier_id IN "
            "(SELECT DISTINCT verifier_id FROM scores WHERE run_id = $run) ORDER BY verifier_id",
            run=name,
        )
        scores = {
            verifier: layout.scores(
                verifier,
                ((ids, values) for ids, values in _batches(source, SCORES, run=name, verifier=verifier)),
                partial=questions is not None,  # other questions of the run are not loaded
            )
            for verifier in verifiers["verifier_id"]
        }
    table_of_answers = answer_table(
        len(question_ids),
        _array(answers, "place", np.int32),
        _array(answers, "answer_id", np.int32),
        _array(answers, "correct", np.bool_),
    )
    trees, node_id = layout.trees(*table_of_answers, solutions_end=run["kind"] == "steps")
    return Forest(
        run_id=name,
        kind=str(run["kind"]),
        trees=trees,
        question_ids=tuple(question_ids),
        levels=tuple(table["level"].to_list()),
        scores=scores,
        node_id=node_id,
        root_pool=run["root_pool"],
        step_pool=run["step_pool"],
        recorded=json.loads(run["provenance"]) if run["provenance"] else {},
        exchangeable=bool(run["exchangeable"]),
        verifier_kinds=dict(zip(verifiers["verifier_id"], verifiers["kind"], strict=True)),
    )


def _run(source: duckdb.DuckDBPyConnection, run_id: str | None, kind: str) -> dict[str, Any]:
    runs = _fetch(
        source,
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


def _questions(source: duckdb.DuckDBPyConnection, run_id: str, wanted: Sequence[str] | None) -> pl.DataFrame:
    """question_id, level, place of the questions to load."""
    if wanted is None:
        table = _fetch(
            source,
            "SELECT question_id, level FROM questions SEMI JOIN "
            "(SELECT DISTINCT question_id FROM nodes WHERE run_id = $run) USING (question_id) ORDER BY question_id",
            run=run_id,
        )
    else:
        levels = _fetch(source, "SELECT question_id, level FROM questions")
        asked = pl.DataFrame({"question_id": list(wanted)}, schema={"question_id": pl.String})
        if asked["question_id"].is_duplicated().any():
            raise ValueError("questions: an id is given twice.")
        unknown = asked.join(levels, on="question_id", how="anti")
        if len(unknown):
            raise ValueError(f"question {unknown['question_id'][0]!r}: not in the cache.")
        table = asked.join(levels, on="question_id", how="left", maintain_order="left")
    return table.with_columns(place=pl.int_range(len(table), dtype=pl.Int32))


@contextmanager
def _source(cache: Cache) -> Iterator[duckdb.DuckDBPyConnection]:
    """A cursor of the cache that is gone, with what it reads and knows, when loading has ended or failed.

    DuckDB keeps what it reads, and nothing here is read twice, so that it gets little memory where this may be set
    (caches open for reading): 8 MB a thread and 16 more stream at full speed.
    """
    cursor = cache.connection.cursor()
    try:
        if cache.read_only:
            threads = _fetch(cursor, "SELECT current_setting('threads') AS threads")["threads"][0]
            with suppress(duckdb.Error):
                cursor.execute(f"SET memory_limit = '{16 + 8 * threads}MB'")
        yield cursor
    finally:
        cursor.close()
        if cache.read_only:
            with suppress(duckdb.Error):
                cache.connection.execute("RESET memory_limit")


def _fetch(source: duckdb.DuckDBPyConnection, query: str, **parameters: str) -> pl.DataFrame:
    """A query's rows; through Arrow, which DuckDB 2 hands over without a copy."""
    frame: pl.DataFrame = source.sql(query, params=parameters or None).pl()
    return frame


def _batches(source: duckdb.DuckDBPyConnection, query: str, **parameters: str) -> Iterator[list[Any]]:
    """A query's rows as lists of columns, `BATCH` at a time; they are read-only."""
    for batch in source.sql(query, params=parameters).to_arrow_reader(BATCH):
        yield [column.to_numpy(zero_copy_only=False) for column in batch.columns]


def _array(frame: pl.DataFrame, column: str, dtype: Any) -> Any:
    return np.ascontiguousarray(frame[column].to_numpy(), dtype=dtype)
