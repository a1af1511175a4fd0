"""The lab from an untrained directory to a replayed curve, at the tiny preset."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cache import create_cache, open_cache
from cache.check import violations
from generate.lab.command import run_lab
from generate.lab.merge import merge_caches
from tts_sim.load import load_forest
from tts_sim.replay import replay


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lab")
    text = run_lab(out, preset="tiny", device="cpu", seed=0, progress=lambda *_: None)
    assert "tts-sim generate lab" in text
    return out


def test_the_cache_is_sound_and_supports_what_it_was_recorded_for(lab: Path) -> None:
    with open_cache(lab / "lab.duckdb") as cache:
        assert violations(cache) == []
        trees = replay(load_forest(cache, "base"), ["beam(width=4)+weighted", "sample+majority"], [4], seed=0).frame
        chains = load_forest(cache, "revise", kind="revisions")
        revised = replay(chains, ["revise(sequential=2)+majority", "revise(ratio=1:4)+best"], [4], seed=0).frame
        assert (pl.concat([trees, revised])["supported"] == 1).all()
        models = dict(cache.table("models").select("model_id", "num_params").iter_rows())
        assert models["large"] > models["base"] > 0


def test_the_parquet_of_the_sample_is_the_same_cache(lab: Path) -> None:
    with open_cache(lab / "lab.duckdb") as cache, open_cache(lab / "sample") as sample:
        for name in ("nodes", "answers", "scores", "questions"):
            assert len(cache.table(name)) == len(sample.table(name))
        left = replay(load_forest(cache, "base"), ["beam(width=4)+weighted"], [4], seed=0).frame
        assert left.equals(replay(load_forest(sample, "base"), ["beam(width=4)+weighted"], [4], seed=0).frame)


def test_merging_shares_answers_between_runs(tmp_path: Path) -> None:
    question = pl.DataFrame({"question_id": ["q"], "gold": ["7"]})
    parts = []
    for run, texts in (("a", ["5", "7"]), ("b", ["7", "9", "5"])):
        parts.append(tmp_path / f"{run}.duckdb")
        with create_cache(parts[-1]) as cache:
            count = len(texts)
            cache.append(
                questions=question,
                answers=pl.DataFrame(
                    {
                        "question_id": ["q"] * count,
                        "answer_id": pl.Series(range(count), dtype=pl.Int32),
                        "text": texts,
                        "correct": [text == "7" for text in texts],
                        "grader": ["exact"] * count,
                    }
                ),
                runs=pl.DataFrame({"run_id": [run], "kind": ["steps"], "exchangeable": [True]}),
                nodes=pl.DataFrame(
                    {
                        "run_id": [run] * count,
                        "node_id": range(count),
                        "question_id": ["q"] * count,
                        "draw": pl.Series(range(count), dtype=pl.Int32),
                        "text": texts,
                        "tokens": [1] * count,
                        "stop": ["eos"] * count,
                        "answer_id": pl.Series(range(count), dtype=pl.Int32),
                    }
                ),
            )
    merge_caches(parts, tmp_path / "both.duckdb")
    with open_cache(tmp_path / "both.duckdb") as cache:
        assert violations(cache) == []
        assert cache.table("answers").sort("answer_id")["text"].to_list() == ["5", "7", "9"]
        joined = cache.frame(
            "SELECT nodes.text = answers.text AS same FROM nodes JOIN answers USING (question_id, answer_id)"
        )
        assert joined["same"].to_list() == [True] * 5
