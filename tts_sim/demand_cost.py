"""What filling a demand would take, told from the lengths of what is cached."""

from __future__ import annotations

import numpy as np
import polars as pl

from tts_sim.arrays import Float64s, Int64s
from tts_sim.forest import Forest


def expected_tokens(forest: Forest, draws: pl.DataFrame, *, to_end: bool) -> pl.Series:
    """Expected tokens of each missing draw, in the order of `draws` (question_id, node_id, …); NaN with nothing cached.

    `to_end`: whole solutions, of the mean length of those cached for the question (of all, where it has none); else
    single steps, of the mean length of the steps at their depth (of all steps, beyond the deepest).
    """
    place = {name: q for q, name in enumerate(forest.question_ids)}
    question = np.array([place[name] for name in draws["question_id"]], np.int64)
    if to_end:
        return pl.Series("tokens", _solution_tokens(forest)[question])
    depth, nodes = _depths(forest), forest.node_id >= 0
    tokens = forest.trees.tokens.astype(np.float64)
    if not nodes.any():
        return pl.Series("tokens", np.full(len(draws), np.nan))
    deepest = int(depth.max())
    count = np.bincount(depth[nodes], minlength=deepest + 2)
    total = np.bincount(depth[nodes], weights=tokens[nodes], minlength=deepest + 2)
    mean = np.where(count > 0, total / np.maximum(count, 1), tokens[nodes].mean())
    order = np.argsort(forest.node_id)
    parents = draws["node_id"].fill_null(-1).to_numpy()
    row = order[np.minimum(np.searchsorted(forest.node_id[order], parents), len(order) - 1)]
    below = np.where(parents < 0, 1, depth[row] + 1)
    return pl.Series("tokens", mean[below])


def _solution_tokens(forest: Forest) -> Float64s:
    """Mean length of the cached solutions of each question (attempts, in a run of revisions)."""
    if forest.kind == "revisions":
        tokens = forest.trees.tokens.astype(np.float64)
        complete = forest.node_id >= 0
        question = np.repeat(np.arange(forest.num_questions), np.diff(forest.trees.question_start))
    else:
        found = forest.solutions()
        tokens, complete = found.tokens.astype(np.float64), found.state == 0
        question = np.repeat(np.arange(forest.num_questions), np.diff(found.start))
    count = np.bincount(question[complete], minlength=forest.num_questions)
    total = np.bincount(question[complete], weights=tokens[complete], minlength=forest.num_questions)
    overall = tokens[complete].mean() if complete.any() else np.nan
    return np.where(count > 0, total / np.maximum(count, 1), overall)


def _depths(forest: Forest) -> Int64s:
    """Steps from the prompt to each row; 0 at prompts."""
    depth = np.zeros(len(forest.node_id), np.int64)
    level = np.flatnonzero(forest.trees.parent < 0)
    is_open = forest.trees.parent >= 0
    steps = 0
    while is_open.any():
        steps += 1
        reached = np.zeros(len(depth), np.bool_)
        reached[level] = True
        level = np.flatnonzero(is_open & reached[forest.trees.parent])
        depth[level] = steps
        is_open[level] = False
    return depth
