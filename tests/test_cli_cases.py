"""The exact cases through the command: `tts-sim import native`, then `replay --json`, `compare --json`, `sql --json`.

What the command calls exact agrees to 1e-9, everything else within 4 of its Monte Carlo standard errors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests import cases, forests
from tests.command import printed_json, tts_sim, write_jsonl
from tests.test_beams import enumerated

TRIALS = 100_000


def imported(tmp_path: Path, *questions: forests.Question, name: str = "case", more: Sequence[object] = ()) -> Path:
    """A cache that holds these questions as a run, made (or added to) by the command."""
    cache = tmp_path / "case.duckdb"
    file = write_jsonl(tmp_path / f"{name}.jsonl", questions)
    ended = tts_sim("import", "native", file, "--into", cache, *more)
    assert ended.status == 0, ended.err
    assert f"{len(questions)} questions" in ended.out
    return cache


def replayed(cache: Path, specs: Sequence[str], budgets: Sequence[int], *more: object) -> dict[tuple[str, int], Any]:
    """Printed rows by (strategy, budget)."""
    budget = ",".join(map(str, budgets))
    rows = printed_json("replay", cache, *specs, "--budget", budget, "--trials", TRIALS, "--seed", 1, *more)
    assert len(rows) == len(specs) * len(budgets)
    assert all(row["num_questions"] == 1 and row["se"] is None for row in rows)
    return {(row["strategy"], row["budget"]): row for row in rows}


def assert_close(row: Mapping[str, Any], expected: Fraction, what: object = None) -> None:
    if row["method"] == "exact":
        assert row["accuracy"] == pytest.approx(float(expected), abs=1e-9), what
    else:
        assert row["method"] == "monte-carlo"
        assert abs(row["accuracy"] - float(expected)) <= 4 * row["se_mc"] + 1e-12, (what, row, expected)
        assert row["se_mc"] < 0.002


def assert_share(share: float, expected: Fraction) -> None:
    """`share` of the trials, or a mean over them of values in [0, 1]."""
    assert abs(share - float(expected)) <= 4 * math.sqrt(float(expected * (1 - expected)) / TRIALS)


STARS: list[tuple[str, cases.Solutions, dict[str, dict[int, Fraction]]]] = [
    ("C01", cases.C01_SOLUTIONS, {"oracle": cases.C01}),
    ("C03", cases.C03_SOLUTIONS, {"best": cases.C03}),
    ("C05", cases.C05_SOLUTIONS, {"majority": cases.C05}),
    ("C08", cases.C08_SOLUTIONS, cases.C08),
]


@pytest.mark.parametrize("method", ["auto", "monte-carlo"])
@pytest.mark.parametrize(("name", "solutions", "curves"), STARS, ids=[name for name, _, _ in STARS])
def test_samples(
    tmp_path: Path, name: str, solutions: cases.Solutions, curves: dict[str, dict[int, Fraction]], method: str
) -> None:
    """C01 pass@k, C03 best of n, C05 majority, C08 all of them and weighted votes."""
    cache = imported(tmp_path, forests.star("q", solutions))
    budgets = list(range(1, len(solutions) + 1))
    rows = replayed(cache, [f"sample+{selection}" for selection in curves], budgets, "--method", method)
    for selection, curve in curves.items():
        assert list(curve) == budgets
        for n, expected in curve.items():
            row = rows[f"sample+{selection}", n]
            assert_close(row, expected, (selection, n))
            assert (row["method"] == "exact") == (method == "auto" and selection != "weighted")
            if n == budgets[-1]:
                assert row["se_mc"] == 0.0
    above = tts_sim("replay", cache, f"sample+{next(iter(curves))}", "--budget", len(solutions) + 1)
    assert above.status == 1 and above.out == ""
    assert f"fewer than {len(solutions) + 1} samples (first: 'q', {len(solutions)})" in above.err


def test_c11_beam(tmp_path: Path) -> None:
    cache = imported(tmp_path, forests.tree("q", cases.C11_TREE))
    rows = replayed(cache, [f"beam(width=2)+{selection}" for selection in cases.C11], [2, 4])
    for selection, curve in cases.C11.items():
        for n, expected in curve.items():
            row = rows[f"beam(width=2)+{selection}", n]
            assert row["supported"] == 1.0
            assert_close(row, expected, (selection, n))
    row = replayed(cache, ["beam(width=4)+weighted"], [4])["beam(width=4)+weighted", 4]
    assert (row["supported"], row["exhausted"], row["method"]) == (0.0, 1.0, "bounds")
    assert (row["accuracy"], row["lower"], row["upper"]) == (None, 0.0, 1.0)


def test_c13_incomplete_cache(tmp_path: Path) -> None:
    cache = imported(tmp_path, forests.tree("q", cases.C13_TREE))
    [row] = replayed(cache, ["beam(width=2)+weighted"], [4]).values()
    assert (row["accuracy"], row["se"], row["se_mc"], row["method"]) == (None, None, None, "bounds")
    for name, expected in cases.C13.items():
        assert_share(row[name], expected)
    over_supported, error = row["lower"] / row["supported"], 4 * math.sqrt(0.25 / (0.4 * TRIALS))
    assert abs(over_supported - float(cases.C13_SUPPORTED_TRIALS)) <= error  # never printed as an accuracy
    table = tts_sim("replay", cache, "beam(width=2)+weighted", "--budget", 4).out
    assert all(head in table for head in ("lower", "upper", "supported", "bounds", "–"))


@pytest.mark.parametrize("reading", cases.C14)
def test_c14_early_ends(tmp_path: Path, reading: str) -> None:
    cache = imported(tmp_path, forests.tree("q", cases.C14_TREE))
    search = "beam(width=2)" if reading == "freeze" else f"beam(width=2,finished={reading})"
    rows = replayed(cache, [f"{search}+{selection}" for selection in cases.C14[reading]], [4])
    for selection, expected in cases.C14[reading].items():
        assert_close(rows[f"{search}+{selection}", 4], expected, selection)


def test_lookahead_on_the_tree_of_c11(tmp_path: Path) -> None:
    """Against all draws and orders of ties; each first step has a greedy child with the score that the case gives."""
    question = forests.tree("q", cases.C11_TREE)
    firsts = [node["id"] for node in question["nodes"] if node["parent"] is None]
    tree = []
    for first, ahead, (_, leaves) in zip(firsts, cases.C11_GREEDY, cases.C11_TREE, strict=True):
        node = {"id": 100 + first, "parent": first, "greedy": True, "tokens": 3, "scores": {"prm": ahead}}
        question["nodes"].append(node)
        children = [{"answer": answer, "score": score} for answer, score in leaves]
        tree.append({"greedy_lookahead_score": ahead, "children": children})
    cache = imported(tmp_path, question)
    search = "lookahead(width=2,steps=1)"
    rows = replayed(cache, [f"{search}+{selection}" for selection in cases.C11], [4, 8])
    for selection in cases.C11:
        for n in (2, 4):
            assert_close(rows[f"{search}+{selection}", 2 * n], enumerated(tree, n, 2, selection), (selection, n))
    refused = tts_sim("replay", cache, f"{search}+weighted", "--budget", 7)
    assert refused.status == 1 and "budget 7: lookahead(width=2,steps=1) needs a multiple of 2." in refused.err


def c16_caches() -> tuple[list[forests.Question], list[Fraction]]:
    """Every cache that can come about, up to the order of draws, with its probability; all scores of leaves alike."""
    kinds = []
    for chance, score, right in cases.C16_FIRST:
        for correct in range(4):
            ways = math.comb(3, correct) * right**correct * (1 - right) ** (3 - correct)
            kinds.append(((score, [("A", 0.5)] * correct + [("B", 0.5)] * (3 - correct)), chance * ways))
    questions, weights = [], []
    for number, roots in enumerate(itertools.combinations_with_replacement(range(len(kinds)), 3)):
        questions.append(forests.tree(f"c{number:03}", [kinds[root][0] for root in roots]))
        orders = len(set(itertools.permutations(roots)))
        weights.append(orders * math.prod((kinds[root][1] for root in roots), start=Fraction(1)))
    return questions, weights


@pytest.mark.parametrize(("policy", "place", "method"), [("refuse", 0, "monte-carlo"), ("reuse", 1, "plugin")])
def test_c16_over_all_caches(tmp_path: Path, policy: str, place: int, method: str) -> None:
    """Without replacement replays are unbiased, with replacement they are not: expectations over every cache."""
    questions, weights = c16_caches()
    assert sum(weights) == 1 and len(questions) == 120
    cache = imported(tmp_path, *questions)
    specs = [f"beam(width=2)+{selection}" for selection in cases.C16]
    more = ("--trials", TRIALS, "--seed", 1, "--on-exhausted", policy, "--per-question")
    rows = printed_json("replay", cache, *specs, "--budget", 2, *more)
    for spec, expected in zip(specs, cases.C16.values(), strict=True):
        mine = sorted((row for row in rows if row["strategy"] == spec), key=lambda row: str(row["question_id"]))
        assert {row["method"] for row in mine} == {method} and {row["supported"] for row in mine} == {1.0}
        value = sum(float(weight) * row["accuracy"] for weight, row in zip(weights, mine, strict=True))
        error = sum(float(weight) ** 2 * row["variance"] for weight, row in zip(weights, mine, strict=True)) ** 0.5
        assert error < 0.0005 < abs(float(expected[1] - expected[0])) / 50
        assert abs(value - float(expected[place])) <= 4 * error


@pytest.mark.parametrize("method", ["auto", "monte-carlo"])
@pytest.mark.parametrize(("parallel", "sequential"), cases.C18)
def test_c18_revisions(tmp_path: Path, parallel: int, sequential: int, method: str) -> None:
    cache = imported(tmp_path, forests.chains("q", cases.C18_CHAINS))
    specs = {
        name: f"revise(sequential={sequential}{across})+{selection}"
        for name, (across, selection) in cases.C18_FIGURES.items()
    }
    rows = replayed(cache, list(specs.values()), [parallel * sequential], "--method", method)
    for name, expected in cases.C18[parallel, sequential].items():
        row = rows[specs[name], parallel * sequential]
        assert row["method"] == ("exact" if method == "auto" else "monte-carlo"), name
        assert_close(row, expected, name)


def test_c18_by_attempt(tmp_path: Path) -> None:
    cache = imported(tmp_path, forests.chains("q", cases.C18_CHAINS))
    query = "SELECT depth, avg(correct::INT) AS share FROM solutions GROUP BY depth ORDER BY depth"
    shares = [row["share"] for row in printed_json("sql", cache, query)]
    assert shares == pytest.approx([float(share) for share in cases.C18_PASS_AT_1], abs=1e-9)
    query = (
        "SELECT avg((NOT now.correct)::INT) AS share FROM nodes JOIN solutions AS now USING (node_id) "
        "JOIN solutions AS before ON before.node_id = nodes.parent_id WHERE before.correct"
    )
    [turned] = printed_json("sql", cache, query)
    assert turned["share"] == pytest.approx(float(cases.C18_RIGHT_TURNED_WRONG), abs=1e-9)


def test_curves_say_how_they_were_estimated(tmp_path: Path) -> None:
    """A mean over questions is called by the weakest of its estimates."""
    cache = imported(tmp_path, forests.tree("full", cases.C11_TREE), forests.tree("holes", cases.C13_TREE))

    def methods(*more: object) -> list[str]:
        specs = ["sample+majority", "beam(width=2)+majority"]
        rows = printed_json("replay", cache, *specs, "-b", 4, "--trials", 64, *more)
        return [row["method"] for row in rows]

    assert methods() == ["bounds", "bounds"]
    assert methods("--on-exhausted", "borrow")[1] == "imputed"
    assert methods("--on-exhausted", "reuse")[0] == "plugin"
    whole = tmp_path / "whole"
    whole.mkdir()
    cache = imported(whole, forests.tree("full", cases.C11_TREE))
    assert methods() == ["exact", "monte-carlo"]
    assert methods("--on-exhausted", "borrow") == ["exact", "monte-carlo"]
    assert methods("--on-exhausted", "reuse") == ["plugin", "plugin"]


def test_c20_levels_of_tied_questions(tmp_path: Path) -> None:
    questions = [
        forests.star(f"q{number:02}", [("A", None)] * right + [("B", None)] * (16 - right))
        for number, right in enumerate(cases.C20_CORRECT_OF_16)
    ]
    rows = printed_json("replay", imported(tmp_path, *questions), "sample+oracle", "--budget", 1, "--by", "difficulty")
    assert [row["difficulty"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["num_questions"] for row in rows] == cases.C20_SIZES
    for row in rows:
        levels = zip(cases.C20_CORRECT_OF_16, cases.C20_LEVELS, strict=True)
        counts = [right for right, level in levels if level == row["difficulty"]]
        assert row["accuracy"] == pytest.approx(sum(counts) / 16 / len(counts), abs=1e-12)
