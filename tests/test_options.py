"""Reading of budgets and specs on the command line."""

from __future__ import annotations

import json

import polars as pl
import pytest

from tts_sim.cli.options import parse_budgets, print_rows, split_specs


@pytest.mark.parametrize(
    ("text", "budgets"),
    [
        ("4", [4]),
        ("8,1,8,2", [1, 2, 8]),
        ("1,2,4…64", [1, 2, 4, 8, 16, 32, 64]),
        ("1,2,4...64", [1, 2, 4, 8, 16, 32, 64]),
        ("1,2,…,100", [1, 2, 4, 8, 16, 32, 64, 100]),
        ("4,16…256", [4, 16, 64, 256]),
    ],
)
def test_budgets(text: str, budgets: list[int]) -> None:
    assert parse_budgets(text) == budgets


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "a", "4…64", "1,3,4…64", "1,2…", "2,2…8", "1,,x"])
def test_bad_budgets(text: str) -> None:
    with pytest.raises(ValueError, match="budget"):
        parse_budgets(text)


def test_specs_are_split_outside_parentheses() -> None:
    given = ["sample+majority, revise(sequential=4,across=pooled)+weighted", "sample+majority"]
    assert split_specs(given) == ["sample+majority", "revise(sequential=4,across=pooled)+weighted"]


def test_json_is_strict(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(pl.DataFrame({"a": [1.5, float("nan"), float("inf")]}), as_json=True)
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == [{"a": 1.5}, {"a": None}, {"a": None}]
