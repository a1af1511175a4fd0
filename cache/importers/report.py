"""What the importers share: their report, the way into the target cache, and the answers' numbering."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from cache.connect import first
from cache.errors import CacheInvalid, ImportFailed
from cache.store import Cache, create_cache

Progress = Callable[[int, int], None]

QUESTION_SCHEMA = {
    "question_id": pl.String,
    "dataset": pl.String,
    "split": pl.String,
    "prompt": pl.String,
    "gold": pl.String,
    "level": pl.Int32,
    "subject": pl.String,
    "extra": pl.String,
}
ANSWER_SCHEMA = {
    "question_id": pl.String,
    "answer_id": pl.Int32,
    "text": pl.String,
    "correct": pl.Boolean,
    "grader": pl.String,
}
NODE_SCHEMA = {
    "run_id": pl.String,
    "node_id": pl.Int64,
    "question_id": pl.String,
    "parent_id": pl.Int64,
    "draw": pl.Int32,
    "greedy": pl.Boolean,
    "text": pl.String,
    "tokens": pl.Int32,
    "logprob": pl.Float32,
    "min_logprob": pl.Float32,
    "stop": pl.String,
    "answer_id": pl.Int32,
}
SCORE_SCHEMA = {"run_id": pl.String, "node_id": pl.Int64, "verifier_id": pl.String, "score": pl.Float32}


@dataclass(frozen=True)
class ImportReport:
    """What an import added. `warnings` are lines for a person: what was left out, and where."""

    run_id: str
    kind: str
    questions: int
    nodes: int
    solutions: int
    scores: int
    warnings: list[str] = field(default_factory=list)


@contextmanager
def target(into: Cache | str | Path, file: Path, run_id: str) -> Iterator[Cache]:
    """The cache to import into, open for writing, without a run of that id; a file that the failing import created
    is removed again.
    """
    if isinstance(into, Cache):
        _require_new_run(into, file, run_id)
        yield into
        return
    path = Path(into)
    created = not path.exists()
    cache = create_cache(path)
    try:
        _require_new_run(cache, file, run_id)
        yield cache
    except BaseException:
        cache.close()
        if created:
            path.unlink(missing_ok=True)
            path.with_name(path.name + ".wal").unlink(missing_ok=True)
        raise
    cache.close()


def stored_answers(cache: Cache, question_ids: Iterable[str]) -> dict[str, list[tuple[str, bool]]]:
    """The answers that the cache has already for these questions: question -> (text, correct) in the order of their
    ids.
    """
    answers: dict[str, list[tuple[str, bool]]] = {}
    wanted = pl.DataFrame({"question_id": list(question_ids)}, schema={"question_id": pl.String})
    rows = cache.table("answers").join(wanted, on="question_id", how="semi").sort("question_id", "answer_id")
    for question, text, correct in rows.select("question_id", "text", "correct").iter_rows():
        answers.setdefault(question, []).append((text, correct))
    return answers


def unknown_verifiers(cache: Cache, verifiers: dict[str, str]) -> pl.DataFrame:
    """Rows for the verifiers (id -> kind) that the cache has not yet."""
    known = set(cache.table("verifiers")["verifier_id"].to_list())
    rows = [(name, kind) for name, kind in verifiers.items() if name not in known]
    return pl.DataFrame(rows, schema={"verifier_id": pl.String, "kind": pl.String}, orient="row")


@contextmanager
def blamed_on(file: Path, lines: dict[str, int]) -> Iterator[None]:
    """Turns a refused batch into ImportFailed with the line of its question, where it names one."""
    try:
        yield
    except CacheInvalid as error:
        line = lines.get(error.question) if error.question is not None else None
        raise ImportFailed(file.name, line, str(error).replace(" Nothing of this batch was stored.", "")) from error


def _require_new_run(cache: Cache, file: Path, run_id: str) -> None:
    if first(cache.connection, "SELECT 1 FROM runs WHERE run_id = ?", [run_id]) is not None:
        raise ImportFailed(file.name, None, f"run '{run_id}' is in {cache.path} already. Name another with --run.")


def completed_questions(cache: Cache, columns: list[dict[str, object]]) -> pl.DataFrame:
    """Rows of `questions`; what a file leaves out about a question that is stored already is taken from there."""
    frame = pl.DataFrame(columns, schema=QUESTION_SCHEMA)
    known = cache.table("questions").join(frame.select("question_id"), on="question_id", how="semi")
    joined = frame.join(known, on="question_id", how="left", suffix="_known", maintain_order="left")
    names = [name for name in frame.columns if name != "question_id"]
    return joined.select("question_id", *(pl.coalesce(name, f"{name}_known") for name in names))
