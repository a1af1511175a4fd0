"""Verifiers made out of cached ones: their texts, their scores, and what replays make of them."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache import open_cache
from tests import forests
from tests.command import tts_sim, write_jsonl
from tts_sim.draws import mix, question_key
from tts_sim.errors import ScoreMissing
from tts_sim.exact.best_of_n import best_of_n
from tts_sim.forest import Forest
from tts_sim.load import load_forest
from tts_sim.replay import replay
from tts_sim.spec import parse_strategy
from tts_sim.verifiers import (
    DEEPEST,
    NOISE,
    Cached,
    Flip,
    Power,
    Random,
    Sigmoid,
    Temper,
    Verifier,
    derived_scores,
    parse_verifier,
    rounds,
    side_by_side,
    with_verifiers,
)

PRM = Cached("prm")
SEEDS = st.integers(0, 10**6)
POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False)
VERIFIERS = st.recursive(
    st.sampled_from([PRM, Cached("a,b (c)"), Random()]),
    lambda inner: st.one_of(
        st.builds(Flip, inner, st.floats(0, 1)),
        st.builds(Temper, inner, POSITIVE),
        st.builds(Power, inner, POSITIVE),
        st.builds(Sigmoid, inner),
    ),
    max_leaves=4,
)


def stars(num: int, entries: list[tuple[str | None, float | None]]) -> Forest:
    """The same solutions under `num` questions of their own names."""
    return forests.to_forest(forests.Case("stars", [forests.star(f"q{i}", entries) for i in range(num)]))


def accuracy(forest: Forest, spec: str, budgets: list[int], verifier: str, trials: int = 32, **more: Any) -> Any:
    """Accuracy by question and budget."""
    frame = replay(forest, [spec], budgets, verifier=verifier, trials=trials, seed=5, **more).frame
    return frame["accuracy"].to_numpy().reshape(-1, len(budgets))


@pytest.mark.parametrize(
    ("text", "verifier", "shortest"),
    [
        ("prm", PRM, "prm"),
        (" random ", Random(), "random"),
        ("flip(prm)", Flip(PRM), "flip(prm)"),
        ("flip(prm, probability = 0.2)", Flip(PRM, 0.2), "flip(prm)"),
        ("flip(prm,probability=1)", Flip(PRM, 1), "flip(prm,probability=1)"),
        ("temper (prm,temperature=2.50)", Temper(PRM, 2.5), "temper(prm,temperature=2.5)"),
        ("power(prm,exponent=1e-7)", Power(PRM, 1e-7), "power(prm,exponent=1e-07)"),
        ("sigmoid(prm)", Sigmoid(PRM), "sigmoid(prm)"),
        (
            "flip(temper(prm,temperature=2),probability=0.1)",
            Flip(Temper(PRM, 2), 0.1),
            "flip(temper(prm,temperature=2),probability=0.1)",
        ),
        ("power(random,exponent=2)", Power(Random(), 2), "power(random,exponent=2)"),
    ],
)
def test_texts(text: str, verifier: Verifier, shortest: str) -> None:
    assert parse_verifier(text, ["prm"]) == verifier
    assert str(verifier) == shortest


@given(verifier=VERIFIERS)
def test_a_text_gives_the_verifier_that_wrote_it(verifier: Verifier) -> None:
    assert parse_verifier(str(verifier), ["prm", "a,b (c)"]) == verifier


def test_an_id_of_the_cache_wins() -> None:
    for name in ("random", "flip(prm)", "m,temperature=2", "a,b (c", "flip(prm,probability=7)"):
        assert parse_verifier(name, ["prm", name]) == Cached(name)
        assert parse_verifier(f"power({name},exponent=3)", ["prm", name]) == Power(Cached(name), 3)


FORMS = "made of them: random, flip(ID,probability=0.2), temper(ID,temperature=2), power(ID,exponent=2), sigmoid(ID)"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "verifier '': unknown; known: prm, orm; or " + FORMS),
        ("judge", "verifier 'judge': unknown; known: prm, orm; or " + FORMS),
        ("blur(prm)", "verifier 'blur(prm)': unknown; known: prm, orm; or " + FORMS),
        ("flip(judge)", "verifier 'flip(judge)': unknown 'judge'; known: prm, orm"),
        ("flip(prm", "verifier 'flip(prm': unknown; known"),
        ("flip(prm))", "verifier 'flip(prm))': unknown 'prm)'"),
        ("flip(prm,0.2)", "unknown 'prm,0.2'; known: prm, orm; or made of them: random, flip(ID,probability=0.2)"),
        ("flip(probability=0.2,prm)", "unknown 'probability=0.2,prm'"),
        ("flip()", "flip needs the verifier that it changes, for example flip(ID,probability=0.2)"),
        ("flip(probability=0.2)", "flip needs the verifier that it changes"),
        ("temper(prm)", "temper needs temperature, for example temper(ID,temperature=2)"),
        ("power(prm)", "power needs exponent, for example power(ID,exponent=2)"),
        ("flip(prm,rate=0.2)", "parameter 'rate' of flip is unknown; known: probability"),
        ("sigmoid(prm,scale=2)", "parameter 'scale' of sigmoid is unknown; known: none"),
        ("temper(prm,temperature=1,temperature=2)", "parameter 'temperature' of temper is given twice"),
        ("flip(prm,probability=2)", "'flip(prm,probability=2)': probability=2: expected a number from 0 to 1"),
        ("flip(prm,probability=-0.1)", "probability=-0.1: expected a number from 0 to 1"),
        ("flip(prm,probability=nan)", "probability=nan: expected a number from 0 to 1"),
        ("flip(prm,probability=often)", "probability=often: expected a number"),
        ("flip(prm,probability=)", "probability=: expected a number"),
        ("temper(prm,temperature=0)", "temperature=0: expected a number above 0"),
        ("temper(prm,temperature=inf)", "temperature=inf: expected a number above 0"),
        ("power(flip(prm,probability=3),exponent=2)", "probability=3: expected a number from 0 to 1"),
        ("power(prm,exponent=-1)", "exponent=-1: expected a number above 0"),
        ("flip(" * 5000 + "prm" + ")" * 5000, f"more than {DEEPEST} functions inside each other"),
    ],
)
def test_bad_texts(text: str, problem: str) -> None:
    with pytest.raises(ValueError) as refusal:
        parse_verifier(text, ["prm", "orm"])
    assert problem in str(refusal.value)


def test_bad_values() -> None:
    for value in (True, "0.5", None, -1, math.nan):
        with pytest.raises(ValueError, match=r"probability=.*: expected a number from 0 to 1"):
            Flip(PRM, value)  # type: ignore[arg-type]
    forest = stars(1, [("A", 0.5)])
    with pytest.raises(ValueError, match="seed -1: expected an integer"):
        derived_scores(forest, "random", seed=-1)
    with pytest.raises(ValueError, match="verifier 'orm': not among those that scored run 'stars'; known: prm"):
        derived_scores(forest, Flip(Cached("orm")), seed=0)


@pytest.mark.parametrize("map_", ["flip(prm)", "temper(prm,temperature=2)", "power(prm,exponent=2)"])
def test_maps_refuse_scores_that_are_no_probabilities(map_: str) -> None:
    forest = stars(1, [("A", -3.0), ("B", 5.5)])
    with pytest.raises(ValueError, match=r"maps scores in \[0, 1\]; those of 'prm' go from -3 to 5.5.*sigmoid\(prm\)"):
        derived_scores(forest, map_, seed=0)
    assert 0 < derived_scores(forest, map_.replace("prm", "sigmoid(prm)"), seed=0)[1] < 1


def test_maps() -> None:
    forest = stars(1, [("A", 0.0), ("B", 0.25), ("A", 0.5), ("C", 1.0), ("B", None)])
    expected = {
        "prm": [0, 0.25, 0.5, 1],
        "power(prm,exponent=2)": [0, 0.0625, 0.25, 1],
        "temper(prm,temperature=2)": [0, 1 / (1 + math.sqrt(3)), 0.5, 1],
        "temper(prm,temperature=0.5)": [0, 0.1, 0.5, 1],
        "temper(prm,temperature=1e-300)": [0, 0, 0.5, 1],
        "flip(prm,probability=0)": [0, 0.25, 0.5, 1],
        "flip(prm,probability=1)": [1, 0.75, 0.5, 0],
        "flip(flip(prm,probability=1),probability=1)": [0, 0.25, 0.5, 1],
        "sigmoid(prm)": [1 / (1 + math.exp(-score)) for score in (0, 0.25, 0.5, 1)],
    }
    for text, scores in expected.items():
        column = derived_scores(forest, text, seed=0)
        assert column.dtype == np.float32 and not column.flags.writeable
        assert np.isnan(column[[0, 5]]).all()  # the prompt, and what nobody scored
        assert column[1:5].tolist() == pytest.approx(scores, rel=1e-6, abs=0), text
    known_nothing = derived_scores(forest, "random", seed=0)
    assert np.isnan(known_nothing).tolist() == [True] + [False] * 5


def test_large_logits_stay_inside() -> None:
    forest = stars(1, [("A", -1e30), ("B", 1e30), ("A", -100.0)])
    assert derived_scores(forest, "sigmoid(prm)", seed=0)[1:].tolist() == pytest.approx([0, 1, 0], abs=1e-40)


@given(seed=st.integers(0, 2**64 - 1))
def test_chance_is_the_hash_that_it_says(seed: int) -> None:
    forest = forests.to_forest(forests.random_case(3))
    drawn, flipped = (derived_scores(forest, text, seed=seed) for text in ("random", "flip(prm,probability=0.3)"))
    for q, name in enumerate(forest.question_ids):
        for v in range(forest.trees.question_start[q] + 1, forest.trees.question_start[q + 1]):
            node = int(forest.node_id[v])
            bits = [mix(mix(mix(seed, NOISE + stream), question_key(name)), node) for stream in (0, 1)]
            assert drawn[v] == np.float32((bits[0] >> 11) / 2**53)
            given_score = forest.scores["prm"][v]
            assert flipped[v] == (1 - given_score if (bits[1] >> 11) / 2**53 < 0.3 else given_score)


def test_flips_come_at_their_rate_and_nest_independently() -> None:
    forest = stars(500, [("A", 0.25)] * 40)
    for text, rate in (
        ("flip(prm,probability=0.3)", 0.3),
        ("flip(flip(prm,probability=0.3),probability=0.4)", 0.3 * 0.6 + 0.7 * 0.4),
    ):
        scores = derived_scores(forest, text, seed=1)
        flipped = scores[forest.node_id >= 0] == 0.75
        assert abs(flipped.mean() - rate) < 4 * math.sqrt(rate * (1 - rate) / len(flipped))
    few, many = (derived_scores(forest, f"flip(prm,probability={p})", seed=1) == 0.75 for p in (0.2, 0.6))
    assert not (few & ~many).any()  # a larger probability flips the same nodes and more
    assert not np.array_equal(scores, derived_scores(forest, text, seed=2), equal_nan=True)
    drawn = derived_scores(forest, "random", seed=1)[forest.node_id >= 0].astype(float)
    counts, _ = np.histogram(drawn, bins=20, range=(0, 1))
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-squared, 19 degrees of freedom, 0.1 %
    assert abs(np.corrcoef(drawn, flipped)[0, 1]) < 4 / math.sqrt(len(drawn))


def test_flips_commute_with_temperature() -> None:
    forest = forests.to_forest(forests.random_case(5, continuous=True))
    one = derived_scores(forest, "flip(temper(prm,temperature=3),probability=0.4)", seed=2)
    other = derived_scores(forest, "temper(flip(prm,probability=0.4),temperature=3)", seed=2)
    assert np.allclose(one, other, atol=1e-6, equal_nan=True)


def test_chance_does_not_depend_on_order_or_on_other_questions(tmp_path: Path) -> None:
    questions = [question for seed in range(3) for question in forests.random_case(seed).questions]
    file = write_jsonl(tmp_path / "r.jsonl", [{k: v for k, v in q.items() if v is not None} for q in questions])
    assert tts_sim("import", "native", file, "--into", tmp_path / "r.duckdb").status == 0
    names = [question["question_id"] for question in questions]
    chosen = [names[2], names[0]]
    specs = ["random", "flip(prm,probability=0.5)", "flip(flip(random))"]
    with open_cache(tmp_path / "r.duckdb") as cache:
        whole, part = (load_forest(cache, questions=order) for order in (names, chosen))
    for spec in specs:
        expected = derived_scores(whole, spec, seed=4)
        found = derived_scores(part, spec, seed=4)
        by_node = {
            (q, int(whole.node_id[v])): expected[v]
            for q, name in enumerate(names)
            for v in range(whole.trees.question_start[q], whole.trees.question_start[q + 1])
        }
        for place, name in enumerate(chosen):
            for v in range(part.trees.question_start[place] + 1, part.trees.question_start[place + 1]):
                assert found[v] == by_node[names.index(name), int(part.node_id[v])]


def test_columns_join_the_forest() -> None:
    forest = replace(forests.to_forest(forests.random_case(1)), verifier_kinds={"prm": "prm"})
    before = forest.path_score("prm", "mean")
    more = with_verifiers(forest, ["prm", Random(), "flip( prm, probability=0.2 )"], seed=3)
    assert list(more.scores) == ["prm", "random", "flip(prm)"] and list(forest.scores) == ["prm"]
    assert more.verifier_kinds == {"prm": "prm", "random": "random", "flip(prm)": "prm"}
    assert more.trees is forest.trees and np.array_equal(more.path_score("prm", "mean"), before, equal_nan=True)
    assert more.path_score("flip(prm)", "min").shape == before.shape
    with pytest.raises(ValueError, match=r"verifier 'flip\(prm\)': run 'random 1' has scores under this very name"):
        with_verifiers(more, [Flip(PRM)], seed=3)
    assert with_verifiers(more, ["flip(prm)"], seed=9).scores["flip(prm)"] is more.scores["flip(prm)"]


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_best_of_n_knows_only_the_order_of_scores(seed: int) -> None:
    forest = forests.to_forest(forests.random_case(seed))
    maps = ["power(prm,exponent=3)", "power(prm,exponent=0.5)", "temper(prm,temperature=4)", "sigmoid(prm)"]
    more = with_verifiers(forest, maps, seed=0)
    assert forest.root_pools().min() >= 7
    specs = ["sample+best", "sample+best(agg=min)", "beam(width=2)+best"]  # prod and mean do not go with every map
    frames = {
        verifier: replay(more, specs, [1, 2, 7], verifier=verifier, trials=16, seed=1).frame.drop("verifier")
        for verifier in ["prm", *maps]
    }
    for verifier in maps:
        assert frames[verifier].equals(frames["prm"]), verifier


def test_votes_know_the_size_of_scores() -> None:
    forest = with_verifiers(
        stars(1, [("A", 0.5), ("A", 0.5), ("B", 0.875)]),
        ["power(prm,exponent=4)", "temper(prm,temperature=0.5)", "temper(prm,temperature=1e+20)"],
        seed=0,
    )
    votes = {name: accuracy(forest, "sample+weighted", [3], name)[0, 0] for name in forest.scores}
    assert votes["prm"] == 1 and votes["power(prm,exponent=4)"] == 0
    assert votes["temper(prm,temperature=0.5)"] == 1  # 0.98 against 1
    assert votes["temper(prm,temperature=1e+20)"] == accuracy(forest, "sample+majority", [3], "prm")[0, 0] == 1


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_a_hot_verifier_counts_votes(seed: int) -> None:
    chance = random.Random(seed)
    entries: list[Any] = [(chance.choice(["A", "B", "C", None]), (chance.randrange(7) + 1) / 8) for _ in range(8)]
    forest = with_verifiers(stars(2, entries), ["temper(prm,temperature=1e+20)"], seed=0)
    hot, counted = (
        accuracy(forest, spec, [1, 2, 5, 8], "temper(prm,temperature=1e+20)", method="monte-carlo")
        for spec in ("sample+weighted", "sample+majority")
    )
    assert hot.tolist() == counted.tolist()


ENTRIES: list[Any] = [("A", 0.875), ("B", 0.75), ("A", 0.5), ("B", 0.25), ("B", 0.125)]


def expected_best(probability: float, complement: bool, n: int) -> float:
    """Best of n under flips, over all 32 patterns of flips."""
    scores = np.array([1 - score if complement else score for _, score in ENTRIES])
    correct = np.array([answer == "A" for answer, _ in ENTRIES])
    total = 0.0
    for pattern in itertools.product([False, True], repeat=len(ENTRIES)):
        flips = np.array(pattern)
        weight = math.prod(probability if flip else 1 - probability for flip in pattern)
        total += weight * best_of_n(np.where(flips, 1 - scores, scores), correct, n)
    return total


@pytest.mark.parametrize("probability", [0.2, 0.5, 0.75])
def test_flipping_scores_is_not_flipping_their_complements(probability: float) -> None:
    """Law 11: rate f on scores s is rate 1 − f on scores 1 − s, for a choice and for a vote."""
    flips = (Flip(PRM, probability), Flip(Flip(PRM, 1), 1 - probability))
    forest = with_verifiers(stars(1500, ENTRIES), flips, seed=7)
    for spec, n in (("sample+best", 3), ("sample+weighted", 5)):
        left, right = (accuracy(forest, spec, [n], name)[:, 0] for name in map(str, flips))
        error = math.sqrt((left.var() + right.var()) / len(left))
        assert abs(left.mean() - right.mean()) < 4 * error
        if spec == "sample+best":
            exact = expected_best(probability, False, n)
            assert exact == pytest.approx(expected_best(1 - probability, True, n), abs=1e-12)
            for values in (left, right):
                assert abs(values.mean() - exact) < 4 * values.std() / math.sqrt(len(values))


def test_a_verifier_that_knows_nothing() -> None:
    """Its best of n is one sample; its weighted vote goes to the majority's."""
    chance = random.Random(8)
    questions = []
    for i in range(300):
        right = chance.choice([0.25, 0.4, 0.7])
        entries: list[Any] = [
            ("A" if chance.random() < right else chance.choice("BCD"), chance.random()) for _ in range(128)
        ]
        questions.append(forests.star(f"q{i}", entries))
    forest = with_verifiers(forests.to_forest(forests.Case("r", questions)), ["random"], seed=6)
    budgets = [1, 8, 128]
    best = accuracy(forest, "sample+best", budgets, "random")
    for b in (1, 2):
        gap = best[:, b] - best[:, 0]
        assert abs(gap.mean()) < 4 * gap.std() / math.sqrt(len(gap))
    voted, counted = (accuracy(forest, f"sample+{name}", budgets, "random") for name in ("weighted", "majority"))
    assert abs(voted[:, 2].mean() - counted[:, 2].mean()) < 0.05 < counted[:, 2].mean() - counted[:, 0].mean()


def test_revisions_and_tree_searches_take_derived_verifiers() -> None:
    chains = with_verifiers(forests.to_forest(forests.random_chains(2)), ["random", "flip(prm)"], seed=1)
    for name in ("random", "flip(prm)"):
        frame = replay(chains, ["revise(sequential=2)+weighted"], [4], verifier=name, trials=8, seed=1).frame
        assert frame["verifier"].unique().to_list() == [name] and (frame["supported"] == 1).all()
    trees = with_verifiers(forests.to_forest(forests.random_case(2)), ["flip(prm,probability=1)"], seed=1)
    for verifier in trees.scores:
        assert replay(
            trees, ["beam(width=2)+weighted(agg=mean)"], [4], verifier=verifier, trials=8, seed=1
        ).frame.height


def test_gaps_of_the_verifier_below_are_named() -> None:
    forest = with_verifiers(stars(1, [("A", 0.5), ("B", None), ("A", 0.5)]), ["flip(prm)", "random"], seed=0)
    with pytest.raises(ScoreMissing, match=r"verifier 'flip\(prm\)' covers 2 of 3 nodes of run 'stars'; question 'q0'"):
        replay(forest, ["sample+best"], [2], verifier="flip(prm)", seed=0)
    assert accuracy(forest, "sample+best", [2], "random").shape == (1, 1)


def test_runs_side_by_side() -> None:
    steps = forests.to_forest(forests.random_case(1))
    chains = forests.to_forest(forests.random_chains(1))
    chains = replace(chains, scores={"orm": chains.scores["prm"]})
    texts = ["prm", "flip(prm)", "random", "prm", "flip(prm,probability=0.2)"]
    (left, left_names), (right, right_names) = side_by_side([steps, chains], texts, seed=2)
    assert left_names == list(left.scores) == ["prm", "flip(prm)", "random"]
    assert right_names == ["random"] and list(right.scores) == ["orm", "random"]
    assert side_by_side([steps, chains], ["flip(orm)"], seed=2)[0][1] == [None]
    assert [names for _, names in side_by_side([steps, chains], [], seed=2)] == [[None], [None]]
    with pytest.raises(ValueError, match="verifier 'judge': unknown; known: prm, orm"):
        side_by_side([steps, chains], ["prm", "judge"], seed=2)
    empty = forests.to_forest(forests.LONE)
    assert side_by_side([empty], ["prm"], seed=2) == [(empty, [None])]  # a recording before its first draw


def test_what_needs_no_score_is_replayed_once() -> None:
    strategies = [parse_strategy(spec) for spec in ("sample+majority", "sample+best", "beam+majority")]
    assert rounds(strategies, ["prm", "random"]) == [("prm", strategies), ("random", strategies[1:])]
    assert rounds(strategies[:1], ["prm", "random"]) == [("prm", strategies[:1])]
    assert rounds(strategies, [None]) == [(None, strategies)]
