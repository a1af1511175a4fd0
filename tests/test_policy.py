"""Policies: the exact case C21, what may be chosen, what is reported beside it, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tests.tables import outcomes
from tts_sim import fit_policy, policy_curves
from tts_sim.bins import Bins
from tts_sim.crossfit import split_folds
from tts_sim.intervals import t_interval
from tts_sim.outcomes import Outcomes, combine
from tts_sim.policy import BEST_SINGLE, CROSSFITTED, ENVELOPE, NAIVE, FittedPolicy
from tts_sim.policy_apply import apply_policy

C21 = {
    ("s1", 4): [0.9, 0.8, 0.7, 0.9, 0.1, 0.2, 0.0, 0.3],
    ("s2", 8): [0.8, 1.0, 0.6, 0.7, 0.3, 0.1, 0.2, 0.4],
    ("s3", 4): [0.9, 0.9, 0.6, 0.9, 0.0, 0.5, 0.1, 0.1],
}
EIGHT = [f"q{i:05}" for i in range(8)]
TWO_BINS = Bins("absolute", (0.5,))


def c21(**more: Any) -> FittedPolicy:
    difficulty = {question: 0.9 if i < 4 else 0.1 for i, question in enumerate(EIGHT)}
    given: dict[str, Any] = {"bins": TWO_BINS, "n_min": 1, "seed": 0}
    given["fold_of"] = {question: i // 2 % 2 for i, question in enumerate(EIGHT)}
    return fit_policy(outcomes(C21), difficulty, [8], **(given | more))


def line(fitted: FittedPolicy, name: str, budget: float = 8) -> dict[str, Any]:
    return fitted.curves.row(by_predicate=(pl.col("line") == name) & (pl.col("budget") == budget), named=True)


def test_c21() -> None:
    fitted = c21()
    picks = {(row["fold"], row["level"]): row["strategy"] for row in fitted.picks.to_dicts()}
    assert picks == {(0, 1): "s1", (0, 2): "s2", (1, 1): "s3", (1, 2): "s3"}
    held_out = [0.9, 0.8, 0.6, 0.9, 0.3, 0.1, 0.1, 0.1]
    assert fitted.heldout["accuracy"].to_list() == pytest.approx(held_out, abs=1e-12)
    policy, naive = line(fitted, CROSSFITTED), line(fitted, NAIVE)
    assert policy["accuracy"] == pytest.approx(19 / 40, abs=1e-12) and policy["cost"] == 5.0
    assert naive["accuracy"] == pytest.approx(43 / 80, abs=1e-12)
    assert naive["accuracy"] - policy["accuracy"] == pytest.approx(1 / 16, abs=1e-12)
    statics = [line(fitted, name)["accuracy"] for name in ("s1", "s2", "s3")]
    assert statics == pytest.approx([39 / 80, 41 / 80, 1 / 2], abs=1e-12)
    se = float(np.std(held_out, ddof=1)) / 8**0.5
    assert (policy["se"], policy["ci_low"], policy["ci_high"]) == pytest.approx((se, *t_interval(19 / 40, se, 8)))
    assert line(fitted, ENVELOPE)["accuracy"] == pytest.approx((0.9 + 1 + 0.7 + 0.9 + 0.3 + 0.5 + 0.2 + 0.4) / 8)
    assert {row["without_value"] for row in fitted.curves.to_dicts()} == {0} and fitted.left_out == 0
    gain = fitted.gains.row(by_predicate=pl.col("baseline") == "s2", named=True)
    paired = np.subtract(held_out, C21["s2", 8])
    assert gain["difference"] == pytest.approx(paired.mean()) and gain["num_questions"] == 8
    assert gain["se"] == pytest.approx(paired.std(ddof=1) / 8**0.5)


def test_the_choice_that_is_shipped_is_of_all_questions() -> None:
    fitted = c21()
    rows = fitted.choices.select("level", "strategy", "generations", "naive", "agreed", "pooled").rows()
    assert rows == [(1, "s1", 4, pytest.approx(0.825), 0.5, False), (2, "s2", 8, pytest.approx(0.25), 0.5, False)]
    assert fitted.choices["accuracy"].to_list() == pytest.approx([0.8, 0.15])
    assert fitted.levels == {question: 1 if i < 4 else 2 for i, question in enumerate(EIGHT)}
    assert fitted.policy.at(2, 8).strategy == "s2" and fitted.policy.at(1, 8).accuracy == pytest.approx(0.8)


def test_small_levels_choose_over_all() -> None:
    fitted = c21(n_min=5)
    assert fitted.choices["pooled"].to_list() == [True, True]
    assert fitted.choices["strategy"].to_list() == ["s2", "s2"]  # the best overall
    assert line(fitted, CROSSFITTED)["accuracy"] == line(fitted, BEST_SINGLE)["accuracy"]
    assert c21(n_min=4).choices["pooled"].to_list() == [False, False]


def test_ties_go_to_the_cheaper_then_by_name() -> None:
    same = [0.5] * 8
    difficulty = dict.fromkeys(EIGHT, 0.5)
    one_bin = Bins("absolute", ())

    def chosen(values: Any, **more: Any) -> tuple[str, int]:
        fitted = fit_policy(outcomes(values), difficulty, [8], seed=0, bins=one_bin, folds=2, splits=1, **more)
        return fitted.choices.select("strategy", "generations").row(0)  # type: ignore[no-any-return]

    assert chosen({("b", 4): same, ("a", 8): same}) == ("b", 4)
    assert chosen({("b", 4): same, ("a", 4): same}) == ("a", 4)
    assert chosen({("a", 8): same, ("a", 2): same, ("a", 4): same}) == ("a", 2)
    assert chosen({("a", 8): same, ("a", 2): same, ("a", 4): same}, sizes="largest") == ("a", 8)
    almost = [0.6, 0.4, 0.6, 0.5, 0.6, 0.4, 0.6, 0.5]
    assert chosen({("a", 8): almost, ("b", 2): same}) == ("a", 8)
    assert chosen({("a", 8): almost, ("b", 2): same}, one_se=True) == ("b", 2)  # .025 above with an error of .031
    clearly = [0.6, 0.5] * 4
    assert chosen({("a", 8): clearly, ("b", 2): same}, one_se=True) == ("a", 8)  # .05 above, .019


def test_limits_hold_for_the_mean_cost_of_a_level() -> None:
    """The better strategy costs 20 tokens on easy questions and 60 on hard ones."""
    better, worse = [1.0] * 8, [0.0] * 8
    made = outcomes(
        {("better", 4): better, ("worse", 4): worse},
        tokens={("better", 4): [10] * 2 + [30] * 2 + [60] * 4, ("worse", 4): 5},
    )
    difficulty = {question: 0.9 if i < 4 else 0.1 for i, question in enumerate(EIGHT)}
    fitted = fit_policy(made, difficulty, [20, 60], seed=0, unit="tokens", bins=TWO_BINS, n_min=1, folds=2, splits=4)
    rows = fitted.choices.select("level", "budget", "strategy", "cost").rows()
    assert rows == [(1, 20, "better", 20.0), (1, 60, "better", 20.0), (2, 20, "worse", 5.0), (2, 60, "better", 60.0)]
    assert set(fitted.curves["unit"]) == {"tokens"}
    assert line(fitted, CROSSFITTED, 60)["cost"] == 40.0
    bound, naive = line(fitted, ENVELOPE, 20), line(fitted, NAIVE, 20)
    assert bound["accuracy"] == naive["accuracy"] == 0.5, "what an easy level can pay for is in the bound"
    with pytest.raises(ValueError, match=r"budget 4 tokens: below every strategy at level 1; the cheapest is worse at"):
        fit_policy(made, difficulty, [4], seed=0, unit="tokens", bins=TWO_BINS, n_min=1, folds=2)


def test_a_training_set_without_a_candidate_takes_the_cheapest() -> None:
    """Two of four questions cost 10, the others 30: one fold's training mean is above the limit of 20."""
    made = outcomes({("a", 4): [1.0] * 4}, tokens={("a", 4): [10, 10, 30, 30]})
    fold_of = {f"q{i:05}": i // 2 for i in range(4)}
    fitted = fit_policy(
        made, dict.fromkeys(fold_of, 0.5), [20], seed=0, unit="tokens", bins=Bins("absolute", ()), fold_of=fold_of
    )
    assert line(fitted, CROSSFITTED, 20)["num_questions"] == 4 and line(fitted, CROSSFITTED, 20)["cost"] == 20


def test_support() -> None:
    """`best` is unsupported on hard questions: no candidate there. One question has no value under it at all."""
    share = [1.0] * 6 + [0.0, 0.5]
    made = outcomes({("best", 8): [0.9] * 8, ("other", 8): [0.2] * 8}, supported={("best", 8): share})
    difficulty = {question: 0.9 if i < 4 else 0.1 for i, question in enumerate(EIGHT)}
    fitted = fit_policy(made, difficulty, [8], seed=0, bins=TWO_BINS, n_min=1, folds=2, splits=3)
    assert fitted.choices["strategy"].to_list() == ["best", "other"]  # (1 + 1 + 0 + .5) / 4 < .9
    assert line(fitted, CROSSFITTED)["without_value"] == 0
    many = outcomes({("best", 8): [0.9] * 30}, supported={("best", 8): [1.0] * 28 + [0.0, 0.5]})
    names = [f"q{i:05}" for i in range(30)]
    one = fit_policy(many, dict.fromkeys(names, 0.5), [8], seed=0, bins=Bins("absolute", ()), folds=3, splits=2)
    row = line(one, CROSSFITTED)
    assert (row["num_questions"], row["without_value"]) == (29, 1)  # half supported: it counts with what there is
    assert row["accuracy"] == pytest.approx(0.9)
    assert one.heldout.filter(question_id="q00028")["accuracy"].to_list() == [None]
    with pytest.raises(ValueError, match=r"level 2: no strategy is supported on \.9 of its trials"):
        fit_policy(
            outcomes({("best", 8): [0.9] * 8}, supported={("best", 8): share}), difficulty, [8], seed=0, bins=TWO_BINS,
            n_min=1, folds=2,
        )  # fmt: skip


def random_outcomes(seed: int, count: int = 60) -> tuple[Outcomes, dict[str, float]]:
    random = np.random.default_rng(seed)
    ease = random.random(count)
    values = {
        (name, budget): np.clip(ease + gain * budget + random.normal(0, 0.1, count), 0, 1)
        for name, gain in (("a", 0.01), ("b", -0.01), ("c", 0.0))
        for budget in (1, 2, 4)
    }
    return outcomes(values), {f"q{i:05}": float(value) for i, value in enumerate(ease)}


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from(["value", "rank"]), st.sampled_from(["any", "largest"]))
def test_laws(seed: int, rule: Any, sizes: Any) -> None:
    made, difficulty = random_outcomes(seed)
    fitted = fit_policy(
        made, difficulty, [1, 2, 4], seed=seed, num_bins=3, rule=rule, sizes=sizes, n_min=5, splits=2, folds=3
    )
    for budget in (1, 2, 4):
        naive, envelope = line(fitted, NAIVE, budget), line(fitted, ENVELOPE, budget)
        for name in ("a", "b", "c"):
            assert naive["accuracy"] >= line(fitted, name, budget)["accuracy"] - 1e-9
        for name in (CROSSFITTED, NAIVE, BEST_SINGLE):
            assert envelope["accuracy"] >= line(fitted, name, budget)["accuracy"] - 1e-9
            assert line(fitted, name, budget)["cost"] <= budget + 1e-9
    per_level = fitted.choices.filter(budget=4)
    overall = (per_level["accuracy"] * per_level["num_questions"]).sum() / 60
    assert overall == pytest.approx(line(fitted, CROSSFITTED, 4)["accuracy"])
    order = np.random.default_rng(seed).permutation(len(made.frame)).tolist()
    shuffled = dict(reversed(difficulty.items()))
    again = fit_policy(
        Outcomes(made.frame[order]), shuffled, [4, 2, 1], seed=seed, num_bins=3, rule=rule, sizes=sizes, n_min=5,
        splits=2, folds=3,
    )  # fmt: skip
    assert_frame_equal(fitted.curves, again.curves)
    assert again.policy == fitted.policy


def test_folds() -> None:
    names = [f"q{i}" for i in range(53)]
    levels = np.arange(53) % 5 + 1
    folds = split_folds(names, levels, folds=5, splits=7, seed=3)
    assert folds.shape == (7, 53)
    for split in folds:
        for level in range(1, 6):
            counts = np.bincount(split[levels == level], minlength=5)
            assert counts.max() - counts.min() <= 1  # spread evenly within a level
        assert np.ptp(np.bincount(split, minlength=5)) <= 1
    assert len({tuple(split) for split in folds}) == 7
    backwards = split_folds(names[::-1], levels[::-1], folds=5, splits=7, seed=3)
    assert (backwards[:, ::-1] == folds).all()
    assert (split_folds(names, levels, folds=5, splits=7, seed=4) != folds).any()


def test_folds_and_picks_say_what_each_question_got() -> None:
    made, difficulty = random_outcomes(9)
    bins = Bins("value", (0.3, 0.6))
    fitted = fit_policy(made, difficulty, [2, 4], seed=0, bins=bins, n_min=5, folds=3, splits=4)
    levels = pl.DataFrame({"question_id": list(fitted.levels), "level": list(fitted.levels.values())})
    values = made.frame.select("question_id", "strategy", pl.col("budget").alias("generations"), "accuracy")
    got = (
        fitted.folds.join(levels, on="question_id")
        .join(fitted.picks, on=["split", "fold", "level"])
        .join(values, on=["question_id", "strategy", "generations"])
        .group_by("question_id", "budget")
        .agg(pl.len(), pl.col("accuracy").mean())
        .sort("question_id", "budget")
    )
    assert got["len"].to_list() == [4] * 120
    assert_frame_equal(got.select("accuracy"), fitted.heldout.sort("question_id", "budget").select("accuracy"))


def test_the_bootstrap_of_the_whole_pipeline() -> None:
    made, difficulty = random_outcomes(5, 200)
    fixed: dict[str, Any] = {"seed": 1, "num_bins": 3, "splits": 5}
    plain = fit_policy(made, difficulty, [1, 4], **fixed)
    drawn = fit_policy(made, difficulty, [1, 4], bootstrap=300, **fixed)
    others = pl.col("line") != CROSSFITTED
    assert_frame_equal(plain.curves.filter(others), drawn.curves.filter(others))
    for budget in (1, 4):
        t, b = line(plain, CROSSFITTED, budget), line(drawn, CROSSFITTED, budget)
        assert t["accuracy"] == b["accuracy"]
        assert 0.8 * t["se"] < b["se"] < 1.3 * t["se"]
        assert b["ci_low"] < b["accuracy"] < b["ci_high"]
    assert_frame_equal(drawn.curves, fit_policy(made, difficulty, [1, 4], bootstrap=300, **fixed).curves)


def test_several_runs_and_questions_that_are_not_everywhere() -> None:
    search = outcomes({("a", 4): [0.5] * 8}, run="steps")
    revisions = outcomes({("b", 4): [0.75] * 6}, questions=EIGHT[1:7], run="chains")
    difficulty = {question: i / 8 for i, question in enumerate(EIGHT) if i != 2}
    fitted = fit_policy(combine([search, revisions]), difficulty, [4], seed=0, num_bins=2, folds=2)
    assert fitted.left_out == 3 and line(fitted, CROSSFITTED, 4)["num_questions"] == 5
    assert [(entry.strategy, entry.run) for entry in fitted.policy.candidates] == [("a", "steps"), ("b", "chains")]


def test_curves_for_several_difficulties() -> None:
    made, difficulty = random_outcomes(7)
    shuffled = dict(zip(difficulty, np.random.default_rng(0).permutation(list(difficulty.values())), strict=True))
    curves = policy_curves(
        made, {"oracle": difficulty, "predicted": shuffled}, [1, 4], seed=0, num_bins=2, splits=2, n_min=5
    )
    assert curves["difficulty"].unique(maintain_order=True).to_list() == ["oracle", "predicted"]
    columns = ["line", "difficulty", "budget", "accuracy", "se", "ci_low", "ci_high", "cost", "num_questions"]
    assert set(columns) <= set(curves.columns) and curves["budget"].dtype == pl.Int64
    apart = curves.filter(line="a").drop("difficulty")
    assert_frame_equal(apart[:2], apart[2:])


def test_applied_to_other_outcomes() -> None:
    fitted = c21()
    difficulty = {question: 0.9 if i < 3 else 0.1 for i, question in enumerate(EIGHT)}  # one is hard here
    other = C21 | {("s3", 4): [1.0] * 3 + C21["s3", 4][3:]}
    same = apply_policy(fitted.policy, outcomes(other), difficulty, seed=0)
    [row] = same.values.to_dicts()
    reached = [*C21["s1", 4][:3], *C21["s2", 8][3:]]
    assert row["accuracy"] == pytest.approx(np.mean(reached)) and row["cost"] == (3 * 4 + 5 * 8) / 8
    assert (row["budget"], row["unit"], row["num_questions"], row["without_value"]) == (8, "generations", 8, 0)
    own = same.own.heldout["accuracy"].to_numpy()
    assert row["own"] == pytest.approx(own.mean()) and row["loss"] == pytest.approx((own - reached).mean())
    assert same.levels["num_questions"].to_list() == [3, 5]
    assert same.levels["fitted_questions"].to_list() == [4, 4]
    easy, hard = same.levels.to_dicts()
    assert (easy["strategy"], easy["own_strategy"], easy["moved"]) == ("s1", "s3", True)
    assert (hard["strategy"], hard["own_strategy"], hard["moved"]) == ("s2", "s2", False)
    with pytest.raises(ValueError, match=r"the policy chooses s2 at 8 \(level 2\); these outcomes do not hold it"):
        apply_policy(fitted.policy, outcomes({("s1", 4): [0.5] * 8}), difficulty, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bins": None}, "4 questions are too few for 5 bins"),
        ({"bins": None, "num_bins": 9}, "8 questions are too few for 9 bins"),
        ({"fold_of": None, "folds": 9}, r"folds 9: expected from 2 to the number of questions \(8\)"),
        ({"fold_of": None, "folds": 1}, "folds 1: expected from 2"),
        ({"fold_of": None, "splits": 0}, "splits 0: expected a whole number from 1"),
        ({"fold_of": {EIGHT[0]: 0}}, "fold_of names no fold of 7 questions"),
        ({"fold_of": dict.fromkeys(EIGHT, 3)}, "fold_of: expected at least two folds"),
        ({"n_min": 0}, "n_min 0: expected a whole number"),
        ({"sizes": "all"}, "sizes 'all': expected one of any, largest"),
        ({"unit": "joules"}, "unit 'joules': expected one of generations, tokens, flops, critical_tokens"),
        ({"unit": "flops"}, "unit 'flops': unknown for these strategies; enter models.num_params"),
        ({"seed": -1}, "seed -1"),
        ({"bootstrap": -1}, "bootstrap -1: expected 0, or a number of resamples from 2"),
    ],
)
def test_bad_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        c21(**change)


def test_bad_input() -> None:
    made, difficulty = random_outcomes(1)
    with pytest.raises(ValueError, match="share no question of known difficulty"):
        fit_policy(made, {"elsewhere": 0.5}, [4], seed=0)
    with pytest.raises(ValueError, match=r"budgets \(\): expected at least one"):
        fit_policy(made, difficulty, [], seed=0)
    for budget in (0, -4, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="expected at least one, all above 0"):
            fit_policy(made, difficulty, [budget], seed=0)
    with pytest.raises(ValueError, match="budget 'many': expected a number above 0"):
        fit_policy(made, difficulty, ["many"], seed=0)  # type: ignore[list-item]
    twice = combine([outcomes({("a", 4): [0.5] * 8}, run="one"), outcomes({("a", 4): [0.5] * 8}, run="two")])
    with pytest.raises(ValueError, match=r"strategy 'a' is there twice \(run 'one'.*; run 'two'"):
        fit_policy(twice, difficulty, [4], seed=0)
    with pytest.raises(ValueError, match="difficulties: expected at least one"):
        policy_curves(made, {}, [4], seed=0)
