"""What a recording would take, before it starts: draws, tokens, and hours."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from cache import Cache, create_cache, open_cache
from generate.config import Config
from generate.plans import Remaining, all_questions
from generate.recordings import Recording, config_questions, recordings, required_cache, stored_pools
from generate.runs import start_run
from tts_sim.demand_cost import expected_tokens
from tts_sim.load import load_forest

LENGTHS = Mapping[str, float]


def estimate(
    config: Config, *, throughput: float | None = None, verifier_throughput: float | None = None
) -> pl.DataFrame:
    """One row a run and plan: solutions that are missing (attempts, in chains), tokens, verifier_tokens, hours.

    A solution counts with the mean length of those that the run holds of its question (of all, where it has none); with
    nothing cached, `max_tokens`: `length` says which. `at_most`: an upper bound, for that reason or because what a tree
    search asks for shows only as it goes; solutions that trials share are then counted for each of them.
    `verifier_tokens` counts each new step once for each verifier. `hours` is null without `throughput` (tokens a
    second); verifiers are left out of it without `verifier_throughput`. Nothing is written, no model is loaded.
    """
    for name, value in (("throughput", throughput), ("verifier throughput", verifier_throughput)):
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name} {value}: expected tokens a second, above 0.")
    path = required_cache(config)
    pools = stored_pools(path)
    rows = []
    questions = config_questions(config)
    for recording in recordings(config, pools):
        held: list[str] = []
        lengths: LENGTHS = {}
        parts: list[list[Remaining]] = []
        if pools or Path(path).is_file():
            with open_cache(path) as cache:
                if recording.settings.run_id in pools:
                    held = all_questions(cache)
                    lengths = _lengths(cache, recording)
                    parts.append([plan.remaining(cache, recording.settings.run_id) for plan in recording.plans])
                elif questions is None:
                    questions = cache.table("questions")
        fresh = None if questions is None else questions.filter(~pl.col("question_id").is_in(held))
        if fresh is not None and len(fresh):
            parts.append(_of_new(recording, fresh))
        rows += _rows(recording, parts, lengths, throughput, verifier_throughput)
    return pl.DataFrame(rows)


def _of_new(recording: Recording, questions: pl.DataFrame) -> list[Remaining]:
    """What the plans lack for questions of which nothing is recorded."""
    with tempfile.TemporaryDirectory() as scratch, create_cache(Path(scratch) / "empty.duckdb") as cache:
        cache.append(questions=questions)
        start_run(cache, recording.settings, {})
        return [plan.remaining(cache, recording.settings.run_id) for plan in recording.plans]


def _lengths(cache: Cache, recording: Recording) -> LENGTHS:
    """Expected tokens of a solution (an attempt) of each question; empty where nothing is cached."""
    settings = recording.settings
    names = all_questions(cache)
    forest = load_forest(cache, settings.run_id, kind=settings.kind, questions=names)
    found = expected_tokens(forest, pl.DataFrame({"question_id": names}), to_end=True).to_numpy()
    return {name: float(tokens) for name, tokens in zip(names, found, strict=True) if np.isfinite(tokens)}


def _rows(
    recording: Recording,
    parts: Sequence[Sequence[Remaining]],
    lengths: LENGTHS,
    throughput: float | None,
    verifier_throughput: float | None,
) -> list[dict[str, object]]:
    settings = recording.settings
    mean = float(np.mean(list(lengths.values()))) if lengths else float(settings.max_tokens)
    rows: list[dict[str, object]] = []
    for place, plan in enumerate(recording.plans):
        counts: dict[str, int] = {}
        for part in parts:
            counts |= part[place].solutions
        tokens = sum(count * lengths.get(name, mean) for name, count in counts.items())
        scored = tokens * len(settings.verifiers)
        seconds = None
        if throughput is not None:
            seconds = tokens / throughput + (scored / verifier_throughput if verifier_throughput else 0.0)
        rows.append(
            {
                "run": settings.run_id,
                "plan": plan.name,
                "questions": len(counts),
                "solutions": sum(counts.values()),
                "tokens": round(tokens),
                "verifier_tokens": round(scored),
                "hours": None if seconds is None else seconds / 3600,
                "at_most": bool(counts) and (not lengths or any(part[place].at_most for part in parts)),
                "length": mean,
                "measured": bool(lengths),
            }
        )
    return rows
