"""Live runs of strategies, held against the replayed figures."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from cache import Cache, create_cache
from generate.plans import Demand
from generate.recorder import Progress
from generate.runs import build_recorder, fulfil
from generate.samplers.server import ServerSettings
from generate.settings import model_path, stored_settings
from tts_sim.intervals import t_quantile
from tts_sim.load import load_forest
from tts_sim.outcomes import Outcomes, combine
from tts_sim.paired import paired_difference
from tts_sim.replay import checked_budgets, checked_strategies, replay


def compare_live(
    cache: Cache,
    strategies: Sequence[str],
    budgets: Sequence[int],
    *,
    seed: int,
    repeats: int = 1,
    run_id: str | None = None,
    models: str | None = None,
    keep: str | None = None,
    device: str = "auto",
    batch_rows: int = 2048,
    trust_functions: bool = False,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """One row a strategy and budget: live and replayed accuracy, their difference and its 95 % t interval.

    The live run starts from an empty cache with another generation seed and makes one trial of each search; only what
    they ask for is generated. Differences are paired by question. Strategies of one kind share a live cache, so their
    rows are not independent. Raises ValueError if the seed is the cache's own, or if a run has no recorded settings.
    """
    if repeats < 1:
        raise ValueError(f"repeats {repeats}: expected a whole number from 1.")
    wanted, ascending = checked_strategies(strategies), checked_budgets(budgets)
    rows: list[pl.DataFrame] = []
    for kind in dict.fromkeys(strategy.search.kind for strategy in wanted):
        specs = [str(strategy) for strategy in wanted if strategy.search.kind == kind]
        name = run_id if run_id is not None else load_forest(cache, kind=kind, questions=()).run_id
        live = combine(
            [
                _live(
                    cache, name, specs, ascending, number, models, keep, device, batch_rows, trust_functions, progress
                )
                for number in range(seed, seed + repeats)
            ]
        )
        replayed = replay(load_forest(cache, name, kind=kind), specs, ascending, seed=0)
        rows += [_row(live, replayed, spec, budget) for spec in specs for budget in ascending]
    return pl.concat(rows)


def _live(
    cache: Cache,
    run_id: str,
    specs: Sequence[str],
    budgets: Sequence[int],
    seed: int,
    models: str | None,
    keep: str | None,
    device: str,
    batch_rows: int,
    trust_functions: bool,
    progress: Progress | None,
) -> Outcomes:
    """One trial of each strategy on generations of its own."""
    settings, stored = stored_settings(cache, run_id)
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
        path = Path(keep if keep is not None else scratch) / f"{run_id}-{seed}.duckdb"
        path.parent.mkdir(parents=True, exist_ok=True)
        with create_cache(path) as live:
            recorder = build_recorder(
                live,
                fresh,
                questions=_questions(cache, run_id),
                device=device,
                batch_rows=batch_rows,
                server=None if models is not None else ServerSettings(stored.get("server")),
                progress=progress,
            )
            with closing(recorder):
                fulfil(live, recorder, [Demand(tuple(specs), tuple(budgets), trials=1, seed=seed)])
            forest = load_forest(live, fresh.run_id, kind=fresh.kind)
            return replay(forest, specs, budgets, trials=1, seed=seed, method="monte-carlo")


def _questions(cache: Cache, run_id: str) -> pl.DataFrame:
    """The rows of the questions that the run holds."""
    held = cache.frame("SELECT DISTINCT question_id FROM nodes WHERE run_id = $run", {"run": run_id})
    return cache.table("questions").join(held, on="question_id", how="semi", maintain_order="left")


def _row(live: Outcomes, replayed: Outcomes, spec: str, budget: int) -> pl.DataFrame:
    here = (pl.col("strategy") == spec) & (pl.col("budget") == budget)
    both = (
        live.frame.filter(here)
        .group_by("question_id", maintain_order=True)
        .agg(live=pl.col("accuracy").mean(), live_supported=pl.col("supported").mean())
        .join(
            replayed.frame.filter(here).select("question_id", "trials", "method", "supported", replayed="accuracy"),
            on="question_id",
        )
    )
    pair = paired_difference(both["live"].to_numpy(), both["replayed"].to_numpy())
    reach = t_quantile(0.975, len(both) - 1) * pair.se
    row: dict[str, Any] = {
        "strategy": spec,
        "budget": budget,
        "live": both["live"].mean(),
        "replayed": both["replayed"].mean(),
        "difference": pair.difference,
        "se": pair.se,
        "ci_low": pair.difference - reach,
        "ci_high": pair.difference + reach,
        "num_questions": len(both),
        "replay_trials": both["trials"][0],
        "method": both["method"][0],
        "supported": min(float(both["supported"].mean()), float(both["live_supported"].mean())),  # type: ignore[arg-type]
    }
    return pl.DataFrame([row])
