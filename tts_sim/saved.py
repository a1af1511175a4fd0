"""Outcomes as rows of a cache's table `outcomes`, under a digest of what they were made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tts_sim.outcomes import Outcomes

if TYPE_CHECKING:
    from tts_sim.forest import Forest

LARGEST_SEED = 2**63 - 1  # of a BIGINT
FIGURES = [
    "accuracy", "lower", "upper", "supported", "method", "variance", "generations", "tokens", "verifier_tokens",
    "critical_tokens", "missing", "exhausted",
]  # fmt: skip


def fingerprint(forest: Forest) -> str:
    """A digest, 32 hexadecimal digits, of what a replay reads of a run: questions, trees, answers, scores, pools.

    Give it the forest as it was loaded, without verifiers made of others. It changes with every node and score that is
    added, and neither with texts, nor with other runs, nor with the order of rows.
    """
    arrays = {**forest.trees._asdict(), "node_id": forest.node_id.astype(np.int64)}
    arrays |= {f"score {name}": forest.scores[name] for name in sorted(forest.scores)}
    settings = {
        "kind": forest.kind,
        "pools": [forest.root_pool, forest.step_pool],
        "exchangeable": forest.exchangeable,
        "questions": forest.question_ids,
        "arrays": {name: [array.dtype.str, len(array)] for name, array in arrays.items()},
    }
    digest = blake2b(json.dumps(settings).encode(), digest_size=16)
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def saved_rows(outcomes: Outcomes, contents: Mapping[str, str], seed: int) -> pl.DataFrame:
    """The outcomes with the columns of the table: one row per question, with the digest of its run.

    Raises ValueError for a seed that the table cannot hold.
    """
    if seed > LARGEST_SEED:
        raise ValueError(f"seed {seed}: outcomes are saved with seeds up to 2**63 - 1.")
    return outcomes.frame.select(
        pl.col("run").replace_strict(contents, return_dtype=pl.String).alias("content"),
        pl.col("run").alias("run_id"),
        "question_id",
        "strategy",
        pl.col("verifier").alias("verifier_id"),
        "budget",
        pl.lit(seed, pl.Int64).alias("seed"),
        "trials",
        *FIGURES,
    )
