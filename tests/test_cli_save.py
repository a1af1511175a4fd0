"""`tts-sim replay --save`: the table `outcomes`, what replaces what, and what cannot be saved."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cache import create_cache, open_cache, sample_path
from cache.errors import CacheInvalid
from cache.exporters.parquet import export_parquet
from cache.outcomes import KEY
from tests import forests
from tests.command import printed_json, tts_sim, write_jsonl
from tests.test_cli_errors import refused
from tts_sim import load_forest, with_verifiers
from tts_sim.saved import FIGURES, fingerprint

SPECS = ["sample+majority", "sample+weighted", "beam(width=2)+best", "revise(sequential=2)+best"]
REPLAY = ["-b", "2,4", "--trials", "50", "--seed", "7"]
COUNT = "SELECT count(*) AS n, count(DISTINCT content) AS contents, max(saved) AS last FROM outcomes"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Two questions of step trees, one of them with revisions too."""
    chains = [[("B", 0.25), ("A", 0.5)], [("A", 0.25), ("A", 0.5)], [("C", 0.25), ("A", 0.5)]]
    for name, questions in (
        ("steps", [forests.comb("comb", 3, 4), forests.comb("other", 2, 4)]),
        ("chains", [forests.chains("comb", chains)]),
    ):
        file = write_jsonl(tmp_path / f"{name}.jsonl", questions)
        assert tts_sim("import", "native", file, "--into", tmp_path / "c.duckdb").status == 0
    return tmp_path / "c.duckdb"


def table(cache: Path) -> pl.DataFrame:
    with open_cache(cache) as opened:
        return opened.table("outcomes").sort(KEY)


def test_saved_figures_are_the_printed_ones(cache: Path) -> None:
    printed = printed_json("replay", cache, *SPECS, *REPLAY, "--per-question", "--save")
    assert len(printed) == 2 * 2 * 3 + 2
    saved = printed_json("sql", cache, "FROM outcomes")
    assert len(saved) == len(printed)
    by_key = {(row["run_id"], row["question_id"], row["strategy"], row["budget"]): row for row in saved}
    for row in printed:
        mine = by_key[row["run"], row["question_id"], row["strategy"], row["budget"]]
        assert {name: mine[name] for name in FIGURES} == {name: row[name] for name in FIGURES}
        assert (mine["verifier_id"], mine["seed"], mine["trials"]) == (row["verifier"], 7, row["trials"])
    assert {row["trials"] for row in saved if row["method"] == "exact"} == {0}
    assert len({row["content"] for row in saved}) == 2  # one a run
    query = "SELECT strategy, budget, avg(accuracy) AS accuracy FROM outcomes GROUP BY ALL ORDER BY ALL"
    curve = {(row["strategy"], row["budget"]): row["accuracy"] for row in printed_json("sql", cache, query)}
    for row in printed_json("replay", cache, *SPECS, *REPLAY):
        assert curve[row["strategy"], row["budget"]] == pytest.approx(row["accuracy"], abs=1e-12)


def test_it_says_where_and_prints_as_before(cache: Path) -> None:
    plain = tts_sim("replay", cache, *SPECS, *REPLAY)
    saving = tts_sim("replay", cache, *SPECS, *REPLAY, "--save")
    assert saving.status == 0 and saving.out == plain.out
    assert saving.err.startswith(plain.err + "saved 14 rows in the table outcomes of ")
    assert "… of run 'steps', " in saving.err and "… of run 'chains')." in saving.err


def test_saving_twice_replaces(cache: Path) -> None:
    def save(*more: object) -> None:
        assert tts_sim("replay", cache, "sample+weighted,sample+majority", *REPLAY, *more, "--save").status == 0

    save()
    before = table(cache)
    save()
    after = table(cache)
    assert after.drop("saved").equals(before.drop("saved")) and (after["saved"] > before["saved"]).all()
    save("--seed", 8)
    save("-b", 1)
    assert len(table(cache)) == 8 + 8 + 4
    save("--trials", 51)  # another key for what is drawn; what is exact has no trials
    assert len(table(cache)) == 20 + 4


def test_the_content_is_that_of_the_run(cache: Path) -> None:
    """New nodes and scores make another content, another run and another order of rows do not."""

    def content() -> str:
        with open_cache(cache) as opened:
            return fingerprint(load_forest(opened, "steps"))

    first = content()
    assert tts_sim("replay", cache, "sample+majority", *REPLAY, "--save").status == 0
    assert set(table(cache)["content"]) == {first}
    assert tts_sim("import", "native", cache.parent / "chains.jsonl", "--into", cache, "--run", "more").status == 0
    assert content() == first
    with create_cache(cache) as opened:
        opened.connection.execute("CREATE TABLE turned AS FROM nodes ORDER BY node_id DESC")
        opened.connection.execute("DELETE FROM nodes; INSERT INTO nodes FROM turned; DROP TABLE turned")
    assert content() == first
    with create_cache(cache) as opened:
        node = opened.next_node_id("steps")
        row = {
            "run_id": ["steps"],
            "node_id": [node],
            "question_id": ["comb"],
            "draw": [4],
            "tokens": [3],
            "stop": ["eos"],
        }
        opened.append(nodes=pl.DataFrame(row))
    grown = content()
    assert grown != first
    with create_cache(cache) as opened:
        score = {"run_id": ["steps"], "node_id": [node], "verifier_id": ["prm"], "score": [0.5]}
        opened.append(scores=pl.DataFrame(score))
    assert content() not in (first, grown)
    assert tts_sim("replay", cache, "sample+majority", *REPLAY, "--save").status == 0
    [counts] = printed_json("sql", cache, COUNT)
    assert (counts["n"], counts["contents"]) == (8, 2)


def test_what_a_content_depends_on() -> None:
    forest = forests.to_forest(forests.random_case(3))
    first = fingerprint(forest)
    assert fingerprint(forests.to_forest(forests.random_case(3))) == first and len(first) == 32
    more = with_verifiers(forest, ["random"], seed=0)
    others = [
        more, replace(forest, root_pool=9), replace(forest, step_pool=9), replace(forest, exchangeable=False),
        replace(forest, question_ids=tuple(name + "'" for name in forest.question_ids)),
        replace(forest, scores={"orm": forest.scores["prm"]}),
        replace(forest, scores={"prm": np.where(forest.node_id == 1, 0.123, forest.scores["prm"]).astype(np.float32)}),
        forests.to_forest(forests.random_case(4)),
    ]  # fmt: skip
    assert len({fingerprint(other) for other in [forest, *others]}) == len(others) + 1


def test_verifiers_made_of_others_are_saved_by_name(cache: Path) -> None:
    verifiers = ("--verifier", "prm", "--verifier", "flip(prm,probability=0.5)")
    assert tts_sim("replay", cache, "sample+best", *REPLAY, *verifiers, "--save").status == 0
    saved = table(cache)
    assert set(saved["verifier_id"]) == {"prm", "flip(prm,probability=0.5)"} and saved["content"].n_unique() == 1


def test_bounds_are_saved_without_an_accuracy(cache: Path) -> None:
    ended = tts_sim("replay", cache, "beam(width=2)+best", "-b", 8, "--on-exhausted", "bounds", "--save")
    assert ended.status == 0
    [row] = table(cache).select("method", "accuracy", "lower", "upper").unique().rows()
    assert row == ("bounds", None, 0.0, 1.0)


def test_a_parquet_directory_carries_them_along(cache: Path) -> None:
    assert tts_sim("replay", cache, *SPECS, *REPLAY, "--save").status == 0
    with open_cache(cache) as opened:
        export_parquet(opened, cache.parent / "exported")
    assert table(cache.parent / "exported").equals(table(cache))
    assert tts_sim("check", cache).status == 0


@pytest.mark.parametrize(
    ("arguments", "pieces"),
    [
        (["-b", "9tokens"], ["--save: keeps figures at budgets in generations", "leave out budgets in tokens"]),
        (["-b", "2", "--rescore"], ["--save: keeps figures", "leave out --rescore"]),
        (["-b", "2", "--seed", 2**63], [f"--save: seed {2**63} does not fit the table; seeds up to 2**63 - 1 do"]),
        (["-b", "99"], ["hold fewer than 99 samples"]),
    ],
)
def test_what_is_not_saved(cache: Path, arguments: list[object], pieces: list[str]) -> None:
    before = cache.read_bytes()
    refused(tts_sim("replay", cache, "sample+majority", *arguments, "--save"), *pieces)
    assert cache.read_bytes() == before


def test_caches_that_are_read_only(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = ["sample+majority", "-b", 2, "--save"]
    monkeypatch.chdir(cache.parent)
    refused(tts_sim("replay", "sample", *save), "--save: the shipped sample is read-only. Save into a .duckdb file")
    refused(tts_sim("replay", sample_path(), *save), "is a directory of Parquet tables, which is read-only. Give a .du")
    refused(tts_sim("replay", "no.duckdb", *save), "there is no cache at no.duckdb")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    refused(tts_sim("replay", cache, *save), "c.duckdb may not be written. Change its permissions, or copy it.")
    monkeypatch.undo()
    assert table(cache).is_empty() and not (cache.parent / "no.duckdb").exists()


def test_a_cache_that_somebody_reads(cache: Path) -> None:
    """Its figures can be computed, but not saved: an error, and nothing printed."""
    code = f"import duckdb; c = duckdb.connect({str(cache)!r}, read_only=True); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None and reader.stdin is not None
        assert reader.stdout.readline() == "open\n"
        refused(
            tts_sim("replay", cache, "sample+majority", "-b", 2, "--save"), "is open in another process. Wait until"
        )
        reader.communicate("\n")
    assert tts_sim("replay", cache, "sample+majority", "-b", 2, "--save").status == 0


KILLED = """
import os, signal, sys
import polars as pl
from cache import create_cache, open_cache
import cache.outcomes as outcomes

class Dying:
    def __init__(self, connection): self.connection = connection
    def __getattr__(self, name): return getattr(self.connection, name)
    def execute(self, sql, *more):
        if sql.startswith(sys.argv[2]): os.kill(os.getpid(), signal.SIGKILL)
        return self.connection.execute(sql, *more)

with create_cache(sys.argv[1]) as opened:
    rows = opened.table("outcomes").with_columns(accuracy=pl.lit(0.125))
    outcomes.save_outcomes(Dying(opened.connection), rows)
"""


@pytest.mark.parametrize("at", ["INSERT", "COMMIT"])
def test_killed_while_saving(cache: Path, at: str) -> None:
    assert tts_sim("replay", cache, *SPECS, *REPLAY, "--save").status == 0
    before = table(cache)
    done = subprocess.run([sys.executable, "-c", KILLED, cache, at], cwd=Path(__file__).parents[1])
    assert done.returncode == -signal.SIGKILL
    assert table(cache).equals(before)
    assert tts_sim("replay", cache, *SPECS, *REPLAY, "--save").status == 0


def test_all_or_nothing(cache: Path) -> None:
    assert tts_sim("replay", cache, "sample+majority", *REPLAY, "--save").status == 0
    before = table(cache)
    rows = before.drop("saved").with_columns(accuracy=pl.lit(0.125))
    with create_cache(cache) as opened:
        with pytest.raises(CacheInvalid, match="column 'method' holds a null"):
            opened.save_outcomes(rows.with_columns(method=pl.lit(None, pl.String)))
        with pytest.raises(ValueError, match="two rows have the same key"):
            opened.save_outcomes(pl.concat([rows, rows]))
        with pytest.raises(ValueError, match="table 'outcomes' has no column 'figure'"):
            opened.save_outcomes(rows.with_columns(figure=1.0))
        opened.save_outcomes(rows.clear())
    assert table(cache).equals(before)
    shutil.copy(cache, cache.parent / "copy.duckdb")
    with open_cache(cache.parent / "copy.duckdb") as opened, pytest.raises(CacheInvalid, match="for reading only"):
        opened.save_outcomes(rows)
    assert json.loads(tts_sim("check", cache, "--json").out) == []
