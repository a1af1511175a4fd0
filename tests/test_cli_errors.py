"""Bad input, through the entry point: one clear line on stderr, exit status 1, nothing on stdout, nothing written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from cache import create_cache, open_cache
from tests import forests
from tests.command import Ended, printed_json, tts_sim, write_jsonl

STAR = forests.star("easy", [("A", 0.5), ("B", 0.25), ("A", 0.75), ("A", 0.5)])
COMB = forests.comb("comb", 3, 4)
CHAINS = forests.chains("easy", [[("B", 0.25), ("A", 0.5)], [("A", 0.25), ("A", 0.5)], [("C", 0.25), ("A", 0.5)]])
HALF = forests.star("half", [("A", 0.5), ("B", None), ("A", 0.5)])
STEP: dict[str, Any] = {"id": 1, "parent": None, "tokens": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound and unsound caches side by side, made once."""
    folder = tmp_path_factory.mktemp("errors")
    small = folder / "small.duckdb"
    for name, questions, into in (
        ("steps", [STAR, COMB], small),
        ("chains", [CHAINS], small),
        ("half", [HALF], folder / "half.duckdb"),
    ):
        ended = tts_sim("import", "native", write_jsonl(folder / f"{name}.jsonl", questions), "--into", into)
        assert ended.status == 0, ended.err
    (folder / "notes.duckdb").write_text("These are notes, and no database.\n" * 500)
    (folder / "empty").mkdir()
    shutil.copy(small, folder / "newer.duckdb")
    with duckdb.connect(str(folder / "newer.duckdb")) as raw:
        raw.execute("UPDATE meta SET value = '7' WHERE key = 'schema_version'")
    with duckdb.connect(str(folder / "other.duckdb")) as raw:
        raw.execute("CREATE TABLE mine AS SELECT 1 AS x")
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands run in the folder, and leave it as it was."""
    monkeypatch.chdir(folder)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    yield
    after = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert sorted(after) == sorted(before)
    assert [file.name for file in after if after[file] != before[file]] == []


def refused(ended: Ended, *pieces: str) -> None:
    """Passes if the command ended as it should on bad input, with a line that says all of this."""
    assert ended.status == 1, ended
    assert ended.out == ""
    assert ended.err.startswith("tts-sim: ") and ended.err.endswith("\n") and ended.err.count("\n") == 1, ended.err
    assert "Traceback" not in ended.err
    for piece in pieces:
        assert piece in ended.err, (piece, ended.err)


MISSING = ["there is no cache at no.duckdb", "Make one with `tts-sim import`"]
NOT_DUCKDB = ["notes.duckdb is not a DuckDB file", "`tts-sim import`"]
NEWER = ["newer.duckdb has schema 7; this version reads up to", "Upgrade tts-sim"]
OTHER = ["other.duckdb is a DuckDB file, but not a cache of tts-sim", "`tts-sim import`"]


@pytest.mark.parametrize(
    ("path", "pieces"),
    [
        ("no.duckdb", MISSING),
        ("notes.duckdb", NOT_DUCKDB),
        ("newer.duckdb", NEWER),
        ("other.duckdb", OTHER),
        ("empty", ["empty", "parquet"]),
    ],
)
@pytest.mark.parametrize("command", ["info", "check", "sql", "replay", "demand"])
def test_a_bad_cache(command: str, path: str, pieces: list[str]) -> None:
    replay: list[object] = ["sample+oracle", "-b", 2]
    more: dict[str, list[object]] = {"sql": ["FROM questions"], "replay": replay, "demand": replay}
    refused(tts_sim(command, path, *more.get(command, [])), *pieces)


@pytest.mark.parametrize(
    ("into", "pieces"),
    [
        ("notes.duckdb", NOT_DUCKDB),
        ("newer.duckdb", NEWER),
        ("other.duckdb", OTHER),
        ("empty", ["empty is a directory", "Give the path of a .duckdb file"]),
        ("nowhere/new.duckdb", ["the directory nowhere does not exist", "Make it first"]),
    ],
)
def test_a_bad_target(into: str, pieces: list[str]) -> None:
    refused(tts_sim("import", "native", "steps.jsonl", "--into", into), *pieces)


REPLAYS: list[tuple[list[object], list[str]]] = [
    ([], ["strategies: expected at least one, for example sample+majority"]),
    ([","], ["expected at least one"]),
    (["best"], ["strategy 'best': expected search+selection", "sample, beam, lookahead", "majority, best"]),
    (["tree+majority"], ["unknown search 'tree'", "known: sample, beam, lookahead"]),
    (["sample+mode"], ["unknown selection 'mode'", "known: majority, best, weighted, oracle"]),
    (["beam(breadth=2)+best"], ["parameter 'breadth' of beam is unknown; known: width"]),
    (["sample(n=2)+best"], ["parameter 'n' of sample is unknown; known: none"]),
    (["beam(width)+best"], ["parameter 'width' of beam is without a value"]),
    (["beam(width=2,width=3)+best"], ["'width' of beam is given twice"]),
    (["beam(width=0)+best"], ["width=0: expected a whole number from 1, or sqrt"]),
    (["beam(width=1.5)+best"], ["width=1.5: expected a whole number from 1, or sqrt"]),
    (["beam(width=2+best"], ["strategy 'beam(width=2+best'", "known: sample, beam, lookahead"]),
    (["sample+best(agg=sum)"], ["agg=sum: expected one of last, min, prod, mean"]),
    (["revise+best"], ["revise needs one of sequential=S and ratio=a:b"]),
    (["revise(ratio=0:1)+best"], ["ratio=0:1: expected whole numbers from 1"]),
    (["revise(sequential=2,across=all)+best"], ["across=all: expected one of hierarchical, pooled, last"]),
    (["sample+majority", "-b", "0"], ["budget '0' in '0': budgets are whole numbers of generations, from 1"]),
    (["sample+majority", "-b", "-4"], ["budget '-4'", "from 1"]),
    (["sample+majority", "-b", "1,2.5"], ["budget '2.5' in '1,2.5'", "whole numbers"]),
    (["sample+majority", "-b", "many"], ["budget 'many'", "whole numbers"]),
    (["sample+majority", "-b", ""], ["is empty", "--budget 1,2,4…64"]),
    (["sample+majority", "-b", "1…8"], ["budget list '1…8'", "write '1,2,4…64'"]),
    (["sample+majority", "-b", "8"], ["2 of 2 questions hold fewer than 8 samples (first: 'comb', 4)", "Lower"]),
    (["sample+majority", "-b", 10**20], [f"budget {10**20}: expected a whole number of generations, from 1 to 2**31"]),
    (["beam+best", "-b", "8"], ["2 of 2 questions hold fewer than 8 first steps (first: 'comb', 4)", "Lower"]),
    (["revise(sequential=2)+best", "-b", "8"], ["1 of 1 questions hold fewer than 4 chains of 2", "'easy', 3"]),
    (["revise(sequential=4)+best", "-b", "4"], ["fewer than 1 chains of 4 attempts (first: 'easy', 0)"]),
    (["revise(sequential=2)+best", "-b", "3"], ["budget 3", "needs a multiple of 2"]),
    (["revise(ratio=1:2)+best", "-b", "4"], ["budget 4", "needs 2 times a square number (2, 8, …)"]),
    (["sample+majority", "-b", "2", "--run", "first"], ["run 'first': not in the cache; its runs: steps (steps)"]),
    (["sample+majority", "-b", "2", "--run", "chains"], ["run 'chains' is of kind 'revisions'", "of kind steps"]),
    (["revise(sequential=2)+best", "-b", "2", "--run", "steps"], ["run 'steps' is of kind 'steps'", "kind revisions"]),
    (["sample+best", "-b", "2", "--verifier", "judge"], ["verifier 'judge'", "known: prm"]),
    (["sample+majority", "-b", "2", "--by", "subject"], ["--by subject: expected level or difficulty"]),
    (["sample+majority", "-b", "2", "--by", "level", "--per-question"], ["--by level", "give one of them"]),
    (["sample+majority", "-b", "2", "--trials", "0"], ["trials 0: expected a whole number from 1"]),
    (["sample+majority", "-b", "2", "--trials", "-1"], ["trials -1: expected a whole number from 1"]),
    (["sample+majority", "-b", "2", "--trials", 10**20], [f"trials {10**20}: expected", "2**31"]),
    (["sample+majority", "-b", "2", "--seed", "-1"], ["seed -1: expected an integer from 0 to 2**64 - 1"]),
    (["sample+majority", "-b", "2", "--seed", 2**64], [f"seed {2**64}: expected an integer from 0 to 2**64 - 1"]),
    # searches of many kinds
    (["lookahead(steps=-1)+best"], ["steps=-1: expected a whole number from 0"]),
    (["lookahead(steps=1.5)+best"], ["steps=1.5: expected a whole number from 0"]),
    (["lookahead(width=x)+best"], ["width=x: expected a whole number from 1, or sqrt"]),
    (["lookahead(steps=1)+best", "-b", "3"], ["budget 3: lookahead(width=4,steps=1) needs a multiple of 2."]),
    (["lookahead(steps=1)+best", "-b", "16"], ["fewer than 8 first steps (first: 'comb', 4)", "Lower"]),
    (["dvts(width=0)+best"], ["width=0: expected a whole number from 1, or sqrt"]),
    (["dvts(outputs=some)+best"], ["outputs=some: expected one of all, best"]),
    (["dvts(width=2)+best", "-b", "3"], ["budget 3: dvts(width=2) needs a multiple of 2."]),
    (["dvts(width=2)+best", "-b", "8"], ["fewer than 8 first steps (first: 'comb', 4)", "Lower"]),
    (["rebase(temperature=0)+best"], ["temperature=0: expected a number above 0"]),
    (["rebase(temperature=hot)+best"], ["temperature=hot: expected a number above 0"]),
    (["rebase(rounding=up)+best"], ["rounding=up: expected one of remainder, round"]),
    (["rebase+best", "-b", "8"], ["fewer than 8 first steps (first: 'comb', 4)", "Lower"]),
    (["adaptive(confidence=.5)+best"], ["confidence=0.5: expected a number above 0.5, up to 1"]),
    (["adaptive(confidence=95)+best"], ["confidence=95: expected a number above 0.5, up to 1"]),
    (["adaptive(conf=.9)+best"], ["parameter 'conf' of adaptive is unknown; known: confidence"]),
    (["adaptive+best", "-b", "8"], ["fewer than 8 samples (first: 'comb', 4)", "Lower"]),
    (["beam(finished=melt)+best"], ["finished=melt: expected one of freeze, absorb, shrink, pool"]),
    (["revise(sequential=0)+best"], ["sequential=0: expected a whole number from 1"]),
    (["revise(sequential=2,ratio=1:1)+best"], ["revise needs one of sequential=S and ratio=a:b"]),
    (["revise(ratio=2)+best"], ["ratio=2: expected sequential:parallel, for example 1:4"]),
    # a run of the other kind
    *((["-b", "4", "--run", "chains", f"{search}+best"], ["run 'chains' is of kind 'revisions'", "kind steps"])
      for search in ("beam", "lookahead(steps=1)", "dvts", "rebase", "adaptive")),
    (["-b", "4", "--run", "steps", "revise(ratio=1:1)+best"], ["run 'steps' is of kind 'steps'", "kind revisions"]),
    # how figures are estimated
    (["sample+majority", "-b", "2", "--method", "exact"], ["--method 'exact': expected one of auto, monte-carlo"]),
    (["sample+majority", "-b", "2", "--method", ""], ["--method '': expected one of auto, monte-carlo"]),
    (["sample+majority", "-b", "2", "--on-exhausted", "stop"],
     ["--on-exhausted 'stop': expected one of refuse, bounds, reuse, borrow"]),
    (["adaptive+majority", "-b", "2", "--on-exhausted", "borrow"],
     ["on_exhausted='borrow': adaptive(confidence=0.95) knows refuse, bounds, reuse"]),
    (["revise(sequential=2)+best", "-b", "2", "--on-exhausted", "borrow"],
     ["on_exhausted='borrow': revise knows refuse, bounds, reuse"]),
    *((["sample+majority", "-b", "2", "--bands", *more], ["--bands is for curves over all questions: leave out"])
      for more in (["--per-question"], ["--by", "level"], ["-b", "9tokens"])),
    # costs
    (["sample+majority", "-b", "2", "--cost", "euros"], ["--cost euros: expected one of generations, tokens"]),
    (["sample+majority", "-b", "2", "--cost", "flops"], ["--cost flops: unknown here", "models have no num_params"]),
    (["sample+majority", "-b", "2", "--prefill", "twice"], ["--prefill 'twice': expected one of none, once, every"]),
    (["sample+majority", "-b", "2", "--prefill", "once"],
     ["prefill=once: the length of the prompt of question 'comb' is unknown", "--prompt-tokens", "extra JSON"]),
    (["sample+majority", "-b", "2", "--prefill", "every", "--prompt-tokens", "-5"],
     ["prompt_tokens=-5: expected a number of tokens, from 0"]),
    (["sample+majority", "-b", "2", "--prompt-tokens", "9"],
     ["--prompt-tokens 9: charged only with --prefill once or every"]),
    # budgets in units of cost
    (["sample+majority", "-b", "9tokens,5"], ["'9tokens,5': give every budget in the same unit"]),
    (["sample+majority", "-b", "9tokens,5flops"], ["give every budget in the same unit"]),
    (["sample+majority", "-b", "-9tokens"], ["'-9tokens': give every budget in the same unit"]),
    (["sample+majority", "-b", "1,2…64tokens"], ["give every budget in the same unit"]),
    (["sample+majority", "-b", "9Tokens"], ["unknown unit 'Tokens'; known: generations, tokens"]),
    (["sample+majority", "-b", "0tokens"], ["'0tokens': expected amounts above 0"]),
    (["sample+majority", "-b", "1e999tokens"], ["'1e999tokens': expected amounts above 0"]),
    (["sample+majority", "-b", "1e9flops"], ["cost 'flops': unknown for these strategies; enter models.num_params"]),
    (["sample+majority,beam(width=2)+best", "-b", "2tokens,3tokens"],
     ["--budget 3tokens: too little for every strategy; the cheapest is sample+majority, from 6 tokens"]),
    (["revise(sequential=4)+best", "-b", "99tokens"], ["fewer than 1 chains of 4 attempts (first: 'easy', 0)"]),
    (["sample+majority", "-b", "9tokens", "--per-question"], ["--budget 9tokens means over questions"]),
    # verifiers made of others
    (["sample+best", "-b", "2", "--verifier", "flip(prm,probability=2)"],
     ["'flip(prm,probability=2)': probability=2: expected a number from 0 to 1"]),
    (["sample+best", "-b", "2", "--verifier", "flip(judge)"], ["unknown 'judge'; known: prm; or made of them: random"]),
    (["sample+best", "-b", "2", "--verifier", "flip()"], ["flip needs the verifier that it changes, for example"]),
    (["sample+best", "-b", "2", "--verifier", "temper(prm)"], ["temper needs temperature, for example temper(ID"]),
    (["sample+best", "-b", "2", "--verifier", "temper(prm,temperature=0)"], ["temperature=0: expected a number above"]),
    (["sample+best", "-b", "2", "--verifier", "power(prm,exponent=two)"], ["exponent=two: expected a number"]),
    (["sample+best", "-b", "2", "--verifier", "sigmoid(prm,slope=2)"], ["'slope' of sigmoid is unknown; known: none"]),
    (["sample+best", "-b", "2", "--verifier", "random(prm)"], ["verifier 'random(prm)': unknown; known: prm"]),
    (["sample+best", "-b", "2", "--verifier", ""], ["verifier '': unknown; known: prm"]),
    (["sample+best", "-b", "2", "--verifier", "prm", "--verifier", "noise(prm)"], ["'noise(prm)': unknown"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "pieces"), REPLAYS, ids=lambda value: " ".join(map(str, value))[:40])
def test_a_bad_replay(arguments: list[object], pieces: list[str]) -> None:
    refused(tts_sim("replay", "small.duckdb", *arguments), *pieces)
    if "--json" not in arguments:
        refused(tts_sim("replay", "small.duckdb", *arguments, "--json"), *pieces)


COMPARISONS: list[tuple[list[object], list[str]]] = [
    (["--method", "exact"], ["--method 'exact': expected one of auto, monte-carlo"]),
    (["--on-exhausted", "stop"], ["--on-exhausted 'stop': expected one of refuse, bounds, reuse, borrow"]),
    (["adaptive+best", "--on-exhausted", "borrow"], ["adaptive(confidence=0.95) knows refuse, bounds, reuse"]),
    (["--run", "nowhere"], ["run 'nowhere': not in the cache; its runs: steps (steps)"]),
    (["--verifier", "flip(prm,probability=7)"], ["probability=7: expected a number from 0 to 1"]),
    (["--clusters", "topic"], ["--clusters topic: questions have no 'topic'; this cache knows of them: nothing"]),
    (["-b", "9tokens"], ["budget '9tokens' in '9tokens': budgets are whole numbers of generations"]),
]


@pytest.mark.parametrize(("arguments", "pieces"), COMPARISONS, ids=lambda value: " ".join(map(str, value))[:40])
def test_a_bad_comparison(arguments: list[object], pieces: list[str]) -> None:
    refused(tts_sim("compare", "small.duckdb", "sample+majority", "sample+best", "-b", 2, *arguments), *pieces)


@pytest.mark.parametrize("amount", ["0", "-3", "nan", "inf"])
def test_a_bad_throughput(amount: str) -> None:
    ended = tts_sim("demand", "small.duckdb", "sample+majority", "-b", 2, "--throughput", amount)
    refused(ended, f"--throughput {float(amount)}: expected tokens a second, above 0")


def test_limits_that_are_too_small_for_some() -> None:
    """What fits is printed; what does not is named."""
    specs = "sample+majority,revise(sequential=2)+majority"
    rows = printed_json("replay", "small.duckdb", specs, "-b", "4tokens,9tokens,1e6tokens")
    assert [(row["limit"], row["strategy"].partition("(")[0]) for row in rows] == [
        (9.0, "sample+majority"), (9.0, "revise"), (1e6, "sample+majority"), (1e6, "revise"),
    ]  # fmt: skip
    assert {row["budget"] for row in rows if row["limit"] == 1e6} == {4}  # also of the chains: two of two attempts
    ended = tts_sim("replay", "small.duckdb", specs, "-b", "4tokens,6tokens,9tokens")
    assert ended.status == 0 and ended.err.splitlines() == [
        "sample+majority: left out at 4 (its cheapest budget takes 6 tokens).",
        "revise(sequential=2)+majority: left out at 4, 6 (its cheapest budget takes 7 tokens).",
    ]


def test_limits_go_as_far_as_the_cache(tmp_path: Path) -> None:
    """Chains of 4, 2, 1, 1 attempts hold P · S = 2 · 2; a lookahead of one step costs two generations a draw."""
    attempts = [[("A", 0.5)] * length for length in (4, 2, 1, 1)]
    tree = forests.with_rollouts(forests.Case("t", [forests.tree("q", [(0.5, [("A", 0.5)] * 2)] * 4)]), 1, 1.0)
    for name, questions in (("chains", [forests.chains("q", attempts)]), ("trees", tree.questions)):
        file = write_jsonl(tmp_path / f"{name}.jsonl", questions)
        kind = "revisions" if name == "chains" else "steps"
        assert tts_sim("import", "native", file, "--into", tmp_path / "c.duckdb", "--kind", kind).status == 0
    specs = ["revise(sequential=2)+majority", "revise(sequential=1)+majority", "lookahead(width=2,steps=1)+best"]
    rows = printed_json("replay", tmp_path / "c.duckdb", *specs, "-b", "1e6tokens", "--trials", 4)
    assert {row["strategy"]: row["budget"] for row in rows} == dict(zip(specs, (4, 4, 8), strict=True))


@pytest.fixture
def rebuilt(tmp_path: Path) -> Path:
    """A tree that somebody's search left over: its siblings are no i.i.d. draws."""
    cache = tmp_path / "rebuilt.duckdb"
    assert tts_sim("import", "native", "steps.jsonl", "--into", cache, "--not-exchangeable").status == 0
    return cache


def test_every_figure_says_that_siblings_are_not_exchangeable(rebuilt: Path) -> None:
    said = "run 'steps': its siblings are not i.i.d. (exchangeable is false): no figure is unbiased.\n"
    specs = ["sample+majority", "beam(width=2)+best"]
    for command in (["replay", rebuilt, *specs, "-b", "2,4"], ["compare", rebuilt, *specs, "-b", "2,4"],
                    ["replay", rebuilt, *specs, "-b", "9tokens,99tokens"], ["verifiers", rebuilt]):  # fmt: skip
        ended = tts_sim(*command)
        assert (ended.status, ended.err) == (0, said), command
        assert said in tts_sim(*command, "--json").err
    for command in ("replay", "compare"):
        rows = printed_json(command, rebuilt, *specs, "-b", "2,4")
        assert {row["exchangeable"] for row in rows} == {False}
        assert {row["exchangeable"] for row in printed_json(command, "small.duckdb", *specs, "-b", "2,4")} == {True}
    refused(tts_sim("demand", rebuilt, "sample+majority", "-b", 2), "run 'steps' has no root pool: it was imported")


@pytest.mark.parametrize("spec", ["sample+weighted", "sample+best", "adaptive+weighted"])
def test_scores_that_are_not_there(spec: str) -> None:
    refused(
        tts_sim("replay", "half.duckdb", spec, "-b", 2),
        "verifier 'prm' covers 2 of 3 nodes of run 'half'; question 'half'",
        "Run `tts-sim generate score`, or choose another verifier",
    )
    assert tts_sim("replay", "half.duckdb", "sample+majority", "-b", 2).status == 0


@pytest.fixture
def gaps(tmp_path: Path) -> Path:
    """Step trees of which a verifier has scored two nodes of three."""
    question = forests.comb("gaps", 3, 4)
    for node in question["nodes"][::3]:
        del node["scores"]
    cache = tmp_path / "gaps.duckdb"
    assert tts_sim("import", "native", write_jsonl(tmp_path / "gaps.jsonl", [question]), "--into", cache).status == 0
    return cache


@pytest.mark.parametrize(
    "spec",
    ["beam(width=2)+majority", "dvts(width=2)+oracle", "rebase+majority", "sample+best(agg=min)",
     "sample+weighted(agg=prod)"],
)  # fmt: skip
def test_a_verifier_that_covers_part(gaps: Path, spec: str) -> None:
    way_out = "Run `tts-sim generate score`, or choose another verifier."
    what = "of run 'gaps'; question 'gaps' needs one that is not scored. "
    refused(tts_sim("replay", gaps, spec, "-b", 4), f"verifier 'prm' covers 8 of 12 nodes {what}{way_out}")
    refused(tts_sim("compare", gaps, spec, "sample+oracle", "-b", 4), "verifier 'prm' covers 8 of 12 nodes")
    refused(
        tts_sim("replay", gaps, spec, "-b", 4, "--verifier", "flip(prm)"), "verifier 'flip(prm)' covers 8 of 12 nodes"
    )
    assert tts_sim("replay", gaps, spec, "-b", 4, "--verifier", "random").status == 0  # scores every node
    assert tts_sim("replay", gaps, "sample+majority", "-b", 4).status == 0
    [row] = printed_json("verifiers", gaps)
    assert row["num_unscored"] > 0


def test_no_verifier_and_no_run_of_the_kind(tmp_path: Path) -> None:
    unscored = write_jsonl(tmp_path / "unscored.jsonl", [forests.star("q", [("A", None), ("B", None)])])
    cache = tmp_path / "unscored.duckdb"
    assert tts_sim("import", "native", unscored, "--into", cache).status == 0
    refused(
        tts_sim("replay", cache, "sample+best", "-b", 1),
        "no verifier has scored run 'unscored'",
        "`tts-sim generate score`",
    )
    refused(
        tts_sim("replay", cache, "revise(sequential=1)+majority", "-b", 1),
        "kind 'revisions': the cache holds no run of this kind; its runs: unscored (steps)",
    )


def test_demand_of_an_imported_run() -> None:
    refused(
        tts_sim("demand", "small.duckdb", "sample+majority", "-b", 2, "-o", "demand.parquet"),
        "run 'steps' has no root pool: it was imported",
        "`tts-sim generate sample`",
    )


NAN = json.dumps({"question_id": "q2", "gold": "A", "nodes": [{**STEP, "scores": {"prm": float("nan")}}]})
LINES: list[tuple[Any, list[str]]] = [
    ("{not json", ["not JSON"]),
    ([{**STEP, "parent": 9}], ["question 'q2', node 1: parent 9 is missing"]),
    ([{**STEP, "parent": 2}, {**STEP, "id": 2, "parent": 1}], ["question 'q2'", "the parents form a cycle"]),
    ([{**STEP, "tokens": -3}], ["question 'q2', node 1: tokens -3 is negative"]),
    (NAN, ["question 'q2', node 1: score of prm nan is not finite"]),
]


@pytest.mark.parametrize(("line", "pieces"), LINES)
def test_a_bad_line(tmp_path: Path, line: Any, pieces: list[str]) -> None:
    if isinstance(line, list):
        line = json.dumps({"question_id": "q2", "gold": "A", "nodes": line})
    good = {"question_id": "q1", "gold": "A", "nodes": [{**STEP, "answer": "A"}]}
    file = tmp_path / "lines.jsonl"
    file.write_text(f"{json.dumps(good)}\n{line}\n", encoding="utf-8")
    end = "Nothing of the file was imported."
    refused(tts_sim("import", "native", file, "--into", tmp_path / "new.duckdb"), "lines.jsonl, line 2: ", *pieces, end)
    assert not (tmp_path / "new.duckdb").exists()
    old = tmp_path / "old.duckdb"
    assert tts_sim("import", "native", "steps.jsonl", "--into", old).status == 0
    with open_cache(old) as cache:
        before = {name: cache.table(name) for name in ("questions", "answers", "runs", "nodes", "scores", "verifiers")}
    refused(tts_sim("import", "native", file, "--into", old, "--json"), "lines.jsonl, line 2: ", *pieces, end)
    with open_cache(old) as cache:
        assert all(cache.table(name).equals(frame) for name, frame in before.items())


IMPORTS: list[tuple[list[object], list[str]]] = [
    (["csv", "steps.jsonl"], ["format 'csv' is unknown; it is one of native, openr"]),
    (["native", "no.jsonl"], ["no.jsonl: the file cannot be read", "Nothing of the file was imported"]),
    (["native", "steps.jsonl", "chains.jsonl", "--run", "r"], ["--run 'r' names one run, but 2 files were given"]),
    (["native", "steps.jsonl", "--kind", "trees"], ["kind 'trees' is unknown; it is one of steps, revisions"]),
    (["native", "chains.jsonl", "--kind", "steps"], ["chains.jsonl, line 1:", "'easy', node 2", "--kind revisions"]),
    (["openr", "steps.jsonl"], ["steps.jsonl", "Nothing of the file was imported"]),
    (["openr", "steps.jsonl", "--kind", "revisions"], ["leave --kind and --not-exchangeable out"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "pieces"), IMPORTS)
def test_a_bad_import(arguments: list[object], pieces: list[str]) -> None:
    refused(tts_sim("import", *arguments, "--into", "new.duckdb"), *pieces)


def test_a_run_that_is_there_already(tmp_path: Path) -> None:
    copy = shutil.copy("small.duckdb", tmp_path / "copy.duckdb")
    refused(tts_sim("import", "native", "steps.jsonl", "--into", copy), "run 'steps' is in", "Name another with --run")


@pytest.mark.parametrize(
    ("query", "pieces"),
    [
        ("DELETE FROM nodes", ["only one read-only statement", "this is DELETE"]),
        ("WITH d AS (DELETE FROM nodes RETURNING *) FROM d", []),
        ("EXPLAIN ANALYZE DELETE FROM nodes", ["the statement writes; only reading is allowed"]),
        ("COPY nodes TO 'nodes.csv'", ["this is COPY"]),
        ("FROM read_csv('notes.duckdb')", ["disabled"]),
        ("SELECT 1; SELECT 2", ["2 statements given; write one"]),
        ("", ["0 statements given; write one read-only statement"]),
        ("SELEC 1", ["syntax error", "SELEC"]),
        ("FROM trees", ["Table with name trees does not exist"]),
        ("SELECT INTERVAL 1 DAY", ["cannot be shown", "Cast the column"]),
    ],
)
def test_bad_sql(query: str, pieces: list[str]) -> None:
    refused(tts_sim("sql", "small.duckdb", query), *pieces)


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.duckdb"
    with create_cache(recorded) as cache:
        cache.append(
            questions=pl.DataFrame({"question_id": ["q1"]}),
            runs=pl.DataFrame(
                {"run_id": ["base"], "kind": ["steps"], "exchangeable": [True], "root_pool": [4], "step_pool": [2]}
            ),
        )
    refused(tts_sim("replay", recorded, "sample+majority", "-b", 2), "run 'base' holds no generation yet")
    for output in ("nowhere/demand.parquet", "empty"):
        refused(
            tts_sim("demand", recorded, "sample+majority", "-b", 2, "-o", output),
            f"--output {output}: cannot be written",
        )
    refused(tts_sim("demand", recorded, "sample+majority", "-b", 2, "--trials", 0), "trials 0: expected a whole number")


def test_a_locked_cache(tmp_path: Path) -> None:
    copy = shutil.copy("small.duckdb", tmp_path / "copy.duckdb")
    code = f"import duckdb; c = duckdb.connect({str(copy)!r}); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None and writer.stdin is not None
        assert writer.stdout.readline() == "open\n"
        refused(tts_sim("info", copy), "is being written by another process", "Wait until it ends, or copy the file")
        refused(tts_sim("import", "native", "steps.jsonl", "--into", copy, "--run", "r"), "is open in another process")
        writer.communicate("\n")
    assert tts_sim("info", copy).status == 0


def test_a_broken_cache_is_checked_with_status_1(tmp_path: Path) -> None:
    copy = shutil.copy("small.duckdb", tmp_path / "copy.duckdb")
    with duckdb.connect(str(copy)) as raw:
        raw.execute("UPDATE nodes SET tokens = -1 WHERE run_id = 'steps' AND node_id = 2")
    ended = tts_sim("check", copy)
    assert ended.status == 1 and ended.err == "" and "node 2" in ended.out
    as_json = tts_sim("check", copy, "--json")
    assert as_json.status == 1 and [row["node"] for row in json.loads(as_json.out)] == [2]
    refused(
        tts_sim("replay", copy, "sample+majority", "-b", 2),
        "node 2 of run 'steps': tokens is negative",
        "tts-sim check",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay", "small.duckdb", "sample+majority", "--budgets", "2"],
        ["replay"],
        ["replay", "small.duckdb", "sample+majority", "--seed", "first"],
        ["import", "native", "steps.jsonl"],
        ["sql", "small.duckdb"],
        ["nonsense"],
    ],
)
def test_usage_errors_end_with_status_2(arguments: list[str]) -> None:
    ended = tts_sim(*arguments)
    assert ended.status == 2 and ended.out == "" and "Traceback" not in ended.err
    assert "Usage: " in ended.err and "Error: " in ended.err


def test_in_a_process_of_its_own() -> None:
    """The installed command, once: what the shell sees."""
    code = "from tts_sim.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "info", "no.duckdb"], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    refused(Ended(done.returncode, done.stdout, done.stderr), *MISSING)


def test_machine_output_is_strict_and_alone_on_stdout() -> None:
    rows = printed_json("sql", "small.duckdb", "SELECT 'nan'::FLOAT AS a, 'inf'::DOUBLE AS b, NULL AS c, [1.5] AS d")
    assert rows == [{"a": None, "b": None, "c": None, "d": [1.5]}]
    [row] = printed_json("sql", "small.duckdb", "SELECT sum(draw) AS a, 0.25 AS b, 2.0 AS c FROM nodes")
    assert row == {"a": 27, "b": 0.25, "c": 2.0} and isinstance(row["a"], int)
    rows = printed_json(
        "replay", "small.duckdb", "sample+majority,revise(sequential=2)+best", "-b", "2", "--per-question"
    )
    assert [row["run"] for row in rows] == ["steps", "steps", "chains"]
    [row] = printed_json("replay", "small.duckdb", "revise(sequential=2)+best", "-b", "2")
    assert row["se"] is None and row["ci_low"] is None  # one question
    csv = tts_sim("replay", "small.duckdb", "sample+majority", "-b", "1,2", "--csv")
    assert csv.out.splitlines()[0].startswith("run,strategy,verifier,budget,accuracy")
    assert len(csv.out.splitlines()) == 3
    nested = tts_sim("sql", "small.duckdb", "SELECT [1, 2] AS a, {'x': 1} AS b, NULL::INT[] AS c", "--csv")
    assert nested.out == 'a,b,c\n"[1, 2]","{""x"": 1}",\n'
