"""A page of live figures beside replayed ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from cache import Cache
from generate.settings import hardware
from tts_sim.charts.theme import strategy_name


def runs_said(cache: Cache) -> str:
    """The runs of a cache with their models, temperatures and pools, in a sentence."""
    rows = cache.frame(
        "SELECT run_id, model_id, num_params, temperature, root_pool, step_pool, count(DISTINCT question_id) "
        "FROM runs LEFT JOIN models USING (model_id) JOIN nodes USING (run_id) GROUP BY ALL ORDER BY run_id"
    )
    runs = [
        f"run `{run}` ({questions} questions; model `{model}`, {size or '?'} parameters, temperature {temperature:g}; "
        f"pools {root} and {step})"
        for run, model, size, temperature, root, step, questions in rows.iter_rows()
    ]
    return f"The cache holds {' and '.join(runs)}."


def write_live_page(path: str | Path, frame: pl.DataFrame, command: Sequence[str], about: str = "") -> None:
    """Writes the rows of `compare_live` as a Markdown table in points, the command that made them, and `about` it.

    Raises ValueError if the file cannot be written.
    """
    inside = int(frame.select((pl.col("ci_low") <= 0) & (pl.col("ci_high") >= 0)).to_series().sum())
    lines = [
        "# Live runs against replays",
        "",
        "Each strategy was run anew: an empty cache, another seed of generation, one trial a question, the same models "
        "and questions; repeated runs are averaged by question. The replayed figure comes from the cache that was "
        "recorded before. Differences (live - replayed) are paired by question, with 95 % t intervals over questions, "
        "all in points of accuracy; strategies of one kind share the live generations, so that their rows are not "
        "independent.",
        "",
        f"Made by `{' '.join(command)}` on {hardware()}. {about}".rstrip(),
        "",
        "| strategy | budget | live | replayed | difference | 95 % interval | questions | replay | supported |",
        "|---|---:|---:|---:|---:|---:|---:|---|---:|",
        *(_line(row) for row in frame.to_dicts()),
        "",
        f"{inside} of {len(frame)} intervals contain 0.",
    ]
    try:
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise ValueError(f"page {path} cannot be written: {error.strerror}. Choose another place.") from None


def _line(row: dict[str, object]) -> str:
    live, replayed, difference, low, high = (
        100 * float(str(row[name])) for name in ("live", "replayed", "difference", "ci_low", "ci_high")
    )
    how = "exact" if row["method"] == "exact" else f"{row['replay_trials']} trials"
    return (
        f"| {strategy_name(str(row['strategy']))} | {row['budget']} | {live:.1f} | {replayed:.1f} | {difference:+.1f} "
        f"| {low:+.1f} to {high:+.1f} | {row['num_questions']} | {how} | {float(str(row['supported'])):.3f} |"
    )
