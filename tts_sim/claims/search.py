"""Claims about search against a process verifier (Snell et al. §5 and its appendices)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from tts_sim.agreement import agreement
from tts_sim.claims.finding import Claim, Finding, Verdict, all_of, points, sign, tried
from tts_sim.claims.material import BEAM, LOOKAHEAD, MAJORITY, WEIGHTED, Material, name, of_level
from tts_sim.compare import compare
from tts_sim.efficiency import Efficiency, efficiency
from tts_sim.forest import Forest
from tts_sim.intervals import t_interval
from tts_sim.outcomes import Outcomes
from tts_sim.paired import paired_difference
from tts_sim.policy import FittedPolicy

MOST = 64  # the largest budget of sampling that is compared: what a single permutation holds twice is steadier
PROGRESS = 0.05  # of accuracy over one sample: less is little
ABOUT = 0.01  # of accuracy: a policy that loses less serves about as well


def findings(material: Material) -> Iterator[Finding]:
    """Those that the cache can speak to."""
    forest = material.steps
    if forest is None or not forest.scores:
        return
    yield from tried(weighting, material, forest)
    yield from tried(last_step, material, forest)
    if not material.tree_budgets:
        return
    yield from tried(beam_by_budget, material, forest)
    yield from lookahead(material, forest)
    yield from tried(beam_on_easy, material)
    yield from tried(beam_on_medium, material)
    yield from tried(hardest, material)
    yield from tried(compute_optimal, material)
    yield from tried(predicted, material)


def weighting(material: Material, forest: Forest) -> Finding:
    most = max(material.sample_budgets(forest))
    budgets = [budget for budget in (4, 16, MOST) if budget <= most]
    if not budgets:
        raise ValueError(f"votes of 4 samples and more: run {forest.run_id!r} speaks to {most}; record twice as many.")
    rows = material.difference(forest, WEIGHTED, MAJORITY, budgets)
    return Finding(
        Claim("weighted", "With a process verifier, best-of-N weighted beats majority voting.", "§5.2"),
        all_of([sign(row) for row in rows.values()]),
        tuple(points(row, f"N = {budget}") for budget, row in rows.items()),
        f"tts-sim compare CACHE '{WEIGHTED}' '{MAJORITY}' --budget {_listed(budgets)}",
    )


def last_step(material: Material, forest: Forest) -> Finding:
    budget = min(MOST, max(material.sample_budgets(forest)))
    others = ["sample+weighted(agg=min)", "sample+weighted(agg=prod)"]
    rows = {other: material.difference(forest, WEIGHTED, other, [budget])[budget] for other in others}
    return Finding(
        Claim("last-step", "The score of the last step rates a solution better than the minimum or product.", "App. E"),
        all_of([sign(row) for row in rows.values()]),
        tuple(points(row, f"last − {other[other.index('=') + 1 : -1]}, N = {budget}") for other, row in rows.items()),
        f"tts-sim compare CACHE {WEIGHTED} '{others[0]}' '{others[1]}' --budget {budget}",
    )


def beam_by_budget(material: Material, forest: Forest) -> Finding:
    budgets = material.tree_budgets
    rows = material.difference(forest, BEAM, WEIGHTED, budgets)
    first, last = sign(rows[budgets[0]]), sign(rows[budgets[-1]])
    verdict: Verdict = "does not hold"
    if first > 0 or first == 0 > last:
        verdict = "holds" if first > 0 >= last else "in part"
    elif first == last == 0:
        verdict = "cannot tell"
    return Finding(
        Claim(
            "beam", "Beam search is ahead of best-of-N weighted at small budgets, not at large ones.", "§5.2, Fig. 3"
        ),
        verdict,
        tuple(points(row, f"N = {budget}") for budget, row in rows.items()),
        f"tts-sim compare CACHE '{BEAM}' '{WEIGHTED}' --budget {_listed(budgets)}",
    )


def lookahead(material: Material, forest: Forest) -> Iterator[Finding]:
    """Only where the cache was filled for it."""
    from tts_sim.errors import TtsSimError

    budgets = [budget for budget in material.tree_budgets if budget % 4 == 0]
    try:
        rows = material.difference(forest, BEAM, LOOKAHEAD, budgets)
    except (TtsSimError, ValueError):
        return
    if all(row.get("difference") is None for row in rows.values()):
        return
    yield Finding(
        Claim("lookahead", "Lookahead search is behind beam search at equal generations.", "§5.2, Fig. 3"),
        all_of([sign(row) for row in rows.values()]),
        tuple(points(row, f"beam − lookahead, N = {budget}") for budget, row in rows.items()),
        f"tts-sim compare CACHE '{BEAM}' '{LOOKAHEAD}' --budget {_listed(budgets)}",
    )


def beam_on_easy(material: Material) -> Finding:
    budget = material.tree_budgets[-1]
    rows = _by_level(material, [1, 2], budget)
    return Finding(
        Claim(
            "over-optimisation",
            "On easy questions (levels 1 and 2) beam search with a large budget falls below best-of-N weighted.",
            "§5.3, Fig. 3",
        ),
        all_of([-sign(row) for row in rows.values()]),
        tuple(points(row, f"level {level}, N = {budget}") for level, row in rows.items()),
        f"tts-sim replay CACHE '{BEAM}' '{WEIGHTED}' --budget {budget} --by difficulty",
    )


def beam_on_medium(material: Material) -> Finding:
    budget = material.tree_budgets[-1]
    rows = _by_level(material, [3, 4], budget)
    return Finding(
        Claim("medium", "On levels 3 and 4 beam search beats best-of-N weighted.", "§5.3, Fig. 3"),
        all_of([sign(row) for row in rows.values()]),
        tuple(points(row, f"level {level}, N = {budget}") for level, row in rows.items()),
        f"tts-sim replay CACHE '{BEAM}' '{WEIGHTED}' --budget {budget} --by difficulty",
    )


def hardest(material: Material) -> Finding:
    budget = material.tree_budgets[-1]
    outcomes = of_level(material.apart.outcomes, material.levels, 5)
    one = _values(outcomes, WEIGHTED, 1)
    figures, lows, tops = [], [], []
    for spec in (BEAM, WEIGHTED):
        many = _values(outcomes, name(spec), budget).join(one, on="question_id", suffix="_one")
        pair = paired_difference(many["accuracy"].to_numpy(), many["accuracy_one"].to_numpy())
        low, high = t_interval(pair.difference, pair.se, pair.num_questions)
        lows.append(low)
        tops.append(high)
        row = {"difference": pair.difference, "ci_low": low, "ci_high": high}
        figures.append(points(row, f"{spec} − one sample, N = {budget}"))
    return Finding(
        Claim("hardest", "On the hardest questions (level 5) no search makes much progress.", "§5.3, Fig. 3"),
        "holds" if max(tops) < PROGRESS else "does not hold" if max(lows) > PROGRESS else "cannot tell",
        tuple(figures),
        f"tts-sim replay CACHE '{BEAM}' '{WEIGHTED}' --budget 1,{budget} --by difficulty",
    )


def compute_optimal(material: Material) -> Finding:
    fitted = material.search_policy("oracle")
    found = gain(fitted, material.apart.outcomes, WEIGHTED)
    return Finding(
        Claim(
            "compute-optimal search",
            "Choosing the search by difficulty reaches best-of-N weighted with up to 4 times less compute.",
            "§5.3, Fig. 4",
        ),
        saving(found),
        (said(found), *better(fitted, WEIGHTED)),
        f"tts-sim policy fit CACHE '{WEIGHTED}' '{BEAM}' --budget {_listed(material.tree_budgets)}",
    )


def predicted(material: Material) -> Finding:
    levels = material.predicted_levels
    assert levels is not None
    agreed = agreement(levels, material.levels)
    oracle, guess = material.search_policy("oracle"), material.search_policy("predicted")
    budget = material.tree_budgets[len(material.tree_budgets) // 2]
    sides = [
        policy.heldout.filter(pl.col("budget") == budget).select("question_id", "accuracy")
        for policy in (guess, oracle)
    ]
    both = sides[0].join(sides[1], on="question_id", suffix="_oracle").drop_nulls()
    pair = paired_difference(both["accuracy"].to_numpy(), both["accuracy_oracle"].to_numpy())
    precision = ", ".join(f"{share:.2f}" for share in agreed.precision)
    low, high = t_interval(pair.difference, pair.se, pair.num_questions)
    row = {"difference": pair.difference, "ci_low": low, "ci_high": high}
    return Finding(
        Claim(
            "predicted",
            "Difficulty as the verifier predicts it serves a policy about as well as oracle difficulty.",
            "§5.3, Fig. 4",
        ),
        "holds" if low > -ABOUT else "does not hold" if high < -ABOUT else "cannot tell",
        (
            points(row, f"policy with predicted − with oracle difficulty, N = {budget}"),
            f"bins agree on {100 * agreed.share:.1f} % of questions (paper: 52.8 %); precision by level {precision} "
            "(.77, .48, .41, .38, .60)",
        ),
        f"tts-sim policy fit CACHE '{WEIGHTED}' '{BEAM}' --difficulty predicted "
        f"--budget {_listed(material.tree_budgets)}",
    )


def gain(fitted: FittedPolicy, outcomes: Outcomes, baseline: str) -> Efficiency:
    """Compute that the baseline needs over that of the policy, for equal accuracy; all budgets that overlap."""
    line = fitted.heldout.select("question_id", "budget", "accuracy", "cost").drop_nulls()
    rows = outcomes.frame.filter(pl.col("strategy") == name(baseline))
    return efficiency(line, Outcomes(rows, outcomes.groups))


def saving(found: Efficiency) -> Verdict:
    """Whether the ratio is above 1, and reaches 4."""
    if found.ratio is None or found.ratio_low is None or found.ratio_high is None:
        return "cannot tell"
    if found.ratio_low <= 1:
        return "does not hold" if found.ratio_high < 1 else "cannot tell"
    return "holds" if found.ratio_high >= 4 else "in part"


def said(found: Efficiency) -> str:
    """The mean ratio in words."""
    if found.ratio is None:
        return f"compute for equal accuracy: {found.reason}"
    bound = f"{found.bound} " if found.bound else ""
    return (
        f"the baseline needs {bound}{found.ratio:.2f} times the compute for equal accuracy "
        f"({found.ratio_low:.2f} to {found.ratio_high:.2f}; mean over budgets, cross-fitted)"
    )


def better(fitted: FittedPolicy, baseline: str) -> list[str]:
    """Difference of the policy to the baseline, budget by budget."""
    rows = fitted.gains.filter(pl.col("baseline") == name(baseline)).to_dicts()
    return [points(row, f"policy − {baseline}, N = {row['budget']}") for row in rows]


def _by_level(material: Material, levels: list[int], budget: int) -> dict[int, dict[str, Any]]:
    """Beam search minus best-of-N weighted on the questions of each level."""
    rows = {}
    for level in levels:
        outcomes = of_level(material.apart.outcomes, material.levels, level)
        at = Outcomes(outcomes.frame.filter(pl.col("budget") == budget), outcomes.groups)
        rows[level] = compare(at, name(BEAM), WEIGHTED, seed=material.seed).to_dicts()[0]
    return rows


def _values(outcomes: Outcomes, strategy: str, budget: int) -> pl.DataFrame:
    here = (pl.col("strategy") == strategy) & (pl.col("budget") == budget) & pl.col("accuracy").is_not_null()
    return outcomes.frame.filter(here).select("question_id", "accuracy")


def _listed(budgets: list[int]) -> str:
    return ",".join(map(str, budgets))
