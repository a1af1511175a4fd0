"""The policy file: what comes back, what a service loads for it, choices between and beyond, and damage."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tables import outcomes
from tests.test_start_up import loaded_by
from tts_sim import Bins, Policy, fit_policy, load_policy
from tts_sim.errors import PolicyInvalid, PolicyTooNew, TtsSimError

QUESTIONS = [f"q{i:05}" for i in range(40)]


def fitted(**more: Any) -> Policy:
    """Easy questions: `best`; hard ones: `majority`, at 4 and 16 generations."""
    values = {
        ("best", 4): [0.9] * 20 + [0.1] * 20,
        ("majority", 4): [0.8] * 20 + [0.2] * 20,
        ("majority", 16): [0.85] * 20 + [0.3] * 20,
    }
    difficulty = {question: 1 - i / 40 for i, question in enumerate(QUESTIONS)}
    options: dict[str, Any] = {"num_bins": 2, "n_min": 5, "splits": 2, "about": {"verifier": "prm"}}
    return fit_policy(outcomes(values), difficulty, [4, 16], seed=3, **(options | more)).policy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    fitted(cache={"path": "some.duckdb"}).save(tmp_path / "policy.json")
    return tmp_path / "policy.json"


def test_it_comes_back(path: Path) -> None:
    policy = load_policy(path)
    assert policy == fitted(cache={"path": "some.duckdb"})
    assert policy.text() == path.read_text()
    content = json.loads(path.read_text())
    assert (content["format"], content["version"], content["unit"]) == ("tts-sim policy", 1, "generations")
    assert content["budgets"] == [4, 16] and content["difficulty"]["kind"] == "oracle"
    assert content["difficulty"]["verifier"] == "prm" and content["difficulty"]["num_questions"] == [20, 20]
    assert content["fit"]["seed"] == 3 and content["fit"]["folds"] == 5 and content["fit"]["tool_version"]
    ranked = fitted(rule="rank", num_bins=3)
    ranked.save(path)
    assert load_policy(path) == ranked and ranked.bins.tied_below


def test_choices(path: Path) -> None:
    policy = load_policy(path)
    easy = policy.choose(difficulty=0.9, budget=4)
    assert (easy.strategy, easy.generations, easy.level, easy.cost) == ("best", 4, 1, 4.0)
    assert easy.accuracy == pytest.approx(0.9) and easy.num_questions == 20
    assert (easy.ci_low, easy.ci_high) == pytest.approx((0.9, 0.9))
    hard = policy.choose(difficulty=0.1, budget=16)
    assert (hard.strategy, hard.generations, hard.level) == ("majority", 16, 2)
    assert policy.choose(difficulty=0.1, budget=15.9) == policy.choose(difficulty=0.1, budget=4)
    assert policy.choose(difficulty=0.1, budget=10**9) == hard
    assert policy.choose(difficulty=-3, budget=16).level == 2 and policy.choose(difficulty=7, budget=16).level == 1
    [edge] = policy.bins.edges
    assert policy.choose(difficulty=edge, budget=4).level == 1
    assert policy.choose(difficulty=math.nextafter(edge, 0), budget=4).level == 2
    with pytest.raises(ValueError, match=r"budget=3\.9: the smallest that this policy knows is 4 generations"):
        policy.choose(difficulty=0.5, budget=3.9)
    for difficulty, budget in ((math.nan, 4), (math.inf, 4), (0.5, math.nan), (0.5, math.inf)):
        with pytest.raises(ValueError, match="expected a finite number"):
            policy.choose(difficulty=difficulty, budget=budget)


def test_a_service_loads_neither_engine_nor_cache(path: Path) -> None:
    code = f"import tts_sim; print(tts_sim.load_policy({str(path)!r}).choose(difficulty=0.4, budget=32).strategy)"
    loaded = loaded_by(code)
    assert set(loaded) <= {"numpy"}, loaded


DAMAGE: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda content: content.pop("table"), "'table' is missing"),
    (lambda content: content["bins"].pop("edges"), "'edges' is missing"),
    (lambda content: content.update(unit="joules"), "unit 'joules': expected one of"),
    (lambda content: content["bins"].update(rule="best"), "rule 'best': expected one of"),
    (lambda content: content["bins"].update(edges=["half"]), "bins.edges: 'half': expected a finite number"),
    (lambda content: content["bins"].update(edges=[0.5, 0.2]), "ascending order"),
    (lambda content: content["bins"].update(edges=[0.2, 0.5]), "one choice for each of 3 levels"),
    (lambda content: content.update(bins=3), "bins: expected an object"),
    (lambda content: content.update(table={}), "table: expected a list"),
    (lambda content: content.update(table=[]), "table: expected one choice"),
    (lambda content: content["table"].pop(), "table: expected one choice"),
    (lambda content: content["table"].append(content["table"][0]), "table: expected one choice"),
    (lambda content: content["table"][0].pop("strategy"), "'strategy' is missing"),
    (lambda content: content["table"][0].update(strategy="worst"), "'worst' at 4: not among the candidates"),
    (lambda content: content["table"][1].update(level=0), r"table\[1\].level: 0: expected a whole number from 1"),
    (lambda content: content["table"][1].update(cost=None), r"table\[1\].cost: None: expected a finite number"),
    (lambda content: content["table"][1].update(cost=10**400), "too large to convert to float"),
    (lambda content: content["table"][1].update(accuracy="high"), r"table\[1\].accuracy: 'high'"),
    (lambda content: content["table"][1].update(generations=True), r"table\[1\].generations: True"),
    (lambda content: content["candidates"][0].update(budgets=4), r"candidates\[0\].budgets: expected a list"),
    (lambda content: content["candidates"][0].update(strategy=4), r"candidates\[0\].strategy: 4: expected a text"),
    (lambda content: content.update(fit=[]), "fit: expected an object"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE, ids=[message for _, message in DAMAGE])
def test_a_damaged_file(path: Path, damage: Callable[[dict[str, Any]], Any], message: str) -> None:
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))
    with pytest.raises(PolicyInvalid, match=f"policy.json is damaged: .*{message}"):
        load_policy(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe{", "is not JSON"),
        (b"{" * 100_000, "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"format": NaN}', "NaN is no number of JSON"),
        (b"[]", "is not a policy of tts-sim"),
        (b'{"format": "something else"}', "is not a policy of tts-sim"),
        (b'{"format": "tts-sim policy"}', "version None: expected a whole number from 1"),
        (b'{"format": "tts-sim policy", "version": true}', "version True: expected a whole number from 1"),
    ],
)
def test_no_policy(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "policy.json").write_bytes(text)
    with pytest.raises(PolicyInvalid, match=message):
        load_policy(tmp_path / "policy.json")


def test_a_cut_file(path: Path) -> None:
    whole = path.read_bytes()
    for stop in range(1, len(whole) - 2, 97):
        path.write_bytes(whole[:stop])
        with pytest.raises(PolicyInvalid, match="is not JSON"):
            load_policy(path)


def test_a_newer_version(path: Path) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({"format": content["format"], "version": 2, "rules": "unheard of"}))
    with pytest.raises(PolicyTooNew, match=r"has version 2; this tts-sim reads up to 1\. Upgrade tts-sim"):
        load_policy(path)
    assert issubclass(PolicyTooNew, TtsSimError) and issubclass(PolicyInvalid, TtsSimError)
    with pytest.raises(FileNotFoundError):
        load_policy(path.with_name("none.json"))


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    policy = fitted(about={"mean": math.nan})
    with pytest.raises(ValueError, match="not JSON compliant"):
        policy.save(tmp_path / "policy.json")
    assert not (tmp_path / "policy.json").exists()
    with pytest.raises(ValueError, match="one choice for each of 3 levels"):
        Policy("generations", Bins("value", (0.1, 0.2)), policy.table, policy.candidates)
