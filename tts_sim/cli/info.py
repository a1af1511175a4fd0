"""`tts-sim info`: what is in a cache."""

from __future__ import annotations

from typing import Any

from tts_sim.cli.options import AsJson, CachePath, open_for_reading, print_json


def info(cache: CachePath, as_json: AsJson = False) -> None:
    """Say what is in a cache: models, runs, verifiers, answers, questions by level."""
    from cache.info import describe

    with open_for_reading(cache) as opened:
        facts = describe(opened)
    if as_json:
        print_json(facts)
        return
    import polars as pl

    from tts_sim.cli.fit import print_fitting

    counts = f"{facts['questions']} questions, {facts['answers']['answers']} distinct answers"
    print(f"{facts['path']}: schema {facts['schema_version']}, {counts}")
    for title, names in (("Models", None), ("Runs", _RUN_COLUMNS), ("Verifiers", None), ("Questions by level", None)):
        rows: list[dict[str, Any]] = facts[title.lower().replace(" ", "_")]
        if rows:
            table = pl.DataFrame(rows, infer_schema_length=None)
            print_fitting(table.select(names) if names else table, dispensable=_DISPENSABLE, title=title)


_RUN_COLUMNS = [
    "run_id",
    "kind",
    "model_id",
    "questions",
    "nodes",
    "tokens",
    "solutions",
    "correct",
    "root_pool",
    "step_pool",
    "exchangeable",
]
_DISPENSABLE: list[str | tuple[str, ...]] = [
    "exchangeable",
    "revision",
    ("pretraining_tokens", "finetuning_tokens"),
    ("root_pool", "step_pool"),
    "model_id",
    "tokens",
    ("min", "max"),
    "scores",
    "nodes",
]
