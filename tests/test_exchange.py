"""The FLOPs exchange: case C24 in figures and on questions, its laws, intervals, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts_sim.best_split import SplitCandidates, best_split
from tts_sim.exchange import (
    CONVENTIONS,
    ExchangeTerms,
    break_even_ratio,
    exchange_totals,
    finetuning_share,
    multiplier,
)
from tts_sim.exchange_tables import BREAK_EVEN, EXCHANGE, break_even, exchange_table

M = 14
BIG = [0.93, 0.78, 0.55, 0.31, 0.09]
CURVE = {1: [85, 60, 30, 12, 1], 4: [92, 70, 41, 18, 1], 16: [95, 79, 52, 24, 2], 64: [96, 83, 58, 28, 3],
         256: [96, 85, 61, 30, 3]}  # fmt: skip
V1, STRICT, ICLR = ExchangeTerms(M, "snell-v1"), ExchangeTerms(M), ExchangeTerms(M, "snell-iclr")


def close(value: float, numerator: float, denominator: float = 1) -> bool:
    return math.isclose(value, numerator / denominator, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("options", "ratios", "expected"),
    [
        ({"convention": "snell-v1"}, [0.16, 0.79, 22], [(1031, 4), (5006, 79), (347, 22)]),
        ({"convention": "snell-iclr"}, [0.08, 0.4, 11], [(1031, 4), (251, 4), (347, 22)]),
        ({}, [0.08, 0.4, 11], [(1003, 4), (223, 4), (193, 22)]),
        ({"rho": 8.0}, [0.08, 0.4, 11], [(1003, 18), (223, 18), (193, 99)]),
    ],
)
def test_c24_multipliers(options: dict[str, float], ratios: list[float], expected: list[tuple[int, int]]) -> None:
    for ratio, (numerator, denominator) in zip(ratios, expected, strict=True):
        assert close(multiplier(ratio, M, **options), numerator, denominator)  # type: ignore[arg-type]


def test_c24_limits_budgets_and_totals() -> None:
    assert V1.multiplier(math.inf) == 14 and STRICT.multiplier(math.inf) == 7
    for budget, (numerator, denominator) in {256: (39, 242), 64: (39, 50), 16: (39, 2)}.items():
        assert close(break_even_ratio(budget, M, convention="snell-v1"), numerator, denominator)
        assert close(multiplier(numerator / denominator, M, convention="snell-v1"), budget)
    found = exchange_totals(0.79, 1e9, 1e11, V1)
    assert close(found.small_training, 6e20) and close(found.small_inference, 1.58e20)
    assert close(found.large, 1.0612e22) and close(found.small, 1.0612e22) and close(found.x, 5006, 79)


def questions(shares: list[list[int]], budgets: list[int]) -> pl.DataFrame:
    """A hundred questions a bin, of which as many percent as told are solved at each budget."""
    return pl.DataFrame([
        {"question_id": f"{level}-{q}", "budget": budget, "accuracy": float(q < percent)}
        for budget, percents in zip(budgets, shares, strict=True)
        for level, percent in enumerate(percents, start=1)
        for q in range(100)
    ])  # fmt: skip


SMALL = questions(list(CURVE.values()), list(CURVE))
LARGE = questions([[round(100 * share) for share in BIG]], [1])
LEVELS = {f"{level}-{q}": level for level in range(1, 6) for q in range(100)}


def test_c24_break_even_on_questions() -> None:
    ratios = {"snell-v1": [39 / 2, 39 / 2, 39 / 50, 0, 0], "strict": [13 / 6, 13 / 6, 13 / 38, 0, 0]}
    for terms in (V1, STRICT):
        table = break_even(SMALL, LARGE, terms, levels=LEVELS, draws=200)
        assert table.columns == list(BREAK_EVEN) and table["bin"].to_list() == [None, 1, 2, 3, 4, 5]
        bins = table.tail(5)
        assert bins["x_star"].to_list() == [16, 16, 64, None, None]
        assert bins["r_star"].to_list() == pytest.approx(ratios[terms.convention], rel=1e-12)
        assert (bins["r_low"] <= bins["r_star"]).all() and (bins["r_star"] <= bins["r_high"]).all()
        assert bins["r_at_most"].to_list() == [None, None, None, *[terms.break_even_ratio(256)] * 2]
    five = break_even(SMALL, LARGE, V1, levels=LEVELS, draws=200).row(5, named=True)
    assert (five["r_low"], five["num_questions"], five["strategy"]) == (0, 100, "policy")


def test_c24_exchange_on_questions() -> None:
    table = exchange_table(SMALL, LARGE, V1, ratios=[39 / 242, 39 / 50, 39 / 2], levels=LEVELS, draws=200)
    assert table.columns == list(EXCHANGE)
    for number, budget in enumerate((256, 64, 16)):
        row = table.filter(pl.col("bin").is_not_null(), pl.col("R") == table["R"][number])
        assert row["x"].to_list() == pytest.approx([budget] * 5)
        assert row["status"].to_list() == ["inside"] * 5
        assert row["small"].to_list() == pytest.approx([percent / 100 for percent in CURVE[budget]], abs=1e-8)
        assert row["large"].to_list() == pytest.approx(BIG)
        assert row["difference"].to_list() == pytest.approx((row["small"] - row["large"]).to_list(), abs=1e-12)


def test_figures_in_between_are_linear_in_log_budget_and_paired() -> None:
    row = exchange_table(SMALL, LARGE, V1, ratios=[V1.break_even_ratio(128)], draws=100).row(0, named=True)
    assert row["x"] == pytest.approx(128) and row["small"] == pytest.approx(np.mean([96, 84, 59.5, 29, 3]) / 100)
    solved = SMALL.filter(pl.col("budget").is_in([64, 256])).group_by("question_id").agg(pl.col("accuracy").mean())
    both = solved.join(LARGE, on="question_id", suffix="_large")
    differences = (both["accuracy"] - both["accuracy_large"]).to_numpy()
    assert row["difference"] == pytest.approx(differences.mean())
    assert row["se"] == pytest.approx(differences.std(ddof=1) / math.sqrt(500))
    assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * 1.96472939 * row["se"])
    assert row["boot_low"] == pytest.approx(row["ci_low"], abs=0.01)
    assert row["boot_high"] == pytest.approx(row["ci_high"], abs=0.01)


def test_where_the_cache_ends() -> None:
    falling = questions([[50], [80], [70]], [2, 4, 8])
    rising = questions([[50], [60], [70]], [2, 4, 8])
    large = questions([[75]], [1])
    cheap = ExchangeTerms(14, rho=40.0)  # x(inf) = 14/41
    for small, bound in ((falling, None), (rising, ">=")):
        table = exchange_table(small, large, cheap, ratios=[0.01, 0.2, 0.5, 1, 100], draws=50)
        assert table["x"].to_list() == pytest.approx([(14 + 39 / r) / 41 for r in (0.01, 0.2, 0.5, 1, 100)])
        assert table["status"].to_list() == ["beyond cache", "inside", "inside", "below cache", "below one sample"]
        assert table["bound"].to_list() == [bound, None, None, None, None]
        assert table["x_read"].to_list() == pytest.approx([8, table["x"][1], table["x"][2], None, None])
        assert table["small"].to_list()[0] == pytest.approx(0.7) and table["small"].to_list()[3:] == [None, None]
        assert table["large"].to_list() == pytest.approx([0.75] * 5)


def test_bounds_of_break_even() -> None:
    small = questions([[50, 1], [60, 2]], [1, 4])
    large = questions([[40, 50]], [1])
    table = break_even(small, large, V1, levels={name: int(name[0]) for name in small["question_id"]}, draws=500)
    easy, hard = table.row(1, named=True), table.row(2, named=True)
    assert (easy["x_star"], easy["r_star"], easy["r_high"]) == (1, math.inf, math.inf)
    assert (hard["x_star"], hard["r_star"], hard["r_low"], hard["r_high"]) == (None, 0, 0, 0)
    assert hard["r_at_most"] == math.inf  # 4 samples cost less than one answer of the larger model
    alone = break_even(small.filter(pl.col("question_id") == "1-0"), large, V1).row(0, named=True)
    assert (alone["num_questions"], alone["r_low"], alone["r_high"]) == (1, None, None)


def test_interpolated_break_even_is_where_the_exchange_curve_meets_zero() -> None:
    row = break_even(SMALL, LARGE, V1, interpolated=True, draws=100).row(0, named=True)
    assert 16 < row["x_star"] < 256
    again = exchange_table(SMALL, LARGE, V1, ratios=[row["r_star"]], draws=100).row(0, named=True)
    assert again["difference"] == pytest.approx(0, abs=1e-12)
    assert row["r_low"] < row["r_star"] < row["r_high"]


def test_costs_set_the_grid() -> None:
    """A sample of the small model takes 20 tokens, an answer of the larger one 10: t = 2."""
    small = SMALL.with_columns(cost=pl.col("budget") * 20.0)
    large = LARGE.with_columns(cost=pl.lit(10.0))
    longer = ExchangeTerms(M, "snell-v1", token_ratio=2)
    ratios = [0.5, 1.0, 2.0]
    by_cost = exchange_table(small, large, V1, ratios=ratios, levels=LEVELS, draws=100)
    by_ratio = exchange_table(SMALL, LARGE, longer, ratios=ratios, levels=LEVELS, draws=100)
    for column in ("small", "difference", "se", "ci_low", "boot_low", "boot_high"):
        assert by_cost[column].to_list() == pytest.approx(by_ratio[column].to_list())
    assert by_cost["x"].to_list() == pytest.approx([2 * x for x in by_ratio["x"]])
    stars = [break_even(*sides, levels=LEVELS, draws=100) for sides in ((small, large, V1), (SMALL, LARGE, longer))]
    assert stars[0]["r_star"].to_list() == pytest.approx(stars[1]["r_star"].to_list())


def test_the_larger_model_may_sample_too() -> None:
    large = questions([[50], [60]], [1, 4])
    small = questions([[50], [60], [70]], [1, 64, 256])
    terms = ExchangeTerms(M, "snell-v1", large_samples=4)
    assert terms.multiplier(math.inf) == 4 * 14
    row = exchange_table(small, large, terms, ratios=[1.0], draws=10).row(0, named=True)
    assert (row["x"], row["large"]) == (95, pytest.approx(0.6))
    with pytest.raises(ValueError, match=r"large: policy holds budgets 1, 4, not 2; set large_samples"):
        exchange_table(small, large, ExchangeTerms(M, large_samples=2), ratios=[1.0])


positive = st.floats(0.01, 100)
shares = st.floats(0, 10)


@given(M=st.floats(1.5, 100), rho=shares, v_large=shares, t=positive, ratios=st.tuples(positive, positive))
def test_law_10(M: float, rho: float, v_large: float, t: float, ratios: tuple[float, float]) -> None:
    terms = ExchangeTerms(M, rho=rho, v_large=v_large, token_ratio=t)
    limit = M * (1 + v_large) / (t * (1 + rho))
    assert math.isclose(terms.multiplier(math.inf), limit)
    low, high = sorted(ratios)
    assert terms.multiplier(low) >= terms.multiplier(high) > limit * (1 - 1e-12)
    if low < high * 0.99:
        assert terms.multiplier(low) > terms.multiplier(high)


@given(R=st.floats(0.001, 50), convention=st.sampled_from(CONVENTIONS), phi=st.floats(0, 5), d=st.floats(0.5, 3))
def test_break_even_undoes_the_multiplier(R: float, convention: str, phi: float, d: float) -> None:
    terms = ExchangeTerms(M, convention, phi=phi, data_ratio=d)  # type: ignore[arg-type]
    assert math.isclose(terms.break_even_ratio(terms.multiplier(R)), R, rel_tol=1e-6)
    totals = exchange_totals(R, 3e8, 2e9, terms)
    assert math.isclose(totals.small, totals.large)


def test_finetuning_is_paid_once() -> None:
    assert finetuning_share(1000, finetuning_tokens=50, verifier_tokens=20, rho=2, rollout_tokens=30) == 0.1
    assert multiplier(1, M, convention="snell-v1", phi=0.1) == pytest.approx(14 + 3 * 12.9)
    assert break_even_ratio(None, M) == 0 and break_even_ratio(1, M) == math.inf


def test_the_best_split() -> None:
    """Totals of 1 (the small model's pretraining) up: more samples first, then the larger model."""
    small = questions([[30], [50], [60]], [1, 4, 16])
    large = questions([[55], [70]], [1, 4])
    models = [SplitCandidates("small", small), SplitCandidates("large", large, size=4)]
    table = best_split(models, ratio=0.3, totals=[1.0, 1.15, 2, 4.4, 5.6], convention="snell-v1")
    assert table.rows_by_key(["total", "model"], named=True, unique=True).keys() == {
        (1.15, "small"), (2, "small"), (4.4, "small"), (4.4, "large"), (5.6, "small"), (5.6, "large"),
    }  # fmt: skip
    best = table.filter("best").select("total", "model", "budget", "flops", "training_share").rows()
    expected = [(1.15, "small", 1, 1.1), (2, "small", 4, 1.4), (4.4, "small", 16, 2.6), (5.6, "large", 4, 5.6)]
    assert [row[:3] for row in best] == [row[:3] for row in expected]
    assert [row[3] for row in best] == pytest.approx([row[3] for row in expected])
    assert [row[4] for row in best] == pytest.approx([1 / 1.1, 1 / 1.4, 1 / 2.6, 4 / 5.6])
    assert table.filter(pl.col("total") == 2)["accuracy"].item() == pytest.approx(0.5)
    both = best_split(models, ratio=0.3, totals=[4.4], convention="snell-iclr", levels=dict.fromkeys(LEVELS, 2))
    assert both["bin"].to_list() == [None, 2] and both["flops"].to_list() == pytest.approx([4.2] * 2)  # 4.8 for large


def test_the_best_of_many_is_not_flattered() -> None:
    random = np.random.default_rng(0)
    rows = [
        {"question_id": str(q), "budget": 1, "accuracy": value, "strategy": f"s{s}"}
        for q in range(60) for s, value in enumerate(random.normal(0.5, 0.2, 9))
    ]  # fmt: skip
    row = best_split([SplitCandidates("m", pl.DataFrame(rows))], ratio=1, totals=[9.0]).row(0, named=True)
    assert row["accuracy"] < row["naive"] - 0.01


@pytest.mark.parametrize("R", [0, -1.0, math.nan])
def test_bad_ratios(R: float) -> None:
    for refused in (
        lambda: multiplier(R, M),
        lambda: exchange_table(SMALL, LARGE, V1, ratios=[R]),
        lambda: best_split([SplitCandidates("m", SMALL)], ratio=R, totals=[2.0]),
    ):
        with pytest.raises(ValueError, match=f"R={R}: expected inference over pretraining tokens, above 0"):
            refused()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"M": 1}, "M=1: expected the larger model's parameters over the small one's, above 1"),
        ({"M": math.nan}, "M=nan"),
        ({"convention": "paper"}, "convention 'paper': expected one of strict, snell-v1, snell-iclr"),
        ({"convention": "snell-v1", "rho": 1.0}, "rho=1.0: convention snell-v1 sets it to 0; use strict"),
        ({"convention": "snell-iclr", "v_large": 0.0}, "v_large=0.0: convention snell-iclr sets it to 1"),
        ({"rho": -1.0}, "rho=-1.0: expected a share from 0"),
        ({"token_ratio": 0.0}, "token_ratio=0.0: expected a number above 0"),
        ({"phi": 13.0}, "training the small model costs as much as training the larger one"),
        ({"data_ratio": 0.05}, "training the small model costs as much"),
    ],
)
def test_bad_terms(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExchangeTerms(**({"M": M} | options))  # type: ignore[arg-type]


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"x=0: expected samples"):
        break_even_ratio(0, M)
    with pytest.raises(ValueError, match="pretraining_tokens=0"):
        finetuning_share(0)
    with pytest.raises(ValueError, match="rollout_tokens=-1"):
        finetuning_share(1, rollout_tokens=-1)
    with pytest.raises(ValueError, match="ratios: expected at least one"):
        exchange_table(SMALL, LARGE, V1, ratios=[])
    with pytest.raises(ValueError, match="share no question"):
        break_even(SMALL, LARGE.with_columns(pl.col("question_id") + "x"), V1)
    with pytest.raises(ValueError, match="frame: without accuracy, question_id"):
        break_even(SMALL.select("budget"), LARGE, V1)
    with pytest.raises(ValueError, match=r"question '1-0' has two values at budget 1\."):
        break_even(pl.concat([SMALL, SMALL]), LARGE, V1)
    with pytest.raises(ValueError, match="small: holds 2 strategies"):
        two = [SMALL.with_columns(strategy=pl.lit(name)) for name in ("a", "b")]
        break_even(pl.concat(two), LARGE, V1)
    with pytest.raises(ValueError, match="levels: none of the questions"):
        break_even(SMALL, LARGE, V1, levels={"other": 1})
    with pytest.raises(ValueError, match="a budget that costs nothing cannot be exchanged"):
        break_even(SMALL.with_columns(cost=pl.lit(0.0)), LARGE, V1)
    with pytest.raises(ValueError, match="1 models, 0 totals"):
        best_split([SplitCandidates("m", SMALL)], ratio=1, totals=[])
    with pytest.raises(ValueError, match="size=0 of 'm'"):
        SplitCandidates("m", SMALL, size=0)


def test_intervals_cover() -> None:
    """The t interval of a difference covers the truth of a known world .95 of the time."""
    random, hits, reps = np.random.default_rng(1), 0, 400
    for _ in range(reps):
        easy = random.beta(1, 1, 60)
        rows = {
            "question_id": [str(q) for q in range(60)] * 2,
            "budget": [1] * 60 + [4] * 60,
            "accuracy": np.concatenate([easy, easy**0.5]),  # means 1/2 and 2/3
        }
        large = {"question_id": [str(q) for q in range(60)], "budget": 1, "accuracy": (random.random(60) < easy) * 1.0}
        row = exchange_table(
            pl.DataFrame(rows), pl.DataFrame(large), V1, ratios=[math.inf], draws=1
        ).row(0, named=True)  # fmt: skip
        hits += row["ci_low"] <= 1 / 6 <= row["ci_high"]
    assert row["status"] == "beyond cache"
    assert 0.92 <= hits / reps <= 0.975
