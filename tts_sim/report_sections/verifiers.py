"""Verifiers: calibration, and what noise in them costs."""

from __future__ import annotations

import polars as pl

from tts_sim.budgets import powers_of_two
from tts_sim.charts.verifiers import accuracy_by_verifier, calibration_curve
from tts_sim.outcomes import combine
from tts_sim.replay import replay
from tts_sim.report import Figure, Section
from tts_sim.report_sections.material import Material, NotShown
from tts_sim.report_sections.reading import INTERVALS, curve_table, estimators, run_name
from tts_sim.spec import parse_strategy
from tts_sim.verifier_quality import calibration, verifier_quality
from tts_sim.verifiers import rounds, with_verifiers

STRATEGIES = ("sample+weighted", "sample+best", "sample+majority")
QUALITY = ["run", "verifier", "num_solutions", "accuracy", "auc", "auc_within", "auc_within_se", "brier"]


def verifiers(material: Material) -> Section:
    """Calibration of every verifier, and accuracy by budget under verifiers that are made worse."""
    scored = {kind: forest for kind, forest in material.every_verifier.items() if forest.scores}
    if not scored:
        raise NotShown("needs a verifier's scores; `tts-sim generate score` makes them.")
    seed = material.settings.seed
    bins = pl.concat(calibration(forest) for forest in scored.values())
    quality = pl.concat(verifier_quality(forest) for forest in scored.values())
    runs = ", ".join(run_name(material, forest.run_id) for forest in scored.values())
    names = ", ".join(dict.fromkeys(name for forest in scored.values() for name in forest.scores))
    read = [f"Read from {runs}; every cached solution, its last score. Verifiers: {names}."]
    figures = [
        Figure(
            "calibration",
            "Share of right solutions by tenth of the score; on the dashed diagonal a score is a probability. The size "
            "of a point says how many solutions it holds.",
            calibration_curve(_told_apart(bins)),
            quality.select([*QUALITY, "calibration_error"]).rename({"auc_within_se": "its standard error"}),
        )
    ]
    text: list[str] = []
    if "steps" in scored:
        noisy, sentence = _noise(material, seed)
        figures.append(noisy)
        read.append(sentence)
        text.append(
            "flip turns a score p into 1 − p with probability 0.2 at each node, temper divides its logit by 4 (which "
            "leaves the order of scores, and so best-of-N, as it is), random knows nothing."
        )
    return Section("Verifiers: calibration and noise", " ".join([*read, INTERVALS]), figures, text)


def _noise(material: Material, seed: int) -> tuple[Figure, str]:
    forest, judge = material.run("steps"), material.judge("steps")
    scores = forest.scores[judge]
    bounded = bool(((scores >= 0) & (scores <= 1) | (scores != scores)).all())
    source = judge if bounded else f"sigmoid({judge})"
    made = with_verifiers(
        forest, [source, f"flip({source},probability=0.2)", f"temper({source},temperature=4)", "random"], seed=seed
    )
    names = [name for name in made.scores if bounded or name != judge]
    budgets = powers_of_two(1, int(forest.root_pools().min()))
    strategies = [parse_strategy(spec) for spec in STRATEGIES]
    outcomes = combine(
        [
            replay(made, members, budgets, verifier=name, trials=material.settings.trials, seed=seed)
            for name, members in rounds(strategies, names)
        ]
    )
    curve = outcomes.curve()
    caption = "Accuracy by budget with the verifier as it is, and with worse ones; majority needs none."
    figure = Figure("accuracy-by-verifier", caption, accuracy_by_verifier(curve), curve_table(curve))
    return figure, f"Noise: {run_name(material, forest.run_id)}; {estimators(outcomes.frame)}; seed {seed}."


def _told_apart(bins: pl.DataFrame) -> pl.DataFrame:
    """Verifiers that scored several runs, by run."""
    several = pl.col("run").n_unique().over("verifier") > 1
    return bins.with_columns(
        verifier=pl.when(several).then(pl.format("{}, {}", "verifier", "run")).otherwise(pl.col("verifier"))
    )
