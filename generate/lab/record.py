"""The lab's cache: test questions, trees, revision chains and the larger model's samples, recorded with its models."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch

from cache import create_cache
from generate.lab.choose import choose_questions
from generate.lab.merge import merge_caches
from generate.lab.models import PRESETS
from generate.lab.problems import (
    DELIMITER,
    LARGE_TEMPERATURE,
    MAX_CONTEXT_ATTEMPTS,
    NEXT_ATTEMPT,
    REVISER_TEMPERATURE,
    TEMPERATURE,
    Problem,
)
from generate.plans import Chains, Demand, Greedy, Plan, flat, staircase
from generate.recorder import Progress
from generate.runs import build_recorder, fulfil
from generate.samplers.transformers import load_sampler
from generate.settings import RunSettings, VerifierSettings

BEAMS = ("beam(width=4)+weighted", "beam(width=sqrt)+weighted")
OTHER_TREES = ("dvts(width=4)+weighted", "rebase+weighted", "lookahead(width=4)+weighted")
PRM = VerifierSettings("prm", "prm", "prm")
ORM = VerifierSettings("orm", "orm", "orm")
MAX_TOKENS = 160  # the longest reference solution has 12 lines of 8 tokens


@dataclass(frozen=True)
class Size:
    """How much is recorded; `longest_chain` is parallel × sequential of the revision chains."""

    questions: int
    samples: int
    budgets: tuple[int, ...]  # of beam search
    other_budgets: tuple[int, ...]  # of the other tree searches
    trials: int
    longest_chain: int
    large_samples: int


SIZES = {
    "tiny": Size(12, 8, (4,), (4,), 2, 4, 4),
    "small": Size(500, 128, (4, 8, 16, 32), (8, 16), 4, 64, 16),
    "large": Size(500, 512, (4, 8, 16, 32, 64, 128, 256), (16, 64), 8, 128, 64),
}


def record_lab(out: Path, *, preset: str, device: str, seed: int, progress: Progress) -> Path:
    """Records `out/lab.duckdb` with the models in `out`; goes on where an earlier call ended. Returns its path.

    Each run is recorded in a part of its own, on a CPU two of them side by side; the parts are merged at the end.
    """
    questions = lab_questions(out, SIZES[preset], device=device, seed=seed)
    parts = out / "parts"
    parts.mkdir(exist_ok=True)
    names = ("revise", "base", "large")
    if device == "cpu" and (os.cpu_count() or 1) > 1 and preset != "tiny":
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            waiting = [pool.submit(record_part, name, out, questions, preset, device, seed) for name in names]
            for count, done in enumerate(as_completed(waiting), start=1):
                done.result()
                progress("runs recorded", count, len(names))
    else:
        for name in names:
            record_part(name, out, questions, preset, device, seed, progress)
    path = out / "lab.duckdb"
    merge_caches([parts / f"{name}.duckdb" for name in sorted(names)], path)
    return path


def lab_questions(out: Path, size: Size, *, device: str, seed: int) -> pl.DataFrame:
    """The test questions, chosen once and kept in `out/questions.parquet`."""
    path = out / "questions.parquet"
    if not path.exists():
        pilot = load_sampler(
            str(out / "base"), delimiter=DELIMITER, temperature=TEMPERATURE, max_tokens=MAX_TOKENS, device=device
        )
        partial = path.with_name(f".{path.name}.partial")
        question_frame(choose_questions(pilot, size.questions, seed=seed)).write_parquet(partial)
        partial.replace(path)
    return pl.read_parquet(path)


def record_part(
    name: str,
    out: Path,
    questions: pl.DataFrame,
    preset: str,
    device: str,
    seed: int,
    progress: Progress | None = None,
) -> None:
    """Records one run into `out/parts/<name>.duckdb`."""
    size = SIZES[preset]
    settings = next(settings for settings in run_settings(size, seed) if settings.run_id == name)
    plans: dict[str, tuple[Plan, ...]] = {
        "base": (
            flat(size.samples),
            Demand(OTHER_TREES, size.other_budgets, trials=size.trials, seed=seed, name="other trees"),
            Demand(BEAMS, size.budgets, trials=size.trials, seed=seed),
        ),
        "revise": (Chains(staircase(size.longest_chain, spare=1)),),
        "large": (Greedy(), flat(size.large_samples)),
    }
    if progress is None:  # a process of its own shares the machine with another
        torch.set_num_threads(1)
    with create_cache(out / "parts" / f"{name}.duckdb") as cache:
        recorder = build_recorder(
            cache,
            settings,
            models_in=out,
            questions=questions,
            model_facts=training_tokens(preset)[settings.model],
            device=device,
            progress=progress,
        )
        fulfil(cache, recorder, plans[name])


def run_settings(size: Size, seed: int) -> tuple[RunSettings, ...]:
    """The lab's three runs."""
    widest = max(size.other_budgets)  # rebase may send all that it has below one step
    common: dict[str, Any] = {
        "delimiter": DELIMITER,
        "seed": seed,
        "max_tokens": MAX_TOKENS,
        "extract": "after-equals",
        "grader": "exact",
    }
    trees: dict[str, Any] = {"kind": "steps", "verifiers": (PRM,), **common}
    return (
        RunSettings("base", model="base", temperature=TEMPERATURE, root_pool=size.samples, step_pool=widest, **trees),
        RunSettings(
            "revise",
            kind="revisions",
            model="reviser",
            temperature=REVISER_TEMPERATURE,
            root_pool=size.longest_chain,
            step_pool=1,
            separator=NEXT_ATTEMPT,
            context_attempts=MAX_CONTEXT_ATTEMPTS,
            verifiers=(ORM,),
            **common,
        ),
        RunSettings(
            "large", model="large", temperature=LARGE_TEMPERATURE, root_pool=size.large_samples, step_pool=1, **trees
        ),
    )


def question_frame(problems: Sequence[Problem]) -> pl.DataFrame:
    """The problems as rows of the cache's table; the level is the number of operations."""
    return pl.DataFrame(
        {
            "question_id": [problem.question_id for problem in problems],
            "dataset": ["lab-chains"] * len(problems),
            "split": ["test"] * len(problems),
            "prompt": [problem.prompt for problem in problems],
            "gold": [problem.gold for problem in problems],
            "level": pl.Series([problem.level for problem in problems], dtype=pl.Int32),
            "subject": ["arithmetic"] * len(problems),
        }
    )


def training_tokens(preset: str) -> dict[str, dict[str, int]]:
    """Tokens that each generator was trained on, by the name of its run's model."""
    chosen = PRESETS[preset]
    base = chosen.base_fit.steps * chosen.base_fit.tokens
    return {
        "base": {"pretraining_tokens": base},
        "reviser": {
            "pretraining_tokens": base,
            "finetuning_tokens": chosen.reviser_fit.steps * chosen.reviser_fit.tokens,
        },
        "large": {"pretraining_tokens": chosen.large_fit.steps * chosen.large_fit.tokens},
    }
