"""Several caches of the same questions as one: runs recorded side by side come together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from cache import Cache, create_cache, open_cache


def merge_caches(parts: Sequence[Path], target: Path) -> None:
    """Writes `target` anew from caches with different runs; equal answers of a question become one row.

    Answers are numbered by first appearance over the parts as ordered. The target appears only when it is whole.
    Raises CacheInvalid if a question, model or verifier has other content in another part.
    """
    partial = target.with_name(f".{target.name}.partial")
    for left_over in (partial, partial.with_name(partial.name + ".wal")):
        left_over.unlink(missing_ok=True)
    with create_cache(partial) as merged:
        for path in parts:
            with open_cache(path) as part:
                add_part(merged, part)
    partial.replace(target)


def add_part(merged: Cache, part: Cache) -> None:
    """Appends all rows of one part, answers renumbered."""
    known = merged.table("answers").select("question_id", "text", number="answer_id")
    answers = part.table("answers").join(known, on=["question_id", "text"], how="left", maintain_order="left")
    answers = answers.sort("question_id", "answer_id").join(
        known.group_by("question_id").agg(count=pl.len()), on="question_id", how="left", maintain_order="left"
    )
    place = pl.col("number").is_null().cast(pl.Int32).cum_sum().over("question_id") - 1
    answers = answers.with_columns(number=pl.coalesce("number", (pl.col("count").fill_null(0) + place).cast(pl.Int32)))
    numbers = answers.select("question_id", "answer_id", "number")
    new = answers.join(known, on=["question_id", "text"], how="anti").with_columns(answer_id=pl.col("number"))
    nodes = part.table("nodes").join(numbers, on=["question_id", "answer_id"], how="left", maintain_order="left")
    merged.append(
        models=part.table("models"),
        questions=part.table("questions"),
        answers=new.drop("number", "count"),
        runs=part.table("runs"),
        verifiers=part.table("verifiers"),
        nodes=nodes.with_columns(answer_id=pl.col("number")).drop("number").sort("run_id", "node_id"),
        scores=part.table("scores"),
    )
