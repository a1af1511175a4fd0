"""A small cache that a full report can speak to, with names that are not to be trusted."""

from __future__ import annotations

from pathlib import Path

import duckdb

from tests import forests
from tests.command import tts_sim, write_jsonl
from tests.frames import HOSTILE

QUESTIONS, SAMPLES = 40, 24
NAMES = f"""
    INSERT INTO models (model_id, num_params, pretraining_tokens) VALUES
        ('{HOSTILE}', 100, 1000), ('big', 1400, 3000), ('prm', 200, NULL);
    UPDATE runs SET model_id = '{HOSTILE}' WHERE run_id = 'base';
    UPDATE runs SET model_id = 'big' WHERE run_id = 'large';
    UPDATE questions SET dataset = '{HOSTILE}';
"""


def base() -> list[forests.Question]:
    """Question i has about i of forty samples right, and right ones score higher on the whole."""
    return [
        forests.star(
            f"q{i:02}<script>alert(2)</script>",
            [
                ("A" if (right := (7 * k + i) % QUESTIONS < i) else f"{HOSTILE}{k % 3}", (k % 5 + 5 * right) / 10)
                for k in range(SAMPLES)
            ],
        )
        for i in range(QUESTIONS)
    ]


def large() -> list[forests.Question]:
    """Two samples and a greedy solution, wrong for every third question."""
    questions = []
    for i in range(QUESTIONS):
        grower = forests.Grower()
        for draw, answer in enumerate("AB"):
            grower.add(None, draw, 4, 0.5, answer=answer)
        grower.add(None, 0, 3, 0.5, greedy=True, answer="A" if i % 3 else "B")
        questions.append(grower.question(f"q{i:02}<script>alert(2)</script>"))
    return questions


def revisions() -> list[forests.Question]:
    """Eight chains a question: one of 8 attempts, one of 4, two of 2, four of 1."""
    return [
        forests.chains(
            f"q{i:02}<script>alert(2)</script>",
            [
                [
                    ("A" if (3 * k + 5 * step + i) % QUESTIONS < i else "B", ((k + step) % 7) / 8)
                    for step in range(length)
                ]
                for k, length in enumerate((8, 4, 2, 2, 1, 1, 1, 1))
            ],
        )
        for i in range(QUESTIONS)
    ]


RUNS = {"base": base, "large": large, "chains": revisions}


def made(folder: Path, runs: tuple[str, ...] = tuple(RUNS), sql: str = NAMES) -> Path:
    """The cache with these runs."""
    folder.mkdir(parents=True, exist_ok=True)
    cache = folder / "small.duckdb"
    for run in runs:
        file = write_jsonl(folder / f"{run}.jsonl", RUNS[run]())
        ended = tts_sim("import", "native", file, "--into", cache)
        assert ended.status == 0, ended.err
    with duckdb.connect(cache) as connection:
        connection.execute(sql)
    return cache
