"""Intervals: the t distribution against scipy and closed forms, and how often intervals hold on simulated questions."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import stdtr, stdtrit

from tts_sim.arrays import Float64s
from tts_sim.forest import AnswerColumns, Forest, NodeColumns, build_forest
from tts_sim.intervals import se_fixed, simultaneous_band, simultaneous_bands, t_interval
from tts_sim.replay import replay
from tts_sim.student import t_quantile, t_two_sided

DEGREES = [*range(1, 300), *(int(n) for n in np.geomspace(300, 100_000, 100))]
PROBABILITIES = [0.501, 0.51, 0.6, 0.75, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 0.9999]


def test_t_quantile_equals_scipy() -> None:
    for probability in PROBABILITIES:
        ours = np.array([t_quantile(probability, degrees) for degrees in DEGREES])
        np.testing.assert_allclose(ours, stdtrit(DEGREES, probability), rtol=1e-10)


def test_t_quantile_closed_forms() -> None:
    for p in (0.5 + 1e-9, 0.5001, 0.7, 0.975, 1 - 1e-12):  # scipy is 1.6e-9 off at four degrees and .5001
        exact = math.tan(math.pi * (p - 0.5)) if p < 0.99 else 1 / math.tan(math.pi * (1 - p))
        assert t_quantile(p, 1) == pytest.approx(exact, rel=1e-11)
        assert t_quantile(p, 2) == pytest.approx((2 * p - 1) / math.sqrt(2 * p * (1 - p)), rel=1e-11)
        sine = t_quantile(p, 4) / math.sqrt(4 + t_quantile(p, 4) ** 2)
        assert sine * (1.5 - sine**2 / 2) == pytest.approx(2 * p - 1, rel=1e-11)
    assert t_quantile(0.5, 7) == 0.0
    assert t_quantile(0.25, 9) == -t_quantile(0.75, 9)
    assert t_quantile(0.975, 10**9) == pytest.approx(1.959963987, rel=1e-9)
    assert t_quantile(1e-300, 5) == pytest.approx(-1.5683925591e60, rel=1e-9)  # 10 digits, from the power law
    assert math.isnan(t_quantile(0.9, 0))
    for probability in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="expected a number between 0 and 1"):
            t_quantile(probability, 3)


def test_p_values_keep_their_digits() -> None:
    t = np.array([0.01, 0.5, 1.0, 1.7, 1.8, 2.0, 5.0, 20.0, 100.0])
    for degrees in (1, 2, 3, 10, 49, 499, 5000, 99_999):
        ours = np.array([t_two_sided(value, degrees) for value in t])
        np.testing.assert_allclose(ours, 2 * stdtr(degrees, -t), rtol=1e-10)
        assert t_two_sided(-t_quantile(0.975, degrees), degrees) == pytest.approx(0.05, rel=1e-10)
    assert 0 < t_two_sided(30.0, 499) < 1e-100
    assert (t_two_sided(0.0, 3), t_two_sided(-math.inf, 3)) == (1.0, 0.0)
    assert math.isnan(t_two_sided(math.nan, 3)) and math.isnan(t_two_sided(1.0, 0))


def test_no_scipy_and_no_waiting() -> None:
    code = "import sys, tts_sim.intervals as i; i.t_quantile(0.975, 499); print('scipy' in sys.modules)"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout == "False\n"
    for degrees in (3, 499, 99_999):
        fastest = math.inf
        for _ in range(20):
            start = time.perf_counter()
            t_quantile(0.975, degrees)
            fastest = min(fastest, time.perf_counter() - start)
        assert fastest < 1e-3


def test_t_interval() -> None:
    assert t_interval(0.5, 0.1, 4) == pytest.approx((0.5 - 0.3182446305284263, 0.5 + 0.3182446305284263))
    assert t_interval(0.5, 0.1, 4, level=0.5)[1] == pytest.approx(0.5 + 0.1 * t_quantile(0.75, 3))
    with pytest.raises(ValueError, match="num_questions=1: an interval over questions needs at least 2"):
        t_interval(0.5, 0.1, 1)


REPETITIONS, QUESTIONS = 1000, 200


def pass_at(n: int, correct: Float64s, size: int) -> Float64s:
    """pass@n of questions with that many correct of `size` samples: 1 - C(size - c, n) / C(size, n)."""
    failed = np.ones(correct.shape)
    for i in range(n):
        failed = failed * np.maximum(size - correct - i, 0) / (size - i)
    return np.asarray(1 - failed)


def covered(values: Float64s, truth: float) -> float:
    """How often the t interval of a row's mean holds the truth."""
    held = 0
    for row in values:
        low, high = t_interval(row.mean(), row.std(ddof=1) / math.sqrt(len(row)), len(row))
        held += low <= truth <= high
    return held / len(values)


@pytest.mark.parametrize(("n", "truth"), [(1, 0.4), (4, 1 - 0.6 * 1.6 / 2 * 2.6 / 3 * 3.6 / 4)])
def test_new_questions_and_new_generations(n: int, truth: float) -> None:
    """Estimand (A): questions from Beta(.4, .6), 16 samples each, pass@n."""
    random = np.random.default_rng(n)
    p = random.beta(0.4, 0.6, (REPETITIONS, QUESTIONS))
    values = pass_at(n, random.binomial(16, p).astype(np.float64), 16)
    assert values.mean() == pytest.approx(truth, abs=0.005)
    assert 0.93 < covered(values, truth) < 0.97


@pytest.mark.parametrize("n", [1, 4, 8])
def test_new_generations_on_the_same_questions(n: int) -> None:
    """Estimand (B): the same 200 questions; v_q = g_n² - g_2n is unbiased for the variance of pass@n = 1 - g_n.

    Pooled over four sets of questions, 1 000 repetitions of each: one alone is told to ± .014 only.
    """
    random = np.random.default_rng(10 + n)
    held, far = [], []
    for p in random.beta(0.4, 0.6, (4, QUESTIONS)):
        correct = random.binomial(16, p, (REPETITIONS, QUESTIONS)).astype(np.float64)
        truth = float((1 - (1 - p) ** n).mean())
        values = pass_at(n, correct, 16)
        within = (1 - values) ** 2 - (1 - pass_at(2 * n, correct, 16))
        assert within.mean() == pytest.approx(values.var(axis=0).mean(), rel=0.03)
        for row, v in zip(values, within, strict=True):
            error = se_fixed(v.tolist(), QUESTIONS)
            assert error is not None
            held.append(abs(row.mean() - truth) <= 1.96 * error)
        far.append(covered(values, truth))
    assert 0.93 < np.mean(held) < 0.97
    assert min(far) > 0.99  # the interval of (A) is far too wide for (B)


HIGH = {"A": 0.7, "B": 0.4}  # how often a right and a wrong answer score .75 rather than .25
SAMPLES = 8
SPECS = ("sample+oracle", "sample+best", "sample+majority", "sample+weighted")


def repeated(p: Float64s, seed: int) -> Forest:
    """A run of one-step solutions, right with probability p: a question r<row>-<column> for each entry of p."""
    random = np.random.default_rng(seed)
    count = p.size
    right = random.random((count, SAMPLES)) < p.reshape(-1, 1)
    high = random.random((count, SAMPLES)) < np.where(right, HIGH["A"], HIGH["B"])
    node = np.arange(count * SAMPLES)
    return build_forest(
        run_id="simulated",
        kind="steps",
        question_ids=[f"r{row}-{column}" for row in range(p.shape[0]) for column in range(p.shape[1])],
        levels_of=[None] * count,
        nodes=NodeColumns(
            np.repeat(np.arange(count, dtype=np.int32), SAMPLES),
            node,
            np.full(len(node), -1),
            np.tile(np.arange(SAMPLES, dtype=np.int32), count),
            np.zeros(len(node), np.bool_),
            np.ones(len(node), np.int32),
            np.where(right, 0, 1).astype(np.int32).ravel(),
            np.ones(len(node), np.int8),
        ),
        answers=AnswerColumns(
            np.repeat(np.arange(count, dtype=np.int32), 2),
            np.tile(np.arange(2, dtype=np.int32), count),
            np.tile(np.array([True, False]), count),
        ),
        scores={"prm": (node, np.where(high, 0.75, 0.25).astype(np.float32).ravel())},
    )


def expected_share(selection: str, n: int, right: int) -> float:
    """What a selection makes of n samples of which `right` are right, over all ways to score them."""
    total = 0.0
    for a, b in itertools.product(range(right + 1), range(n - right + 1)):
        ways = math.comb(right, a) * math.comb(n - right, b)
        ways *= HIGH["A"] ** a * (1 - HIGH["A"]) ** (right - a) * HIGH["B"] ** b * (1 - HIGH["B"]) ** (n - right - b)
        low_a, low_b = right - a, n - right - b
        ours, theirs = {
            "oracle": (right, 0.5),
            "majority": (right, n - right),
            "weighted": (3 * a + low_a, 3 * b + low_b),
            "best": (a, b) if a + b else (low_a, low_b),
        }[selection]
        tied = ours / (ours + theirs) if selection == "best" else 0.5
        total += ways * (tied if selection == "best" or ours == theirs else float(ours > theirs))
    return total


def curve_of_repetitions(p: Float64s, n: int, seed: int) -> pl.DataFrame:
    """`Outcomes.curve` of every repetition: a row of p holds its questions."""
    outcomes = replay(repeated(p, seed), SPECS, [n], trials=4, seed=seed)
    rows = {name: int(name[1:].partition("-")[0]) for name in outcomes.frame["question_id"].unique()}
    curve = outcomes.curve(groups=rows)
    assert len(curve) == len(SPECS) * REPETITIONS and set(curve["num_questions"]) == {QUESTIONS}
    return curve


def test_new_questions_through_replays_and_curves() -> None:
    """Estimand (A), with what users call: `replay`, then the interval of `Outcomes.curve`; weighted votes by trials."""
    n, (a, b) = 3, (0.8, 0.7)
    p = np.random.default_rng(20).beta(a, b, (REPETITIONS, QUESTIONS))
    curve = curve_of_repetitions(p, n, seed=20)
    for spec in SPECS:
        law = [math.comb(n, k) * math.exp(_log_beta(a + k, b + n - k) - _log_beta(a, b)) for k in range(n + 1)]
        truth = sum(chance * expected_share(spec.partition("+")[2], n, k) for k, chance in enumerate(law))
        mine = curve.filter(pl.col("strategy") == spec)
        assert mine["accuracy"].mean() == pytest.approx(truth, abs=0.003)
        held = ((mine["ci_low"] <= truth) & (truth <= mine["ci_high"])).mean()
        assert isinstance(held, float) and 0.93 < held < 0.97, spec


def test_the_same_questions_through_replays_and_curves() -> None:
    """Estimand (B), with `se_fixed` of `Outcomes.curve`, at n = 3 and n = K/2; a curve beyond it has none."""
    p = np.random.default_rng(21).beta(0.8, 0.7, QUESTIONS)
    everywhere = np.tile(p, (REPETITIONS, 1))
    for n in (3, SAMPLES // 2):
        curve = curve_of_repetitions(everywhere, n, seed=21 + n)
        for spec in SPECS[:3]:  # exact: no Monte Carlo error beside se_fixed
            shares = [expected_share(spec.partition("+")[2], n, k) for k in range(n + 1)]
            law = np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])
            truth = float((np.array(shares) @ law).mean())
            mine = curve.filter(pl.col("strategy") == spec)
            held = ((mine["accuracy"] - truth).abs() <= 1.96 * mine["se_fixed"]).mean()
            assert isinstance(held, float) and 0.93 < held < 0.97, (spec, n)
    beyond = replay(repeated(p[None, :], 30), SPECS, [SAMPLES // 2 + 1], trials=2, seed=0).curve()
    assert beyond["se_fixed"].to_list() == [None] * len(SPECS)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def test_se_fixed() -> None:
    assert se_fixed([0.04, 0.05, -0.01, 0.08], 4) == pytest.approx(0.1)
    assert se_fixed([0.01, -0.02], 2) == 0.0
    assert se_fixed([0.01, None], 2) is None
    assert se_fixed([0.01, math.nan], 2) is None
    for within, count in (([0.01], 2), ([], 0)):
        with pytest.raises(ValueError, match="expected one for each"):
            se_fixed(within, count)


def test_a_band_holds_at_every_budget_at_once() -> None:
    """pass@1, 2, … 32 of 200 questions with 64 samples each; single intervals hold all at once too rarely."""
    random = np.random.default_rng(3)
    budgets = 2 ** np.arange(6)
    p = random.beta(0.5, 0.8, (REPETITIONS, QUESTIONS))
    correct = random.binomial(64, p).astype(np.float64)
    values = np.stack([pass_at(int(n), correct, 64) for n in budgets], axis=2)
    failing = [np.prod([(0.8 + i) / (1.3 + i) for i in range(n)]) for n in budgets]
    error = np.abs(values.mean(axis=1) - (1 - np.array(failing))) / (values.std(axis=1, ddof=1) / QUESTIONS**0.5)
    bands = np.array(simultaneous_bands(list(values), seed=3, draws=500))
    assert 0.93 < (error.max(axis=1) <= bands).mean() < 0.97
    assert (error.max(axis=1) <= t_quantile(0.975, QUESTIONS - 1)).mean() < 0.92


def test_bands_lie_between_one_interval_and_bonferroni() -> None:
    random = np.random.default_rng(4)
    common, apart = random.normal(size=(100, 1)), random.normal(size=(100, 5))
    single, most = t_quantile(0.975, 99), t_quantile(1 - 0.025 / 5, 99)
    close = simultaneous_band(common + apart / 1000, seed=0)
    loose = simultaneous_band(apart, seed=0)
    assert single <= close < single + 0.15 and most - 0.15 < loose <= most
    assert simultaneous_band(common, seed=0) == single  # one budget
    assert simultaneous_band(np.hstack([common, np.full((100, 3), 0.25)]), seed=0) == single  # three constants
    rare = np.zeros((30, 4))
    rare[:2] = [[0.5, 0.25, 0.5, 0.125], [0.25, 0.75, 0.5, 1]]  # most draws hold neither
    assert t_quantile(0.975, 29) <= simultaneous_band(rare, seed=0) <= t_quantile(1 - 0.025 / 4, 29)
    with pytest.raises(ValueError, match="values of 1 questions: a band over questions needs at least 2"):
        simultaneous_band(np.zeros((1, 3)), seed=0)


def test_bands_depend_on_their_seed_alone() -> None:
    random = np.random.default_rng(5)
    table = random.normal(size=(60, 1)) + random.normal(size=(60, 4))
    band = simultaneous_band(table, seed=1)
    assert band == simultaneous_band(table, seed=1) != simultaneous_band(table, seed=2)
    assert band == pytest.approx(simultaneous_band(table, seed=2), abs=0.05)
    assert band == pytest.approx(simultaneous_band(1000 * table + 7, seed=1), abs=1e-8)
    others = [random.normal(size=(60, 2)), table, random.normal(size=(40, 3)), np.zeros((60, 3))]
    assert simultaneous_bands(others, seed=1)[1] == pytest.approx(band, abs=1e-9)


def test_questions_without_a_value_are_left_out_of_their_budget() -> None:
    table = np.random.default_rng(6).normal(size=(80, 3))
    holes = table.copy()
    holes[:40, 2] = np.nan
    assert simultaneous_band(holes, seed=0) == pytest.approx(simultaneous_band(table, seed=0), abs=0.15)
    holes[:, 1:] = np.nan
    assert simultaneous_band(holes, seed=0) == t_quantile(0.975, 79)
