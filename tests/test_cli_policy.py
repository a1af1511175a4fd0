"""`tts-sim policy`: fit, show and apply, for machines and for people, and one line for whatever cannot be done."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import forests
from tests.command import printed_json, tts_sim, write_jsonl
from tests.test_cli_errors import refused
from tests.test_cli_tables import on_a_terminal
from tests.test_start_up import loaded_by
from tts_sim import fit_policy, load_forest, load_policy, open_cache
from tts_sim.roles import replay_apart

STRATEGIES = ["sample+majority", "sample+best", "revise(sequential=2)+majority"]
FITTING = ["--bins", 2, "--n-min", 5, "--splits", 2, "--difficulty-draws", 8, "--trials", 20]


def make(file: Path, seed: int, count: int = 24) -> Path:
    """Ever harder questions: 24 samples of one step, and, for all but the first, eight chains of four attempts."""
    random = np.random.default_rng(seed)
    stars, chains = [], []
    for q in range(count):
        ease = 1 - (q + 0.5) / count

        def drawn(ease: float = ease) -> tuple[str, float]:
            right = random.random() < ease
            return "A" if right else f"B{random.integers(3)}", float(random.integers(1, 8) / 8)

        stars.append(forests.star(f"q{q:02}", [drawn() for _ in range(24)]))
        chains.append(forests.chains(f"q{q:02}", [[drawn() for _ in range(4)] for _ in range(8)]))
    for name, questions in (("steps", stars), ("chains", chains[1:])):
        lines = write_jsonl(file.with_name(f"{file.stem}-{name}.jsonl"), questions)
        ended = tts_sim("import", "native", lines, "--into", file, "--run", name)
        assert ended.status == 0, ended.err
    return file


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("policy") / "one.duckdb", 1)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("other") / "two.duckdb", 2, 30)


@pytest.fixture(scope="module")
def policy(cache: Path) -> Path:
    path = cache.with_name("policy.json")
    ended = tts_sim("policy", "fit", cache, *STRATEGIES, "-b", "4,8", *FITTING, "-o", path)
    assert ended.status == 0 and f"policy: {path}" in ended.err, ended.err
    return path


def test_json_and_csv_are_the_library_s_tables(cache: Path, policy: Path) -> None:
    printed = printed_json("policy", "fit", cache, *STRATEGIES, "-b", "4,8", *FITTING)
    with open_cache(cache) as opened:
        runs = [load_forest(opened, kind=kind) for kind in ("steps", "revisions")]
    apart = replay_apart(runs, STRATEGIES, [4, 8], difficulty_draws=8, trials=20, seed=0)
    fitted = fit_policy(apart.outcomes, apart.oracle, [4, 8], seed=0, num_bins=2, n_min=5, splits=2)
    assert printed["unit"] == "generations"
    for name in ("curves", "choices", "gains"):
        assert printed[name] == getattr(fitted, name).to_dicts()
    assert fitted.left_out == 1  # the question without chains
    assert [row["predicted"] for row in printed["agreement"]] == [1, 2]
    assert load_policy(policy).table == fitted.policy.table
    csv_rows = tts_sim("policy", "fit", cache, *STRATEGIES, "-b", "4,8", *FITTING, "--csv").out
    table = list(csv.DictReader(io.StringIO(csv_rows)))
    assert [row["line"] for row in table] == fitted.curves["line"].to_list()


def test_the_file_says_where_it_comes_from(cache: Path, policy: Path) -> None:
    content = json.loads(policy.read_text())
    assert content["cache"]["path"] == str(cache)
    steps, chains = content["cache"]["runs"]
    assert (steps["run"], steps["questions"], steps["nodes"]) == ("steps", 24, 24 * 24)
    assert (chains["run"], chains["questions"], chains["nodes"]) == ("chains", 23, 23 * 32)
    expected = {"kind": "oracle", "run": "steps", "verifier": None, "samples": 8}
    assert content["difficulty"] | expected == content["difficulty"]
    assert sum(content["difficulty"]["num_questions"]) == 23
    assert content["fit"]["left_out"] == 1 and content["fit"]["n_min"] == 5


def test_what_people_read(cache: Path, policy: Path) -> None:
    ended = tts_sim("policy", "fit", cache, *STRATEGIES, "-b", "4,8", *FITTING)
    assert ended.status == 0 and ended.err == ""
    for text in (
        "Policy by oracle difficulty, cross-fitted: budgets in generations",
        "Its choices by level of difficulty (1 is easiest)",
        "bins: 2 by value of oracle difficulty, edges 0.",
        "(runs steps, chains), 5 folds, 2 splits, seed 0",
        "left out: 1 questions that a strategy lacks",
        "predicted and oracle levels agree on ",
    ):
        assert text in ended.out, text
    shown = tts_sim("policy", "show", policy)
    assert shown.status == 0 and "budgets in generations" in shown.out
    assert "bins: 2 by value of oracle difficulty" in shown.out
    assert printed_json("policy", "show", policy) == json.loads(policy.read_text())
    rows = list(csv.DictReader(io.StringIO(tts_sim("policy", "show", policy, "--csv").out)))
    table = [(entry.strategy, entry.budget) for entry in load_policy(policy).table]
    assert [(row["strategy"], int(row["budget"])) for row in rows] == table


def test_units_rules_and_difficulties(cache: Path) -> None:
    tokens = printed_json("policy", "fit", cache, *STRATEGIES, "-b", "20tokens,60tokens", *FITTING)
    assert tokens == printed_json("policy", "fit", cache, *STRATEGIES, "-b", "20,60", "--unit", "tokens", *FITTING)
    assert {row["unit"] for row in tokens["curves"]} == {"tokens"}
    assert all(row["cost"] <= row["budget"] * 1.05 for row in tokens["choices"])
    assert len({row["generations"] for row in tokens["choices"]}) > 1
    saved = cache.with_name("most.json")
    printed_json("policy", "fit", cache, "sample+best", "-b", "1000", "--unit", "tokens", "--splits", 2, "-o", saved)
    (candidate,) = load_policy(saved).candidates
    assert candidate.budgets == (1, 2, 4, 8), "12 of 24 samples give difficulty, not 32"
    latency = printed_json("policy", "fit", cache, *STRATEGIES, "-b", "7", "--unit", "critical_tokens", *FITTING)
    assert {row["strategy"] for row in latency["choices"]} <= {"sample+majority", "sample+best"}
    predicted = printed_json(
        "policy", "fit", cache, "sample+majority,sample+best", "-b", "8", "--difficulty", "predicted", "--rule",
        "absolute", "--thresholds", "0.4,0.55", "--n-min", 1, "--difficulty-draws", 8,
    )  # fmt: skip
    assert [row["level"] for row in predicted["choices"]] == [1, 2, 3]
    assert {row["difficulty"] for row in predicted["curves"]} == {"predicted"}
    usual = printed_json("policy", "fit", cache, "-b", "4", *FITTING)
    lines = {row["line"] for row in usual["curves"]}
    assert {"sample+majority", "sample+weighted", "revise(sequential=4)+majority"} <= lines
    assert "sample+oracle" not in lines


def test_applied_to_another_cache(policy: Path, other: Path, cache: Path) -> None:
    found = printed_json("policy", "apply", policy, other, "--trials", 20, "--difficulty-draws", 8)
    loaded = load_policy(policy)
    assert [row["budget"] for row in found["values"]] == [4, 8]
    for row in found["values"]:
        assert row["num_questions"] == 29 and row["cost"] <= row["budget"]
        assert row["loss"] == pytest.approx(row["own"] - row["accuracy"])
    assert [(row["level"], row["budget"]) for row in found["levels"]] == [(1, 4), (1, 8), (2, 4), (2, 8)]
    for row in found["levels"]:
        there = loaded.at(row["level"], row["budget"])
        assert (row["strategy"], row["generations"], row["fitted"]) == (
            there.strategy,
            there.generations,
            there.accuracy,
        )
        assert row["moved"] == ((row["own_strategy"], row["own_generations"]) != (there.strategy, there.generations))
    printed = tts_sim("policy", "apply", policy, other, "--trials", 20, "--difficulty-draws", 8)
    assert printed.err == "" and " choices would be others here (oracle difficulty, bins as fitted)." in printed.out
    itself = tts_sim("policy", "apply", policy, cache, "--trials", 20, "--difficulty-draws", 8, "--csv")
    assert "fitted on these very runs" in itself.err and itself.out.startswith("level,budget,strategy")


def test_a_cache_that_cannot_support_the_policy(policy: Path, tmp_path: Path) -> None:
    star = forests.star("one", [("A", 0.5), ("B", 0.25)] * 10)
    lines = write_jsonl(tmp_path / "one.jsonl", [star])
    assert tts_sim("import", "native", lines, "--into", tmp_path / "steps.duckdb").status == 0
    refused(tts_sim("policy", "apply", policy, tmp_path / "steps.duckdb"), "kind 'revisions': the cache holds no run")
    refused(tts_sim("policy", "apply", policy, tmp_path / "no.duckdb"), "there is no cache at")


def test_bad_policies(policy: Path, cache: Path, tmp_path: Path) -> None:
    for name, text, pieces in (
        ("damaged.json", policy.read_text()[:-20], ["damaged.json is not JSON", "tts-sim policy fit"]),
        ("newer.json", policy.read_text().replace('"version": 1', '"version": 9'), ["version 9", "Upgrade tts-sim"]),
        ("other.json", "{}", ["other.json is not a policy of tts-sim"]),
        ("moved.json", policy.read_text().replace('"level": 2', '"level": 3'), ["is damaged: table:"]),
    ):
        (tmp_path / name).write_text(text)
        refused(tts_sim("policy", "show", tmp_path / name), *pieces)
        refused(tts_sim("policy", "apply", tmp_path / name, cache), *pieces)
    refused(tts_sim("policy", "show", tmp_path / "none.json"), "none.json: No such file")
    strange = tmp_path / "strange.json"
    shutil.copy(policy, strange)
    strange.write_text(strange.read_text().replace("sample+best", "sample+guess"))
    refused(tts_sim("policy", "apply", strange, cache), "unknown selection 'guess'")


@pytest.mark.parametrize(
    ("arguments", "pieces"),
    [
        (["-b", "4", "--bins", "40"], ["23 questions are too few for 40 bins; ask for fewer bins"]),
        (["-b", "4", "--bins", "0"], ["num_bins 0: expected a whole number from 1"]),
        (["-b", "4", "--bins", "2", "--folds", "24"], ["folds 24: expected from 2 to the number of questions (23)"]),
        (["-b", "64"], ["sample+majority at budget 64", "hold fewer samples apart from those"]),
        (["-b", "4", "--unit", "joules"], ["4joules", "unknown unit 'joules'"]),
        (["-b", "4tokens", "--unit", "flops"], ["is in tokens, --unit says flops"]),
        (["-b", "4", "--unit", "flops"], ["unit 'flops': unknown for these strategies", "models.num_params"]),
        (["-b", "1", "--unit", "tokens"], ["budget 1 tokens: below every strategy at level 1; the cheapest is"]),
        (["-b", "0"], ["budget '0' in '0'"]),
        (["-b", "4", "--difficulty", "felt"], ["--difficulty 'felt': expected one of oracle, predicted"]),
        (["-b", "4", "--rule", "best"], ["rule 'best': expected one of value, rank, absolute"]),
        (["-b", "4", "--thresholds", "0.5"], ["only for the rule absolute"]),
        (["-b", "4", "--rule", "absolute", "--thresholds", "half"], ["--thresholds half: expected numbers"]),
        (["-b", "4", "--verifier", "judge"], ["verifier 'judge': unknown; known: prm"]),
        (["-b", "4", "--difficulty-draws", "0"], ["difficulty_draws 0: expected a whole number from 1"]),
        (["-b", "4", "--sizes", "all"], ["sizes 'all': expected one of any, largest"]),
        (["-b", "4", "--n-min", "0"], ["n_min 0: expected a whole number"]),
        (["-b", "4", "sample+oracle"], ["'sample+oracle' knows the answer"]),
    ],
    ids=lambda value: " ".join(map(str, value))[:40],
)
def test_a_bad_fit(cache: Path, arguments: list[object], pieces: list[str]) -> None:
    given: list[Any] = ["policy", "fit", cache, *STRATEGIES, "--trials", 5, "--splits", 1, *arguments]
    if "--difficulty-draws" not in arguments:
        given += ["--difficulty-draws", 8]
    refused(tts_sim(*given), *pieces)


def test_it_fits(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    ended = on_a_terminal(monkeypatch, 100, "policy", "fit", cache, *STRATEGIES, "-b", "4,8", *FITTING)
    tables = ended.out[: ended.out.index("accuracy: on questions")]
    assert ended.status == 0 and max(map(len, tables.splitlines())) <= 100
    assert "left out on this narrow terminal" in ended.err


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["apply", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    run = f"""
import tts_sim.cli.main as command
sys.argv = ["tts-sim", "policy", *{arguments!r}]
try:
    command.main()
except SystemExit as ended:
    assert ended.code == 0, ended.code
"""
    assert loaded_by(run) == []
