"""Costs: tokens charged under each ledger, FLOPs, budgets in units of cost."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from tests import forests
from tests.command import printed_json, tts_sim, write_jsonl
from tts_sim.costs import Ledger, Sizes, priced, within_limits
from tts_sim.replay import replay

PROMPT, ATTEMPT, CHAIN = 100, 200, 8


def chains_of_eight() -> forests.Case:
    grower = forests.Grower()
    parent = None
    for step in range(CHAIN):
        parent = grower.add(parent, 0, ATTEMPT, 0.5, answer="AB"[step % 2])
    for draw in range(1, CHAIN):
        grower.add(None, draw, ATTEMPT, 0.25, answer="A")
    return forests.Case("chains", [grower.question("q")], "revisions")


@pytest.mark.parametrize(
    ("sequential", "prefill", "tokens"),
    [
        (1, "none", 1600),
        (1, "once", 1700),
        (1, "every", 2400),
        (8, "none", 1600),
        (8, "once", 1700),
        (8, "every", 6800),
    ],
)
def test_the_worked_example_of_revisions(sequential: int, prefill: str, tokens: int) -> None:
    """Statistics §5: prompt 100, attempts of 200, eight of them, four attempts of context."""
    outcomes = replay(forests.to_forest(chains_of_eight()), [f"revise(sequential={sequential})+majority"], [8], seed=0)
    sizes = Sizes({"chains": 7}, {}, {"q": PROMPT})
    row = priced(outcomes, sizes, Ledger(prefill)).frame.row(0, named=True)  # type: ignore[arg-type]
    assert row["generator_flops"] == 2 * 7 * tokens
    assert row["verifier_flops"] == 0
    assert row["flops"] == row["generator_flops"]


def test_a_beam_reads_its_prefixes_again() -> None:
    tree = forests.tree("t", [(0.75, [("A", 0.5), ("B", 0.25)]), (0.5, [("A", 0.5), ("C", 0.25)])])
    outcomes = replay(forests.to_forest(forests.Case("t", [tree])), ["beam(width=2)+weighted"], [2], seed=0)
    row = outcomes.frame.row(0, named=True)
    assert (row["tokens"], row["calls"], row["prefix_tokens"]) == (4 + 4 + 2 + 2, 4, 4 + 4)
    sizes = Sizes({"t": 1}, {"prm": 10}, {})
    plain, rescored = (
        priced(outcomes, sizes, Ledger(rescore=again)).frame.row(0, named=True) for again in (False, True)
    )
    assert (plain["verifier_tokens"], plain["verifier_flops"], plain["flops"]) == (12, 240, 264)
    assert (rescored["verifier_tokens"], rescored["verifier_flops"]) == (20, 400)
    with pytest.raises(ValueError, match="prompt of question 't' is unknown"):
        priced(outcomes, sizes, Ledger("once"))
    assert priced(outcomes, sizes, Ledger("every", prompt_tokens=3)).frame["generator_flops"][0] == 2 * (12 + 4 * 3 + 8)


def test_unknown_sizes_are_null_not_zero() -> None:
    case = forests.Case("s", [forests.star("q", [("A", 0.5), ("B", 0.25)])])
    outcomes = replay(forests.to_forest(case), ["sample+weighted", "sample+majority"], [1, 2], seed=0)
    unknown = priced(outcomes, Sizes({"s": 5}, {}, {})).curve()
    assert unknown.filter(strategy="sample+weighted")["flops"].to_list() == [None, None]
    assert unknown.filter(strategy="sample+majority")["flops"].null_count() == 0
    derived = outcomes.frame.with_columns(
        verifier=outcomes.frame["verifier"].replace("prm", "flip(prm,probability=0.2)")
    )
    known = priced(type(outcomes)(derived), Sizes({"s": 5}, {"prm": 3}, {})).curve()
    assert known["flops"].null_count() == 0


def test_limits_take_the_largest_budget_that_fits() -> None:
    case = forests.Case("s", [forests.star("q", [("A", 0.5)] * 8)])
    curve = replay(forests.to_forest(case), ["sample+oracle"], [1, 2, 4, 8], seed=0).curve()
    per_sample = curve["tokens"][0]
    rows = within_limits(curve, "tokens", [0.5, 3.5 * per_sample, 8 * per_sample])
    assert rows["budget"].to_list() == [2, 8]
    assert rows["limit"].to_list() == [3.5 * per_sample, 8 * per_sample]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imported run whose model and verifier have sizes; the extra JSON gives the prompt's length."""
    folder = tmp_path_factory.mktemp("costs")
    path = folder / "costs.duckdb"
    file = write_jsonl(folder / "run.jsonl", [forests.comb("comb", 3, 4)])
    assert tts_sim("import", "native", file, "--into", path).status == 0
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO models (model_id, num_params) VALUES ('m', 1000), ('prm', 500)")
        connection.execute("UPDATE runs SET model_id = 'm'")
        connection.execute("UPDATE questions SET extra = ?", [json.dumps({"prompt_tokens": 50})])
    return path


def test_the_command_prices_and_reads_budgets_in_any_unit(cache: Path) -> None:
    row, *_ = printed_json("replay", cache, "sample+weighted", "--budget", "2", "--cost", "flops")
    assert row["cost"] == row["flops"] == pytest.approx(2 * 1000 * row["tokens"] + 2 * 500 * row["tokens"])
    once, *_ = printed_json("replay", cache, "sample+weighted", "--budget", "2", "--prefill", "once")
    assert once["generator_flops"] == pytest.approx(row["generator_flops"] + 2 * 1000 * 50)
    limited = printed_json("replay", cache, "sample+majority", "--budget", f"{row['tokens'] + 1}tokens,1e6tokens")
    assert [(entry["budget"], entry["cost"] <= entry["limit"]) for entry in limited] == [(2, True), (4, True)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--budget", "2parsecs"], "unknown unit 'parsecs'; known: generations, tokens"),
        (["--budget", "2tokens,3"], "every budget in the same unit"),
        (["--cost", "euros"], "--cost euros: expected one of generations"),
        (["--prefill", "twice"], "--prefill 'twice': expected one of none, once, every"),
        (["--method", "magic"], "--method 'magic': expected one of auto, monte-carlo"),
        (["--on-exhausted", "hope"], "--on-exhausted 'hope': expected one of refuse, bounds, reuse, borrow"),
        (["--budget", "2tokens", "--per-question"], "means over questions, --per-question lists them"),
    ],
)
def test_bad_options_say_what_is_known(cache: Path, arguments: list[str], words: str) -> None:
    ended = tts_sim("replay", cache, "sample+majority", *arguments)
    assert (ended.status, ended.out, len(ended.err.splitlines())) == (1, "", 1)
    assert words in ended.err
