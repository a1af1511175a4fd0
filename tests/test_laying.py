"""Laying nodes out: neither batches, nor the order of rows, nor the numbers of nodes show in the trees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bench.big_cache import write
from bench.workloads import bushes
from cache import create_cache, open_cache
from cache.check import violations
from tts_sim import load
from tts_sim.errors import CacheInvalid
from tts_sim.forest import Forest, NodeColumns, build_forest
from tts_sim.load import load_forest


def assert_same(one: Forest, other: Forest) -> None:
    for name, column in one.trees._asdict().items():
        assert np.array_equal(column, getattr(other.trees, name)), name
    for verifier, score in one.scores.items():
        assert np.array_equal(score, other.scores[verifier], equal_nan=True)


def built(order: Any, number: Any) -> Forest:
    """The tiny bushes with rows in this order and node i called number[i]."""
    workload = bushes("tiny")
    nodes, questions = workload.nodes, list(workload.forest.question_ids)
    parent = np.where(nodes.parent_id < 0, -1, number[nodes.parent_id])
    changed = {**vars(nodes), "node_id": number, "parent_id": parent}
    return build_forest(
        run_id="r", kind="steps", question_ids=questions, levels_of=[None] * len(questions),
        nodes=NodeColumns(**{name: column[order] for name, column in changed.items()}), answers=workload.answers,
        scores={"prm": (number, workload.score)},
    )  # fmt: skip


@pytest.mark.parametrize("step", [1, 2, 3, 10**7])
def test_order_and_numbers_of_nodes_do_not_show(step: int) -> None:
    expected = bushes("tiny").forest
    chance = np.random.default_rng(step)
    count = len(expected.node_id) - expected.num_questions
    number = 5 + step * chance.permutation(count).astype(np.int64)
    forest = built(chance.permutation(count), number)
    assert_same(expected, forest)
    assert forest.node_id.dtype == (np.int64 if number.max() >= 2**31 else np.int32)
    kept = forest.node_id >= 0
    assert np.array_equal(forest.node_id[kept], number[expected.node_id[kept]])


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("big") / "big.duckdb"
    assert write(file, 10_000) == pytest.approx(10_000, rel=0.2)
    return file


def test_batches_do_not_show(big: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_cache(big) as cache:
        assert violations(cache) == []
        whole = load_forest(cache)
        settings = cache.frame("SELECT current_setting('memory_limit') AS memory")["memory"][0]
        monkeypatch.setattr(load, "BATCH", 100)
        assert_same(whole, load_forest(cache))
        assert cache.frame("SELECT current_setting('memory_limit') AS memory")["memory"][0] == settings
    with create_cache(big) as cache:
        assert_same(whole, load_forest(cache))


def test_a_fault_ends_the_stream(big: Path) -> None:
    with create_cache(big) as cache:
        cache.connection.execute("UPDATE scores SET score = 'nan' WHERE node_id = 7")
        with pytest.raises(CacheInvalid, match="node 7 of run 'steps': its score by 'prm' is NaN; remove the row"):
            load_forest(cache)
        assert cache.frame("SELECT 1 AS one").equals(pl.DataFrame({"one": [1]}, schema={"one": pl.Int32}))
        cache.connection.execute("UPDATE scores SET score = 0.5 WHERE node_id = 7")
        cache.connection.execute("UPDATE nodes SET stop = 'odd' WHERE node_id = 8")
        with pytest.raises(CacheInvalid, match="question 'q00000', node 8 of run 'steps': unknown stop"):
            load_forest(cache)
        cache.connection.execute("UPDATE nodes SET stop = 'step' WHERE node_id = 8")
