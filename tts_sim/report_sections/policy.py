"""Compute-optimal policies beside their baselines: over searches, and over ratios of revisions."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tts_sim.charts.policy import policy_by_budget, policy_choices
from tts_sim.charts.theme import strategy_name
from tts_sim.efficiency import efficiency
from tts_sim.outcomes import Outcomes
from tts_sim.pilot import by_level, charged_curve, charged_values, run_pilot
from tts_sim.policy import FittedPolicy, fit_policy
from tts_sim.policy_tables import BEST_SINGLE, CROSSFITTED, ENVELOPE, NAIVE
from tts_sim.report import Figure, Section
from tts_sim.report_sections.material import Material, NotShown
from tts_sim.report_sections.reading import NAMES, estimators, percent, points, run_name

SPLITS, FOLDS, DRAWS = 20, 5, 2000
PILOT = 4  # samples that tell the difficulty of a question where they are charged
BEST_OF_N = ("sample+weighted", "sample+best", "sample+majority")
ABOUT = (
    "A policy chooses a strategy for each level of difficulty and each budget. Cross-fitted: judged on questions that "
    "had no say in the choice; naive: on those that had, and the distance is optimism. The envelope takes the best of "
    "each question in hindsight: a bound, not a policy."
)


def search(material: Material) -> Section:
    """The policy over sampling and tree searches, by oracle and by predicted difficulty."""
    forest = material.run("steps")
    material.judge("steps")
    frame = material.apart.outcomes.frame
    frame = frame.filter((pl.col("run") == forest.run_id) & ~pl.col("strategy").str.ends_with("+oracle"))
    baselines = [spec for spec in BEST_OF_N if spec in frame["strategy"]][:2]
    return _section(material, "Compute-optimal search", "policy", frame, baselines, "best-of-N", charge=True)


def revisions(material: Material) -> Section:
    """The policy over ratios of sequential to parallel revisions; difficulty is that of the run of steps."""
    frame = material.revisions.frame.filter(pl.col("strategy").str.ends_with("+weighted"))
    if frame["strategy"].n_unique() < 2:
        frame = material.revisions.frame.filter(pl.col("strategy").str.ends_with("+majority"))
    if frame["strategy"].n_unique() < 2:
        raise NotShown("needs chains of two attempts and more, to have ratios to choose from.")
    selection = frame["strategy"][0].rpartition("+")[2]
    baselines = [f"revise(sequential=1)+{selection}"]
    return _section(material, "Compute-optimal revisions", "revision-policy", frame, baselines, "parallel attempts")


def choices_by_level(section: Section) -> pl.DataFrame:
    """What a section's policy by oracle difficulty chooses: a row a level, a column every other budget."""
    table = next(figure.table for figure in section.figures if figure.name.endswith("-choices-oracle"))
    assert table is not None
    whole = pl.col("generations") == pl.col("budget")
    cells = table.filter(pl.col("budget").is_in(table["budget"].unique().sort(descending=True)[::2].implode()))
    cells = cells.with_columns(
        cell=pl.when(whole).then("strategy").otherwise(pl.format("{} at {}", "strategy", "generations"))
    )
    return cells.sort("level", "budget").pivot("budget", index="level", values="cell", maintain_order=True)


def verdicts(section: Section) -> Sequence[str]:
    """The sentences of a section that say what its policy gains and saves."""
    return section.text[:-1]


def _charged(material: Material, outcomes: Outcomes, free: FittedPolicy, budgets: Sequence[int]) -> pl.DataFrame:
    """The policy by predicted difficulty that pays for the samples that tell it: by mean cost, cross-fitted.

    Bins are those of all questions, which know no right answer; the choice for a question is that of training folds
    without it.
    """
    seed = material.settings.seed
    budgets = [budget for budget in budgets if budget >= PILOT]
    assert material.apart.predicted is not None
    fixed = fit_policy(
        outcomes, material.apart.predicted, budgets, seed=seed, kind="predicted", folds=FOLDS, splits=SPLITS,
        bins=free.policy.bins,
    )  # fmt: skip
    sampled = {
        spec: rows["budget"].unique().sort().to_list()
        for (spec,), rows in outcomes.frame.group_by("strategy", maintain_order=True)
    }
    pilot = run_pilot(
        material.apart.roles, list(sampled), sampled, samples=PILOT, verifier=material.judge("steps"),
        trials=material.settings.trials, seed=seed,
    )  # fmt: skip
    frame = by_level(pilot, free.policy.bins.edges, outcomes)
    choices = fixed.picks.join(fixed.folds, on=["split", "fold"]).drop("fold")
    return charged_curve(charged_values(frame, choices))


def _section(
    material: Material,
    title: str,
    name: str,
    frame: pl.DataFrame,
    baselines: Sequence[str],
    against: str,
    *,
    charge: bool = False,
) -> Section:
    outcomes = Outcomes(frame, material.apart.outcomes.groups)
    if frame["strategy"].n_unique() < 2:
        raise NotShown("needs two strategies to choose from; record trees or a verifier's scores.")
    kinds = {"oracle": material.apart.oracle} | (
        {"predicted": material.apart.predicted} if material.apart.predicted is not None else {}
    )
    budgets = _budgets(frame)
    seed = material.settings.seed
    fitted = {
        kind: fit_policy(outcomes, values, budgets, seed=seed, kind=kind, folds=FOLDS, splits=SPLITS)
        for kind, values in kinds.items()
    }
    shown = [CROSSFITTED, NAIVE, BEST_SINGLE, ENVELOPE, *baselines]
    curves = pl.concat(one.curves for one in fitted.values()).filter(pl.col("line").is_in(shown))
    first = next(iter(fitted.values()))
    figures = [
        Figure(
            f"{name}-by-budget",
            f"Accuracy of the policy by budget, free of charge for telling difficulty, beside {against}.",
            policy_by_budget(curves),
            _table(curves, "line"),
        )
    ]
    if charge and "predicted" in fitted:
        paid = _charged(material, outcomes, fitted["predicted"], budgets)
        beside = curves.filter(pl.col("line").is_in([CROSSFITTED, *baselines[:1]]), difficulty="predicted")
        both = pl.concat([paid, beside], how="diagonal_relaxed")
        figures.append(
            Figure(
                f"{name}-charged",
                f"By mean realised cost: the policy that pays for the {PILOT} samples that tell predicted difficulty, "
                "and goes on from them where it samples in parallel; the free one; and one fixed strategy.",
                policy_by_budget(both, x="cost"),
                _table(paid, "line"),
            )
        )
    figures += [
        Figure(
            f"{name}-choices-{kind}",
            f"What it chooses by {kind} difficulty: strategy by level and budget. Figures in the tooltips are "
            "cross-fitted, of the level's own questions.",
            policy_choices(one.choices),
            _table(one.choices, "strategy"),
        )
        for kind, one in fitted.items()
    ]
    gains = pl.concat(one.gains.with_columns(difficulty=pl.lit(kind)) for kind, one in fitted.items())
    gains = gains.filter(pl.col("baseline").is_in([BEST_SINGLE, *baselines]))
    figures.append(
        Figure(f"{name}-gains", "Policy less baseline, paired by question.", None, _table(gains, "baseline"))
    )
    draws = max(len(numbers) for numbers in material.apart.roles.draws.values())
    runs = ", ".join(run_name(material, run) for run in frame["run"].unique(maintain_order=True))
    judges = ", ".join(frame["verifier"].drop_nulls().unique(maintain_order=True)) or "none"
    read = (
        f"Read from {runs}; {first.policy.fit['num_questions']} questions; verifier: {judges}. Difficulty: share of "
        f"right ones (oracle) or mean score of the verifier (predicted) of up to {draws} samples a question that "
        f"evaluate nothing here, in {first.policy.bins.num_bins} quantile bins fitted on the training folds; not "
        f"charged. {FOLDS} folds, {SPLITS} splits, seed {seed}. {estimators(frame)}. Bands are 95 % t intervals "
        "over questions."
    )
    baseline = Outcomes(frame.filter(pl.col("strategy") == baselines[0]))
    text = [*_said(fitted, baselines, budgets), *_saved(fitted, baseline, seed), ABOUT]
    return Section(title, read, figures, text)


def _budgets(frame: pl.DataFrame) -> list[int]:
    """The budgets of the cheapest and dearest strategy, where at least two strategies can be had."""
    firsts = frame.group_by("strategy").agg(pl.col("budget").min())["budget"].sort()
    least = int(firsts[1])
    return [int(budget) for budget in frame["budget"].unique().sort() if budget >= least]


def _said(fitted: dict[str, FittedPolicy], baselines: Sequence[str], budgets: Sequence[int]) -> list[str]:
    """Gain over the first baseline at the middle budget, by each difficulty."""
    at = max((budget for budget in budgets if budget <= 16), default=budgets[0])
    sentences = []
    for kind, one in fitted.items():
        value = one.curves.filter(line=CROSSFITTED, budget=at)
        gain = one.gains.filter(pl.col("baseline").is_in(baselines[:1]), pl.col("budget") == at)
        if value.is_empty() or gain.is_empty():
            continue
        row = gain.row(0, named=True)
        reach = f" (95 % from {points(row['ci_low'])} to {points(row['ci_high'])})" if row["se"] is not None else ""
        sentences.append(
            f"By {kind} difficulty the policy reaches {percent(value['accuracy'][0])} at budget {at}, "
            f"{points(row['difference'])}{reach} against {strategy_name(row['baseline'])}."
        )
    return [" ".join(sentences)] if sentences else []


def _saved(fitted: dict[str, FittedPolicy], baseline: Outcomes, seed: int) -> list[str]:
    """How many times the budget the baseline needs for the same accuracy, by each difficulty."""
    sentences = []
    for kind, one in fitted.items():
        found = efficiency(one.heldout, baseline, seed=seed, draws=DRAWS)
        name = strategy_name(baseline.frame["strategy"][0])
        if found.ratio is None:
            sentences.append(f"By {kind} difficulty no saving can be read off ({found.reason}).")
            continue
        sentences.append(
            f"By {kind} difficulty {name} needs {found.bound or ''}{found.ratio:.2f} times the compute for the same "
            f"accuracy (95 % from {found.ratio_low:.2f} to {found.ratio_high:.2f}, {DRAWS} bootstrap draws; geometric "
            f"mean over {len(found.budgets)} budgets)."
        )
    return [" ".join(sentences)]


def _table(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    named = frame.with_columns(pl.col(name).map_elements(strategy_name, return_dtype=pl.String))
    return named.rename({column: label for column, label in NAMES.items() if column in named.columns})
