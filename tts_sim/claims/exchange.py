"""Claims about exchanging pretraining for test-time compute (Snell et al. §7)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from tts_sim.claims.finding import Claim, Finding, all_of, reach, sign, tried
from tts_sim.claims.material import WEIGHTED, Material
from tts_sim.costs import model_sizes, priced
from tts_sim.errors import TtsSimError
from tts_sim.exchange import ExchangeTerms
from tts_sim.exchange_tables import exchange_table
from tts_sim.greedy import greedy_outcomes
from tts_sim.model_pairs import model_pair, pair_terms, verifier_share
from tts_sim.outcomes import Outcomes

RATIOS = (0.16, 0.79, 22.0)  # of the paper's first version
NAMES = {0.16: "R = 0.16", 0.79: "R = 0.79", 22.0: "R = 22"}


def findings(material: Material) -> Iterator[Finding]:
    """Those that the cache can speak to: two models with sizes, and greedy solutions of the larger."""
    if material.steps is None or not material.steps.scores:
        return
    try:
        small, large = model_pair(material.cache, material.steps.run_id)
        rho = _rho(material)
        terms = pair_terms(small, large, convention="strict", rho=rho)
    except (TtsSimError, ValueError) as error:
        material.left_out.append(str(error))
        return
    if rho is None:
        material.left_out.append("exchange: the size of the verifier is unknown; enter models.num_params.")
        return
    rival = greedy_outcomes(material.cache, large.run)
    if len(rival.frame):
        yield from tried(little_inference, material, terms, rival)
        yield from tried(hard_or_much, material, terms, rival)


def little_inference(material: Material, terms: ExchangeTerms, rival: Outcomes) -> Finding:
    rows = [row for row in _table(material, terms, rival) if row["bin"] in (1, 2, 3) and row["R"] < 1]
    signs = [_sign(row) for row in rows]
    return Finding(
        Claim(
            "exchange, easy",
            "On easy and medium questions, or where inference is little against pretraining (R below 1), test-time "
            "compute of the small model beats a model about 14 times its size.",
            "§7, Fig. 9",
        ),
        all_of(signs),
        tuple(map(_said, rows)),
        _command(terms),
    )


def hard_or_much(material: Material, terms: ExchangeTerms, rival: Outcomes) -> Finding:
    rows = [row for row in _table(material, terms, rival) if row["bin"] in (4, 5) or row["R"] > 1]
    rows = [row for row in rows if row["bin"] is not None]
    return Finding(
        Claim(
            "exchange, hard",
            "On the hardest questions, or where inference is much against pretraining (R above 1), the larger model is "
            "the better buy.",
            "§7, Fig. 9",
        ),
        all_of([-_sign(row) for row in rows]),
        tuple(map(_said, rows)),
        _command(terms),
    )


def _rho(material: Material) -> float | None:
    assert material.steps is not None
    outcomes = material.outcomes(material.steps, [WEIGHTED], [4])
    return verifier_share(priced(outcomes, model_sizes(material.cache)))


def _table(material: Material, terms: ExchangeTerms, rival: Outcomes) -> list[dict[str, Any]]:
    rows = material.apart.outcomes.frame.filter(pl.col("strategy") == WEIGHTED)
    table = exchange_table(Outcomes(rows), rival, terms, ratios=RATIOS, levels=material.levels, seed=material.seed)
    return table.to_dicts()


def _sign(row: dict[str, Any]) -> int:
    """Who is ahead; below one sample the small model cannot answer at all, and what is at least so may be more."""
    if row["status"] == "below one sample":
        return -1
    found = sign(row)
    return 0 if found < 0 and row["bound"] else found


def _said(row: dict[str, Any]) -> str:
    where = f"level {row['bin']}, {NAMES[row['R']]} (x = {row['x']:.3g})"
    if row["difference"] is None:
        return f"{where}: {row['status']}"
    bound = "at least " if row["bound"] else ""
    return f"{where}: small − large {bound}{100 * row['difference']:+.1f} points ({reach(row)})"


def _command(terms: ExchangeTerms) -> str:
    return f"tts-sim exchange CACHE '{WEIGHTED}' --convention {terms.convention} --ratio 0.16,0.79,22"
