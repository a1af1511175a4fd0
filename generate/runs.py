"""Starting and resuming a run: its rows in the cache, and the recorder that fills it."""

from __future__ import annotations

import json
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
from generate.recorder import Progress, Recorder, RevisionContext
from generate.settings import RunSettings, VerifierSettings, model_path, provenance, stored_settings


def start_run(cache: Cache, settings: RunSettings, model_facts: Mapping[str, int], sampler: str | None = None) -> None:
    """Enters the run with its model and verifiers; a run that is there already must have the same settings.

    `model_facts` are num_params, pretraining_tokens, finetuning_tokens, as far as known; `sampler` is named in the
    provenance, for samplers draw the same but for rounding. Raises ValueError if the settings differ.
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
                "provenance": [provenance(settings, **({"sampler": sampler} if sampler else {}))],
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
    sampler: str = "auto",
    progress: Progress | None = None,
) -> Recorder:
    """The recorder of a run, with its models loaded; `questions` are entered first (those that are there must agree).

    `model_facts` (pretraining_tokens, finetuning_tokens) go into the cache's table of models.
    Relative model directories are looked for in the working directory, then in `models_in` (default: the folder of
    the cache). `sampler` is that of `load_sampler`.
    """
    from generate.samplers.transformers import load_sampler
    from generate.verifiers.token_classifier import load_token_classifier

    folder = models_in or cache.path.parent
    loaded = load_sampler(
        model_path(settings.model, folder),
        delimiter=settings.delimiter,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_tokens=settings.max_tokens,
        batch_rows=batch_rows,
        dtype=dtype,
        device=device,
        sampler=sampler,
    )
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
    start_run(
        cache, settings, {"num_params": loaded.model.num_parameters()} | dict(model_facts or {}), type(loaded).__name__
    )
    for verifier, settled in zip(verifiers, settings.verifiers, strict=True):
        _enter_model(cache, settled.model, verifier.model.num_parameters())
    return Recorder(
        cache,
        settings.run_id,
        loaded,
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


def _note(cache: Cache, run_id: str, **facts: Any) -> None:
    _, stored = stored_settings(cache, run_id)
    cache.update_run(run_id, provenance=json.dumps(stored | facts, ensure_ascii=False))
