"""Claims about the verifier itself (Snell et al. App. D, F and K)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import polars as pl

from tts_sim.claims.finding import Claim, Finding, Verdict, all_of, points, sign, tried
from tts_sim.claims.material import MAJORITY, WEIGHTED, Material
from tts_sim.compare import compare
from tts_sim.forest import Forest
from tts_sim.outcomes import combine
from tts_sim.verifier_quality import verifier_quality
from tts_sim.verifiers import parse_verifier

CLOSE = 0.01  # of accuracy: nearer is the same, for a verifier that knows nothing
BUDGETS = (16, 64)


def findings(material: Material) -> Iterator[Finding]:
    """Those that the cache can speak to."""
    forest = material.steps
    if forest is None or not forest.scores or int(forest.root_pools().min()) // 2 < max(BUDGETS):
        return
    yield from tried(by_level, material, forest)
    yield from tried(random, material, forest)
    yield from tried(noisy, material, forest)


def by_level(material: Material, forest: Forest) -> Finding:
    table = verifier_quality(forest, [forest.default_verifier()], by="difficulty")
    rows = {row["difficulty"]: row for row in table.to_dicts() if row["difficulty"] is not None}
    accuracies = [row["accuracy"] for _, row in sorted(rows.items())]
    falling = all(later <= before for before, later in pairwise(accuracies))
    verdict: Verdict = "holds" if falling else "in part" if accuracies[-1] < accuracies[0] else "does not hold"
    return Finding(
        Claim(
            "verifier by level",
            "The verifier is less accurate the harder the questions (99.7, 97.8, 94.1, 86.3, 82.4 %).",
            "OpenReview thread",
        ),
        verdict,
        (
            "accuracy by level: " + ", ".join(f"{100 * share:.1f} %" for share in accuracies),
            "AUC within questions: " + ", ".join(_share(row["auc_within"]) for _, row in sorted(rows.items())),
        ),
        "tts-sim verifiers CACHE --by difficulty",
    )


def random(material: Material, forest: Forest) -> Finding:
    rows = _against_majority(material, forest, "random")
    last = rows[max(BUDGETS)]
    close = last["ci_low"] > -CLOSE and last["ci_high"] < CLOSE
    return Finding(
        Claim("random verifier", "Votes weighted by a verifier that knows nothing go to majority voting.", "App. K"),
        "holds" if close else "cannot tell" if last["ci_low"] < CLOSE and last["ci_high"] > -CLOSE else "does not hold",
        tuple(points(row, f"weighted by random − majority, N = {budget}") for budget, row in rows.items()),
        f"tts-sim replay CACHE '{WEIGHTED}' '{MAJORITY}' --verifier random --budget {','.join(map(str, BUDGETS))}",
    )


def noisy(material: Material, forest: Forest) -> Finding:
    judge = str(parse_verifier(f"flip({forest.default_verifier()},probability=0.2)", forest.scores))
    rows = _against_majority(material, forest, judge)
    return Finding(
        Claim(
            "noisy verifier", "A verifier with one score in five flipped still helps over majority voting.", "App. K"
        ),
        all_of([sign(row) for row in rows.values()]),
        tuple(points(row, f"weighted by {judge} − majority, N = {budget}") for budget, row in rows.items()),
        f"tts-sim replay CACHE '{WEIGHTED}' '{MAJORITY}' --verifier '{judge}' --budget {','.join(map(str, BUDGETS))}",
    )


def _against_majority(material: Material, forest: Forest, judge: str) -> dict[int, dict[str, Any]]:
    """Weighted voting with the verifier minus majority voting, by budget."""
    both = combine(
        [
            material.outcomes(forest, [WEIGHTED], BUDGETS, verifier=judge),
            material.outcomes(forest, [MAJORITY], BUDGETS),
        ]
    )
    return {row["budget"]: row for row in compare(both, WEIGHTED, MAJORITY, seed=material.seed).to_dicts()}


def _share(value: float | None) -> str:
    return "–" if value is None or pl.Series([value]).is_nan()[0] else f"{value:.2f}"
