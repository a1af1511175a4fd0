"""Imports OpenR records: i.i.d. solutions with one process-reward score a step; each becomes a chain under its
prompt.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from cache.errors import ImportFailed
from cache.grading import Grader, last_box
from cache.grading import grader as named_grader
from cache.importers.report import (
    ANSWER_SCHEMA,
    NODE_SCHEMA,
    SCORE_SCHEMA,
    ImportReport,
    Progress,
    blamed_on,
    completed_questions,
    stored_answers,
    target,
    unknown_verifiers,
)
from cache.store import Cache, now

VERIFIER = "prm"
_STEP_DELIMITER = "\n\n"


def import_openr(
    path: str | Path,
    into: Cache | str | Path,
    *,
    run_id: str | None = None,
    grader: str = "math-verify",
    progress: Progress | None = None,
) -> ImportReport:
    """Stores a list of {question, groundtruth, output: [{path_idx, text, value, completion_tokens}]} as one new run
    of kind steps.

    Questions are called q0001, … by their place; a sample's draw is its path_idx; its steps are its text split at
    blank lines. The file counts tokens by solution only: they are shared out over the steps in proportion to text
    length, with the exact sum (so steps' tokens are estimates, solutions' are not). A solution whose scores do not
    match its steps in number keeps its text and answer, loses its scores, and is named in the report's warnings.
    Gold is the last box of the reference solution; answers are extracted, graded and grouped by `grader`.
    """
    file = Path(path)
    records = _records(file)
    run = run_id or file.stem
    judge = named_grader(grader)
    warnings: list[str] = []
    questions = [_columns(file, place, record) for place, record in enumerate(records)]
    with target(into, file, run) as cache, blamed_on(file, {}):
        stored = stored_answers(cache, [str(question["question_id"]) for question in questions])
        nodes: list[tuple[Any, ...]] = []
        scores: list[tuple[Any, ...]] = []
        answers: list[tuple[Any, ...]] = []
        for place, (question, record) in enumerate(zip(questions, records, strict=True)):
            name = str(question["question_id"])
            samples = sorted(record["output"], key=lambda sample: int(sample["path_idx"]))
            answer_ids = _graded(judge, name, str(question["gold"]), samples, stored.get(name, []), answers)
            for sample, answer in zip(samples, answer_ids, strict=True):
                warning = _chain(run, name, sample, answer, nodes, scores)
                if warning:
                    warnings.append(warning)
            if progress is not None:
                progress(place + 1, len(records))
        cache.append(
            questions=completed_questions(cache, questions),
            answers=pl.DataFrame(answers, schema=ANSWER_SCHEMA, orient="row"),
            runs=_run_row(run, file, grader),
            nodes=pl.DataFrame(nodes, schema=NODE_SCHEMA, orient="row"),
            verifiers=unknown_verifiers(cache, {VERIFIER: "prm"}),
            scores=pl.DataFrame(scores, schema=SCORE_SCHEMA, orient="row"),
        )
    solutions = sum(len(record["output"]) for record in records)
    return ImportReport(run, "steps", len(records), len(nodes), solutions, len(scores), warnings)


def split_steps(text: str) -> list[str]:
    """The steps of a solution: its text split at blank lines, empty pieces left out; at least one."""
    steps = [piece for piece in text.split(_STEP_DELIMITER) if piece.strip()]
    return steps or [text]


def share_tokens(total: int, weights: list[int]) -> list[int]:
    """`total` split into whole parts in proportion to `weights`, with the exact sum: part i ends where its
    cumulative share, rounded down, does.
    """
    whole = sum(weights)
    if whole == 0:
        weights, whole = [1] * len(weights), len(weights)
    ends, running = [0], 0
    for weight in weights:
        running += weight
        ends.append(total * running // whole)
    return [stop - start for start, stop in pairwise(ends)]


def _records(file: Path) -> list[dict[str, Any]]:
    try:
        records = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ImportFailed(file.name, None, f"the file cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise ImportFailed(file.name, None, "not UTF-8 text.") from None
    except json.JSONDecodeError as error:
        raise ImportFailed(file.name, error.lineno, f"not JSON ({error.msg} at column {error.colno}).") from None
    if not isinstance(records, list) or not records:
        raise ImportFailed(file.name, None, "an OpenR file is a list of records.")
    return records


def _columns(file: Path, place: int, record: Any) -> dict[str, object]:
    """The question's columns; raises ImportFailed for a record of another shape."""
    name = f"q{place + 1:04d}"

    def fail(what: str) -> ImportFailed:
        return ImportFailed(file.name, None, f"question '{name}' (record {place}): {what}")

    if not isinstance(record, dict):
        raise fail("a record is an object with question, groundtruth and output.")
    for key, kind in (("question", str), ("groundtruth", str), ("output", list)):
        if not isinstance(record.get(key), kind):
            raise fail(f"the key '{key}' is missing or of another type.")
    gold = last_box(record["groundtruth"])
    if gold is None:
        raise fail("the reference solution has no \\boxed{} answer.")
    draws = []
    for sample in record["output"]:
        if not isinstance(sample, dict) or not isinstance(sample.get("text"), str):
            raise fail("a sample is an object with path_idx, text, value and completion_tokens.")
        for key in ("path_idx", "completion_tokens"):
            number = sample.get(key)
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise fail(f"{key} {number!r} is not a whole number from 0.")
        values = sample.get("value")
        if not isinstance(values, list) or any(
            isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 3.4e38
            for value in values
        ):
            raise fail(f"sample {sample['path_idx']}: 'value' is not a list of finite numbers.")
        draws.append(sample["path_idx"])
    if len(set(draws)) < len(draws):
        raise fail("a path_idx occurs twice.")
    extra = {"reference": record["groundtruth"]}
    if "result" in record:
        extra["result"] = record["result"]
    return {
        "question_id": name,
        "prompt": record["question"],
        "gold": gold,
        "extra": json.dumps(extra, ensure_ascii=False, sort_keys=True),
    }


def _graded(
    judge: Grader,
    question: str,
    gold: str,
    samples: list[dict[str, Any]],
    known: list[tuple[str, bool]],
    answers: list[tuple[Any, ...]],
) -> list[int | None]:
    """The answer id of each sample (None: cannot be parsed); appends the rows of answers that are new.

    Answers that another run has stored come first, so that an equal answer keeps its number and its grade.
    """
    graded = judge.group(gold, [text for text, _ in known] + [sample["text"] for sample in samples])
    numbers: dict[int, int] = {}
    for number, old in enumerate(graded[: len(known)]):
        if old.group >= 0:
            numbers.setdefault(old.group, number)
    texts = {text: number for number, (text, _) in enumerate(known)}
    ids: list[int | None] = []
    fresh = len(known)
    for answer in graded[len(known) :]:
        if answer.text is None:
            ids.append(None)
            continue
        if answer.group not in numbers:
            if answer.text in texts:
                numbers[answer.group] = texts[answer.text]
            else:
                numbers[answer.group] = fresh
                answers.append((question, fresh, answer.text, answer.correct, judge.name))
                fresh += 1
        ids.append(numbers[answer.group])
    return ids


def _chain(
    run: str,
    question: str,
    sample: dict[str, Any],
    answer: int | None,
    nodes: list[tuple[Any, ...]],
    scores: list[tuple[Any, ...]],
) -> str | None:
    """Appends the rows of one solution; returns a warning if its scores do not match its steps."""
    steps = split_steps(sample["text"])
    values = sample["value"]
    first = len(nodes)  # the run is new, so ids count its rows
    tokens = share_tokens(sample["completion_tokens"], [len(step) for step in steps])
    for place, (step, count) in enumerate(zip(steps, tokens, strict=True)):
        last = place == len(steps) - 1
        nodes.append(
            (
                run,
                first + place,
                question,
                first + place - 1 if place else None,
                0 if place else sample["path_idx"],
                False,
                step,
                count,
                None,
                None,
                "eos" if last else "step",
                answer if last else None,
            )
        )
    if len(values) != len(steps):
        counts = f"{len(values)} scores for {len(steps)} steps"
        return f"question '{question}', sample {sample['path_idx']}: {counts}; its scores were left out."
    scores.extend((run, first + place, VERIFIER, float(value)) for place, value in enumerate(values))
    return None


def _run_row(run: str, file: Path, grader: str) -> pl.DataFrame:
    provenance = {
        "importer": "openr",
        "file": file.name,
        "grader": grader,
        "tokens": "by solution; steps' shares in proportion to text length",
    }
    return pl.DataFrame(
        {
            "run_id": [run],
            "kind": ["steps"],
            "step_delimiter": [_STEP_DELIMITER],
            "exchangeable": [True],
            "provenance": [json.dumps(provenance)],
            "started": [now()],
            "finished": [now()],
        }
    )
