"""A live run of one strategy, held against the replayed figure."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import polars as pl

from cache import Cache, create_cache
from generate.plans import Demand
from generate.recorder import Progress
from generate.runs import build_recorder, fulfil
from generate.settings import model_path, stored_settings
from tts_sim.intervals import t_quantile
from tts_sim.load import load_forest
from tts_sim.replay import replay


def compare_live(
    cache: Cache,
    strategy: str,
    budget: int,
    *,
    seed: int,
    run_id: str | None = None,
    models: str | None = None,
    keep: str | None = None,
    device: str = "auto",
    batch_rows: int = 2048,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """One row: live and replayed accuracy of the strategy on the cache's questions, difference and its 95 % t interval.

    The live run starts from an empty cache with another generation seed and makes one trial; only what the search
    asks for is generated. The difference is paired by question. Raises ValueError if the seed is the cache's own.
    """
    settings, _ = stored_settings(cache, run_id)
    if seed == settings.seed:
        raise ValueError(f"seed {seed} is the cache's own: the live run would repeat its draws. Give another --seed.")
    root = Path(models) if models is not None else cache.path.parent
    fresh = replace(
        settings,
        seed=seed,
        model=model_path(settings.model, root),
        verifiers=tuple(replace(judge, model=model_path(judge.model, root)) for judge in settings.verifiers),
    )
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(keep) if keep is not None else Path(scratch) / "live.duckdb"
        with create_cache(path) as live:
            recorder = build_recorder(
                live, fresh, questions=cache.table("questions"), device=device, batch_rows=batch_rows, progress=progress
            )
            fulfil(live, recorder, [Demand((strategy,), (budget,), trials=1, seed=seed)])
            made = replay(load_forest(live, fresh.run_id, kind=fresh.kind), [strategy], [budget], trials=1, seed=seed)
    replayed = replay(load_forest(cache, settings.run_id, kind=settings.kind), [strategy], [budget], seed=0)
    both = made.frame.select("question_id", live="accuracy", live_supported="supported").join(
        replayed.frame.select("question_id", "trials", "supported", replayed="accuracy"), on="question_id"
    )
    difference = both["live"] - both["replayed"]
    count = len(both)
    error = float(difference.std() or 0.0) / count**0.5  # type: ignore[arg-type]
    mean = float(difference.mean())  # type: ignore[arg-type]
    reach = t_quantile(0.975, count - 1) * error
    return pl.DataFrame(
        {
            "strategy": [strategy],
            "budget": [budget],
            "live": [both["live"].mean()],
            "replayed": [both["replayed"].mean()],
            "difference": [mean],
            "se": [error],
            "ci_low": [mean - reach],
            "ci_high": [mean + reach],
            "num_questions": [count],
            "replay_trials": [both["trials"][0]],
            "supported": [min(float(both["supported"].mean()), float(both["live_supported"].mean()))],  # type: ignore[arg-type]
        }
    )
