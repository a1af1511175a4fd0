"""Question sets from JSONL, CSV, Parquet or Hugging Face `datasets`, as rows of the cache's table."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from generate.extraction import extractor
from generate.hub_questions import hub_rows

_NATIVE = {"question_id": str, "prompt": str, "gold": str, "level": int, "subject": str, "dataset": str, "split": str}
_SCHEMA = {name: pl.Int32 if kind is int else pl.String for name, kind in _NATIVE.items()}
SUFFIXES = (".jsonl", ".csv", ".parquet")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Row = tuple[str, dict[str, Any]]  # where it stands, and its fields


@dataclass(frozen=True)
class QuestionSource:
    """Where questions come from: a file (`path`), or a data set of the Hub with its config, split and revision.

    Columns that are None have the names of the cache's table, and may be missing but for prompt and gold; a question
    without an id is called by its row. `choices_column` holds the options of a multiple choice, as a list of texts or
    as {text, label}: they are listed below the prompt, and a gold that is a number counts them from 0. `gold_extract`
    names the extractor that finds the gold answer in the gold column (`boxed` for MATH's solutions, `final-number` for
    GSM8K). With `shuffle_seed` the order is random, else that of the source; the first `limit` questions are taken.
    """

    path: str | None = None
    dataset: str | None = None
    config: str | None = None
    split: str = "test"
    revision: str | None = None
    id_column: str | None = None
    prompt_column: str | None = None
    gold_column: str | None = None
    level_column: str | None = None
    subject_column: str | None = None
    choices_column: str | None = None
    gold_extract: str | None = None
    limit: int | None = None
    shuffle_seed: int | None = None

    def __post_init__(self) -> None:
        if (self.path is None) == (self.dataset is None):
            raise ValueError(
                "give the questions as a file (questions) or as a data set of the Hub (dataset): one of them."
            )
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit {self.limit}: expected a whole number from 1.")

    @property
    def name(self) -> str:
        """What the questions are called after: the file or the data set, without folders and suffix."""
        return Path(self.path).stem if self.path is not None else str(self.dataset).rpartition("/")[2]

    @property
    def names_columns(self) -> bool:
        """Whether any column is named: the others are then left out."""
        named = (self.id_column, self.prompt_column, self.gold_column, self.level_column, self.subject_column)
        return any(column is not None for column in (*named, self.choices_column))


def read_questions(source: QuestionSource | str) -> pl.DataFrame:
    """The questions of a source, or of a file, as rows of the cache's table `questions`.

    Raises ValueError, naming file and line or row, for what is missing, doubled or of the wrong type.
    """
    chosen = QuestionSource(source) if isinstance(source, str) else source
    find_gold = extractor(chosen.gold_extract) if chosen.gold_extract else None
    questions: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    for number, (where, fields) in enumerate(_rows(chosen)):
        question = _question(chosen, where, number, fields)
        if find_gold is not None:
            gold = find_gold(question["gold"])
            if gold is None:
                raise ValueError(f"{where}: '{chosen.gold_extract}' finds no answer in the gold {question['gold']!r}.")
            question["gold"] = gold
        name = question["question_id"]
        if name in seen:
            raise ValueError(f"{where}: question '{name}' stands in {seen[name]} too.")
        seen[name] = where.rpartition(", ")[2]
        questions.append(question)
    if not questions:
        raise ValueError(f"{chosen.path or chosen.dataset} holds no question.")
    if chosen.shuffle_seed is not None:
        questions.sort(key=lambda question: _place(chosen.shuffle_seed, question["question_id"]))
    questions = questions[: chosen.limit]
    used = [name for name in _NATIVE if any(question.get(name) is not None for question in questions)]
    return pl.DataFrame(
        {name: [question.get(name) for question in questions] for name in used},
        schema={name: _SCHEMA[name] for name in used},
    )


def question_digest(questions: pl.DataFrame) -> str:
    """A hash of ids, prompts and golds, whatever their order."""
    rows = questions.select("question_id", "prompt", "gold").sort("question_id").rows()
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _rows(source: QuestionSource) -> Iterator[Row]:
    if source.dataset is not None:
        return hub_rows(source.dataset, source.config, source.split, source.revision)
    path = str(source.path)
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise ValueError(f"question file {path}: expected one of {', '.join(SUFFIXES)}.")
    if not Path(path).is_file():
        raise ValueError(f"there is no question file {path}. Give a JSONL file with question_id, prompt and gold.")
    if suffix == ".jsonl":
        return _json_rows(path, strict=not source.names_columns)
    return _table_rows(path, suffix)


def _json_rows(path: str, *, strict: bool) -> Iterator[Row]:
    """The objects of a JSONL file; `strict`: with the cache's own keys, and no others."""
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
            if strict:
                _refuse_foreign(where, row)
            yield where, row


def _refuse_foreign(where: str, row: dict[str, Any]) -> None:
    for key in ("question_id", "prompt", "gold"):
        if not isinstance(row.get(key), str):
            raise ValueError(f"{where}: '{key}' is missing or not text.")
    if unknown := sorted(set(row) - set(_NATIVE)):
        raise ValueError(
            f"{where}: unknown key '{unknown[0]}'; the keys are {', '.join(_NATIVE)}. "
            "To use a file with other keys, name its columns (--prompt-column, --gold-column, …)."
        )
    for key, kind in _NATIVE.items():
        if row.get(key) is not None and not isinstance(row[key], kind):
            raise ValueError(f"{where}: '{key}' is {row[key]!r}, expected {kind.__name__}.")


def _table_rows(path: str, suffix: str) -> Iterator[Row]:
    try:
        frame = pl.read_csv(path, infer_schema=False) if suffix == ".csv" else pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    for number, row in enumerate(frame.iter_rows(named=True), start=1):
        yield f"{path}, row {number}", row


def _question(source: QuestionSource, where: str, number: int, fields: dict[str, Any]) -> dict[str, Any]:
    """One row of the cache's table."""

    def field(named: str | None, default: str, *, needed: bool) -> Any:
        name = named or default
        if fields.get(name) is None and (needed or (named is not None and named not in fields)):
            option = f"--{'id' if default == 'question_id' else default}-column"
            raise ValueError(f"{where}: no '{name}'; the columns are {', '.join(fields)}. Name another with {option}.")
        return fields.get(name)

    name = field(source.id_column, "question_id", needed=source.id_column is not None)
    prompt = field(source.prompt_column, "prompt", needed=True)
    if not isinstance(prompt, str):
        raise ValueError(f"{where}: the prompt is {prompt!r}, expected text.")
    gold = field(source.gold_column, "gold", needed=True)
    if source.choices_column is not None:
        options = _options(where, field(source.choices_column, "choices", needed=True))
        prompt = prompt + "\n\n" + "\n".join(f"{letter}. {text}" for letter, text in options.items())
        gold = _chosen(where, gold, list(options))
    if not isinstance(gold, str | int | float):
        raise ValueError(f"{where}: the gold is {gold!r}, expected text or a number.")
    subject = field(source.subject_column, "subject", needed=False)
    return {
        "question_id": str(name) if name is not None else f"{source.name}-{number}",
        "prompt": prompt,
        "gold": str(gold),
        "level": _level(field(source.level_column, "level", needed=False)),
        "subject": None if subject is None else str(subject),
        "dataset": source.dataset or fields.get("dataset"),
        "split": source.split if source.dataset else fields.get("split"),
    }


def _options(where: str, value: Any) -> dict[str, str]:
    """The options by their letters."""
    if isinstance(value, str):  # a list in CSV
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            value = None
    if isinstance(value, dict):
        labels, texts = value.get("label"), value.get("text")
    else:
        labels, texts = list(LETTERS[: len(value)]) if isinstance(value, Sequence) else None, value
    if not isinstance(labels, Sequence) or not isinstance(texts, Sequence) or not 0 < len(texts) == len(labels):
        raise ValueError(f"{where}: the choices are no list of up to 26 texts and no {{text, label}}.")
    return {str(label): str(text) for label, text in zip(labels, texts, strict=True)}


def _chosen(where: str, gold: Any, labels: list[str]) -> str:
    if str(gold) in labels:
        return str(gold)
    if str(gold).isdecimal() and int(gold) < len(labels):
        return labels[int(gold)]
    raise ValueError(f"{where}: the gold {gold!r} is none of the choices {', '.join(labels)}, nor their number from 0.")


def _level(value: Any) -> int | None:
    """A whole number, or that in a text such as 'Level 3'; None for anything else."""
    found = re.search(r"\d+", str(value)) if value is not None else None
    return int(found[0]) if found else None


def _place(seed: int | None, name: str) -> str:
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()
