"""Imports native JSONL: one question a line, hand-writable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from cache.errors import ImportFailed
from cache.importers.native_reader import Question, read_questions
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

_KINDS = ("steps", "revisions")


def import_native(
    path: str | Path,
    into: Cache | str | Path,
    *,
    run_id: str | None = None,
    kind: str | None = None,
    exchangeable: bool = True,
    progress: Progress | None = None,
) -> ImportReport:
    """Stores the file's questions and trees as one new run, in one transaction.

    `run_id` defaults to the file's name without its ending; `kind` to revisions if a finished node has a child, else
    steps. Where `correct` is left out it is taken from the answer as stored already, or from equality with gold.
    Raises ImportFailed with the line, and stores nothing.
    """
    file = Path(path)
    if kind is not None and kind not in _KINDS:
        raise ValueError(f"kind '{kind}' is unknown; it is one of {', '.join(_KINDS)}.")
    questions = read_questions(file)
    kind = kind or _inferred_kind(file, questions)
    for question in questions:
        _require_kind(file, question, kind)
    run = run_id or file.stem
    lines = {question.id: question.line for question in questions}
    with target(into, file, run) as cache, blamed_on(file, lines):
        answers, ids = _answers(file, questions, stored_answers(cache, lines))
        nodes, scores = _rows(questions, ids, cache.next_node_id(run), run, kind, progress)
        verifiers = dict.fromkeys(
            scores["verifier_id"].unique(maintain_order=True), "prm" if kind == "steps" else "orm"
        )
        cache.append(
            questions=completed_questions(cache, [question.columns for question in questions]),
            answers=answers,
            runs=pl.DataFrame(
                {
                    "run_id": [run],
                    "kind": [kind],
                    "exchangeable": [exchangeable],
                    "provenance": [json.dumps({"importer": "native", "file": file.name})],
                    "started": [now()],
                    "finished": [now()],
                }
            ),
            nodes=nodes,
            verifiers=unknown_verifiers(cache, verifiers),
            scores=scores,
        )
    solutions = nodes.filter(pl.col("stop") != "step").height
    return ImportReport(run, kind, len(questions), nodes.height, solutions, scores.height)


def _inferred_kind(file: Path, questions: list[Question]) -> str:
    revising = None
    for question in questions:
        parents = {node.parent for node in question.nodes}
        if any(node.finished and node.id in parents for node in question.nodes):
            revising = question
            break
    if revising is None:
        return "steps"
    for question in questions:
        for node in question.nodes:
            if not node.finished:
                raise ImportFailed(
                    file.name,
                    question.line,
                    f"question '{question.id}', node {node.id}: no answer ends here, yet in line {revising.line} "
                    "an answered node has a child, as in a run of revisions. Say which it is with --kind.",
                )
    return "revisions"


def _require_kind(file: Path, question: Question, kind: str) -> None:
    by_id = {node.id: node for node in question.nodes}
    for node in question.nodes:
        where = f"question '{question.id}', node {node.id}: "
        if kind == "steps" and node.parent is not None and by_id[node.parent].finished:
            message = (
                f"parent {node.parent} has an answer and can have no child in a run of kind steps. "
                "Use --kind revisions for revisions."
            )
            raise ImportFailed(file.name, question.line, where + message)
        if kind == "revisions" and node.stop == "step":
            raise ImportFailed(
                file.name,
                question.line,
                where + "stop is 'step', yet in a run of revisions every node is a whole attempt.",
            )
        if kind == "revisions" and node.parent is not None and node.draw:
            message = f"draw {node.draw} below attempt {node.parent}; an attempt has one next attempt, draw 0."
            raise ImportFailed(file.name, question.line, where + message)


def _answers(
    file: Path, questions: list[Question], stored: dict[str, list[tuple[str, bool]]]
) -> tuple[pl.DataFrame, dict[tuple[str, str], int]]:
    """The rows for answers that are new, and the id of every (question, text)."""
    rows: list[tuple[str, int, str, bool, str]] = []
    ids: dict[tuple[str, str], int] = {}
    for question in questions:
        known = stored.get(question.id, [])
        graded = dict(known)
        for number, (text, _) in enumerate(known):
            ids[question.id, text] = number
        given: dict[str, tuple[int, bool]] = {}
        for node in question.nodes:
            if node.answer is None or node.correct is None:
                continue
            other = given.setdefault(node.answer, (node.id, node.correct))
            before = graded.get(node.answer, other[1])
            if node.correct != other[1] or node.correct != before:
                where = f"node {other[0]}" if node.correct != other[1] else "the cache"
                message = (
                    f"question '{question.id}', node {node.id}: answer '{node.answer}' is "
                    f"{_verdict(node.correct)} here, {_verdict(not node.correct)} in {where}."
                )
                raise ImportFailed(file.name, question.line, message)
        gold: str | None = question.columns["gold"]
        fresh = 0
        for node in question.nodes:
            if node.answer is None or (question.id, node.answer) in ids:
                continue
            if node.answer in given:
                correct, grader = given[node.answer][1], "given"
            elif gold is not None:
                correct, grader = node.answer.strip() == gold.strip(), "exact"
            else:
                message = (
                    f"question '{question.id}', node {node.id}: answer '{node.answer}' has no 'correct', "
                    "and the question has no 'gold'."
                )
                raise ImportFailed(file.name, question.line, message)
            number = ids[question.id, node.answer] = len(known) + fresh
            fresh += 1
            rows.append((question.id, number, node.answer, correct, grader))
    return pl.DataFrame(rows, schema=ANSWER_SCHEMA, orient="row"), ids


def _verdict(correct: bool) -> str:
    return "correct" if correct else "wrong"


def _rows(
    questions: list[Question],
    answer_ids: dict[tuple[str, str], int],
    first_id: int,
    run: str,
    kind: str,
    progress: Progress | None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The node and score rows of the run, ids counted on from `first_id`, parents first."""
    nodes: list[tuple[Any, ...]] = []
    scores: list[tuple[Any, ...]] = []
    next_id = first_id
    for done, question in enumerate(questions, start=1):
        new_ids: dict[int | None, int | None] = {None: None}
        for node in question.nodes:
            new_ids[node.id] = next_id
            answer = None if node.answer is None else answer_ids[question.id, node.answer]
            stop = node.stop or ("eos" if node.has_answer or kind == "revisions" else "step")
            nodes.append(
                (
                    run,
                    next_id,
                    question.id,
                    new_ids[node.parent],
                    node.draw,
                    node.greedy,
                    node.text,
                    node.tokens,
                    node.logprob,
                    node.min_logprob,
                    stop,
                    answer,
                )
            )
            scores.extend((run, next_id, verifier, score) for verifier, score in node.scores.items())
            next_id += 1
        if progress is not None:
            progress(done, len(questions))
    return pl.DataFrame(nodes, schema=NODE_SCHEMA, orient="row"), pl.DataFrame(
        scores, schema=SCORE_SCHEMA, orient="row"
    )
