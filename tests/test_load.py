"""Loading: what is in a cache comes out as a forest, and what breaks a requirement is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cache import create_cache, open_cache
from cache.importers import import_native
from tests import forests
from tts_sim.demand import demand
from tts_sim.errors import CacheInvalid
from tts_sim.forest import AnswerColumns, NodeColumns, build_forest
from tts_sim.load import load_forest
from tts_sim.replay import replay


def stored(case: forests.Case, folder: Path) -> Path:
    """The case as a cache, through native JSONL."""
    lines, file = folder / "case.jsonl", folder / "case.duckdb"
    lines.write_text("".join(json.dumps({k: v for k, v in q.items() if v is not None}) + "\n" for q in case.questions))
    import_native(lines, file, run_id=case.name, kind=case.kind)
    return file


@pytest.mark.parametrize("seed", range(4))
def test_a_loaded_forest_replays_like_one_built_in_memory(tmp_path: Path, seed: int) -> None:
    case = replace(forests.random_case(seed), name="r")
    specs = ["sample+majority", "beam(width=2)+weighted", "sample+best(agg=mean)"]
    with open_cache(stored(case, tmp_path)) as cache:
        forest = load_forest(cache)
    expected = replay(forests.to_forest(case), specs, [1, 4], trials=16, seed=1)
    found = replay(forest, specs, [1, 4], trials=16, seed=1)
    assert found.frame.sort("question_id", "strategy").equals(expected.frame.sort("question_id", "strategy"))
    assert forest.levels == tuple(question["level"] for question in case.questions)


def test_revisions_and_choice_of_run(tmp_path: Path) -> None:
    case = replace(forests.random_chains(3), name="chains")
    with open_cache(stored(case, tmp_path)) as cache:
        forest = load_forest(cache, kind="revisions")
        assert (forest.run_id, forest.kind, forest.default_verifier()) == ("chains", "revisions", "prm")
        with pytest.raises(ValueError, match=r"kind 'steps': the cache holds no run.*chains \(revisions\)"):
            load_forest(cache)
        with pytest.raises(ValueError, match=r"run 'x': not in the cache; its runs: chains \(revisions\)"):
            load_forest(cache, "x")
        with pytest.raises(ValueError, match="kind 'tree': expected one of steps, revisions"):
            load_forest(cache, kind="tree")


def test_chosen_questions_come_in_the_asked_order(tmp_path: Path) -> None:
    questions = [forests.star(f"q{i}", [("A", 0.5), ("B", 0.25)]) for i in range(3)]
    with open_cache(stored(forests.Case("r", questions), tmp_path)) as cache:
        forest = load_forest(cache, questions=["q2", "q0"])
        assert forest.question_ids == ("q2", "q0")
        assert forest.num_nodes == 4
        whole = replay(load_forest(cache), ["sample+weighted"], [1], trials=9, seed=0).frame
        part = replay(forest, ["sample+weighted"], [1], trials=9, seed=0).frame
        assert part.equals(whole.filter(question_id="q2").vstack(whole.filter(question_id="q0")))
        with pytest.raises(ValueError, match="question 'q9': not in the cache"):
            load_forest(cache, questions=["q9"])


def test_a_recorded_run_that_is_still_empty(tmp_path: Path) -> None:
    file = tmp_path / "new.duckdb"
    with create_cache(file) as cache:
        cache.append(
            questions=pl.DataFrame({"question_id": ["a", "b"], "prompt": ["a", "b"], "gold": ["1", "2"]}),
            runs=pl.DataFrame(
                {
                    "run_id": ["r"],
                    "kind": ["steps"],
                    "root_pool": [8],
                    "step_pool": [4],
                    "provenance": [json.dumps({"demand": {"trials": 2}})],
                }
            ),
        )
    with open_cache(file) as cache:
        forest = load_forest(cache, questions=["a", "b"])
        assert (forest.root_pool, forest.step_pool, forest.num_nodes) == (8, 4, 0)
        missing = demand(forest, ["beam(width=2)+weighted"], [4], seed=0)
        assert missing.columns == ["question_id", "node_id", "draw", "greedy"]
        assert missing["node_id"].null_count() == len(missing) > 0
        assert set(missing["question_id"]) == {"a", "b"}
        assert replay(forest, ["sample+majority"], [2], seed=0).frame["missing"].to_list() == [1.0, 1.0]


NODES: dict[str, list[Any]] = {
    "question": [0, 0, 0, 1],
    "node_id": [10, 11, 12, 13],
    "parent_id": [-1, 10, 10, -1],
    "draw": [0, 0, 1, 0],
    "greedy": [False] * 4,
    "tokens": [3, 4, 5, 6],
    "answer_id": [-1, 0, -1, 0],
    "stop": [0, 1, 2, 1],
}
TYPES = {"node_id": np.int64, "parent_id": np.int64, "greedy": np.bool_, "stop": np.int8}


def build(scores: dict[int, float] | None = None, **changed: list[Any]) -> Any:
    columns: dict[str, Any] = {
        name: np.array(changed.get(name, values), TYPES.get(name, np.int32)) for name, values in NODES.items()
    }
    given = scores or {}
    return build_forest(
        run_id="r",
        kind="steps",
        question_ids=["a", "b"],
        levels_of=[None, None],
        nodes=NodeColumns(**columns),
        answers=AnswerColumns(np.array([0, 1], np.int32), np.zeros(2, np.int32), np.array([True, False])),
        scores={"prm": (np.array(list(given), np.int64), np.array(list(given.values()), np.float32))},
    )


def test_sound_columns() -> None:
    forest = build({10: 0.5})
    assert forest.trees.question_start.tolist() == [0, 4, 6]
    assert forest.node_id.tolist() == [-1, 10, 11, 12, -1, 13]
    assert forest.trees.answer.tolist() == [-1, -1, 0, -2, -1, 1]
    assert forest.scores["prm"][1] == 0.5 and np.isnan(forest.scores["prm"][[0, 2, 3, 4, 5]]).all()
    assert not forest.trees.parent.flags.writeable


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"parent_id": [-1, 10, 99, -1]}, "question 'a', node 12 of run 'r': its parent is not in the run"),
        ({"parent_id": [-1, 10, 10, 10]}, "question 'b', node 13.*parent belongs to another question"),
        ({"parent_id": [-1, 12, 11, -1], "stop": [0, 0, 0, 1], "answer_id": [-1, -1, -1, 0]}, "node 11.*in a cycle"),
        ({"parent_id": [-1, 11, 10, -1], "stop": [0, 0, 2, 1], "answer_id": [-1, -1, -1, 0]}, "node 11.*in a cycle"),
        ({"draw": [0, 1, 1, 0]}, "node 12.*draw 1 of its parent is there twice"),
        ({"draw": [0, -1, 1, 0]}, "node 11.*draw is negative"),
        ({"tokens": [3, 4, -5, 6]}, "node 12.*tokens is negative"),
        ({"answer_id": [-1, 5, -1, 0]}, "node 11.*its answer is not among"),
        ({"answer_id": [0, 0, -1, 0]}, "node 10.*stop is 'step'"),
        ({"stop": [1, 1, 2, 1]}, "node 10.*yet it has children"),
        ({"node_id": [10, 11, 11, 13]}, "node 11.*given twice"),
        ({"scores": {99: 0.5}}, "verifier 'prm' scores node 99, which is not in run"),
        ({"scores": {11: float("inf")}}, "node 11.*not finite"),
    ],
)
def test_requirements(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(CacheInvalid, match=message):
        build(**changed)


def test_node_numbers_may_be_far_apart() -> None:
    near, far = build({12: 0.25}), build({12 * 10**9: 0.25}, node_id=[10, 11, 12 * 10**9, 13])
    assert far.trees.parent.tolist() == near.trees.parent.tolist()
    assert far.scores["prm"][3] == 0.25


def test_the_greedy_child_stands_behind_the_sampled_ones() -> None:
    forest = build(greedy=[False, True, False, False])
    first = 1
    assert forest.trees.child_start[first] + 1 == forest.trees.child_stop[first]
    assert forest.node_id[forest.trees.child_stop[first]] == 11


def test_several_verifiers(tmp_path: Path) -> None:
    question = forests.star("q", [("A", 0.5), ("B", 0.25)])
    for node in question["nodes"]:
        node["scores"]["orm"] = 1 - node["scores"]["prm"]
    with open_cache(stored(forests.Case("r", [question]), tmp_path)) as cache:
        forest = load_forest(cache)
    assert list(forest.scores) == ["orm", "prm"]
    assert replay(forest, ["sample+best"], [2], verifier="orm", seed=0).frame["accuracy"].to_list() == [0.0]
    kinds = replace(forest, verifier_kinds={"orm": "orm", "prm": "prm"})
    assert kinds.default_verifier() == "prm"
    with pytest.raises(ValueError, match="several have scored run 'r'; name one of orm, prm"):
        replace(forest, verifier_kinds={}).default_verifier()
