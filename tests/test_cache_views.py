"""Views and macros on hand-made trees, against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cache import create_cache
from cache.store import Cache

# (node, parent, draw, greedy, stop, answer, tokens); question q1, gold A = answer 0, B = answer 1.
TREE = [
    (0, None, 0, False, "step", None, 10),
    (1, None, 1, False, "eos", 0, 7),
    (2, None, 0, True, "eos", 1, 3),
    (3, 0, 0, False, "eos", 0, 5),
    (4, 0, 1, False, "eos", 1, 6),
    (5, 0, 2, False, "step", None, 1),  # nobody expanded it
    (6, 0, 0, True, "eos", 0, 2),
    (7, None, 2, False, "length", None, 9),  # unparsable
]
PRM = {0: 0.5, 1: 0.75, 3: 0.25, 4: 0.5, 6: 1.0, 7: 0.125}
ORM = {3: 0.875}
CHAINS = [  # revisions: two chains, the first with a second attempt
    (0, None, 0, False, "eos", 1, 10),
    (1, None, 1, False, "eos", 0, 20),
    (2, 0, 0, False, "eos", 0, 30),
]
CHAIN_SCORES = {0: 0.5, 1: 0.25, 2: 0.75}


def frames(run: str, rows: list[tuple[Any, ...]], scored: dict[str, dict[int, float]]) -> dict[str, pl.DataFrame]:
    """Nodes and scores of a run from the lists above."""
    names = ["node_id", "parent_id", "draw", "greedy", "stop", "answer_id", "tokens"]
    nodes = pl.DataFrame(rows, schema=names, orient="row").with_columns(run_id=pl.lit(run), question_id=pl.lit("q1"))
    triples = [(run, node, verifier, score) for verifier, by_node in scored.items() for node, score in by_node.items()]
    return {
        "nodes": nodes,
        "scores": pl.DataFrame(triples, schema=["run_id", "node_id", "verifier_id", "score"], orient="row"),
    }


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cache]:
    """One question with a tree (run tree), revision chains (run chains) and an unscored tree (run bare)."""
    directory: Path = tmp_path_factory.mktemp("views")
    with create_cache(directory / "views.duckdb") as made:
        made.append(
            questions=pl.DataFrame({"question_id": ["q1"], "gold": ["A"], "level": [3]}),
            answers=pl.DataFrame(
                {"question_id": ["q1"] * 2, "answer_id": [0, 1], "text": ["A", "B"], "correct": [True, False]}
            ),
            runs=pl.DataFrame({"run_id": ["tree", "chains", "bare"], "kind": ["steps", "revisions", "steps"]}),
            verifiers=pl.DataFrame({"verifier_id": ["prm", "orm"], "kind": ["prm", "orm"]}),
        )
        made.append(**frames("tree", TREE, {"prm": PRM, "orm": ORM}))
        made.append(**frames("chains", CHAINS, {"orm": CHAIN_SCORES}))
        made.append(nodes=frames("bare", TREE[:2], {})["nodes"])
        yield made


def rows(cache: Cache, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    return cache.connection.execute(sql).fetchall()


def test_solutions_aggregate_scores_along_the_path(cache: Cache) -> None:
    found = rows(
        cache,
        "SELECT node_id, verifier_id, answer, correct, num_steps, tokens, last, min, prod, mean, sampled, flat"
        " FROM solutions WHERE run_id = 'tree' ORDER BY node_id, verifier_id",
    )
    assert found == [
        (1, "prm", "A", True, 1, 7, 0.75, 0.75, 0.75, 0.75, True, True),
        (2, None, "B", False, 1, 3, None, None, None, None, False, False),
        (3, "orm", "A", True, 2, 15, 0.875, None, None, None, True, True),  # its first step was not scored
        (3, "prm", "A", True, 2, 15, 0.25, 0.25, 0.125, 0.375, True, True),
        (4, "prm", "B", False, 2, 16, 0.5, 0.5, 0.25, 0.5, True, False),  # draw 1 below the root: no flat sample
        (6, "prm", "A", True, 2, 12, 1.0, 0.5, 0.5, 0.75, False, False),
        (7, "prm", None, False, 1, 9, 0.125, 0.125, 0.125, 0.125, True, True),
    ]


def test_an_attempt_is_a_whole_solution(cache: Cache) -> None:
    found = rows(
        cache,
        "SELECT node_id, num_steps, depth, tokens, last, min, prod, mean, flat FROM solutions"
        " WHERE run_id = 'chains' ORDER BY node_id",
    )
    assert found == [
        (0, 1, 1, 10, 0.5, 0.5, 0.5, 0.5, True),
        (1, 1, 1, 20, 0.25, 0.25, 0.25, 0.25, True),
        (2, 1, 2, 30, 0.75, 0.75, 0.75, 0.75, False),
    ]


def test_question_stats_use_the_flat_samples_only(cache: Cache) -> None:
    found = rows(
        cache,
        "SELECT run_id, level, verifier_id, num_samples, num_correct, round(pass_at_1, 9), num_answers,"
        " majority_answer, majority_votes, majority_correct, mean_score FROM question_stats"
        " ORDER BY run_id, verifier_id",
    )
    assert found == [
        ("bare", 3, None, 1, 1, 1.0, 1, "A", 1, 1.0, None),
        ("chains", 3, "orm", 2, 1, 0.5, 2, "A", 1, 0.5, 0.375),  # a tie: half of the tied answers are right
        ("tree", 3, "orm", 3, 2, round(2 / 3, 9), 1, "A", 2, 1.0, 0.875),
        ("tree", 3, "prm", 3, 2, round(2 / 3, 9), 1, "A", 2, 1.0, 0.375),
    ]


def test_node_values_average_sampled_children(cache: Cache) -> None:
    found = rows(cache, "SELECT node_id, depth, value, num_solutions FROM node_values WHERE run_id = 'tree' ORDER BY 1")
    assert found == [
        (0, 1, 0.5, 2),  # children 3 and 4; 5 has no value, 6 is greedy
        (1, 1, 1.0, 1),
        (2, 1, 0.0, 1),
        (3, 2, 1.0, 1),
        (4, 2, 0.0, 1),
        (5, 2, None, 0),
        (6, 2, 1.0, 1),
        (7, 1, 0.0, 1),
    ]
    assert rows(cache, "SELECT count(*) FROM node_values WHERE run_id = 'chains'") == [(0,)]


def test_calibration_and_coverage(cache: Cache) -> None:
    found = rows(
        cache,
        "SELECT decile, num_solutions, mean_score, mean_correct FROM calibration"
        " WHERE run_id = 'tree' AND verifier_id = 'prm'",
    )
    assert found == [(2, 1, 0.125, 0.0), (3, 1, 0.25, 1.0), (6, 1, 0.5, 0.0), (8, 1, 0.75, 1.0)]
    found = rows(
        cache,
        "SELECT depth, num_nodes, num_expanded, min_children, mean_children, max_children, num_greedy FROM coverage"
        " WHERE run_id = 'tree'",
    )
    assert found == [(0, 1, 1, 3, 3.0, 3, 1), (1, 1, 1, 3, 3.0, 3, 1), (2, 1, 0, None, None, None, 0)]
    assert rows(cache, "SELECT depth, num_nodes, num_expanded FROM coverage WHERE run_id = 'chains'") == [
        (0, 1, 1),
        (1, 2, 1),
        (2, 1, 0),
    ]


def test_calibration_of_scores_outside_the_unit_interval(tmp_path: Path) -> None:
    with create_cache(tmp_path / "c.duckdb") as cache:
        cache.append(
            questions=pl.DataFrame({"question_id": ["q1"]}),
            answers=pl.DataFrame({"question_id": ["q1"], "answer_id": [0], "text": ["A"], "correct": [True]}),
            runs=pl.DataFrame({"run_id": ["tree"], "kind": ["steps"]}),
            verifiers=pl.DataFrame({"verifier_id": ["sum"], "kind": ["confidence"]}),
            **frames(
                "tree", [(i, None, i, False, "eos", 0, 1) for i in range(3)], {"sum": {0: -20.0, 1: -9.5, 2: 0.0}}
            ),
        )
        assert rows(cache, "SELECT decile, score_from, score_to, mean_score FROM calibration") == [
            (1, -20.0, -18.0, -20.0),
            (6, -10.0, -8.0, -9.5),
            (10, -2.0, 0.0, 0.0),
        ]


def test_pass_at_k_is_exact(cache: Cache) -> None:
    for n in (1, 2, 7, 10, 128):
        for c in {0, 1, n // 3, n - 1, n}:
            for k in {1, 2, n // 2, n - 1, n}:
                if not 1 <= k <= n:
                    continue
                expected = 1 - comb(n - c, k) / comb(n, k)
                value = rows(cache, f"SELECT pass_at_k({n}, {c}, {k}), all_correct_at_k({n}, {c}, {k})")[0]
                assert value[0] == pytest.approx(expected, abs=1e-12)
                assert value[1] == pytest.approx(comb(c, k) / comb(n, k), abs=1e-12)
                assert value[0] == 1 or n - c >= k
    assert rows(cache, "SELECT pass_at_k(10, 3, 8), pass_at_k(10, 3, 11), pass_at_k(10, NULL, 1)") == [
        (1.0, None, None)
    ]
    assert rows(cache, "SELECT round(pass_at_k_variance(10, 3, 2), 12), pass_at_k_variance(10, 3, 6)") == [
        (round((7 / 15) ** 2 - 1 / 6, 12), None)
    ]
    assert rows(cache, "SELECT round(wilson_low(10, 3), 4), round(wilson_high(10, 3), 4), wilson_low(5, 0)") == [
        (0.1078, 0.6032, 0.0)
    ]
    assert rows(cache, "SELECT pass_at_k(num_samples, num_correct, 2) FROM question_stats WHERE run_id = 'chains'") == [
        (1.0,)
    ]


def test_texts_join_the_steps_of_a_solution_and_leave_attempts_alone(tmp_path: Path) -> None:
    nodes = pl.DataFrame(
        [
            ("tree", 0, None, "a ", "step", None),
            ("tree", 1, 0, "b", "eos", 0),
            ("tree", 2, 0, "c", "length", None),
            ("chain", 0, None, "first", "eos", 1),
            ("chain", 1, 0, "second", "eos", 0),
        ],
        schema=["run_id", "node_id", "parent_id", "text", "stop", "answer_id"],
        orient="row",
    ).with_columns(question_id=pl.lit("q1"), draw=pl.col("node_id").cast(pl.Int32) // 2, greedy=False, tokens=1)
    with create_cache(tmp_path / "texts.duckdb") as made:
        made.append(
            questions=pl.DataFrame({"question_id": ["q1"], "gold": ["A"], "prompt": ["Say A."]}),
            answers=pl.DataFrame(
                {"question_id": ["q1"] * 2, "answer_id": [0, 1], "text": ["A", "B"], "correct": [True, False]}
            ),
            runs=pl.DataFrame({"run_id": ["tree", "chain"], "kind": ["steps", "revisions"]}),
        )
        made.append(nodes=nodes)
        assert rows(made, "SELECT run_id, node_id, text, stop, answer, correct, prompt FROM texts ORDER BY ALL") == [
            ("chain", 0, "first", "eos", "B", False, "Say A."),
            ("chain", 1, "second", "eos", "A", True, "Say A."),
            ("tree", 1, "a b", "eos", "A", True, "Say A."),
            ("tree", 2, "a c", "length", None, False, "Say A."),
        ]


def test_a_stub_of_a_tree_in_every_view(tmp_path: Path) -> None:
    with create_cache(tmp_path / "empty.duckdb") as cache:
        for view in (
            "solutions",
            "texts",
            "question_stats",
            "node_values",
            "calibration",
            "coverage",
            "paths",
            "path_scores",
        ):
            assert cache.table(view).is_empty()
