"""The FLOPs exchange: samples of the small model against one greedy answer of a larger one."""

from __future__ import annotations

import math
from typing import NamedTuple

import polars as pl

from tts_sim.charts.break_even import break_even_ratios
from tts_sim.charts.exchange import exchange_curves, exchange_differences
from tts_sim.charts.theme import strategy_name
from tts_sim.exchange import WHO_PAYS, Convention, ExchangeTerms
from tts_sim.exchange_tables import break_even, exchange_table
from tts_sim.greedy import greedy_outcomes
from tts_sim.load import load_forest
from tts_sim.model_pairs import RunModel, model_pair, pair_terms, size_ratio, verifier_share
from tts_sim.outcomes import Outcomes
from tts_sim.replay import replay
from tts_sim.report import Figure, Section
from tts_sim.report_sections.material import Material, NotShown
from tts_sim.report_sections.reading import NAMES, estimators, run_name

RATIOS = (0.16, 0.79, 22.0)  # Snell et al. 2024 (arXiv:2408.03314v1) §7
DRAWS = 2000
CURVES = 2  # conventions whose curves are drawn; they differ in where the stars stand


class Line(NamedTuple):
    """A strategy of the small model under a convention."""

    label: str
    outcomes: Outcomes
    terms: ExchangeTerms


def exchange(material: Material) -> Section:
    """The small model's curves with the larger model's stars, differences at each R, and break-even by level."""
    small = material.models[material.run("steps").run_id]
    try:
        _, large = model_pair(material.cache, small.run)
        size_ratio(small, large)
    except ValueError as error:
        raise NotShown(str(error)) from None
    rival, how = _rival(material, large)
    lines = _lines(material, small, large)
    levels = material.apart.outcomes.groups["difficulty"]
    seed = material.settings.seed
    tables, evens = [], []
    for line in lines:
        label = pl.lit(line.label).alias("convention")
        table = exchange_table(line.outcomes, rival, line.terms, ratios=RATIOS, levels=levels, seed=seed, draws=DRAWS)
        tables.append(table.with_columns(label))
        evens.append(
            break_even(line.outcomes, rival, line.terms, levels=levels, seed=seed, draws=DRAWS).with_columns(label)
        )
    table, even = pl.concat(tables), pl.concat(evens)
    figures = [
        Figure(
            f"exchange-{number}",
            f"{line.label}: the small model by its samples x, and the larger model's greedy answer (stars) where x "
            "samples cost as much in FLOPs, training included. A star below the line of its colour: test-time compute "
            "is the better buy. Hollow stars: x lies outside the cache.",
            exchange_curves(Outcomes(line.outcomes.frame, {"difficulty": levels}), tables[number - 1]),
        )
        for number, line in enumerate(lines[:CURVES], 1)
    ]
    figures += [
        Figure(
            "exchange-differences",
            "Small less larger model at equal FLOPs, with 95 % intervals; hollow: read at the last cached budget.",
            exchange_differences(table),
            _table(table.drop("x_read", "boot_low", "boot_high", "seed")),
        ),
        Figure(
            "break-even",
            "R up to which test-time compute of the small model is the better buy, with 95 % bootstrap intervals.",
            break_even_ratios(even),
            _table(even.drop("seed")),
        ),
    ]
    judges = ", ".join(sorted({str(line.outcomes.frame["verifier"][0] or "none") for line in lines}))
    terms = "; ".join(
        f"{line.label}: M = {line.terms.M:.3g}, rho = {line.terms.rho:.3g}, {WHO_PAYS[line.terms.convention]}"
        for line in lines
    )
    read = (
        f"Read from {run_name(material, small.run)} and {run_name(material, large.run)} ({how}), questions that both "
        f"have; verifier: {judges}. R is inference over pretraining tokens; {terms}; finetuning is not charged, both "
        "models are charged for as many pretraining tokens, and a sample is as long as an answer. Levels are measured "
        f"on samples that evaluate nothing here. {estimators(pl.concat(line.outcomes.frame for line in lines))}; seed "
        f"{seed}. 95 % intervals: of differences t over questions, paired; of R* bootstrap ({DRAWS} draws)."
    )
    return Section("FLOPs exchange with a larger model", read, figures, [_verdict(even, lines[0].label)])


def _lines(material: Material, small: RunModel, large: RunModel) -> list[Line]:
    """Weighted best-of-N under every convention that can be reckoned; majority under `strict` where it cannot be."""
    frame = material.apart.outcomes.frame
    found: list[Line] = []

    def add(spec: str, convention: Convention, rho: float | None) -> None:
        mine = Outcomes(frame.filter((pl.col("strategy") == spec) & (pl.col("run") == small.run)))
        v_large = 0.0 if convention == "strict" else None
        terms = pair_terms(small, large, convention=convention, rho=rho, v_large=v_large)
        found.append(Line(f"{convention}, {strategy_name(spec)}", mine, terms))

    scored = "sample+weighted" in frame["strategy"]
    mine = frame.filter((pl.col("strategy") == "sample+weighted") & (pl.col("run") == small.run))
    rho = verifier_share(Outcomes(mine)) if scored else None
    if rho is None:
        add("sample+majority", "strict", 0.0)
    else:
        add("sample+weighted", "strict", rho)
    if scored:
        add("sample+weighted", "snell-v1", None)
        add("sample+weighted", "snell-iclr", None)
    return found


def _rival(material: Material, large: RunModel) -> tuple[Outcomes, str]:
    """The larger model's greedy answers, or the mean of its samples where there are none."""
    greedy = greedy_outcomes(material.cache, large.run)
    if len(greedy.frame):
        return greedy, "greedy answers"
    forest = load_forest(material.cache, large.run)
    return replay(forest, ["sample+oracle"], [1], seed=material.settings.seed), "mean of its samples, none is greedy"


def _verdict(even: pl.DataFrame, label: str) -> str:
    """The break-even ratios of one convention, by level."""
    said = []
    for row in even.filter(pl.col("convention") == label).iter_rows(named=True):
        where = "over all questions" if row["bin"] is None else f"at level {row['bin']}"
        reach = "" if row["r_low"] is None else f" ({_ratio(row['r_low'])} to {_ratio(row['r_high'])})"
        if row["r_star"] == 0:
            said.append(f"{where} never within the cache{reach}")
        elif math.isinf(row["r_star"]):
            said.append(f"{where} at every R{reach}")
        else:
            said.append(f"{where} up to R = {row['r_star']:.3g}{reach}")
    return (
        f"Test-time compute of the small model is the better buy ({label}; in brackets R, 95 %): {'; '.join(said)}. "
        "Level 1 is easiest."
    )


def _ratio(ratio: float) -> str:
    return "∞" if math.isinf(ratio) else f"{ratio:.3g}"


def _table(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.rename({column: label for column, label in NAMES.items() if column in frame.columns})
