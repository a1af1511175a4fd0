"""A demand that was written to a file, read back as draws."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cache import Cache
from generate.plans import Draw
from generate.settings import RunSettings


def read_demand(path: str, cache: Cache, settings: RunSettings) -> list[Draw]:
    """The draws of a file of `tts-sim demand` that the run does not hold yet; each is one step.

    Raises ValueError if the file is not a demand, or names a question or node that the run lacks.
    """
    if not Path(path).is_file():
        raise ValueError(f"there is no demand file {path}. Write one with `tts-sim demand … -o {path}`.")
    try:
        frame = pl.read_parquet(path)
        if "run" in frame.columns:  # a demand may list several runs
            frame = frame.filter(pl.col("run") == settings.run_id)
        if "greedy" not in frame.columns:  # written before there were greedy rollouts
            frame = frame.with_columns(greedy=False)
        frame = frame.select(
            "question_id", pl.col("node_id").cast(pl.Int64), pl.col("draw").cast(pl.Int32), pl.col("greedy").cast(bool)
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{path} is not a demand (Parquet with question_id, node_id, draw, greedy): {error}") from None
    nodes = cache.frame(
        "SELECT question_id, node_id, parent_id, draw, greedy FROM nodes WHERE run_id = $run",
        {"run": settings.run_id},
    )
    questions = cache.frame("SELECT question_id FROM questions")
    stray = frame.join(questions, on="question_id", how="anti")
    if len(stray):
        raise ValueError(f"{path}: question '{stray['question_id'][0]}' is not in {cache.path}.")
    stray = frame.filter(pl.col("node_id").is_not_null()).join(nodes, on=["question_id", "node_id"], how="anti")
    if len(stray):
        raise ValueError(
            f"{path}: node {stray['node_id'][0]} of question '{stray['question_id'][0]}' is not in run "
            f"'{settings.run_id}'. Write the demand anew from this cache."
        )
    missing = frame.join(
        nodes.select("question_id", pl.col("parent_id").alias("node_id"), "draw", "greedy"),
        on=["question_id", "node_id", "draw", "greedy"],
        how="anti",
        nulls_equal=True,
    )
    to_end = settings.kind == "revisions"
    rows = missing.unique(maintain_order=True).iter_rows()
    return [
        Draw(question_id, node_id, draw, to_end and not greedy, greedy) for question_id, node_id, draw, greedy in rows
    ]
