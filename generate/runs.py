"""Starting and resuming a run: its rows in the cache, and the recorder that fills it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from cache import Cache
from cache.grading import grader
from cache.store import now
from generate.answers import AnswerBook
from generate.extraction import extractor
from generate.plans import Demand, Plan
from generate.protocols import Sampler
from generate.recorder import Progress, Recorder, RevisionContext
from generate.samplers.server import ServerSampler, ServerSettings
from generate.settings import RunSettings, VerifierSettings, model_path, provenance, stored_settings


def start_run(cache: Cache, settings: RunSettings, model_facts: Mapping[str, int]) -> None:
    """Enters the run with its model and verifiers; a run that is there already must have the same settings.

    `model_facts` are num_params, pretraining_tokens, finetuning_tokens, as far as known. Raises ValueError if the
    settings differ.
    """
    runs = cache.frame("SELECT provenance FROM runs WHERE run_id = $run", {"run": settings.run_id})
    if len(runs):
        stored, _ = stored_settings(cache, settings.run_id)
        if stored != settings:
            before, after = asdict(stored), asdict(settings)
            changed = ", ".join(
                f"{key} {before[key]!r} → {after[key]!r}" for key in before if before[key] != after[key]
            )
            raise ValueError(
                f"run '{settings.run_id}' was begun with other settings ({changed}): its draws would not be of one "
                "distribution. Give the run another name with --run."
            )
        return
    model = {"model_id": settings.model, "source": settings.model, **model_facts}
    cache.append(
        models=pl.DataFrame([model], infer_schema_length=None),
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
    """Fulfils the plans in order; what a demand was made for is noted with the run. Returns the draws made."""
    made = 0
    for plan in plans:
        made += recorder.fulfil(plan)
        if isinstance(plan, Demand) and plan.name == "demand":
            _note(cache, recorder.run_id, demand={**asdict(plan)})
    cache.update_run(recorder.run_id, finished=now())
    return made


def build_recorder(
    cache: Cache,
    settings: RunSettings,
    *,
    questions: pl.DataFrame | None = None,
    model_facts: Mapping[str, int] | None = None,
    models_in: Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    batch_rows: int = 512,
    server: ServerSettings | None = None,
    progress: Progress | None = None,
) -> Recorder:
    """The recorder of a run, with its models loaded; `questions` are entered first (those that are there must agree).

    `model_facts` (pretraining_tokens, finetuning_tokens) go into the cache's table of models. With the address of a
    `server`, or one that the run was recorded with, that server has the model, under the name in the settings; the key
    in TTS_SIM_API_KEY is sent to an address that was given only.
    Relative model directories are looked for in the working directory, then in `models_in` (default: the folder of
    the cache).
    """
    from generate.verifiers.token_classifier import load_token_classifier

    folder = models_in or cache.path.parent
    url = (server and server.url) or _server(cache, settings.run_id)
    facts = dict(model_facts or {})
    sampler: Sampler
    if url is not None:
        reach = server or ServerSettings()
        sampler = ServerSampler(
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
        url = sampler.place.url
        if not reach.url:
            print(f"run '{settings.run_id}' goes on with the server {url}", file=sys.stderr, flush=True)
    else:
        from generate.samplers.transformers import load_sampler

        local = load_sampler(
            model_path(settings.model, folder),
            delimiter=settings.delimiter,
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_tokens=settings.max_tokens,
            batch_rows=batch_rows,
            dtype=dtype,
            device=device,
        )
        sampler, facts = local, {"num_params": local.model.num_parameters()} | facts
    if questions is not None:
        cache.append(questions=questions)
    verifiers = [
        load_token_classifier(
            model_path(verifier.model, folder),
            verifier_id=verifier.verifier_id,
            kind=verifier.kind,
            dtype=dtype,
            device=device,
        )
        for verifier in settings.verifiers
    ]
    start_run(cache, settings, facts)
    if url != _server(cache, settings.run_id):
        _note(cache, settings.run_id, server=url)
    for verifier, settled in zip(verifiers, settings.verifiers, strict=True):
        _enter_model(cache, settled.model, verifier.model.num_parameters())
    return Recorder(
        cache,
        settings.run_id,
        sampler,
        verifiers,
        AnswerBook(cache, grader(settings.grader)),
        extract=extractor(settings.extract),
        seed=settings.seed,
        prompt_template=settings.prompt_template,
        revisions=revision_context(settings),
        progress=progress,
    )


def revision_context(settings: RunSettings) -> RevisionContext | None:
    """How a run of revisions shows earlier attempts; None for a run of steps."""
    return RevisionContext(settings.separator, settings.context_attempts) if settings.kind == "revisions" else None


def _verifier_rows(verifiers: Sequence[VerifierSettings]) -> pl.DataFrame | None:
    rows: list[dict[str, Any]] = [
        {"verifier_id": verifier.verifier_id, "kind": verifier.kind, "details": json.dumps({"model": verifier.model})}
        for verifier in verifiers
    ]
    return pl.DataFrame(rows) if rows else None


def _enter_model(cache: Cache, name: str, num_params: int) -> None:
    """Enters a verifier's model with its size, unless a model of that name is there."""
    if not len(cache.frame("SELECT 1 FROM models WHERE model_id = $name", {"name": name})):
        cache.append(models=pl.DataFrame({"model_id": [name], "source": [name], "num_params": [num_params]}))


def _server(cache: Cache, run_id: str) -> str | None:
    """The address of the server that the run was last recorded with, if any."""
    runs = cache.frame("SELECT provenance FROM runs WHERE run_id = $run", {"run": run_id})["provenance"].to_list()
    url = json.loads(runs[0] or "{}").get("server") if runs else None
    return url if isinstance(url, str) else None


def _note(cache: Cache, run_id: str, **facts: Any) -> None:
    _, stored = stored_settings(cache, run_id)
    cache.update_run(run_id, provenance=json.dumps(stored | facts, ensure_ascii=False))
