"""The whole lab: five models trained one after the other, each stage kept on disk as soon as it is finished."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, LlamaForTokenClassification, PreTrainedModel, PreTrainedTokenizerFast

from generate.lab import stages
from generate.lab.evaluation import Figures
from generate.lab.models import PRESETS, Preset, num_parameters
from generate.lab.problems import LARGE_TEMPERATURE
from generate.lab.tokenizer import build_tokenizer

SEQUENCE = ("base", "prm-draft", "prm", "reviser", "orm")  # `large` needs none of them and they do not need it
Progress = Callable[[str], None]


@dataclass(frozen=True)
class LabReport:
    """Where the models are and what each stage reached (`report.json` of its directory)."""

    out: Path
    stages: dict[str, Figures]


def train_lab(out: Path, *, preset: str = "small", device: str = "cpu", seed: int = 0, progress: Progress) -> LabReport:
    """Train base, prm-draft, prm, large, reviser and orm into `out/<name>/`; stages that are there already are kept.

    On a CPU with two cores `large`, `reviser` and `orm` train in a process of their own beside `base` and `prm`. A
    stage appears under its name only when it is complete, so a killed run resumes with the stages it had finished.
    Raises ValueError for an unknown preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r} is unknown; it is one of {', '.join(PRESETS)}")
    out.mkdir(parents=True, exist_ok=True)
    if device == "cpu" and (os.cpu_count() or 1) > 1 and preset != "tiny":
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            beside = [pool.submit(run_stage, "large", out, preset, device, seed, print_progress)]
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            try:
                run_stage("base", out, preset, device, seed, progress)
                for name in ("reviser", "orm"):  # one worker: after `large`, in this order
                    beside.append(pool.submit(run_stage, name, out, preset, device, seed, print_progress))
                for name in ("prm-draft", "prm"):
                    run_stage(name, out, preset, device, seed, progress)
            finally:
                torch.set_num_threads(threads)
            for waiting in beside:
                waiting.result()
    else:
        for name in (*SEQUENCE, "large"):
            run_stage(name, out, preset, device, seed, progress)
    return LabReport(out, {name: json.loads((out / name / "report.json").read_text()) for name in (*SEQUENCE, "large")})


def print_progress(line: str) -> None:
    """Progress of the process beside, which cannot call back."""
    print(line, flush=True)


def run_stage(name: str, out: Path, preset: str, device: str, seed: int, progress: Progress) -> None:
    """Train one stage and move it into place, unless it is there."""
    target = out / name
    if target.exists():
        progress(f"{name}: kept from an earlier run")
        return
    if device == "cpu":
        torch.set_num_threads(1 if preset != "tiny" else torch.get_num_threads())
    started = time.perf_counter()
    tokenizer = build_tokenizer()
    model, figures = train_stage(name, out, PRESETS[preset], tokenizer, device, seed, progress)
    partial = out / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    figures |= {"parameters": float(num_parameters(model)), "seconds": time.perf_counter() - started}
    (partial / "report.json").write_text(json.dumps(figures, indent=2) + "\n")
    partial.rename(target)
    progress(f"{name}: finished in {figures['seconds']:.0f} s")


def train_stage(
    name: str, out: Path, preset: Preset, tokenizer: PreTrainedTokenizerFast, device: str, seed: int, progress: Progress
) -> tuple[PreTrainedModel, Figures]:
    """The trained model of one stage with its figures on validation problems."""

    def language_model(stage: str) -> LlamaForCausalLM:
        model: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(out / stage)
        model.to(device)  # type: ignore[arg-type]
        model.eval()  # type: ignore[no-untyped-call]
        return model

    workshop = stages.Workshop(preset, tokenizer, torch.device(device), seed, progress)
    if name == "base":
        return workshop.base(preset.base_shape, preset.base_fit, name)
    if name == "large":
        return workshop.base(preset.large_shape, preset.large_fit, name, LARGE_TEMPERATURE)
    if name == "prm-draft":
        return workshop.process_verifier(language_model("base"))
    if name == "prm":
        draft: LlamaForTokenClassification = LlamaForTokenClassification.from_pretrained(out / "prm-draft")
        draft.to(device)  # type: ignore[arg-type]
        return workshop.polish(draft, language_model("base"))
    if name == "reviser":
        return workshop.reviser(language_model("base"))
    return workshop.outcome_verifier(language_model("reviser"))
