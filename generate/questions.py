"""Question sets from JSONL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

_COLUMNS = {"question_id": str, "prompt": str, "gold": str, "level": int, "subject": str, "dataset": str, "split": str}


def read_questions(path: str) -> pl.DataFrame:
    """The questions of a JSONL file; each line an object with question_id, prompt, gold, maybe level, subject, dataset.

    Raises ValueError that names file and line for anything else.
    """
    if not Path(path).is_file():
        raise ValueError(f"there is no question file {path}. Give a JSONL file with question_id, prompt and gold.")
    rows: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{where}: not JSON ({error.msg}, column {error.colno}).") from None
            if not isinstance(row, dict):
                raise ValueError(f"{where}: expected an object with question_id, prompt and gold.")
            for key in ("question_id", "prompt", "gold"):
                if not isinstance(row.get(key), str):
                    raise ValueError(f"{where}: '{key}' is missing or not text.")
            if unknown := sorted(set(row) - set(_COLUMNS)):
                raise ValueError(f"{where}: unknown key '{unknown[0]}'; the keys are {', '.join(_COLUMNS)}.")
            for key, kind in _COLUMNS.items():
                if row.get(key) is not None and not isinstance(row[key], kind):
                    raise ValueError(f"{where}: '{key}' is {row[key]!r}, expected {kind.__name__}.")
            if row["question_id"] in seen:
                raise ValueError(
                    f"{where}: question '{row['question_id']}' stands in line {seen[row['question_id']]} too."
                )
            seen[row["question_id"]] = number
            rows.append(row)
    if not rows:
        raise ValueError(f"{path} holds no question.")
    return pl.DataFrame(
        rows,
        schema_overrides={"level": pl.Int32} if any("level" in row for row in rows) else {},
        infer_schema_length=None,
    )
