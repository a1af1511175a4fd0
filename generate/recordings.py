"""From a configuration to what is recorded: the settings and plans of each run, and the recording itself."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import polars as pl

from cache import Cache, create_cache, open_cache
from generate.config import Config
from generate.devices import device_list
from generate.meter import Meter
from generate.plans import Chains, Greedy, Plan, demands, flat, staircase
from generate.questions import QuestionSource, read_questions
from generate.recorder import Progress
from generate.runs import build_recorder, fulfil
from generate.samplers.server import ServerSettings
from generate.settings import RunSettings, VerifierSettings
from tts_sim.cli.options import note
from tts_sim.spec import parse_strategy
from tts_sim.strategies.beam import width_at
from tts_sim.strategies.search import Search

STEP_POOL = 8  # at least: a run of flat samples can then serve a narrow tree search later
SPARE = 2  # chains of the staircase: every split finds so many times those that it needs
Pools = dict[str, tuple[int, int]]  # root_pool and step_pool by run


class Recording(NamedTuple):
    """A run with what it shall hold."""

    settings: RunSettings
    plans: tuple[Plan, ...]


class Recorded(NamedTuple):
    """A run that holds its plans now, and the draws that were made for it."""

    run_id: str
    plans: tuple[str, ...]
    draws: int


def record(
    config: Config,
    *,
    progress: Progress | None = None,
    meter: Meter | None = None,
    stopping: Event | None = None,
) -> list[Recorded]:
    """Records what the configuration asks for; goes on where an earlier call ended.

    Raises RecordingStopped once `stopping` is set, and ValueError for a configuration that cannot be recorded.
    """
    path = required_cache(config)
    device_list(config.device)
    recordings(config)  # what is wrong with it is said before there is a file
    questions = config_questions(config)
    recorded = []
    with create_cache(path) as cache:  # which also mends what a call left that was killed as it made the tables
        for settings, plans in recordings(config, run_pools(cache)):
            recorder = build_recorder(
                cache,
                settings,
                questions=questions,
                model_facts={} if config.num_params is None else {"num_params": config.num_params},
                device=config.device,
                dtype=config.dtype,
                attention=config.attention,
                batch_rows=config.batch_rows,
                sampler=config.sampler,
                commit_draws=config.commit_draws,
                grade_seconds=config.grade_seconds,
                trust_remote_code=config.trust_remote_code,
                trust_functions=True,  # whoever wrote the configuration named them
                server=ServerSettings(config.server, config.connections, config.timeout, config.retries),
                progress=progress,
                meter=meter,
                stopping=stopping,
            )
            with closing(recorder):
                made = fulfil(cache, recorder, plans)
            recorded.append(Recorded(settings.run_id, tuple(plan.name for plan in plans), made))
            del recorder  # its models, before the next run's are loaded
    return recorded


def recordings(config: Config, pools: Pools | None = None) -> list[Recording]:
    """The runs that the configuration asks for: one of steps, one of revisions, or both.

    `pools` are those of runs that are there already, which go on with them unless the configuration says otherwise.
    Raises ValueError if there is nothing to record, or not enough to record it with.
    """
    if config.model is None:
        raise ValueError("no model: set model to a directory or a Hugging Face id.")
    if bool(config.strategies) != bool(config.budgets):
        raise ValueError('strategies and budgets need each other: strategies = ["beam+weighted"], budgets = "4,8…32".')
    for name in ("flat", "chains"):
        if getattr(config, name) < 0:
            raise ValueError(f"{name} {getattr(config, name)}: expected a whole number from 0.")
    wanted: dict[str, list[Plan]] = {"steps": [], "revisions": []}
    if config.flat:
        wanted["steps"].append(flat(config.flat))
    if config.greedy:
        wanted["steps"].append(Greedy())
    if config.chains:
        wanted["revisions"].append(Chains(staircase(config.chains, SPARE)))
    if config.step_pool is None and (stored := (pools or {}).get(config.run)) is not None:
        _note_narrow(config, stored[1])
    for kind, plans in wanted.items():
        specs = [spec for spec in config.strategies if parse_strategy(spec).search.kind == kind]
        plans += demands(specs, config.budgets, config.trials, config.replay_seed, _guide(config))
    if not any(wanted.values()):
        raise ValueError("nothing to record: set flat, greedy, chains, or strategies with budgets.")
    return [Recording(_settings(config, kind, pools or {}), tuple(plans)) for kind, plans in wanted.items() if plans]


def config_questions(config: Config) -> pl.DataFrame | None:
    """The questions that the configuration names; None for those of a cache that is there."""
    if config.questions is None and config.dataset is None:
        if Path(required_cache(config)).is_file():
            return None
        raise ValueError("no questions: set questions to a file, or dataset to one of the Hugging Face Hub.")
    return read_questions(
        QuestionSource(
            path=config.questions,
            dataset=config.dataset,
            config=config.dataset_config,
            split=config.split,
            revision=config.dataset_revision,
            id_column=config.id_column,
            prompt_column=config.prompt_column,
            gold_column=config.gold_column,
            level_column=config.level_column,
            subject_column=config.subject_column,
            choices_column=config.choices_column,
            gold_extract=config.gold_extract,
            limit=config.limit,
            shuffle_seed=config.shuffle_seed,
        )
    )


def required_cache(config: Config) -> str:
    """The path of the cache. Raises ValueError if it is not set."""
    if config.cache is None:
        raise ValueError("no cache: set cache to the .duckdb file to fill.")
    return config.cache


def stored_pools(path: str) -> Pools:
    """The pools of the recorded runs of a cache; nothing where there is no cache yet."""
    if not Path(path).is_file() or not Path(path).stat().st_size:
        return {}
    with open_cache(path) as cache:
        return run_pools(cache)


def run_pools(cache: Cache) -> Pools:
    """The pools of the recorded runs."""
    rows = cache.frame("SELECT run_id, root_pool, step_pool FROM runs WHERE root_pool IS NOT NULL")
    return {name: (root, step) for name, root, step in rows.iter_rows()}


def _guide(config: Config) -> str | None:
    if config.replay_verifier is not None:
        return config.replay_verifier
    return config.verifiers[0].id if config.verifiers else None


def _settings(config: Config, kind: str, pools: Pools) -> RunSettings:
    run_id = config.run if kind == "steps" else config.revisions_run
    root, step = pools.get(run_id) or (_step_pools(config) if kind == "steps" else _chain_pools(config))
    values: dict[str, Any] = {
        "run_id": run_id,
        "kind": kind,
        "model": config.model,
        "revision": config.revision,
        "delimiter": config.delimiter,
        "temperature": config.temperature,
        "seed": config.seed,
        "root_pool": root if config.root_pool is None or kind == "revisions" else config.root_pool,
        "step_pool": step if config.step_pool is None or kind == "revisions" else config.step_pool,
        "top_p": config.top_p,
        "max_tokens": config.max_tokens,
        "prompt_template": config.prompt_template,
        "chat": config.chat,
        "system_prompt": config.system_prompt,
        "extract": config.answer,
        "grader": config.grader,
        "verifiers": tuple(VerifierSettings(one.id, one.kind, one.model, one.format) for one in config.verifiers),
    }
    if kind == "revisions":
        values |= {
            "model": config.revisions_model or config.model,
            "revision": config.revision if config.revisions_model is None else None,
            "separator": "" if config.chat else config.separator,
            "revision_request": config.revision_request if config.chat else "",
            "context_attempts": config.context_attempts,
        }
    return RunSettings(**values)


def _step_pools(config: Config) -> tuple[int, int]:
    """The flat draws as root pool if searches find enough there, else twice what they need; and the widest step.

    A run that is there keeps its pools: they say which draws its replays pick.
    """
    trees = [search for spec in config.strategies if (search := parse_strategy(spec).search).kind == "steps"]
    most = max(config.budgets, default=0) if trees else 0
    root = config.flat if config.flat >= most else 2 * most
    return max(root, 1), max([STEP_POOL, *(_widest(search, most) for search in trees)])


def _note_narrow(config: Config, pool: int) -> None:
    """Says so on stderr if a search may send more below a step than the run's pool holds."""
    for spec in config.strategies:
        search, most = parse_strategy(spec).search, max(config.budgets)
        if search.kind == "steps" and (widest := _widest(search, most)) > pool:
            note(
                f"run '{config.run}' has a step pool of {pool}, and {spec} may send {widest} below one step at budget "
                f"{most}: replays that do are exhausted there. Another run (--run) can have a larger pool."
            )


def _widest(search: Search, budget: int) -> int:
    """Children that a search may send below one step at this budget."""
    width = getattr(search, "width", None)
    if width is not None and getattr(search, "finished", None) != "pool":
        return width_at(width, budget)
    return budget if search.grows_trees else 1


def _chain_pools(config: Config) -> tuple[int, int]:
    """As many chains as the staircase has, or any split of the largest budget asks for."""
    revises = any(parse_strategy(spec).search.kind == "revisions" for spec in config.strategies)
    return max(SPARE * config.chains, max(config.budgets, default=0) if revises else 0, 1), 1
