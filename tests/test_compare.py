"""Paired comparisons: the exact case C26, tests by enumeration, coverage, and what is refused."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import ttest_rel

from tests import cases, forests
from tts_sim.compare import COLUMNS, compare, compare_all
from tts_sim.intervals import simultaneous_band, t_interval
from tts_sim.outcomes import Outcomes, combine
from tts_sim.paired import holm, paired_difference, sign_flip
from tts_sim.replay import replay
from tts_sim.spec import parse_strategy
from tts_sim.student import t_quantile

A, B = ([tenths / 10 for tenths in side] for side in cases.C26_TENTHS)


def test_c26() -> None:
    result = paired_difference(A, B)
    assert result.difference == pytest.approx(float(cases.C26["difference"]), abs=1e-12)
    assert result.variance == pytest.approx(float(cases.C26["variance"]), abs=1e-12)
    assert result.se == pytest.approx(float(cases.C26["variance"]) ** 0.5, abs=1e-12)
    assert result.se_unpaired == pytest.approx(cases.C26_SE_UNPAIRED, abs=1e-12)
    assert result.t == pytest.approx(cases.C26_T, abs=1e-12)
    assert (result.p_value, result.test) == (float(cases.C26["p_value"]), "sign-flip exact")
    clustered = paired_difference(A, B, cases.C26_CLUSTERS)
    assert clustered.difference == result.difference and clustered.num_groups == 3
    assert clustered.variance == pytest.approx(float(cases.C26_CLUSTERED_VARIANCE), abs=1e-12)
    assert clustered.p_value == 0.25  # cluster sums .1, .2, .4: only all equal signs reach .7


def test_c26_through_outcomes() -> None:
    names = [f"q{i}" for i in range(6)]
    outcomes = made({"a": {4: A}, "b": {4: B}}, names)
    row = compare(outcomes, "a", "b").row(0, named=True)
    assert row["difference"] == pytest.approx(float(cases.C26["difference"]), abs=1e-12)
    assert row["se"] == pytest.approx(float(cases.C26["variance"]) ** 0.5, abs=1e-12)
    assert row["p_value"] == float(cases.C26["p_value"])
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(t_interval(row["difference"], row["se"], 6))
    assert (row["band_low"], row["band_high"]) == (row["ci_low"], row["ci_high"])  # one budget
    assert row["detectable"] == pytest.approx((t_quantile(0.975, 5) + 0.8416212335729143) * row["se"])
    assert (row["num_questions"], row["supported"], row["method"]) == (6, 1.0, "exact")
    assert row["lower"] == row["upper"] == pytest.approx(row["difference"])
    clusters = dict(zip(names, cases.C26_CLUSTERS, strict=True))
    clustered = compare(outcomes, "a", "b", clusters=clusters).row(0, named=True)
    assert clustered["se"] ** 2 == pytest.approx(float(cases.C26_CLUSTERED_VARIANCE), abs=1e-12)
    assert (clustered["ci_low"], clustered["ci_high"]) == pytest.approx(
        t_interval(row["difference"], clustered["se"], 3)
    )
    del clusters["q3"]
    with pytest.raises(ValueError, match=r"clusters name no cluster of 1 questions \(first: 'q3'\)"):
        compare(outcomes, "a", "b", clusters=clusters)


def enumerated(differences: Sequence[float]) -> float:
    """The sign-flip p-value by going through all signs."""
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
            for signs in itertools.product((1, -1), repeat=len(differences))]  # fmt: skip
    return sum(value >= abs(sum(differences)) - 1e-9 for value in sums) / len(sums)


def test_sign_flips_are_enumerated() -> None:
    random = np.random.default_rng(0)
    for size in range(1, 11):
        for values in (random.normal(0.5, 1, size), random.integers(-4, 6, size) / 4):
            assert sign_flip(values, seed=0) == (enumerated(values.tolist()), True)
    assert sign_flip([0.1] * 36, seed=0) == (2 / 2**36, True)
    assert sign_flip([0.5, -0.5] * 25, seed=0) == (1.0, True)
    padded = [0.25, 0.5, 0.125, *[0.0] * 60]  # a difference of 0 has no sign
    assert sign_flip(padded, seed=0) == (0.25, True)


def test_sign_flips_at_random_agree_with_all_of_them() -> None:
    values = np.random.default_rng(1).normal(0.25, 1, 36)
    exact, is_exact = sign_flip(values, seed=0)
    estimate, all_of_them = sign_flip([*values, *[1e-13] * 4], seed=7)  # four signs that change nothing
    assert is_exact and not all_of_them
    assert abs(estimate - exact) < 4 * math.sqrt(exact * (1 - exact) / 100_000)
    assert sign_flip([*values, *[1e-13] * 4], seed=7)[0] == estimate
    assert sign_flip([1.0] * 40, seed=0)[0] == 1 / 100_001


def test_sign_flips_reject_as_often_as_they_say() -> None:
    random = np.random.default_rng(2)
    rejected = sum(sign_flip(row, seed=0)[0] <= 0.05 for row in random.laplace(size=(2000, 16)))
    assert 0.035 < rejected / 2000 < 0.065


def test_t_from_fifty_questions_on() -> None:
    random = np.random.default_rng(3)
    a, b = random.random(50), random.random(50)
    result, known = paired_difference(a, b), ttest_rel(a, b)
    assert result.test == "t"
    assert (result.t, result.p_value) == pytest.approx((known.statistic, known.pvalue))
    assert paired_difference(a[:49], b[:49]).test.startswith("sign-flip")
    assert paired_difference(a, b, [i // 2 for i in range(50)]).test == "sign-flip exact"  # 25 clusters


def test_differences_that_do_not_vary() -> None:
    same = paired_difference([0.1, 0.7] * 30, [0.1, 0.7] * 30)
    assert (same.difference, same.se, same.t, same.p_value) == (0.0, 0.0, 0.0, 1.0)
    apart = paired_difference([0.5] * 60, [0.25] * 60)
    assert (apart.difference, apart.se, apart.t, apart.p_value) == (0.25, 0.0, math.inf, 0.0)
    alone = paired_difference([0.5], [0.25])
    assert alone.difference == 0.25 and math.isnan(alone.se) and math.isnan(alone.p_value) and alone.test == ""
    for a, b in (([0.5], [0.5, 0.5]), ([], [])):
        with pytest.raises(ValueError, match="expected one accuracy of each per question"):
            paired_difference(a, b)
    with pytest.raises(ValueError, match="expected finite accuracies"):
        paired_difference([0.5, math.nan], [0.5, 0.5])


def test_a_paired_difference_holds_for_new_questions() -> None:
    """200 questions, 1000 times: two strategies on the same 16 samples a question; the true difference is .1."""
    random = np.random.default_rng(4)
    held = 0
    for _ in range(1000):
        p = random.beta(0.5, 0.5, 200)
        samples = random.random((16, 200))
        b, a = (samples < p).mean(axis=0), (samples < p + 0.8 * p * (1 - p)).mean(axis=0)
        result = paired_difference(a, b)
        low, high = t_interval(result.difference, result.se, 200)
        held += low <= 0.1 <= high  # E p(1 - p) = 1/8
    assert 0.93 < held / 1000 < 0.97


def test_holm_on_known_numbers() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.6]) == [1.0, None, 1.0]
    assert holm([]) == []
    assert holm([0.02]) == [0.02]


def made(
    accuracy: dict[str, dict[int, Sequence[float | None]]],
    questions: Sequence[str],
    supported: dict[str, float] | None = None,
    **columns: str,
) -> Outcomes:
    """Outcomes with these accuracies by strategy and budget; `supported` by question, 1 where it says nothing."""
    rows = []
    for strategy, budgets in accuracy.items():
        for budget, values in budgets.items():
            for question, value in zip(questions, values, strict=True):
                share = (supported or {}).get(question, 1.0)
                value = value or 0.0
                rows.append(
                    {"run": "r", "question_id": question, "strategy": strategy, "verifier": None, "budget": budget,
                     "accuracy": value if share >= 0.9 else None, "lower": value * share,
                     "upper": value * share + 1 - share, "supported": share,
                     "method": "exact" if share >= 0.9 else "bounds", "exchangeable": True} | columns
                )  # fmt: skip
    return Outcomes(pl.DataFrame(rows, schema_overrides={"verifier": pl.String, "accuracy": pl.Float64}))


NAMES = [f"q{i:02}" for i in range(60)]


def curves(seed: int = 0) -> dict[str, dict[int, Sequence[float]]]:
    """Three strategies at three budgets on 60 questions."""
    random = np.random.default_rng(seed)
    p = random.beta(0.6, 0.6, 60)
    return {
        name: {n: np.clip(p + gain * n + random.normal(0, 0.1, 60), 0, 1).tolist() for n in (1, 2, 4)}
        for name, gain in (("sample+majority", 0.0), ("sample+weighted", 0.02), ("beam(width=4)+best", 0.01))
    }


def test_rows_and_bands() -> None:
    values = curves()
    table = compare(made(values, NAMES), "sample+weighted", "sample+majority", seed=5)
    assert table.columns == list(COLUMNS) and dict(table.schema) == COLUMNS
    assert table["budget"].to_list() == [1, 2, 4]
    differences = np.array([np.subtract(values["sample+weighted"][n], values["sample+majority"][n]) for n in (1, 2, 4)])
    assert table["difference"].to_list() == pytest.approx(differences.mean(axis=1).tolist())
    band = simultaneous_band(differences.T, seed=5)
    reach = (table["band_high"] - table["difference"]) / table["se"]
    assert reach.to_list() == pytest.approx([band] * 3)
    assert (table["band_low"] <= table["ci_low"]).all() and band > t_quantile(0.975, 59)
    assert table["test"].unique().to_list() == ["t"] and table["seed"].unique().to_list() == [5]
    opposite = compare(made(values, NAMES), "sample+majority", "sample+weighted", seed=5)
    assert opposite["difference"].to_list() == [-value for value in table["difference"]]
    assert opposite["p_value"].to_list() == table["p_value"].to_list()


def test_neither_order_nor_company_changes_a_row() -> None:
    outcomes = made(curves(), NAMES)
    clusters = {name: int(name[1:]) // 2 for name in NAMES}
    every = compare_all(outcomes, clusters=clusters, seed=1)
    assert every.select("first", "second").unique(maintain_order=True).rows() == [
        ("sample+majority", "sample+weighted"),
        ("sample+majority", "beam(width=4)+best"),
        ("sample+weighted", "beam(width=4)+best"),
    ]
    assert every["p_holm"].to_list() == holm(every["p_value"].to_list())
    shuffled = Outcomes(outcomes.frame.sample(fraction=1, shuffle=True, seed=1))
    one = compare(shuffled, "sample+weighted", "beam+best", clusters=clusters, seed=1)  # beam is beam(width=4)
    assert_frame_equal(every.drop("p_holm")[6:], one, abs_tol=1e-9)
    one = compare(outcomes, parse_strategy("sample+weighted"), parse_strategy("beam+best"), clusters=clusters, seed=1)
    assert_frame_equal(every.drop("p_holm")[6:], one, abs_tol=1e-9)


def test_each_question_its_own_cluster_is_no_cluster() -> None:
    outcomes = made(curves(), NAMES)
    table = compare(outcomes, "sample+weighted", "sample+majority")
    assert_frame_equal(
        table, compare(outcomes, "sample+weighted", "sample+majority", clusters={name: name for name in NAMES})
    )
    pairs = compare(outcomes, "sample+weighted", "sample+majority", clusters={q: int(q[1:]) // 2 for q in NAMES})
    assert pairs["test"].unique().to_list() == ["sign-flip exact"]  # 30 clusters
    assert (pairs["se"] != table["se"]).all() and (pairs["band_low"] < pairs["ci_low"]).all()


def test_support() -> None:
    """Two weak questions of sixty leave the mean; without support a question leaves its pair; below .9, bounds."""
    values = {name: {4: [0.75, *[0.5] * 58, 1.0]} for name in ("a", "b")}
    values["b"][4] = [0.5] * 60
    weak = compare(made(values, NAMES, {"q00": 0.5, "q59": 0.0}), "a", "b").row(0, named=True)
    assert weak["difference"] == pytest.approx(0.25 / 59) and weak["num_questions"] == 59
    assert weak["supported"] == pytest.approx(58.5 / 60)
    assert (weak["lower"], weak["upper"]) == pytest.approx(((0.125 - 0.5 - 1) / 60, (0.125 + 0.5 + 1) / 60))
    assert weak["method"] == "monte-carlo"  # no closed form any more
    none = compare_all(made(values, NAMES, {name: 0.8 for name in NAMES})).row(0, named=True)
    assert (none["method"], none["num_questions"], none["supported"]) == ("bounds", 60, pytest.approx(0.8))
    assert [none[name] for name in ("difference", "se", "ci_low", "band_low", "p_value", "p_holm", "detectable")] == [
        None
    ] * 7
    assert none["test"] is None and none["lower"] < 0 < none["upper"]


def test_the_weakest_method_names_the_difference() -> None:
    values = {"a": {4: [0.75, 0.5]}, "b": {4: [0.5, 0.5]}}
    frame = made(values, ["q1", "q2"]).frame
    for tag in ("monte-carlo", "plugin", "imputed"):
        marked = pl.when(pl.col("strategy") == "b").then(pl.lit(tag)).otherwise("method")
        assert compare(Outcomes(frame.with_columns(method=marked)), "a", "b")["method"].to_list() == [tag]


def test_one_question_has_no_error() -> None:
    table = compare_all(made({"a": {4: [0.75], 8: [0.5]}, "b": {4: [0.5], 8: [0.25]}}, ["q"]))
    assert table["difference"].to_list() == [0.25, 0.25]
    for name in ("se", "ci_low", "band_high", "p_value", "p_holm", "test", "detectable"):
        assert table[name].to_list() == [None, None]


def test_runs_of_different_kinds_are_paired_by_question() -> None:
    """Beam search against revisions; q3 was never revised, q4 only revised, and budget 1 has no revisions."""
    stars = [forests.star(f"q{i}", [("A", 0.75), ("B", 0.25), ("A", 0.5), ("B", 0.25)]) for i in range(4)]
    pairs = [[("B", 0.25), ("A", 0.5)], [("A", 0.25), ("A", 0.5)], [("C", 0.25), ("B", 0.5)]]
    chains = [forests.chains(f"q{i}", pairs) for i in (4, 2, 1, 0)]
    trees = replay(forests.to_forest(forests.Case("trees", stars)), ["beam(width=2)+best"], [1, 2, 4], seed=0)
    revised = replay(
        forests.to_forest(forests.Case("chains", chains, kind="revisions")), ["revise(sequential=2)+best"], [2, 4],
        seed=0,
    )  # fmt: skip
    table = compare(combine([trees, revised]), "beam(width=2)+best", "revise(sequential=2)+best")
    assert table["budget"].to_list() == [2, 4] and table["num_questions"].to_list() == [3, 3]
    by_hand = [
        side.frame.filter(pl.col("question_id").is_in(["q0", "q1", "q2"]), budget=2)["accuracy"].mean()
        for side in (trees, revised)
    ]
    assert table["difference"][0] == pytest.approx(by_hand[0] - by_hand[1])  # type: ignore[operator]


def test_what_cannot_be_compared() -> None:
    outcomes = made(curves(), NAMES)
    with pytest.raises(ValueError, match=r"'beam\(width=4\)\+best' is compared with itself; name two different"):
        compare(outcomes, "beam+best", "beam(width=4)+best")
    with pytest.raises(ValueError, match=r"strategy 'sample\+oracle' is not in these outcomes; they hold sample\+maj"):
        compare(outcomes, "sample+oracle", "sample+majority")
    with pytest.raises(ValueError, match="unknown search 'tree'"):
        compare(outcomes, "tree+majority", "sample+majority")
    other = made({"sample+majority": {4: [0.5] * 60}}, NAMES, run="s", verifier="v")
    with pytest.raises(ValueError, match=r"'sample\+majority' is there 2 times \(run 'r', verifier none; run 's', ver"):
        compare(combine([outcomes, other]), "sample+majority", "sample+weighted")
    elsewhere = made({"sample+best": {4: [0.5] * 60}}, [f"p{i}" for i in range(60)])
    with pytest.raises(ValueError, match="share no question"):
        compare(combine([outcomes, elsewhere]), "sample+best", "sample+weighted")
    larger = made({"sample+best": {8: [0.5] * 60, 16: [0.5] * 60}}, NAMES)
    with pytest.raises(ValueError, match=r"\(budgets 8, 16\) and 'sample\+weighted' \(budgets 1, 2, 4\) share no budg"):
        compare(combine([outcomes, larger]), "sample+best", "sample+weighted")
    with pytest.raises(ValueError, match="pairs: expected at least one, of two different strategies"):
        compare_all(larger)
    with pytest.raises(ValueError, match="seed -1: expected an integer from 0"):
        compare_all(outcomes, seed=-1)
