"""The full report of a cache: every analysis that it can speak to, and why the others are missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from tts_sim.errors import TtsSimError
from tts_sim.report import Figure, Section
from tts_sim.report_sections import accuracy, costs, exchange, policy, revisions, verifiers
from tts_sim.report_sections.material import Material, NotShown, Settings

if TYPE_CHECKING:
    from cache import Cache

SECTIONS: dict[str, Callable[[Material], Section]] = {
    "Accuracy by budget": accuracy.by_budget,
    "Accuracy by difficulty": accuracy.by_difficulty,
    "Compute-optimal search": policy.search,
    "Revisions, attempt by attempt": revisions.attempts,
    "Sequential against parallel": revisions.sequential,
    "Accuracy by ratio of sequential to parallel": revisions.ratios,
    "Compute-optimal revisions": policy.revisions,
    "FLOPs exchange with a larger model": exchange.exchange,
    "Verifiers: calibration and noise": verifiers.verifiers,
    "Costs and support": costs.costs,
}


class FullReport(NamedTuple):
    """What `report.write_report` and `report.write_charts` write."""

    title: str
    summary: list[str]
    sections: list[Section]


def full_report(
    cache: Cache, *, name: str = "", verifier: str | None = None, trials: int | None = None, seed: int = 0
) -> FullReport:
    """The sections that this cache can speak to, in the paper's order, the last says what is missing.

    The first run of steps and the first of revisions are read, each with its own verifier, or `verifier` where it has
    scored the run. `trials`: of replays; default as in `replay`.
    Raises ValueError for an unknown verifier, and NotShown, a ValueError, for a cache of which nothing can be shown.
    """
    material = Material(cache, Settings(verifier, trials, seed))
    sections: list[Section] = []
    missing: list[tuple[str, str]] = []
    for title, make in SECTIONS.items():
        try:
            sections.append(make(material))
        except (NotShown, TtsSimError, ValueError) as error:
            missing.append((title, str(error)))
    if not sections:
        raise NotShown(f"report: nothing to show. {missing[0][0]}: {missing[0][1]}")
    if missing:
        table = pl.DataFrame(missing, schema=["analysis", "why it is missing"], orient="row")
        text = ["What this cache does not speak to, and why."]
        sections.append(Section("Not shown", "", [Figure("missing", "", None, table)], text))
    runs = ", ".join(
        f"'{run.run}' ({run.kind}{f', model {run.model}' if run.model else ''})" for run in material.models.values()
    )
    held = cache.frame(
        "SELECT count(*) AS questions, count(DISTINCT dataset) AS sets, min(dataset) AS one FROM questions"
    )
    questions, sets, one = held.row(0)
    named = f" of {one}" if sets == 1 and one else ""
    summary = [
        f"{questions} questions{named}; runs {runs}.",
        *(
            f"Siblings of run '{forest.run_id}' are not i.i.d. (exchangeable is false): no figure of it is unbiased."
            for forest in material.every_verifier.values()
            if not forest.exchangeable
        ),
        "Every section says what it is read from and with what settings. Hover over a point for its figures.",
    ]
    return FullReport(f"Test-time strategies{f' on {name}' if name else ''}", summary, sections)
