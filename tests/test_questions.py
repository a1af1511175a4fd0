"""Question sets of every format become the same rows; what is wrong is named with its line."""

from __future__ import annotations

import json
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from generate.questions import QuestionSource, question_digest, read_questions

ROWS = [
    {"unique_id": "a/1", "problem": "1+1?", "answer": "so #### 2", "level": "Level 3", "type": "sum", "other": [1]},
    {"unique_id": "a/2", "problem": "4 ÷ 1 = ∎", "answer": "is\n#### 4", "level": "Level ?", "type": None, "other": []},
]  # fmt: skip
NAMED: dict[str, Any] = {
    "id_column": "unique_id",
    "prompt_column": "problem",
    "gold_column": "answer",
    "subject_column": "type",
    "gold_extract": "final-number",
}
EXPECTED = pl.DataFrame(
    {
        "question_id": ["a/1", "a/2"],
        "prompt": ["1+1?", "4 ÷ 1 = ∎"],
        "gold": ["2", "4"],
        "level": [3, None],
        "subject": ["sum", None],
    },
    schema_overrides={"level": pl.Int32},
)


def fake_hub(monkeypatch: pytest.MonkeyPatch, load: Any) -> None:
    module = types.ModuleType("datasets")
    module.load_dataset = load  # type: ignore[attr-defined]
    module.__spec__ = ModuleSpec("datasets", None)
    monkeypatch.setitem(sys.modules, "datasets", module)


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    elif path.suffix == ".csv":
        pl.DataFrame(rows).drop("other", strict=False).write_csv(path)
    else:
        pl.DataFrame(rows).write_parquet(path)
    return str(path)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_files_with_named_columns(tmp_path: Path, suffix: str) -> None:
    found = read_questions(QuestionSource(write(tmp_path / f"set{suffix}", ROWS), **NAMED))
    assert found.equals(EXPECTED)


def test_a_data_set_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str, config: str | None, *, split: str, revision: str | None) -> list[dict[str, Any]]:
        asked.append((name, config, split, revision))
        return ROWS

    fake_hub(monkeypatch, load)
    source = QuestionSource(dataset="org/set", config="main", split="train", revision="v1", **NAMED)
    found = read_questions(source)
    assert asked == [("org/set", "main", "train", "v1")]
    assert found.drop("dataset", "split").equals(EXPECTED)
    assert found["dataset"].unique().to_list() == ["org/set"] and found["split"].unique().to_list() == ["train"]


def test_the_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route\nto host")

    source = QuestionSource(dataset="org/set")
    with monkeypatch.context() as without:
        without.setattr("generate.hub_questions.find_spec", lambda name: None)
        with pytest.raises(ValueError, match="'org/set' needs the package datasets: pip install datasets"):
            read_questions(source)
    fake_hub(monkeypatch, load)
    with pytest.raises(
        ValueError, match=r"split 'test' cannot be loaded \(ConnectionError: no route to host\). Without"
    ):
        read_questions(source)


def test_ids_are_made_of_rows_where_there_are_none(tmp_path: Path) -> None:
    rows = [{"prompt": str(number), "gold": number} for number in range(3)]
    found = read_questions(write(tmp_path / "set.parquet", rows))
    assert found["question_id"].to_list() == ["set-0", "set-1", "set-2"] and found["gold"].to_list() == ["0", "1", "2"]


def test_limit_and_shuffle(tmp_path: Path) -> None:
    """A larger limit holds the smaller one; the order depends on the seed and the ids alone."""
    rows = [{"question_id": f"q{number}", "prompt": "?", "gold": "1"} for number in range(20)]
    path, turned = write(tmp_path / "set.jsonl", rows), write(tmp_path / "turned.jsonl", rows[::-1])

    def names(path: str, **more: Any) -> list[str]:
        return read_questions(QuestionSource(path, **more))["question_id"].to_list()

    assert names(path, limit=3) == ["q0", "q1", "q2"]
    assert names(path, limit=5, shuffle_seed=1) == names(turned, shuffle_seed=1)[:5]
    assert sorted(names(path, shuffle_seed=1)) == sorted(names(path)) != names(path, shuffle_seed=1)
    assert names(path, shuffle_seed=1) != names(path, shuffle_seed=2)
    left, right = (read_questions(file) for file in (path, turned))
    assert question_digest(left) == question_digest(right) != question_digest(left.head(19))


@pytest.mark.parametrize(
    ("choices", "gold", "prompt", "right"),
    [
        (["x", "y"], 1, "?\n\nA. x\nB. y", "B"),
        ({"text": ["x", "y"], "label": ["1", "2"]}, "2", "?\n\n1. x\n2. y", "2"),
        ({"text": ["x", "y"], "label": ["A", "B"]}, "A", "?\n\nA. x\nB. y", "A"),
    ],
)
def test_multiple_choice(tmp_path: Path, choices: Any, gold: Any, prompt: str, right: str) -> None:
    path = write(tmp_path / "set.parquet", [{"prompt": "?", "choices": choices, "gold": gold}])
    found = read_questions(QuestionSource(path, choices_column="choices"))
    assert found.select("prompt", "gold").rows() == [(prompt, right)]


def test_choices_in_csv(tmp_path: Path) -> None:
    path = write(tmp_path / "set.csv", [{"prompt": "?", "choices": '["x", "y"]', "gold": "0"}])
    assert read_questions(QuestionSource(path, choices_column="choices"))["gold"].to_list() == ["A"]


GOOD = {"question_id": "a", "prompt": "?", "gold": "1"}


@pytest.mark.parametrize(
    ("name", "rows", "named", "said"),
    [
        ("set.jsonl", [GOOD, GOOD], {}, "line 2: question 'a' stands in line 1 too"),
        ("set.jsonl", [GOOD | {"lvl": 1}], {}, "line 1: unknown key 'lvl'; .*--prompt-column"),
        ("set.jsonl", [GOOD | {"level": "3"}], {}, "line 1: 'level' is '3', expected int"),
        ("set.jsonl", [{"prompt": "?", "gold": "1"}], {}, "line 1: 'question_id' is missing"),
        ("set.jsonl", [[1]], {}, "line 1: expected an object"),
        ("set.jsonl", [], {}, "holds no question"),
        ("set.txt", [GOOD], {}, "expected one of .jsonl, .csv, .parquet"),
        ("set.parquet", [GOOD], {"prompt_column": "problem"}, "row 1: no 'problem'; the columns are question_id, .*"),
        ("set.parquet", [GOOD], {"level_column": "hard"}, "row 1: no 'hard'; .*--level-column"),
        ("set.parquet", [GOOD | {"prompt": 1}], {}, "row 1: the prompt is 1"),
        ("set.parquet", [GOOD | {"gold": [1]}], {}, "row 1: the gold is .*expected text or a number"),
        ("set.parquet", [GOOD], {"gold_extract": "boxed"}, "row 1: 'boxed' finds no answer in the gold '1'"),
        ("set.parquet", [GOOD], {"choices_column": "prompt"}, "row 1: the choices are no list"),
        ("set.parquet", [GOOD | {"c": ["x"]}], {"choices_column": "c"}, "the gold '1' is none of the choices A"),
        ("set.parquet", [GOOD], {"limit": 0}, "limit 0"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, name: str, rows: list[Any], named: dict[str, Any], said: str
) -> None:  # fmt: skip
    with pytest.raises(ValueError, match=said):
        read_questions(QuestionSource(write(tmp_path / name, rows), **named))


def test_a_source_is_a_file_or_a_data_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one of them"):
        QuestionSource()
    with pytest.raises(ValueError, match="there is no question file"):
        read_questions(str(tmp_path / "none.jsonl"))
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"bad\.parquet cannot be read"):
        read_questions(str(tmp_path / "bad.parquet"))
