"""The sequence of docs/training.md, from an empty directory to a replayed curve, at toy size."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import torch

from tests.command import tts_sim

DOC = Path(__file__).parents[1] / "docs/training.md"
STATEMENT = re.compile(r'#[^\n]*\n|python -c "\n(?P<code>.*?)\n"\n|tts-sim (?P<words>[^\n]*)\n|\n', re.DOTALL)
TOY = {
    "('train', 12000), ('test', 300)": "('train', 10), ('test', 3)",
    "Shape(64, 3, 4)": "Shape(64, 1, 4)",
    "Fit(2400, 2400, 5e-3)": "Fit(60, 600, 5e-3)",
    "-n 8 ": "-n 4 ",
    "-n 16 ": "-n 4 ",
    "--frozen-layers 4": "--frozen-layers 2",
    "beam(width=4)": "beam(width=2)",
    "--budget 8 ": "--budget 4 ",
    "--budget 4,8,16": "--budget 2,4",
    "--trials 4": "--trials 1",
    "--epochs 2": "--epochs 1",
    "--held-out 0.1": "--held-out 0.2",
    "--chains 4": "--chains 2",
    "--answer after-equals": "--answer whole",
}
SOME_RIGHT = "UPDATE answers SET correct = answer_id % 2 = 1"  # a base of so few updates gives none


def sequence(text: str) -> Iterator[tuple[str | None, list[str]]]:
    """The code or the words of each statement of the sequence's block."""
    [block] = re.findall(r"<!-- sequence -->\n```bash\n(.*?)```", text, re.DOTALL)
    place = 0
    while place < len(block):
        found = STATEMENT.match(block, place)
        assert found, f"neither python, tts-sim nor a comment: {block[place : place + 80]!r}"
        place = found.end()
        if found["code"] or found["words"]:
            yield found["code"], shlex.split(found["words"] or "")


def test_the_documented_sequence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    text = DOC.read_text()
    for full, toy in TOY.items():
        assert full in text, f"docs/training.md no longer has {full!r}: change what makes it a toy"
        text = text.replace(full, toy)
    said: dict[str, str] = {}
    for code, words in sequence(text):
        if code is not None:
            exec(code, {})
            continue
        ended = tts_sim(*words)
        assert ended.status == 0, (words, ended.err)
        said[" ".join(words[:3])] = ended.out
        if {"flat.duckdb", "train.duckdb"} & set(words) and words[1] in ("sample", "fill"):
            with duckdb.connect(words[2]) as cache:
                cache.execute(SOME_RIGHT)
    for stage in ("draft", "prm", "reviser"):
        assert {"report.json", "model.safetensors"} <= {path.name for path in Path(stage).iterdir()}
    assert '"auc_within_questions"' in said["generate train prm"]
    assert "beam(width=2)+weighted" in said["replay test.duckdb --strategy"]
    *_, first, second = [line.split() for line in next(reversed(said.values())).splitlines() if line.strip()]
    assert (first[0], first[2]) == ("1", "12") and (second[0], second[2]) == ("2", "6")  # 3 questions, staircase(2)
