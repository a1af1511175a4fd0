"""Extrapolation: each model against exact or independent figures, the gate reason by reason, the table as a whole."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, minimize
from scipy.special import betaln
from scipy.stats import betabinom, binom, hypergeom

from tests import forests
from tts_sim import CacheExhausted, Forest, Majority, ScoreMissing, Weighted, extrapolate, pass_at_k, replay
from tts_sim.extrapolation import gate
from tts_sim.extrapolation.beta_binomial import Cells, Rates, fit, log_likelihood
from tts_sim.extrapolation.bounds import coverage_bounds
from tts_sim.extrapolation.counts import Counts, counts_of, coverage, powers, thinned
from tts_sim.extrapolation.coverage_models import coverage_refits
from tts_sim.extrapolation.extrapolate import COLUMNS
from tts_sim.extrapolation.plugin import ballots_of, polled, votes_beyond
from tts_sim.extrapolation.power_law import exponentiated, saturating
from tts_sim.extrapolation.resampling import Refit, Seen, question_weights, seen


def stars(rates: Any, samples: int, seed: int = 0) -> Forest:
    """Questions whose samples are right at these rates, and otherwise one of three wrong answers, or none."""
    random = np.random.default_rng(seed)
    questions = []
    for q, rate in enumerate(rates):
        answers = ["A" if random.random() < rate else random.choice(["B", "C", "D", ""]) for _ in range(samples)]
        scores = [round(float(random.beta(2, 1) if answer == "A" else random.beta(1, 2)), 3) for answer in answers]
        questions.append(forests.star(f"q{q:03}", [(a or None, s) for a, s in zip(answers, scores, strict=True)]))
    return forests.to_forest(forests.Case("stars", questions))


def spread(num_questions: int = 60, samples: int = 32, seed: int = 3) -> Forest:
    return stars(np.random.default_rng(seed).beta(0.5, 1.5, num_questions), samples, seed)


# ------------------------------------------------------------------------------------------------------- counts
@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_coverage_and_thinning_are_the_closed_forms(case: tuple[int, int, int]) -> None:
    total, correct, k = case
    counts = Counts(np.array([correct]), np.array([total]))
    assert coverage(counts, [k])[0, 0] == pytest.approx(pass_at_k(total, correct, k), abs=1e-12)
    assert math.isnan(coverage(counts, [total + 1])[0, 0])
    assert thinned(counts, k)[0] == pytest.approx(hypergeom.pmf(np.arange(k + 1), total, correct, k), abs=1e-12)


def test_counts_leave_out_what_is_incomplete() -> None:
    case = forests.Case(
        "two", [forests.star("q", [("A", None), ("B", None), (None, None)]), forests.tree("r", [(0.5, "A"), (0.5, [])])]
    )
    assert [part.tolist() for part in counts_of(forests.to_forest(case))] == [[1, 1], [3, 1]]
    with pytest.raises(ValueError, match="size=4: expected at most 3"):
        thinned(Counts(np.array([1, 1]), np.array([3, 3])), 4)
    assert powers(12) == [1, 2, 4, 8, 12] and powers(8) == [1, 2, 4, 8]


# ------------------------------------------------------------------------------------------------ beta-binomial
def test_slopes_are_the_derivatives() -> None:
    cells = Cells(np.array([0, 0, 2, 5, 8, 12]), np.array([8, 12, 8, 8, 8, 12]))
    shares = np.array([[0.2, 0.1, 0.3, 0.2, 0.1, 0.1]])
    theta = np.array([-0.4, 0.6, -1.2, -2.0])
    slopes = log_likelihood(cells, shares, theta[None, :])[1]
    numeric = approx_fprime(theta, lambda x: log_likelihood(cells, shares, x[None, :])[0][0], 1e-7)
    assert (shares[:, :, None] * slopes).sum(axis=(0, 1)) == pytest.approx(numeric, abs=1e-5)


@pytest.mark.parametrize("inflated", [True, False])
def test_fits_are_the_maximum(inflated: bool) -> None:
    """Against SciPy's optimiser on the likelihood written with SciPy's distribution."""
    random = np.random.default_rng(5)
    total = np.repeat([12, 20], 150)
    chances = np.where(random.random(300) < 0.2, 0.0, random.beta(0.8, 1.2, 300))
    chances = np.where(random.random(300) < 0.1, 1.0, chances)
    correct = random.binomial(total, chances)
    weights = np.concatenate([np.ones((1, 300)), random.multinomial(300, np.full(300, 1 / 300), 3)])
    fitted = fit(Cells(correct, total), weights, inflated=inflated)

    def minus(theta: Any, row: int) -> float:
        a, b = np.exp(theta[:2])
        zero, one, rest = np.exp([*theta[2:], 0.0]) / np.exp([*theta[2:], 0.0]).sum() if inflated else (0.0, 0.0, 1.0)
        chance = rest * betabinom.pmf(correct, total, a, b) + zero * (correct == 0) + one * (correct == total)
        return -float(weights[row] @ np.log(chance)) / 300

    for row in range(len(weights)):
        start = [0.0, 0.0, -1.5, -2.0] if inflated else [0.0, 0.0]
        best = minimize(minus, start, args=(row,), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12})
        shares = fitted.zero[row], fitted.one[row]
        ours = np.log([fitted.a[row], fitted.b[row], *(share / (1 - sum(shares)) for share in shares if inflated)])
        assert minus(ours, row) == pytest.approx(best.fun, abs=1e-7)
        atoms = np.exp([*best.x[2:], 0.0]) / np.exp([*best.x[2:], 0.0]).sum()
        assert ours[:2].tolist() == pytest.approx(best.x[:2].tolist(), abs=0.01)
        assert shares == pytest.approx(atoms[:2].tolist() if inflated else [0.0, 0.0], abs=0.001)


def test_what_stays_unsolved() -> None:
    """1 - s0 [z + (1 - z) B(a, b + k) / B(a, b + K)], with z the chance of a structural zero."""
    rates = Rates(*(np.array([value]) for value in (0.7, 1.5, 0.15, 0.05)))
    beta = math.exp(betaln(0.7, 1.5 + 64) - betaln(0.7, 1.5))
    assert rates.unsolved(64)[0] == pytest.approx(0.15 + 0.8 * beta)
    z = 0.15 / (0.15 + 0.8 * beta)
    expected = z + (1 - z) * math.exp(betaln(0.7, 1.5 + 512) - betaln(0.7, 1.5 + 64))
    assert rates.still_unsolved(512, 64)[0] == pytest.approx(expected)
    assert rates.still_unsolved(64, 64)[0] == 1.0
    assert rates.unsolved(512)[0] == pytest.approx(rates.unsolved(64)[0] * rates.still_unsolved(512, 64)[0])


def test_questions_with_more_samples_than_the_budget_are_exact() -> None:
    random = np.random.default_rng(2)
    total = np.repeat([16, 64], 40)
    counts = Counts(random.binomial(total, random.beta(0.5, 1.0, 80)), total)
    weights, grid = question_weights(80, 0, 20), powers(16)
    refits, _ = coverage_refits(counts, [32, 10**9], weights, seen(coverage(counts, grid), grid, weights))
    known = np.array([pass_at_k(64, int(c), 32) for c in counts.correct[40:]])
    solved = (counts.correct[:40] > 0).sum()
    value, at_last = refits["zoibb"].values[0]
    assert (solved + known.sum()) / 80 < value < (40 + known.sum()) / 80
    assert at_last >= (counts.correct > 0).mean()


# --------------------------------------------------------------------------------------------------- power laws
def test_power_laws_find_themselves() -> None:
    grid = powers(64)
    n = np.array([*grid, 128, 256], np.float64)
    coverages = np.exp(-1.3 * n**-0.45)
    observed = Seen(grid, coverages[None, : len(grid)], np.full(len(grid), 0.01))
    refit = exponentiated(observed, [128, 256], 500)
    assert refit.values[0] == pytest.approx(coverages[-2:]) and refit.inside == pytest.approx(coverages[:-2])
    assert refit.held_out[0] == pytest.approx(coverages[len(grid) - 1])
    accuracies = 0.8 - 0.4 * n**-0.6
    observed = Seen(grid, accuracies[None, : len(grid)], np.linspace(0.02, 0.01, len(grid)))
    refit = saturating(observed, [128, 256])
    assert refit.values[0] == pytest.approx(accuracies[-2:], abs=2e-4)
    assert refit.held_out[0] == pytest.approx(accuracies[len(grid) - 1], abs=2e-3)


def test_a_falling_curve_is_fitted_by_a_level() -> None:
    observed = Seen([1, 2, 4, 8], np.array([[0.6, 0.5, 0.4, 0.3]]), np.full(4, 0.01))
    assert saturating(observed, [16]).values[0, 0] == pytest.approx(0.45)


def test_anchored_power_law_starts_where_the_cache_ends() -> None:
    observed = Seen([1, 2, 4, 8, 16], np.array([[0.3, 0.45, 0.5, 0.7, 0.71]]), np.full(5, 0.02))
    refit = exponentiated(observed, [16, 32], 100)
    assert refit.values[0, 0] == pytest.approx(0.71) and 0.71 < refit.values[0, 1] < 1


# ------------------------------------------------------------------------------------------------------- bounds
def test_bounds_of_one_sample_are_known() -> None:
    """With pass@1 in [l, h] alone: at least l (rates 0 and 1), at most 1 - (1 - h)^k (all rates alike)."""
    counts = Counts(np.repeat([0, 1], [120, 80]), np.ones(200, np.int64))
    reach = 1.96 * math.sqrt(0.4 * 0.6 / 199)
    low, high = coverage_bounds(counts, [2, 8])
    assert low == pytest.approx([0.4 - reach] * 2, abs=1e-6)
    assert high == pytest.approx([1 - (0.6 - reach) ** k for k in (2, 8)], abs=1e-3)


def test_bounds_where_all_questions_agree() -> None:
    none = Counts(np.zeros(100, np.int64), np.full(100, 16))
    low, high = coverage_bounds(none, [32, 1600])
    assert low.tolist() == [0.0, 0.0] and 0 < high[0] < 0.1 < high[1]
    every = Counts(np.full(100, 16), np.full(100, 16))
    low, high = coverage_bounds(every, [32])
    assert 0.9 < low[0] < 1 and high[0] == pytest.approx(1.0)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_bounds_widen_with_the_budget_and_hold_what_was_seen(seed: int) -> None:
    random = np.random.default_rng(seed)
    counts = Counts(random.binomial(16, random.beta(0.5, 1.0, 60)), np.full(60, 16))
    low, high = coverage_bounds(counts, [16, 32, 256])
    seen_at_16 = (counts.correct > 0).mean()
    assert low[0] - 1e-6 <= seen_at_16 <= high[0] + 1e-6
    assert (np.diff(high) > -1e-6).all() and (np.diff(low) > -1e-6).all()


# -------------------------------------------------------------------------------------------------------- votes
def lone(answers: str, scores: list[float] | None = None) -> Forest:
    """One question; '-' is a solution without an answer."""
    pairs = [(None if a == "-" else a, s) for a, s in zip(answers, scores or [0.5] * len(answers), strict=True)]
    return forests.to_forest(forests.Case("lone", [forests.star("q", pairs)]))


def test_votes_of_two_answers_are_binomial() -> None:
    for answers, share in (("AAABB", 0.6), ("AABBB", 0.4)):
        votes = polled(ballots_of(lone(answers), Majority(), None, 0), [9, 31], 0, 20_000)
        for value, k in zip(votes.values[0], (9, 31), strict=True):
            exact = binom.sf(k // 2, k, share)
            assert abs(value - exact) < 4 * math.sqrt(exact * (1 - exact) / 20_000)
        assert votes.limit.tolist() == [float(share > 0.5)] and votes.open.all()


def test_settled_votes_and_near_ties() -> None:
    """A margin of 60 in 64 is settled and closed; 36 to 28 is not; equal shares have a limit of one half."""
    for answers, limit, is_open in (
        ("A" * 62 + "B" * 2, 1.0, False),
        ("A" * 36 + "B" * 28, 1.0, True),
        ("A" * 28 + "B" * 36, 0.0, True),
        ("A" * 32 + "B" * 32, 0.5, True),
        ("C" * 33 + "B" * 31, 0.0, False),  # both are wrong
        ("-" * 64, 0.0, True),
        ("A" * 2 + "-" * 62, 1.0, True),  # any answer that was not drawn may be as frequent
    ):
        votes = polled(ballots_of(lone(answers), Majority(), None, 0), [1024], 0)
        assert (votes.limit[0], votes.open[0]) == (limit, is_open), answers
        if not is_open:
            assert votes.values[0, 0] == limit


def test_weighted_votes_go_by_score() -> None:
    forest = lone("ABB", [0.9, 0.25, 0.25])
    assert polled(ballots_of(forest, Weighted(), "prm", 0), [64], 0).limit.tolist() == [1.0]
    assert polled(ballots_of(forest, Majority(), None, 0), [64], 0).limit.tolist() == [0.0]
    zero = lone("AB", [0.0, 0.0])  # votes without weight: both have been drawn, and tie
    assert polled(ballots_of(zero, Weighted(), "prm", 0), [64], 0).values[0, 0] == 0.5


@pytest.mark.parametrize("spec", ["sample+majority", "sample+weighted"])
def test_votes_are_those_of_the_engine_with_replacement(spec: str) -> None:
    forest = spread(30, 16)
    selection = Majority() if spec.endswith("majority") else Weighted()
    ours = polled(ballots_of(forest, selection, "prm", 0), [24, 96], 1, 4000).values
    frame = replay(forest, [spec], [24, 96], trials=4000, seed=2, on_exhausted="reuse").frame
    engine = frame["accuracy"].to_numpy().reshape(30, 2)
    assert np.abs(ours - engine).max() < 5 * math.sqrt(0.25 * 2 / 4000)
    assert np.abs((ours - engine).mean(axis=0)).max() < 5 * math.sqrt(0.25 * 2 / 4000 / 30)


def test_a_question_s_votes_depend_on_no_other() -> None:
    ballots = ballots_of(spread(12, 16), Majority(), None, 0)
    whole, part = polled(ballots, [32, 64], 7), polled(ballots[3:5], [32, 64], 7)
    assert (whole.values[3:5] == part.values).all()
    assert not (whole.values == polled(ballots, [32, 64], 8).values).all()


def test_a_rising_vote_fails_the_hold_out_and_a_settled_one_passes() -> None:
    rising = stars(np.full(80, 0.3), 64)  # right is ahead by a little: more samples keep helping
    found = votes_beyond(rising, Majority(), None, [256], seed=0)
    assert found.held_out_z < -2 and found.reasons[0].startswith("hold-out: 16 samples predict")
    settled = stars(np.repeat([0.9, 0.02], 40), 64)
    found = votes_beyond(settled, Majority(), None, [256], seed=0)
    assert not found.reasons and abs(found.value[0] - 0.5) < 0.02
    assert found.bound_low[0] <= found.value[0] <= found.bound_high[0]
    assert found.ci_low[0] < found.value[0] < found.ci_high[0]


# --------------------------------------------------------------------------------------------------------- gate
def gated(inside: list[float], held_out: list[float]) -> gate.Verdict:
    means = np.array([[0.4, 0.5, 0.6, 0.7], [0.41, 0.51, 0.61, 0.71], [0.39, 0.49, 0.59, 0.69]])
    observed = Seen([1, 2, 4, 8], means, np.full(4, 0.02))
    return gate.judged(Refit(np.zeros((3, 1)), np.array(inside), np.array(held_out)), observed)


def test_the_gate_names_its_reasons() -> None:
    good = gated([0.41, 0.49, 0.6, 0.71], [0.70, 0.72, 0.68])
    assert good.reasons == [] and good.misfit == pytest.approx(0.5) and good.held_out_z == 0.0
    assert gated([0.4, 0.5, 0.63, 0.7], [0.70, 0.72, 0.68]).reasons == ["in sample: off by 1.5 SE at 4 (limit 1)"]
    [reason] = gated([0.4, 0.5, 0.6, 0.7], [0.75, 0.75, 0.75]).reasons  # differences .05, .04, .06
    assert reason == "hold-out: 2 samples predict 0.750 at 8, where 0.700 is observed (z +3.5, limit 2)"
    assert len(gated([math.nan] * 4, [math.nan] * 3).reasons) == 2
    assert gate.beyond_horizon(128, 8, 16) == [] and gate.beyond_horizon(129, 8, 16) == [
        "horizon: at most 16 × 8 = 128 samples"
    ]


def test_falling_curves_are_refused_where_it_shows() -> None:
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.05, (100, 1))
    curve = np.array([0.4, 0.5, 0.48, 0.6]) + noise + random.normal(0, 0.01, (100, 4))
    [reason] = gate.falls(curve, [1, 2, 4, 8])
    assert reason.startswith("not monotone: accuracy falls by 0.02") and reason.endswith("from 2 to 4")
    assert gate.falls(np.array([0.4, 0.5, 0.499, 0.6]) + random.normal(0, 0.05, (100, 4)), [1, 2, 4, 8]) == []


# -------------------------------------------------------------------------------------------------------- table
def test_coverage_beyond_the_cache() -> None:
    forest = spread()
    rows = extrapolate(forest, budgets=[64, 128, 1024], seed=0)
    assert rows.schema == pl.Schema(COLUMNS)
    assert rows["k"].to_list() == [64, 128, 1024] and set(rows["model"]) == {"zoibb"}
    reached = replay(forest, ["sample+oracle"], [32], seed=0).curve()["accuracy"][0]
    first, second, third = rows.to_dicts()
    for row in (first, second):
        assert row["refused"] is None
        assert row["bound_low"] <= row["ci_low"] <= row["value"] <= row["ci_high"] <= row["bound_high"]
        assert reached < row["value"] and row["range_low"] <= row["value"] <= row["range_high"]
        assert row["misfit"] <= 1 and abs(row["held_out_z"]) <= 2
    assert first["value"] < second["value"]
    assert third["refused"] == "horizon: at most 16 × 32 = 512 samples"
    assert third["value"] is third["ci_low"] is third["range_low"] is None and third["bound_high"] > 0.99
    assert extrapolate(forest, budgets=[64, 128, 1024], seed=0).equals(rows)
    assert extrapolate(forest, seed=0)["k"].to_list() == [64, 128, 256, 512]
    with_others = extrapolate(forest, ["sample+majority", "sample+oracle"], [64, 128, 1024], seed=0)
    assert with_others.filter(strategy="sample+oracle").equals(rows)


def test_every_model_says_its_name() -> None:
    forest = spread()
    for model, specs in (
        ("beta-binomial", ["sample+oracle"]),
        ("power-law", ["sample+oracle", "sample+majority", "sample+weighted", "sample+best"]),
        ("plugin", ["sample+majority", "sample+weighted(agg=min)"]),
    ):
        rows = extrapolate(forest, specs, [64, 256], model=model, seed=0)
        assert set(rows["model"]) == {model} and rows["strategy"].to_list() == [s for s in specs for _ in range(2)]
        assert rows["value"].is_null().equals(rows["refused"].is_not_null())
        assert rows["bound_low"].null_count() == rows["bound_high"].null_count() == 0
        if model == "power-law":
            assert all("horizon: at most 4 × 32" in reason for reason in rows.filter(k=256)["refused"])
        if model == "plugin":
            assert rows["near_ties"].is_between(0, 1).all()


def test_best_of_n_is_refused_and_says_why() -> None:
    [row] = extrapolate(spread(), ["sample+best"], [64], seed=0).to_dicts()
    assert (row["model"], row["value"], row["bound_low"]) == ("none", None, 0.0)
    assert "resampling cannot exceed the cached maximum" in row["refused"] and 0.5 < row["bound_high"] <= 1


@pytest.mark.parametrize(
    ("rates", "samples", "reason"),
    [
        (np.ones(30), 16, "every question has a correct sample"),
        (np.zeros(30), 16, "no question has a correct sample"),
        (np.full(30, 0.5), 1, "samples: 1 a question, and a hold-out on a quarter of them takes 8"),
        (np.full(5, 0.5), 16, "questions: 5, and a distribution over questions takes 20"),
        (np.full(1, 0.5), 16, "questions: 1, and"),
    ],
)
def test_what_cannot_be_told_is_refused(rates: Any, samples: int, reason: str) -> None:
    rows = extrapolate(stars(rates, samples), ["sample+oracle"], [64], seed=0)
    assert rows["value"].to_list() == [None] and rows["refused"][0].startswith(reason)
    if len(rates) > 1:
        assert 0 <= rows["bound_low"][0] <= rows["bound_high"][0] <= 1
    if samples == 1 or len(rates) < 20:
        both = extrapolate(stars(rates, samples), ["sample+majority"], [64], seed=0)
        assert both["value"].to_list() == [None] and both["refused"][0].startswith(reason)
        curve = extrapolate(stars(rates, samples), ["sample+majority"], [64], model="power-law", seed=0)
        assert "takes" in curve["refused"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budgets": [32, 64]}, "budget 32: inside the cache, which holds 32 samples of every question; use replay"),
        ({"budgets": [0]}, "budget 0: expected a whole number"),
        ({"strategies": ["beam+best"]}, "only sample is extrapolated"),
        ({"strategies": ["revise(sequential=2)+oracle"]}, "only sample is extrapolated"),
        ({"strategies": []}, "expected at least one"),
        ({"model": "linear"}, "model 'linear': expected one of auto, zoibb"),
        ({"model": "plugin"}, r"model 'plugin': not for sample\+oracle; for it there is zoibb, beta-binomial, power"),
        ({"strategies": ["sample+best"], "model": "zoibb"}, r"not for sample\+best; for it there is power-law"),
        ({"strategies": ["sample+weighted"], "verifier": "judge"}, "verifier 'judge'"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extrapolate(spread(20, 32), **({"seed": 0} | arguments))


def test_runs_that_hold_no_samples() -> None:
    chains = forests.Case("chains", [forests.chains("q", [[("A", 0.5)]])], kind="revisions")
    with pytest.raises(ValueError, match="run 'chains' is of kind 'revisions'"):
        extrapolate(forests.to_forest(chains), seed=0)
    dead = forests.Case("dead", [forests.star("q", [("A", 0.5)]), forests.tree("r", [(0.5, [])])])
    with pytest.raises(CacheExhausted, match=r"1 of 2 questions \(first: 'r'\) holds no complete solution"):
        extrapolate(forests.to_forest(dead), seed=0)
    with pytest.raises(CacheExhausted, match="the run holds no complete solution"):
        extrapolate(forests.to_forest(forests.Case("nothing")), seed=0)


def test_scores_that_are_missing_or_negative() -> None:
    for scores, error, message in (
        ((0.5, None), ScoreMissing, "question 'q'"),
        ((0.5, -1.0), ValueError, "negative scores"),
    ):
        forest = forests.to_forest(forests.Case("odd", [forests.star("q", [("A", scores[0]), ("B", scores[1])])]))
        with pytest.raises(error, match=message):
            votes_beyond(forest, Weighted(), "prm", [64], seed=0)
