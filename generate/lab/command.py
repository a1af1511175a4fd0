"""`tts-sim generate lab`: models, cache, the Parquet of a sample, and a report in words."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from cache import open_cache
from cache.exporters.parquet import export_parquet
from generate.lab.pipeline import train_lab
from generate.lab.readme import write_readme
from generate.lab.record import record_lab
from generate.recorder import Progress


def run_lab(out: Path, *, preset: str, device: str, seed: int, progress: Progress) -> str:
    """Trains, records and exports into `out`; what is there already is kept. Returns what each model reached.

    `out` then holds base, prm, large, reviser and orm (models with their report.json), lab.duckdb, and sample/ (the
    cache as Parquet with its README).
    """
    import torch

    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device

    def say(line: str) -> None:
        progress(line, 1, 1)

    report = train_lab(out, preset=preset, device=where, seed=seed, progress=say)
    started = time.perf_counter()
    path = record_lab(out, preset=preset, device=where, seed=seed, progress=progress)
    record_seconds(out, time.perf_counter() - started)
    with open_cache(path) as cache:
        export_parquet(cache, out / "sample")
        text = write_readme(cache, report.stages, out, preset=preset, seed=seed)
    return text


def record_seconds(out: Path, seconds: float) -> None:
    """Adds the time of this call to `out/recording.json`: a recording may take several."""
    file = out / "recording.json"
    before: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {"seconds": 0.0}
    file.write_text(json.dumps({"seconds": before["seconds"] + seconds}))
