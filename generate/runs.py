"""Starting and resuming a run: its rows in the cache, and the recorder that fills it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from threading import Event
from typing import Any

import polars as pl

from cache import Cache
from cache.grading import SECONDS, grader
from cache.store import now
from generate.answers import AnswerBook
from generate.devices import device_list
from generate.extraction import extractor
from generate.loading import load_tokenizer
from generate.meter import Meter
from generate.model_set import ModelSet
from generate.plans import Demand, Plan
from generate.prompts import Prompts, RevisionContext, chat_renderer, digest
from generate.questions import question_digest
from generate.recorder import COMMIT_DRAWS, Progress, Recorder, RecordingStopped
from generate.samplers.server import ServerSampler, ServerSettings
from generate.settings import (
    OLD_FORMAT,
    RunSettings,
    VerifierSettings,
    model_path,
    provenance,
    stored_settings,
)
from generate.verifiers.registry import AUTO, settled
from generate.workers import start_workers


def start_run(cache: Cache, settings: RunSettings, model_facts: Mapping[str, int]) -> None:
    """Enters the run with its model and verifiers; a run that is there already must have the same settings.

    `model_facts` are num_params, pretraining_tokens, finetuning_tokens, as far as known. Raises ValueError if the
    settings differ.
    """
    refuse_other_settings(cache, settings)
    if len(cache.frame("SELECT 1 FROM runs WHERE run_id = $run", {"run": settings.run_id})):
        return
    model = {"model_id": settings.model, "source": settings.model, "revision": settings.revision, **model_facts}
    cache.append(
        models=pl.DataFrame([model], schema_overrides={"revision": pl.String}),
        verifiers=_verifier_rows(settings.verifiers),
        runs=pl.DataFrame(
            {
                "run_id": [settings.run_id],
                "kind": [settings.kind],
                "model_id": [settings.model],
                "temperature": [settings.temperature],
                "top_p": [settings.top_p],
                "step_delimiter": [settings.delimiter],
                "prompt_template": [settings.prompt_template],
                "seed": [settings.seed],
                "root_pool": [settings.root_pool],
                "step_pool": [settings.step_pool],
                "exchangeable": [True],
                "provenance": [provenance(settings)],
                "started": [now()],
            }
        ),
    )


def fulfil(cache: Cache, recorder: Recorder, plans: Sequence[Plan]) -> int:
    """Fulfils the plans in order. Returns the draws made.

    What demands were made for, and what this session took and made, is noted with the run, however it ends.
    """
    made, began, before, clock = 0, now(), replace(recorder.meter), time.monotonic()
    ended = "failed"
    try:
        for plan in plans:
            made += recorder.fulfil(plan)
        ended = "fulfilled"
        _say_failures(recorder)
    except RecordingStopped:
        ended = "stopped"
        raise
    finally:
        session = {
            "started": began.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 1),
            "draws": recorder.meter.draws - before.draws,
            "tokens": recorder.meter.tokens - before.tokens,
            "scored_tokens": recorder.meter.scored_tokens - before.scored_tokens,
            "plans": [plan.name for plan in plans],
            "ended": ended,
            **recorder.maker.session(),
        }
        with suppress(Exception):  # the disk may be full; what went wrong first is what counts
            _note_session(cache, recorder.run_id, session)
    demands = [plan for plan in plans if isinstance(plan, Demand) and plan.name == "demand"]
    if demands:
        _note(cache, recorder.run_id, demand=_together(demands))
    cache.update_run(recorder.run_id, finished=now())
    return made


def _say_failures(recorder: Recorder) -> None:
    for role, tool in (("extractor", recorder.extract), ("grader", recorder.answers.grader)):
        if failed := getattr(tool, "failed", 0):
            print(
                f"run '{recorder.run_id}': the {role} failed, or took too long, on {failed} answers: unparsed.",
                file=sys.stderr,
            )


def _together(demands: Sequence[Demand]) -> dict[str, Any]:
    """One demand that names the strategies and budgets of all; replays look up its trials."""
    specs = dict.fromkeys(spec for demand in demands for spec in demand.strategies)
    budgets = sorted({budget for demand in demands for budget in demand.budgets})
    return asdict(demands[-1]) | {"strategies": list(specs), "budgets": budgets}


def build_recorder(
    cache: Cache,
    settings: RunSettings,
    *,
    questions: pl.DataFrame | None = None,
    model_facts: Mapping[str, int] | None = None,
    models_in: Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    attention: str = "auto",
    batch_rows: int = 512,
    commit_draws: int = COMMIT_DRAWS,
    grade_seconds: float = SECONDS,
    trust_remote_code: bool = False,
    trust_functions: bool = False,
    server: ServerSettings | None = None,
    sampler: str = "auto",
    progress: Progress | None = None,
    meter: Meter | None = None,
    stopping: Event | None = None,
) -> Recorder:
    """The recorder of a run, with its models loaded; `questions` are entered first (those that are there must agree).

    `model_facts` (pretraining_tokens, finetuning_tokens) go into the cache's table of models. With the address of a
    `server`, or one that the run was recorded with, that server has the model, under the name in the settings; the key
    in TTS_SIM_API_KEY is sent to an address that was given only.
    Relative model directories are looked for in the working directory, then in `models_in` (default: the folder of
    the cache). `sampler` is that of `load_sampler`; each session names it. `trust_remote_code`, and `trust_functions`
    for Python functions that extract or grade, are asked for at each call and never stored: a stranger's cache must not
    decide them. `device` may name several (`device_list`): each gets a process with the models, ended by the recorder's
    `close`.
    Raises ValueError for settings, or prompts, that are not those that the run was begun with.
    """
    if settings.functions and not trust_functions:
        raise ValueError(
            f"run '{settings.run_id}' is graded by the Python function '{settings.functions[0]}'. If you trust what "
            "this cache names, add --trust-functions."
        )
    folder = models_in or cache.path.parent
    settings = replace(
        settings,
        verifiers=tuple(settled(verifier, model_path(verifier.model, folder)) for verifier in settings.verifiers),
    )
    refuse_other_settings(cache, settings)
    extract, judge = extractor(settings.extract, seconds=grade_seconds), grader(settings.grader, seconds=grade_seconds)
    devices = device_list(device)
    url = (server and server.url) or _server(cache, settings.run_id)
    if url is not None and len(devices) > 1:
        raise ValueError(
            f"device '{device}' names {len(devices)} devices, but the draws come from the server {url}: name the one "
            "device that verifiers run on."
        )
    models = ModelSet(
        path=model_path(settings.model, folder),
        revision=settings.revision,
        delimiter=settings.delimiter,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_tokens=settings.max_tokens,
        verifiers=tuple(replace(one, model=model_path(one.model, folder)) for one in settings.verifiers),
        dtype=dtype,
        attention=attention,
        batch_rows=batch_rows,
        sampler=sampler,
        trust_remote_code=trust_remote_code,
    )
    tokenizer = load_tokenizer(settings.model if url else models.path, settings.revision) if settings.chat else None
    prompts = run_prompts(settings, tokenizer)
    refuse_other_prompts(cache, settings, prompts)
    if url is not None:
        served = _server_sampler(url, settings, server or ServerSettings())
        url = served.place.url
        loaded = models.behind(served, devices[0])
    elif len(devices) == 1:
        loaded = models.load(devices[0])
    else:
        loaded = start_workers(models, devices)
    try:
        if questions is not None:
            cache.append(questions=questions)
        facts = {} if loaded.num_params is None else {"num_params": loaded.num_params}
        start_run(cache, settings, facts | dict(model_facts or {}))
        _note(
            cache,
            settings.run_id,
            hashes={
                "prompts": prompts.digest(),
                "prompt_template": digest(settings.prompt_template),
                "questions": question_digest(cache.table("questions")),
            },
            **({} if url == _server(cache, settings.run_id) else {"server": url}),
        )
        for stored, num_params in zip(settings.verifiers, loaded.verifier_params, strict=True):
            _enter_model(cache, stored.model, num_params)
        return Recorder(
            cache,
            settings.run_id,
            loaded.maker,
            AnswerBook(cache, judge),
            extract=extract,
            seed=settings.seed,
            prompts=prompts,
            commit_draws=commit_draws,
            progress=progress,
            meter=meter,
            stopping=stopping,
        )
    except BaseException:
        loaded.maker.close()
        raise


def _server_sampler(url: str, settings: RunSettings, reach: ServerSettings) -> ServerSampler:
    made = ServerSampler(
        url,
        settings.model,
        delimiter=settings.delimiter,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_tokens=settings.max_tokens,
        connections=reach.connections,
        timeout=reach.timeout,
        retries=reach.retries,
        api_key=os.environ.get("TTS_SIM_API_KEY") if reach.url else None,  # a stranger's cache must not collect it
    )
    if not reach.url:
        print(f"run '{settings.run_id}' goes on with the server {made.place.url}", file=sys.stderr, flush=True)
    return made


def run_prompts(settings: RunSettings, tokenizer: Any) -> Prompts:
    """The prompts of a run; `tokenizer` is needed for a chat."""
    chat = chat_renderer(tokenizer, settings.model) if settings.chat else None
    return Prompts(settings.prompt_template, settings.system_prompt, chat, revision_context(settings))


def refuse_other_settings(cache: Cache, settings: RunSettings) -> None:
    """Raises ValueError if the run is there and was begun with other settings."""
    if not len(cache.frame("SELECT 1 FROM runs WHERE run_id = $run", {"run": settings.run_id})):
        return
    stored, _ = stored_settings(cache, settings.run_id)
    if stored != settings:
        before, after = asdict(stored), asdict(settings)
        changed = ", ".join(f"{key} {before[key]!r} → {after[key]!r}" for key in before if before[key] != after[key])
        raise ValueError(
            f"run '{settings.run_id}' was begun with other settings ({changed}): its draws would not be of one "
            "distribution. Give the run another name with --run."
        )


def refuse_other_prompts(cache: Cache, settings: RunSettings, prompts: Prompts) -> None:
    """Raises ValueError if the run is there and its prompts were others: a chat template can change with the model."""
    if not len(cache.frame("SELECT 1 FROM runs WHERE run_id = $run", {"run": settings.run_id})):
        return
    _, stored = stored_settings(cache, settings.run_id)
    if stored.get("hashes", {}).get("prompts", prompts.digest()) != prompts.digest():
        raise ValueError(
            f"run '{settings.run_id}' was begun with another chat template of '{settings.model}': its draws would not "
            "be of one distribution. Take the revision that it was begun with, or give the run another name with --run."
        )


def revision_context(settings: RunSettings) -> RevisionContext | None:
    """How a run of revisions shows earlier attempts; None for a run of steps."""
    if settings.kind != "revisions":
        return None
    return RevisionContext(settings.separator, settings.context_attempts, settings.revision_request)


def _verifier_rows(verifiers: Sequence[VerifierSettings]) -> pl.DataFrame | None:
    rows: list[dict[str, Any]] = [
        {
            "verifier_id": verifier.verifier_id,
            "kind": verifier.kind,
            "details": verifier_details(verifier.model, verifier.format),
        }
        for verifier in verifiers
    ]
    return pl.DataFrame(rows) if rows else None


def verifier_details(model: str, format: str) -> str:
    """The JSON of a verifier in the cache: its model, and its format unless it is the one that went without saying."""
    return json.dumps({"model": model} | ({} if format in (AUTO, OLD_FORMAT) else {"format": format}))


def _enter_model(cache: Cache, name: str, num_params: int) -> None:
    """Enters a verifier's model with its size, unless a model of that name is there."""
    if not len(cache.frame("SELECT 1 FROM models WHERE model_id = $name", {"name": name})):
        cache.append(models=pl.DataFrame({"model_id": [name], "source": [name], "num_params": [num_params]}))


def _server(cache: Cache, run_id: str) -> str | None:
    """The address of the server that the run was last recorded with, if any."""
    runs = cache.frame("SELECT provenance FROM runs WHERE run_id = $run", {"run": run_id})["provenance"].to_list()
    url = json.loads(runs[0] or "{}").get("server") if runs else None
    return url if isinstance(url, str) else None


def _note_session(cache: Cache, run_id: str, session: Mapping[str, Any]) -> None:
    _, stored = stored_settings(cache, run_id)
    _note(cache, run_id, sessions=[*stored.get("sessions", []), session])


def _note(cache: Cache, run_id: str, **facts: Any) -> None:
    _, stored = stored_settings(cache, run_id)
    cache.update_run(run_id, provenance=json.dumps(stored | facts, ensure_ascii=False))
