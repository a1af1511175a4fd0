"""Replays without replacement are unbiased over random caches; with replacement they are not.

Each question of a forest is an independent cache of a Markov family, so the mean accuracy over questions must lie
within four standard errors of the exact one. Source: statistics 2.5 to 2.7 and its case C16.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest

from tests import forests
from tests.verification import markov, truth
from tests.verification.markov import CHAINS, TREES, Family, Step
from tests.verification.truth import Bags
from tts_sim.forest import Forest
from tts_sim.replay import replay
from tts_sim.spec import parse_strategy

CACHES, TRIALS, SEED = 12_000, 4, 1
STAIRCASE = [4, 4, 4, 2, 2, 2, 1, 1]
SELECTIONS = ("majority", "weighted", "best", "oracle")


@cache
def caches_of_trees() -> Forest:
    """More draws at every node than a trial may take, so that trials differ; rebase may send four to one node."""
    return markov.trees(TREES, questions=CACHES, roots=6, children=4, rollout=2, seed=SEED)


@cache
def caches_of_chains() -> Forest:
    return markov.chains(CHAINS, questions=CACHES, lengths=STAIRCASE, seed=SEED)


# search, budget, distribution of its candidates
ON_TREES: list[tuple[str, int, Callable[[], Bags]]] = [
    ("sample", 4, lambda: truth.sample(TREES, 4)),
    ("beam(width=2)", 4, lambda: truth.beam(TREES, 4, 2)),
    ("beam(width=2)", 3, lambda: truth.beam(TREES, 3, 2)),
    ("beam(width=3)", 4, lambda: truth.beam(TREES, 4, 3)),
    ("beam(width=4)", 4, lambda: truth.beam(TREES, 4, 4)),
    ("beam(width=sqrt)", 2, lambda: truth.beam(TREES, 2, 1)),
    ("beam(width=sqrt)", 4, lambda: truth.beam(TREES, 4, 2)),
    ("lookahead(width=2,steps=1)", 8, lambda: truth.lookahead(TREES, 4, 2, 1)),
    ("lookahead(width=2,steps=2)", 12, lambda: truth.lookahead(TREES, 4, 2, 2)),
    ("dvts(width=2)", 4, lambda: truth.dvts(TREES, 4, 2, "all")),
    ("dvts(width=2,outputs=best)", 4, lambda: truth.dvts(TREES, 4, 2, "best")),
    ("dvts(width=4)", 4, lambda: truth.dvts(TREES, 4, 4, "all")),
    ("rebase", 4, lambda: truth.rebase(TREES, 4, 0.1)),
    ("rebase(temperature=0.5)", 4, lambda: truth.rebase(TREES, 4, 0.5)),
]
# parameters, budget, chains, attempts, what the selection sees by default (None: hierarchical or pooled)
ON_CHAINS = [
    ("sequential=2", 4, 2, 2, None),
    ("sequential=2,across=last", 4, 2, 2, "last"),
    ("sequential=4", 4, 1, 4, None),
    ("ratio=1:1", 4, 2, 2, None),
    ("ratio=1:4", 4, 4, 1, None),
    ("ratio=3:1", 3, 1, 3, None),
    ("sequential=2,across=hierarchical", 6, 3, 2, "hierarchical"),
    ("sequential=2,across=pooled", 4, 2, 2, "pooled"),
]


def accuracies(forest: Forest, search: str, budget: int, **more: Any) -> dict[str, Any]:
    """Accuracy of every question by selection."""
    strategies = {selection: parse_strategy(f"{search}+{selection}") for selection in SELECTIONS}
    frame = replay(forest, list(strategies.values()), [budget], seed=SEED, **{"trials": TRIALS, **more}).frame
    found = {}
    for selection, strategy in strategies.items():
        column = frame.filter(strategy=str(strategy))
        assert (column["supported"] == 1.0).all()
        found[selection] = column
    return found


def assert_unbiased(found: Any, expected: float) -> None:
    values = found["accuracy"].to_numpy()
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert abs(values.mean() - expected) < 4 * error, f"{values.mean():.5f} ± {error:.5f}, exact {expected:.5f}"


@pytest.mark.parametrize(("search", "budget", "bags"), ON_TREES, ids=[f"{row[0]}-{row[1]}" for row in ON_TREES])
def test_tree_searches_are_unbiased(search: str, budget: int, bags: Callable[[], Bags]) -> None:
    found = accuracies(caches_of_trees(), search, budget)
    exact = bags()
    for selection in SELECTIONS:
        assert_unbiased(found[selection], truth.accuracy(exact, selection))


@pytest.mark.parametrize(
    ("parameters", "budget", "parallel", "sequential", "across"), ON_CHAINS, ids=[f"{r[0]}-{r[1]}" for r in ON_CHAINS]
)
def test_revisions_are_unbiased(parameters: str, budget: int, parallel: int, sequential: int, across: str) -> None:
    found = accuracies(caches_of_chains(), f"revise({parameters})", budget)
    for selection in SELECTIONS:
        seen = across or ("hierarchical" if selection in ("best", "weighted") else "pooled")
        exact = truth.revise(CHAINS, parallel, sequential, seen, selection)
        assert_unbiased(found[selection], truth.accuracy(exact, selection))


# --------------------------------------------------------------------------------------------- C16, over all caches
# Scores and shares of right leaves under good and bad first steps; K0 = C = 3, N = M = 2.
P_GOOD, SCORES, RIGHT_LEAVES = 0.4, (0.75, 0.25), (0.8, 0.2)
ROOTS = CHILDREN = 3
TRUTH = {"majority": 73 / 125, "oracle": 93 / 125}
WITH_REPLACEMENT = {"majority": 67 / 125, "oracle": 241 / 375}


def c16_family() -> Family:
    steps = [Step(state, score) for state, score in zip(("good", "bad"), SCORES, strict=True)]
    ends = {
        step.state: {Step("end", 0.5, "A"): right, Step("end", 0.5, "B"): 1 - right}
        for step, right in zip(steps, RIGHT_LEAVES, strict=True)
    }
    first = dict(zip(steps, (P_GOOD, 1 - P_GOOD), strict=True))
    return Family(first, {}, ends, depth=2)


@cache
def c16_caches() -> tuple[Forest, Any]:
    """Every cache that can come about, up to the order of leaves, and its probability."""
    kinds = []
    for score, chance, right in zip(SCORES, (P_GOOD, 1 - P_GOOD), RIGHT_LEAVES, strict=True):
        for correct in range(CHILDREN + 1):
            leaves = [("A", 0.5)] * correct + [("B", 0.5)] * (CHILDREN - correct)
            ways = math.comb(CHILDREN, correct) * right**correct * (1 - right) ** (CHILDREN - correct)
            kinds.append(((score, leaves), chance * ways))
    questions, weights = [], []
    for number, roots in enumerate(product(kinds, repeat=ROOTS)):
        questions.append(forests.tree(f"c{number}", [root for root, _ in roots]))
        weights.append(math.prod(chance for _, chance in roots))
    return forests.to_forest(forests.Case("C16", questions)), np.array(weights)


def z_on_c16(selection: str, expected: float, **more: Any) -> float:
    forest, weights = c16_caches()
    assert abs(weights.sum() - 1) < 1e-12
    found = accuracies(forest, "beam(width=2)", 2, trials=4_000, **more)[selection]
    value = float(weights @ found["accuracy"].to_numpy())
    error = math.sqrt(float(weights**2 @ found["variance"].to_numpy()))
    assert error < 0.001
    return (value - expected) / error


@pytest.mark.parametrize("selection", TRUTH)
def test_c16_without_replacement_is_the_truth(selection: str) -> None:
    exact = truth.accuracy(truth.beam(c16_family(), 2, 2), selection)
    assert exact == pytest.approx(TRUTH[selection], abs=1e-12)
    assert abs(z_on_c16(selection, TRUTH[selection])) < 4


@pytest.mark.parametrize("selection", TRUTH)
def test_c16_with_replacement_has_the_documented_bias(selection: str) -> None:
    assert abs(z_on_c16(selection, WITH_REPLACEMENT[selection], on_exhausted="reuse")) < 4
    assert z_on_c16(selection, TRUTH[selection], on_exhausted="reuse") < -20


# -------------------------------------------------------------------------------------------- the truth itself, held
@pytest.mark.parametrize("selection", SELECTIONS)
def test_laws_of_the_exact_figures(selection: str) -> None:
    rollouts = truth.accuracy(truth.sample(TREES, 3), selection)
    assert truth.accuracy(truth.beam(TREES, 3, 1), selection) == pytest.approx(rollouts, abs=1e-12)
    assert truth.accuracy(truth.dvts(TREES, 3, 1, "all"), selection) == pytest.approx(rollouts, abs=1e-12)
    assert truth.accuracy(truth.dvts(TREES, 3, 1, "best"), selection) == pytest.approx(rollouts, abs=1e-12)
    narrow = truth.accuracy(truth.beam(TREES, 3, 2), selection)
    assert truth.accuracy(truth.lookahead(TREES, 3, 2, 0), selection) == pytest.approx(narrow, abs=1e-12)
    alone = truth.accuracy(truth.revise(CHAINS, 2, 1, "pooled", selection), selection)
    assert truth.accuracy(truth.revise(CHAINS, 2, 1, "hierarchical", selection), selection) == pytest.approx(alone)
