"""Exports: what a strategy selects is what a replay selects; native JSONL and Parquet come back as they were."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cache import open_cache
from tests import forests
from tests.command import printed_json, tts_sim, write_jsonl
from tts_sim.errors import CacheExhausted
from tts_sim.replay import replay
from tts_sim.selected import selected_solutions

STAR = forests.star("easy", [("A", 0.5), ("B", 0.25), ("A", 0.75), ("A", 0.625)])
HARD = forests.star("hard", [("B", 0.5), ("B", 0.25), ("A", 0.125), (None, 0.875)])
NONE = forests.star("none", [(None, 0.5)] * 4)


def texts(question: forests.Question) -> forests.Question:
    """The question with a prompt, and a text at every node that names it."""
    nodes = [node | {"text": f"{question['question_id']}/{node['id']}\n"} for node in question["nodes"]]
    return question | {"prompt": f"what is {question['question_id']}? «é»", "nodes": nodes}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    path = tmp_path / "small.duckdb"
    lines = write_jsonl(tmp_path / "steps.jsonl", [texts(question) for question in (STAR, HARD, NONE)])
    assert tts_sim("import", "native", lines, "--into", path).status == 0
    return path


def sft(cache: Path, *arguments: object) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    out = cache.with_name("out.jsonl")
    facts = printed_json("export", "sft", cache, "-o", out, *arguments)
    return facts, [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def test_best_weighted_majority_and_oracle_write_their_solution(cache: Path) -> None:
    facts, lines = sft(cache, "-s", "sample+best", "-b", 4, "--form", "plain", "--drop-wrong")
    assert lines == [{"prompt": "what is easy? «é»", "completion": f"easy/{STAR['nodes'][2]['id']}\n"}]
    assert facts | {"questions": 3, "written": 1, "right": 1, "wrong": 1, "nothing_selected": 1} == facts
    _, lines = sft(cache, "-s", "sample+weighted", "-b", 4, "--form", "plain")
    ends = [f"easy/{STAR['nodes'][2]['id']}\n", f"hard/{HARD['nodes'][0]['id']}\n"]
    assert [line["completion"] for line in lines] == ends
    facts, _ = sft(cache, "-s", "sample+majority", "-b", 4, "--drop-wrong")
    assert (facts["right"], facts["wrong"], facts["written"]) == (1, 1, 1)
    facts, lines = sft(cache, "-s", "sample+oracle", "-b", 4)
    assert (facts["right"], facts["wrong"]) == (2, 0)
    assert lines[1]["completion"] == [{"role": "assistant", "content": f"hard/{HARD['nodes'][2]['id']}\n"}]


def test_forms(cache: Path) -> None:
    user = {"role": "user", "content": "what is easy? «é»"}
    assistant = {"role": "assistant", "content": f"easy/{STAR['nodes'][2]['id']}\n"}
    arguments = ("-s", "sample+best", "-b", 4, "--drop-wrong")
    assert sft(cache, *arguments)[1] == [{"prompt": [user], "completion": [assistant]}]
    assert sft(cache, *arguments, "--form", "messages")[1] == [{"messages": [user, assistant]}]


def test_a_majority_draws_its_solution_by_seed(cache: Path) -> None:
    arguments = ("-s", "sample+majority", "-b", 4, "--form", "plain")
    drawn = [sft(cache, *arguments, "--seed", seed)[1][0]["completion"] for seed in range(20)]
    assert drawn == [sft(cache, *arguments, "--seed", seed)[1][0]["completion"] for seed in range(20)]
    assert set(drawn) == {f"easy/{STAR['nodes'][place]['id']}\n" for place in (0, 2, 3)}


@pytest.mark.parametrize("spec", ["sample+best", "sample+weighted", "sample+majority", "sample+oracle"])
def test_what_is_selected_is_as_right_as_trial_0_of_the_replay(spec: str) -> None:
    """Draw 7 of each pool is missing, so that a trial is one block of the permutation; tied ones may go either way."""
    chance = random.Random(0)
    questions = [
        forests.star(f"q{number}", [(chance.choice("ABC"), chance.random()) for _ in range(7)]) for number in range(80)
    ]
    compared = 0
    for question in questions:
        forest = forests.to_forest(forests.Case("pools", [question], root_pool=8, step_pool=1))
        row = replay(forest, [spec], [5], trials=1, seed=3).frame.row(0, named=True)
        if row["supported"] == 0:
            with pytest.raises(CacheExhausted, match="lacks some of the 5 draws"):
                selected_solutions(forest, spec, 5, seed=3)
        elif row["accuracy"] in (0, 1):
            assert selected_solutions(forest, spec, 5, seed=3)["correct"][0] == bool(row["accuracy"])
            compared += 1
    assert 15 < compared < 60


def test_ties_fall_on_right_and_wrong_alike() -> None:
    questions = [forests.star(f"q{number}", [("A", 0.5), ("B", 0.5)]) for number in range(200)]
    forest = forests.to_forest(forests.Case("ties", questions))
    for spec in ("sample+best", "sample+majority", "sample+weighted"):
        share = selected_solutions(forest, spec, 2, seed=3)["correct"].mean()
        assert 0.38 < share < 0.62  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-s", "beam(width=2)+best", "-b", 4], "sample+best, sample+weighted, sample+majority and sample+oracle only"),
        (["-s", "sample+best", "-b", 5], "hold fewer than 5 samples"),
        (["-s", "sample+best", "-b", 0], "budget"),
        (["-s", "sample+best", "-b", 2, "--form", "xml"], "--form 'xml': expected one of chat, plain, messages."),
        (["-s", "sample+best", "-b", 2, "--verifier", "no"], "verifier 'no'"),
        (["-s", "sample+best", "-b", 2, "--run", "no"], "run 'no'"),
    ],
)
def test_bad_input(cache: Path, arguments: list[object], said: str) -> None:
    ended = tts_sim("export", "sft", cache, "-o", cache.with_name("out.jsonl"), *arguments)
    assert ended.status == 1 and ended.err.startswith("tts-sim: ") and ended.err.count("\n") == 1
    assert said in ended.err
    assert not cache.with_name("out.jsonl").exists()


def test_solutions_without_text_are_named(tmp_path: Path) -> None:
    lines = write_jsonl(tmp_path / "steps.jsonl", [STAR | {"prompt": "p"}])
    assert tts_sim("import", "native", lines, "--into", tmp_path / "bare.duckdb").status == 0
    ended = tts_sim("export", "sft", tmp_path / "bare.duckdb", "-o", tmp_path / "o.jsonl", "-s", "sample+best", "-b", 2)
    assert ended.status == 1 and "question 'easy'" in ended.err and "lacks text" in ended.err


def tables(path: Path) -> dict[str, pl.DataFrame]:
    with open_cache(path) as cache:
        nodes = cache.table("nodes").drop("run_id")
        return {
            "nodes": nodes,
            "scores": cache.table("scores").drop("run_id").sort("verifier_id", "node_id"),
            "answers": cache.table("answers").drop("grader").sort("question_id", "answer_id"),
            "questions": cache.table("questions").sort("question_id"),
        }


@pytest.mark.parametrize("kind", ["steps", "revisions"])
def test_native_comes_back_as_it_was(tmp_path: Path, kind: str) -> None:
    chains = [forests.chains("easy", [[("B", 0.25), ("A", 0.5)], [(None, 0.1), ("A", 1 / 3)]])]
    trees = [texts(STAR) | {"level": 3, "source": {"page": 7}}, texts(HARD), forests.comb("comb", 3, 4)]
    trees[1]["nodes"][0] |= {"logprob": -1.1, "min_logprob": -0.7}
    trees[1]["nodes"].append({"id": 99, "parent": None, "greedy": True, "tokens": 4, "stop": "length"})
    first = write_jsonl(tmp_path / "first.jsonl", chains if kind == "revisions" else trees)
    assert tts_sim("import", "native", first, "--into", tmp_path / "1.duckdb", "--kind", kind).status == 0
    ended = tts_sim("export", "native", tmp_path / "1.duckdb", "-o", tmp_path / "second.jsonl")
    assert ended.status == 0 and f"run 'first' ({kind})" in ended.out
    again = ("import", "native", tmp_path / "second.jsonl", "--into", tmp_path / "2.duckdb", "--kind", kind)
    assert tts_sim(*again).status == 0
    before, after = tables(tmp_path / "1.duckdb"), tables(tmp_path / "2.duckdb")
    for name in before:
        assert before[name].equals(after[name]), name
    tts_sim("export", "native", tmp_path / "2.duckdb", "-o", tmp_path / "third.jsonl")
    assert (tmp_path / "second.jsonl").read_bytes() == (tmp_path / "third.jsonl").read_bytes()


def test_parquet_opens_as_the_same_cache(cache: Path, tmp_path: Path) -> None:
    sizes = printed_json("export", "parquet", cache, tmp_path / "tables")
    assert all((tmp_path / "tables" / f"{name}.parquet").stat().st_size == size for name, size in sizes.items())
    with open_cache(cache) as one, open_cache(tmp_path / "tables") as other:
        for name in sizes:
            by = one.table(name).columns
            assert one.table(name).sort(by).equals(other.table(name).sort(by)), name


def test_native_asks_which_run(cache: Path, tmp_path: Path) -> None:
    lines = write_jsonl(tmp_path / "other.jsonl", [texts(STAR)])
    assert tts_sim("import", "native", lines, "--into", cache).status == 0
    ended = tts_sim("export", "native", cache, "-o", tmp_path / "o.jsonl")
    assert ended.status == 1 and "steps" in ended.err and "choose one with --run" in ended.err
    ended = tts_sim("export", "native", cache, "-o", tmp_path / "o.jsonl", "--run", "no")
    assert ended.status == 1 and "run 'no' is not in" in ended.err
