"""The lab's cache: test questions, trees, revision chains and the larger model's samples, recorded with its models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cache import Cache, create_cache
from generate.lab.problems import (
    DELIMITER,
    MAX_CONTEXT_ATTEMPTS,
    NEXT_ATTEMPT,
    TEMPERATURE,
    TEST_MIX,
    Problem,
    draw_mix,
)
from generate.plans import Chains, Demand, Greedy, Plan, flat, staircase
from generate.recorder import Progress
from generate.runs import build_recorder, fulfil
from generate.settings import RunSettings, VerifierSettings

STRATEGIES = ("beam(width=4)+weighted", "beam(width=sqrt)+weighted")
PRM = VerifierSettings("prm", "prm", "prm")
ORM = VerifierSettings("orm", "orm", "orm")
MAX_TOKENS = 160  # the longest reference solution has 12 lines of 8 tokens


@dataclass(frozen=True)
class Size:
    """How much is recorded: questions, flat samples, tree budgets and trials, the longest chain, the large model's samples."""

    questions_share: float
    samples: int
    budgets: tuple[int, ...]
    trials: int
    longest_chain: int
    large_samples: int


SIZES = {
    "tiny": Size(0.02, 8, (4,), 2, 4, 4),
    "small": Size(1.0, 128, (4, 8, 16, 32), 4, 64, 16),
    "large": Size(1.0, 512, (4, 8, 16, 32, 64, 128, 256), 8, 128, 64),
}


def record_lab(out: Path, *, preset: str, device: str, seed: int, progress: Progress | None) -> Path:
    """Records `out/lab.duckdb` with the models in `out`; goes on where an earlier call ended. Returns its path."""
    size = SIZES[preset]
    mix = {level: max(1, round(count * size.questions_share)) for level, count in TEST_MIX.items()}
    questions = question_frame(draw_mix(mix, seed=seed, split="test"))
    path = out / "lab.duckdb"
    with create_cache(path) as cache:
        settings = run_settings(size, seed)
        tree = Demand(STRATEGIES, size.budgets, trials=size.trials, seed=seed)
        plans: dict[str, Sequence[Plan]] = {
            "base": (flat(size.samples), tree),
            "revise": (Chains(staircase(size.longest_chain)),),
            "large": (Greedy(), flat(size.large_samples)),
        }
        for run in settings:
            recorder = build_recorder(
                cache, run, questions=questions, device=device, batch_rows=2048, progress=progress
            )
            fulfil(cache, recorder, plans[run.run_id])
            note_tokens(cache, out, run.model)
    return path


def run_settings(size: Size, seed: int) -> tuple[RunSettings, ...]:
    """The lab's three runs."""
    widest = max(4, round(max(size.budgets) ** 0.5))
    shared = {"delimiter": DELIMITER, "temperature": TEMPERATURE, "seed": seed, "max_tokens": MAX_TOKENS}
    answers = {"extract": "after-equals", "grader": "exact"}
    return (
        RunSettings("base", "steps", "base", root_pool=size.samples, step_pool=widest, verifiers=(PRM,), **shared, **answers),  # type: ignore[arg-type]
        RunSettings(
            "revise",
            "revisions",
            "reviser",
            root_pool=2 * size.longest_chain,
            step_pool=1,
            separator=NEXT_ATTEMPT,
            context_attempts=MAX_CONTEXT_ATTEMPTS,
            verifiers=(ORM,),
            **shared,  # type: ignore[arg-type]
            **answers,  # type: ignore[arg-type]
        ),
        RunSettings("large", "steps", "large", root_pool=size.large_samples, step_pool=1, verifiers=(PRM,), **shared, **answers),  # type: ignore[arg-type]
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


def note_tokens(cache: Cache, out: Path, model: str) -> None:
    """Enters how many tokens the model was trained on, from its stage's report."""
    report = out / model / "report.json"
    facts = json.loads(report.read_text()) if report.is_file() else {}
    for column in ("pretraining_tokens", "finetuning_tokens"):
        if facts.get(column) is not None:
            cache.update_model(model, **{column: int(facts[column])})
