"""`tts-sim compare`: what it prints for machines and for people, and one line for whatever it cannot do."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from tests import forests
from tests.command import printed_json, tts_sim, write_jsonl
from tests.test_cli_errors import refused
from tests.test_cli_tables import on_a_terminal
from tests.test_start_up import loaded_by
from tts_sim import load_forest, open_cache, replay
from tts_sim.compare import COLUMNS, compare_all


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve questions of step trees of two steps, all but one of them with revisions too."""
    folder = tmp_path_factory.mktemp("compare")
    stars = [
        forests.star(f"q{i:02}", [("A" if (i + k) % 3 else f"B{k % 2}", (3 * i + 5 * k) % 8 / 8) for k in range(4)])
        for i in range(12)
    ]
    pairs = [[("B", 0.25), ("A", 0.5)], [("A", 0.25), ("C", 0.5)], [("C", 0.25), ("C", 0.5)], [("A", 0.5), ("A", 0.75)]]
    chains = [forests.chains(f"q{i:02}", pairs[i % 3 :] + pairs[: i % 3]) for i in range(1, 12)]
    for name, questions in (("steps", stars), ("chains", chains)):
        file = write_jsonl(folder / f"{name}.jsonl", questions)
        ended = tts_sim("import", "native", file, "--into", folder / "small.duckdb")
        assert ended.status == 0, ended.err
    return folder / "small.duckdb"


TWO = ["sample+best", "sample+majority"]
THREE = [*TWO, "revise(sequential=2)+majority"]


def test_json_and_csv_are_the_library_s_table(cache: Path) -> None:
    rows = printed_json("compare", cache, *TWO, "--budget", "2,4", "--trials", 50, "--seed", 3)
    with open_cache(cache) as opened:
        outcomes = replay(load_forest(opened, "steps"), TWO, [2, 4], trials=50, seed=3)
    expected = compare_all(outcomes, seed=3)
    assert rows == expected.to_dicts()
    assert set(rows[0]) == {*COLUMNS, "p_holm"}
    assert [(row["first"], row["second"], row["budget"]) for row in rows] == [(*TWO, 2), (*TWO, 4)]
    assert {row["test"] for row in rows} == {"sign-flip exact"} and {row["num_questions"] for row in rows} == {12}
    printed = tts_sim("compare", cache, ",".join(TWO), "-b", "2,4", "--trials", 50, "--seed", 3, "--csv")
    table = list(csv.DictReader(io.StringIO(printed.out)))
    assert [float(row["difference"]) for row in table] == [row["difference"] for row in rows]


def test_more_than_two_strategies_are_compared_pair_by_pair(cache: Path) -> None:
    rows = printed_json("compare", cache, *THREE, "-b", "2,4", "--trials", 50)
    pairs = [(row["first"], row["second"]) for row in rows]
    assert pairs == [(THREE[0], THREE[1])] * 2 + [(THREE[0], THREE[2])] * 2 + [(THREE[1], THREE[2])] * 2
    assert [row["num_questions"] for row in rows] == [12, 12, 11, 11, 11, 11]
    assert all(row["p_holm"] >= row["p_value"] for row in rows)
    smallest = min(rows, key=lambda row: row["p_value"])
    assert smallest["p_holm"] == pytest.approx(min(1.0, 6 * smallest["p_value"]))


def test_what_people_read(cache: Path) -> None:
    ended = tts_sim("compare", cache, *TWO, "--budget", "2,4", "--trials", 50)
    assert ended.status == 0 and ended.err == ""
    assert "sample+best − sample+majority: run 'steps', verifier 'prm'" in ended.out
    assert "paired on 12 questions." in ended.out
    assert "ci: 95 %, pointwise" in ended.out and "band: 95 %, simultaneous (a pair's 2 budgets at once)" in ended.out
    assert "p_holm: adjusted for the 2 tests here" in ended.out
    assert (
        "detectable: a true difference of 0." in ended.out
        and "is found with 80 % power by one test at 5 %." in ended.out
    )
    assert "supported" not in ended.out  # everything was
    one = tts_sim("compare", cache, *TWO, "--budget", "4", "--trials", 50).out
    assert "band" not in one and "holm" not in one and "ci: 95 %, pointwise (each row by itself)." in one
    three = tts_sim("compare", cache, *THREE, "--budget", "4", "--trials", 50).out
    assert "run 'steps', 'chains', verifier 'prm'" in three and "paired on 11 to 12 of 12 questions" in three


def test_bounds(tmp_path: Path) -> None:
    case = next(case for case in forests.AWKWARD if case.name == "dead ends")
    file = write_jsonl(tmp_path / "ends.jsonl", case.questions)
    assert tts_sim("import", "native", file, "--into", tmp_path / "ends.duckdb").status == 0
    arguments = ["compare", tmp_path / "ends.duckdb", "beam(width=2)+weighted", "beam(width=2)+oracle", "-b", 4]
    [row] = printed_json(*arguments)
    assert (row["method"], row["difference"], row["p_holm"]) == ("bounds", None, None) and row["lower"] < row["upper"]
    ended = tts_sim(*arguments)
    assert all(word in ended.out for word in ("lower", "upper", "supported", "bounds", "–"))
    assert "detectable:" not in ended.out


@pytest.mark.parametrize(("width", "row"), [(80, r"  [12] − [23] +[24] "), (130, r"  sample\S+ +\S+\+majority +[24] ")])
def test_it_fits(monkeypatch: pytest.MonkeyPatch, cache: Path, width: int, row: str) -> None:
    ended = on_a_terminal(monkeypatch, width, "compare", cache, *THREE, "-b", "2,4", "--trials", 50)
    table = ended.out[: ended.out.index("difference: ")]
    assert ended.status == 0 and max(map(len, table.splitlines())) <= width
    assert len(re.findall(f"^{row}", table, re.MULTILINE)) == 6  # nothing is folded
    assert ("\n3 revise(sequential=2)+majority" in table) == (width == 80)
    assert "left out on this narrow terminal: method" in ended.err


@pytest.mark.parametrize(
    ("arguments", "pieces"),
    [
        ([], ["strategies: expected at least one"]),
        (["sample+best"], ["compare sample+best: expected at least two different strategies"]),
        (["beam+best", "beam(width=4)+best"], ["compare beam(width=4)+best: expected at least two different"]),
        (["sample+best", "sample+mode"], ["unknown selection 'mode'", "known: majority, best"]),
        ([*TWO, "-b", "8"], ["12 of 12 questions hold fewer than 8 samples (first: 'q00', 4)", "Lower"]),
        ([*TWO, "-b", "0"], ["budget '0' in '0': budgets are whole numbers of generations, from 1"]),
        ([*THREE, "-b", "3"], ["budget 3", "needs a multiple of 2"]),
        ([*TWO, "-b", "2", "--run", "chains"], ["run 'chains' is of kind 'revisions'", "of kind steps"]),
        ([*TWO, "-b", "2", "--verifier", "judge"], ["verifier 'judge'", "known: prm"]),
        ([*TWO, "-b", "2", "--trials", "0"], ["trials 0: expected a whole number from 1"]),
        ([*TWO, "-b", "2", "--seed", "-1"], ["seed -1: expected an integer from 0 to 2**64 - 1"]),
    ],
    ids=lambda value: " ".join(map(str, value))[:40],
)
def test_a_bad_comparison(cache: Path, arguments: list[object], pieces: list[str]) -> None:
    refused(tts_sim("compare", cache, *arguments), *pieces)
    refused(tts_sim("compare", cache, *arguments, "--json"), *pieces)


def test_strategies_that_share_no_question(tmp_path: Path) -> None:
    star = forests.star("one", [("A", 0.5), ("B", 0.25)])
    chain = forests.chains("other", [[("B", 0.25), ("A", 0.5)]])
    for name, question in (("steps", star), ("chains", chain)):
        file = write_jsonl(tmp_path / f"{name}.jsonl", [question])
        assert tts_sim("import", "native", file, "--into", tmp_path / "two.duckdb").status == 0
    refused(
        tts_sim("compare", tmp_path / "two.duckdb", "sample+oracle", "revise(sequential=2)+oracle", "-b", 2),
        "'sample+oracle' and 'revise(sequential=2)+oracle' share no question: there is nothing to pair",
    )
    refused(tts_sim("compare", tmp_path / "no.duckdb", *TWO), "there is no cache at")


def test_help_loads_nothing_heavy() -> None:
    run = """
import tts_sim.cli.main as command
sys.argv = ["tts-sim", "compare", "--help"]
try:
    command.main()
except SystemExit as ended:
    assert ended.code == 0, ended.code
"""
    assert loaded_by(run) == []
