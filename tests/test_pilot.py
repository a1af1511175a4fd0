"""Pilots against the readable specification, and the charged policy against what it is truly worth."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import forests, naive
from tests.forests import Case
from tests.parts import listed, only, rest, run_of_trees
from tests.verification import markov, truth
from tests.verification.markov import TREES, Step
from tts_sim.bins import Bins
from tts_sim.costs import Sizes
from tts_sim.errors import CacheExhausted, ScoreMissing
from tts_sim.outcomes import Outcomes
from tts_sim.pilot import Pilot, by_level, charged_curve, charged_values, run_pilot
from tts_sim.replay import replay
from tts_sim.roles import Apart, replay_apart, split_roles

SAMPLING = ["sample+majority", "sample+weighted", "sample+best", "sample+oracle", "sample+best(agg=mean)"]
BEAM = "beam(width=2)+weighted"


# ------------------------------------------------------------------------------------------ the readable specification
class Trial(NamedTuple):
    easiness: float
    values: dict[tuple[str, int], float]
    costs: dict[int, tuple[int, int]]  # tokens and critical tokens at each budget; 0: of the pilot


def naive_trial(run: naive.Run, name: str, specs: list[str], budgets: list[int], samples: int, key: int) -> Trial:
    """One permutation: the first m solutions are looked at, the first n answer."""
    pool = naive.pool_of(run, run.prompts[name])
    drawn = [pool[draw] for draw in naive.first_draws(key, len(pool), max([samples, *budgets]))]
    pilot = drawn[:samples]
    values, costs = {}, {}
    for n in [0, *budgets]:
        after = [tokens for _, tokens, _ in drawn[samples:n]]
        lengths = [tokens for _, tokens, _ in pilot]
        costs[n] = sum(lengths) + sum(after), max(lengths) + max(after, default=0)
        for spec in specs if n else []:
            _, _, selection, agg = naive.search_of(spec, n)

            def score(node: naive.Node, agg: str = agg) -> float:
                return naive.path_score(node, agg or "last")

            values[spec, n] = naive.select(selection, [node for node, _, _ in drawn[:n]], score)
    return Trial(naive.added([node.score for node, _, _ in pilot]) / samples, values, costs)


def naive_trials(
    case: Case, specs: list[str], budgets: list[int], samples: int, trials: int, seed: int
) -> dict[str, list[Trial]]:
    run = naive.read(case.questions, case.root_pool, case.step_pool, "prm")
    return {
        name: [
            naive_trial(run, name, specs, budgets, samples, naive.trial_key(seed, name, trial))
            for trial in range(trials)
        ]
        for name in run.prompts
    }


def naive_rows(trials: list[Trial], edges: list[float], spec: str, n: int, samples: int) -> dict[int, dict[str, float]]:
    """What `by_level` says of one question, strategy and budget."""
    levels: dict[int, list[Trial]] = {}
    for trial in trials:
        levels.setdefault(1 + sum(trial.easiness < edge for edge in edges), []).append(trial)
    found = {}
    for level, members in levels.items():
        tokens = np.mean([trial.costs[n][0] for trial in members])
        judged = "majority" not in spec and "oracle" not in spec
        found[level] = {
            "share": len(members) / len(trials),
            "accuracy": np.mean([trial.values[spec, n] for trial in members]),
            "generations": max(samples, n),
            "tokens": tokens,
            "verifier_tokens": tokens if judged else np.mean([trial.costs[0][0] for trial in members]),
            "critical_tokens": np.mean([trial.costs[n][1] for trial in members]),
        }
    return found


def assert_as_specified(case: Case, budgets: list[int], samples: int, seed: int, wanted: int = 4) -> None:
    """Every trial of the pilot is the very same, on what evaluates and on what is apart."""
    roles = split_roles(forests.to_forest(case), seed=seed, difficulty_draws=wanted)
    pilot = run_pilot(roles, SAMPLING, budgets, samples=samples, trials=5, seed=seed)
    size = roles.evaluation.root_pool
    evaluating = only(case, rest(case, listed(roles), size), size)
    apart = only(replace(case, root_pool=None, step_pool=None), listed(roles), None)
    expected = naive_trials(evaluating, SAMPLING, budgets, samples, 5, seed)
    for q, name in enumerate(pilot.question_ids):
        for t, trial in enumerate(expected[name]):
            assert pilot.found.easiness[q, t] == trial.easiness
            assert [
                tuple(costs) for costs in zip(pilot.found.tokens[q, t], pilot.found.critical[q, t], strict=True)
            ] == [trial.costs[n] for n in [0, *budgets]]
            for b, n in enumerate(budgets):
                for s, spec in enumerate(SAMPLING):
                    assert pilot.found.value[q, t, b, s] == trial.values[spec, n], (name, t, spec, n)
    if samples > pilot.fewest:
        assert pilot.apart is None
        return
    assert pilot.apart is not None
    for q, (name, trials) in enumerate(naive_trials(apart, [], [], samples, 5, seed).items()):
        assert name == pilot.question_ids[q]
        assert pilot.apart.easiness[q].tolist() == [trial.easiness for trial in trials]
        assert pilot.apart.tokens[q].tolist() == [[trial.costs[0][0]] for trial in trials]


AWKWARD = [  # small, with ties, zero scores, abstentions, duplicates, nobody right
    Case("ties", [forests.star("tie", [("A", 0.5), ("B", 0.5), ("A", 0.25), ("B", 0.25), ("C", 0.75), ("A", 0.5)])]),
    Case("zeros", [forests.star("zero", [("B", 0.0), ("A", 0.0), ("B", 0.0), ("C", 0.5), ("A", 0.0), ("A", 0.0)])]),
    Case("mute", [forests.star("mute", [(None, 0.5)] * 6)]),
    Case("lost", [forests.star("lost", [("B", 0.5), ("C", 0.25), ("B", 0.125), (None, 0.5), ("B", 0.5), ("C", 1.0)])]),
    Case("same", [forests.star("same", [("A", 0.5)] * 5 + [("B", 0.5)] * 3)]),
    Case("long", [forests.chain("long", 45, roots=6)]),
]


@pytest.mark.parametrize("case", AWKWARD, ids=lambda case: case.name)
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_awkward_forests(case: Case, samples: int) -> None:
    assert_as_specified(case, [1, 2, 3, 4], samples, 7, wanted=2)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), recorded=st.booleans(), samples=st.integers(1, 6))
def test_random_trees(seed: int, recorded: bool, samples: int) -> None:
    assert_as_specified(run_of_trees(seed, recorded=recorded, pool=12), [1, 2, 5, 8], samples, seed)


def test_levels_are_means_over_their_trials() -> None:
    case, edges, samples, budgets = run_of_trees(3, pool=20), [0.375, 0.5, 0.625], 2, [1, 2, 4, 6]
    roles = split_roles(forests.to_forest(case), seed=1, difficulty_draws=8)
    frame = by_level(run_pilot(roles, SAMPLING, budgets, samples=samples, trials=40, seed=1), edges)
    expected = naive_trials(only(case, rest(case, listed(roles), 12), 12), SAMPLING, budgets, samples, 40, 1)
    assert frame["reused"].all()
    assert frame["level"].n_unique() == 4
    for name, trials in expected.items():
        for spec in SAMPLING:
            for n in budgets:
                rows = frame.filter(question_id=name, strategy=spec, budget=n)
                wanted = naive_rows(trials, edges, spec, n, samples)
                assert sorted(rows["level"]) == sorted(wanted)
                for row in rows.iter_rows(named=True):
                    figures = {key: row[key] for key in wanted[row["level"]]}
                    assert figures == pytest.approx(wanted[row["level"]], rel=1e-12)


def test_levels_follow_the_rule_of_difficulty_and_an_edge_belongs_above() -> None:
    entries: list[Any] = [("A", 0.25), ("A", 0.5), ("A", 0.75), ("A", 0.5)] * 2
    roles = split_roles(forests.to_forest(Case("star", [forests.star("q", entries)])), seed=0, difficulty_draws=4)
    pilot = run_pilot(roles, ["sample+best"], [1], samples=1, trials=64, seed=0)
    for edges in ([0.5], [0.25, 0.75], [0.3, 0.5, 0.5], []):
        shares = by_level(pilot, edges).select("level", "share").rows()
        levels = Bins("value", tuple(edges)).levels(pilot.found.easiness[0])
        assert dict(shares) == {level: (levels == level).mean() for level in np.unique(levels).tolist()}


def test_the_pilot_draws_what_a_replay_draws() -> None:
    """With one bin and n ≥ m nothing is decided: value and cost are those of the replay, trial by trial."""
    forest = forests.to_forest(run_of_trees(5, recorded=False))
    roles = split_roles(forest, seed=4, difficulty_draws=8)
    budgets = [24, 40]  # one block a permutation
    more: dict[str, Any] = {"trials": 9, "seed": 4}
    frame = by_level(run_pilot(roles, SAMPLING, budgets, samples=4, **more), [])
    same = replay(roles.evaluation, SAMPLING, budgets, method="monte-carlo", **more).frame
    both = frame.join(same, on=["question_id", "strategy", "budget"], suffix="_replay")
    assert len(both) == len(same) == 2 * 5 * 2
    for column in ("accuracy", "generations", "tokens"):
        assert both[column].to_numpy() == pytest.approx(both[f"{column}_replay"].to_numpy(), rel=1e-12)


def test_rows_stand_alone_whatever_the_threads() -> None:
    roles = split_roles(forests.to_forest(run_of_trees(2)), seed=0, difficulty_draws=8)
    before = numba.get_num_threads()
    found = []
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            found.append(run_pilot(roles, SAMPLING, [1, 8], samples=4, trials=6, seed=0))
    finally:
        numba.set_num_threads(before)
    for one, other in zip(found[0].found, found[1].found, strict=True):
        assert np.array_equal(one, other)
    alone = split_roles(forests.to_forest(run_of_trees(2), [1]), seed=0, difficulty_draws=8)
    single = run_pilot(alone, SAMPLING, [1, 8], samples=4, trials=6, seed=0)
    assert np.array_equal(single.found.value[0], found[0].found.value[1])
    frame = by_level(found[0], [0.5])
    assert by_level(found[0], [0.5], questions=["q2-1"]).equals(frame.filter(question_id="q2-1"))
    assert by_level(single, [0.5]).equals(frame.filter(question_id="q2-1"))


# --------------------------------------------------------------------------------------------------- what it is worth
M, EDGE, CACHES = 2, 0.55, 12_000


@cache
def markov_run() -> Apart:
    """Independent caches of one family: 6 draws that evaluate, 4 that are apart."""
    forest = markov.trees(TREES, questions=CACHES, roots=10, children=4, seed=11)
    return replay_apart(forest, ["sample+weighted", BEAM], [4], difficulty_draws=4, trials=4, seed=0)


@cache
def markov_pilot() -> Pilot:
    return run_pilot(markov_run().roles, ["sample+weighted", "sample+majority"], [1, 4], samples=M, trials=16, seed=0)


def is_easy(bag: tuple[Step, ...]) -> bool:
    return sum(step.score for step in bag) / len(bag) >= EDGE


def expected_value(easy: str, hard: str, n: int = 4) -> float:
    """Exact value of a policy that runs `easy` or `hard` (a selection of samples, or the beam) by its pilot."""
    pilots, more = truth.sample(TREES, M), truth.sample(TREES, n - M)
    beam = truth.accuracy(truth.beam(TREES, n, 2), "weighted")
    total = 0.0
    for bag, chance in pilots.items():
        choice = easy if is_easy(bag) else hard
        if choice == "beam":
            total += chance * beam
        else:
            total += chance * sum(share * truth.worth((*bag, *other), choice) for other, share in more.items())
    return total


@pytest.mark.parametrize(
    ("easy", "hard"),
    [("weighted", "majority"), ("majority", "majority"), ("beam", "majority"), ("weighted", "beam"), ("beam", "beam")],
)
def test_charged_values_are_unbiased(easy: str, hard: str) -> None:
    frame = by_level(markov_pilot(), [EDGE], markov_run().outcomes)
    specs = {"beam": BEAM, "majority": "sample+majority", "weighted": "sample+weighted"}
    values = charged_values(frame, {(1, 4): specs[easy], (2, 4): specs[hard]})
    assert len(values) == CACHES
    assert_near(values["accuracy"], expected_value(easy, hard))
    share = sum(chance for bag, chance in truth.sample(TREES, M).items() if is_easy(bag))
    anew = share * (easy == "beam") + (1 - share) * (hard == "beam")
    assert_near(values["generations"], 4 + anew * M)


def assert_near(column: pl.Series, expected: float) -> None:
    values = column.to_numpy()
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert abs(values.mean() - expected) <= 4 * error + 1e-9, f"{values.mean():.5f} ± {error:.5f}, exact {expected:.5f}"


def test_a_pilot_that_shares_draws_with_the_beam_would_be_biased() -> None:
    """The leakage that the draws apart are there for: a lucky pilot goes with lucky beams."""
    leaky = replace(markov_pilot(), apart=markov_pilot().found)
    frame = by_level(leaky, [EDGE], markov_run().outcomes)
    values = charged_values(frame, {(1, 4): BEAM, (2, 4): "sample+majority"})["accuracy"].to_numpy()
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert values.mean() - expected_value("beam", "majority") > 4 * error


def test_one_bin_is_the_uncharged_value() -> None:
    run = markov_run()
    values = charged_values(by_level(markov_pilot(), []), {(1, 4): "sample+weighted"})
    uncharged = run.outcomes.frame.filter(strategy="sample+weighted")
    both = values.join(uncharged, on="question_id", suffix="_free")
    assert_near(both["accuracy"] - both["accuracy_free"], 0.0)
    assert both["generations"].unique().to_list() == [4.0]


def test_fewer_generations_than_the_pilot_cost_as_much() -> None:
    values = charged_values(by_level(markov_pilot(), [EDGE]), {(1, 1): "sample+majority", (2, 1): "sample+majority"})
    assert values["generations"].unique().to_list() == [float(M)]
    assert_near(values["accuracy"], truth.accuracy(truth.sample(TREES, 1), "majority"))


# ------------------------------------------------------------------------------------------ strategies that start anew
def small() -> tuple[Apart, Pilot]:
    forest = forests.to_forest(run_of_trees(1))
    budgets = {"sample+majority": [2, 8], "sample+best": [8], BEAM: [4, 8]}
    run = replay_apart(forest, list(budgets), budgets, trials=3, seed=0, difficulty_draws=16)
    return run, run_pilot(run.roles, list(budgets), budgets, samples=4, trials=50, seed=0)


def test_what_starts_anew_pays_for_the_pilot_on_top() -> None:
    run, pilot = small()
    frame = by_level(pilot, [0.5], run.outcomes).filter(strategy=BEAM)
    assert pilot.apart is not None
    plain = run.outcomes.frame.filter(strategy=BEAM)
    for row in frame.iter_rows(named=True):
        q = pilot.question_ids.index(row["question_id"])
        there = (pilot.apart.easiness[q] >= 0.5) == (row["level"] == 1)
        alone = plain.filter(question_id=row["question_id"], budget=row["budget"]).row(0, named=True)
        tokens, critical = (cost[q, there, 0].mean() for cost in (pilot.apart.tokens, pilot.apart.critical))
        expected = {
            "reused": False,
            "share": there.mean(),
            "accuracy": alone["accuracy"],
            "generations": alone["generations"] + 4,
            "tokens": alone["tokens"] + tokens,
            "verifier_tokens": alone["verifier_tokens"] + tokens,
            "critical_tokens": alone["critical_tokens"] + critical,
        }
        assert {key: row[key] for key in expected} == pytest.approx(expected, rel=1e-12)
    assert frame.select("question_id", "level", "budget").n_unique() == len(frame) > 4
    assert set(by_level(pilot, [0.5], run.outcomes)["strategy"]) == {"sample+majority", "sample+best", BEAM}


def test_only_the_budgets_that_are_asked_of_a_strategy_are_there() -> None:
    run, pilot = small()
    rows = by_level(pilot, [], run.outcomes).select("strategy", "budget").unique().rows()
    assert set(rows) == {("sample+majority", 2), ("sample+majority", 8), ("sample+best", 8), (BEAM, 4), (BEAM, 8)}


def test_flops_are_charged_to_the_models_that_spend_them() -> None:
    run, pilot = small()
    sizes = Sizes({"trees": 10}, {"prm": 3})
    frame = by_level(pilot, [0.5], run.outcomes, sizes=sizes)
    assert frame["generator_flops"].to_numpy() == pytest.approx(20.0 * frame["tokens"].to_numpy())
    assert frame["verifier_flops"].to_numpy() == pytest.approx(6.0 * frame["verifier_tokens"].to_numpy())
    assert frame["flops"].to_numpy() == pytest.approx((frame["generator_flops"] + frame["verifier_flops"]).to_numpy())
    unknown = by_level(pilot, [], run.outcomes, sizes=Sizes({"trees": 10}))
    values = charged_values(unknown, {(1, 8): BEAM})
    assert values["flops"].null_count() == len(values) == 2
    assert charged_curve(values, unit="flops")["cost"].to_list() == [None]
    assert charged_curve(values, unit="generator_flops")["cost"][0] == pytest.approx(values["tokens"].mean() * 20)


# ---------------------------------------------------------------------------------------------------------- policies
def test_policies_come_as_mappings_or_tables() -> None:
    run, pilot = small()
    frame = by_level(pilot, [0.5], run.outcomes)
    by_spec = charged_values(frame, {(1, 8): "sample+best", (2, 8): BEAM})
    spelled = charged_values(frame, {(1, 8): ("sample+best", 8), (2, 8): (BEAM, 8)})
    table = pl.DataFrame({"level": [1, 2], "budget": [8, 8], "strategy": ["sample+best", BEAM], "generations": [8, 8]})
    assert by_spec.equals(spelled)
    assert by_spec.equals(charged_values(frame, table))
    less = charged_values(frame, {(1, 9.5): ("sample+majority", 2), (2, 9.5): (BEAM, 4)})
    assert less["budget"].to_list() == [9.5] * 2
    for value in less.iter_rows(named=True):
        expected = sum(
            row["share"] * row["accuracy"]
            for row in frame.filter(question_id=value["question_id"]).iter_rows(named=True)
            if (row["level"], row["strategy"], row["budget"]) in ((1, "sample+majority", 2), (2, BEAM, 4))
        )
        assert value["accuracy"] == pytest.approx(expected, rel=1e-12)


def test_policies_of_folds_and_splits_hold_for_their_questions() -> None:
    run, pilot = small()
    frame = by_level(pilot, [0.5], run.outcomes)
    first, second = pilot.question_ids
    best, beam = ({(level, 8): spec for level in (1, 2)} for spec in ("sample+best", BEAM))
    one, other = (charged_values(frame, policy).sort("question_id") for policy in (best, beam))
    rows = [
        {"split": split, "question_id": name, "level": level, "budget": 8, "strategy": spec, "generations": 8}
        for split, name, spec in ((0, first, BEAM), (0, second, "sample+best"), (1, first, BEAM), (1, second, BEAM))
        for level in (1, 2)
    ]
    values = charged_values(frame, pl.DataFrame(rows)).sort("question_id")
    assert values["accuracy"].to_list() == pytest.approx(
        [other["accuracy"][0], (one["accuracy"][1] + other["accuracy"][1]) / 2], rel=1e-12
    )


def test_a_question_without_a_value_is_left_out_and_counted() -> None:
    run, pilot = small()
    name = pilot.question_ids[0]
    hopeless = pl.when(pl.col("question_id") == name)
    frame = run.outcomes.frame.with_columns(
        supported=hopeless.then(0.0).otherwise("supported"), accuracy=hopeless.then(None).otherwise("accuracy")
    )
    values = charged_values(by_level(pilot, [], Outcomes(frame)), {(1, 8): BEAM})
    assert values["accuracy"].is_null().to_list() == [True, False]
    curve = charged_curve(values).row(0, named=True)
    assert (curve["num_questions"], curve["without_value"], curve["se"]) == (1, 1, None)
    missing = Outcomes(run.outcomes.frame.filter(pl.col("question_id") != name))
    gone = charged_values(by_level(pilot, [], missing), {(1, 8): BEAM})
    assert gone["accuracy"].is_null().to_list() == [True, False]


def test_the_curve_is_the_mean_with_its_t_interval() -> None:
    values = pl.DataFrame(
        {"question_id": ["a", "b", "c"], "budget": [4] * 3, "accuracy": [0.0, 0.5, 1.0], "generations": [4.0, 6.0, 8.0]}
    )
    row = charged_curve(values).row(0, named=True)
    assert (row["line"], row["difficulty"], row["budget"], row["cost"]) == ("policy, charged", "predicted", 4, 6.0)
    assert (row["accuracy"], row["num_questions"]) == (0.5, 3)
    assert row["se"] == pytest.approx(0.5 / math.sqrt(3))
    assert row["ci_high"] - row["accuracy"] == pytest.approx(4.302652729911275 * row["se"])  # t of 2 degrees, .975


# --------------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize("samples", [0, -2, 1.5, True])
def test_a_pilot_needs_a_whole_number_of_samples(samples: Any) -> None:
    with pytest.raises(ValueError, match=rf"samples {samples}: expected a whole number"):
        run_pilot(small()[0].roles, SAMPLING, [4], samples=samples, seed=0)


def test_pilots_stop_where_the_cache_does() -> None:
    roles = small()[0].roles
    with pytest.raises(CacheExhausted, match=r"2 of 2 questions hold fewer than 33 samples"):
        run_pilot(roles, SAMPLING, [4], samples=33, seed=0)
    with pytest.raises(CacheExhausted, match=r"fewer than 40 samples"):
        run_pilot(roles, SAMPLING, [40], samples=4, seed=0)
    unfinished = forests.to_forest(forests.cut(run_of_trees(2), 1, 0.95))
    with pytest.raises(CacheExhausted, match=r"hold samples that are not complete \(first: 'q2-0'\)"):
        run_pilot(split_roles(unfinished, seed=0, difficulty_draws=4), SAMPLING, [4], samples=4, seed=0)


def test_pilots_need_scores_of_steps() -> None:
    star = Case("star", [forests.star("q", [("A", 0.5), (None, None)] + [("A", 0.5)] * 6)])
    roles = split_roles(forests.to_forest(star), seed=0, difficulty_draws=2)
    with pytest.raises(ScoreMissing, match=r"'prm' has not scored 1 of 6 solutions .*'q'"):
        run_pilot(roles, ["sample+majority"], [1], samples=1, seed=0)
    chains = split_roles(forests.to_forest(forests.random_chains(1)), seed=0, difficulty_draws=4)
    with pytest.raises(ValueError, match=r"a pilot replays step trees"):
        run_pilot(chains, [], [1], samples=1, seed=0)
    with pytest.raises(ValueError, match=r"verifier 'other'"):
        run_pilot(small()[0].roles, [], [1], samples=1, verifier="other", seed=0)


def test_levels_refuse_what_they_cannot_tell() -> None:
    run, pilot = small()
    with pytest.raises(ValueError, match=r"edges \[0\.5, 0\.25\]: expected numbers in ascending order"):
        by_level(pilot, [0.5, 0.25])
    with pytest.raises(ValueError, match=r"question 'nobody': not among"):
        by_level(pilot, [], questions=["nobody"])
    with pytest.raises(ValueError, match=r"outcomes hold beam.* several times"):
        by_level(pilot, [], Outcomes(pl.concat([run.outcomes.frame] * 2)))
    wide = run_pilot(run.roles, ["sample+majority"], [4], samples=17, seed=0)
    assert len(by_level(wide, [])) == 2
    with pytest.raises(ValueError, match=r"samples 17: a question has only 16 draws that are apart"):
        by_level(wide, [], run.outcomes)


def test_policies_that_leave_something_open_are_refused() -> None:
    run, pilot = small()
    frame = by_level(pilot, [0.5], run.outcomes)
    with pytest.raises(ValueError, match=r"no strategy for level 2 at budget 8"):
        charged_values(frame, {(1, 8): BEAM})
    with pytest.raises(ValueError, match=r"policy: beam.* at 16 \(level 1, budget 16\) is not among"):
        charged_values(frame, {(1, 16): BEAM, (2, 16): BEAM})
    with pytest.raises(ValueError, match=r"it is empty"):
        charged_values(frame, {})
    twice = pl.DataFrame({"level": [1, 1, 2], "budget": [8] * 3, "strategy": [BEAM] * 3})
    with pytest.raises(ValueError, match=r"two strategies for one level and budget"):
        charged_values(frame, twice)
    values = charged_values(frame, {(1, 8): BEAM, (2, 8): BEAM})
    with pytest.raises(ValueError, match=r"unit 'joules': expected one of generations, tokens"):
        charged_curve(values, unit="joules")
