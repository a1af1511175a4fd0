"""The sample's README: how it was made, with which figures, and how to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cache import Cache
from generate.lab.problems import LARGE_TEMPERATURE, REVISER_TEMPERATURE, TEMPERATURE
from generate.lab.record import BEAMS, OTHER_TREES, SIZES
from generate.lab.worth import worth
from generate.settings import hardware

_NAMES = {
    "base": "base model (generator)",
    "prm-draft": "process verifier, before its last fit",
    "prm": "process verifier",
    "large": "large model",
    "reviser": "revision model",
    "orm": "outcome verifier for revisions",
}


def write_readme(cache: Cache, stages: Mapping[str, Mapping[str, Any]], out: Path, *, preset: str, seed: int) -> str:
    """Writes `out/sample/README.md` from measured figures only; returns it."""
    size = SIZES[preset]
    command = f"tts-sim generate lab --out DIR --preset {preset} --seed {seed}"
    counts = cache.frame(
        "SELECT run_id, kind, count(*) AS nodes, sum(tokens)::BIGINT AS tokens, "
        "count(*) FILTER (stop <> 'step') AS solutions FROM nodes JOIN runs USING (run_id) GROUP BY ALL ORDER BY run_id"
    )
    lines = [
        "# The shipped sample: the lab's cache",
        "",
        f"Made by `{command}` (this page too), on {hardware()}. Nothing in it was downloaded or written by hand: "
        "problems, five small models trained from scratch, and everything they said.",
        "",
        "Problems: left-to-right chains of + − × mod 1000, one operation a line; the level is the number of "
        f"operations. {len(cache.table('questions'))} test questions, held out from training by hash and chosen by a "
        "pilot whose samples were thrown away, so that they spread over the whole range of difficulty. The base "
        f"samples at temperature {TEMPERATURE}, the revision model at {REVISER_TEMPERATURE}, the large model at "
        f"{LARGE_TEMPERATURE}. "
        f"Trees support {', '.join(BEAMS)} at budgets {', '.join(map(str, size.budgets))}, and "
        f"{', '.join(OTHER_TREES)} at {', '.join(map(str, size.other_budgets))}, "
        f"for seed {seed} and {size.trials} trials; revision chains follow the staircase for "
        f"parallel × sequential = {size.longest_chain}.",
        "",
        "| run | kind | nodes | solutions | tokens |",
        "|---|---|---:|---:|---:|",
        *(
            f"| {row['run_id']} | {row['kind']} | {row['nodes']} | {row['solutions']} | {row['tokens']} |"
            for row in counts.to_dicts()
        ),
        "",
        "## What the models reached",
        "",
        "On validation problems, which are neither training nor test problems, at the same temperatures.",
        "",
        "| model | figure | value |",
        "|---|---|---|",
    ]
    for name, figures in stages.items():
        lines += [f"| {_NAMES.get(name, name)} | {key} | {_value(value)} |" for key, value in figures.items()]
    lines += [
        "",
        "## Whether it is worth analysing",
        "",
        "On its own test questions.",
        "",
        "| figure | value |",
        "|---|---|",
    ]
    lines += [f"| {key} | {_value(value)} |" for key, value in worth(cache).items()]
    lines += ["", "## Making it again", "", "```", command, "tts-sim info DIR/lab.duckdb", "```", ""]
    text = "\n".join(lines)
    (out / "sample" / "README.md").write_text(text, encoding="utf-8")
    return text


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_value(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_value(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
