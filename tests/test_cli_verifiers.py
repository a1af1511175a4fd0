"""`tts-sim verifiers`: verifiers side by side, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cache import open_cache
from tests import forests
from tests.command import printed_json, tts_sim, write_jsonl
from tests.test_start_up import loaded_by
from tts_sim.load import load_forest
from tts_sim.verifier_quality import calibration, verifier_quality
from tts_sim.verifiers import side_by_side

SPECS = ["prm", "random", "flip(prm)", "flip(temper(prm,temperature=2),probability=0.1)"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of steps, one of revisions, and one whose scores are logits or missing."""
    folder = tmp_path_factory.mktemp("verifiers")
    steps = [
        {k: v for k, v in question.items() if v is not None}
        for seed in range(4)
        for question in forests.random_case(seed).questions
    ]
    chains = [forests.chains("chains", [[("B", 0.25), ("A", 0.5)], [("A", 0.25), ("A", 0.5)], [("C", 0.75)]])]
    logits = [forests.star("logits", [("A", 2.0), ("B", -1.0), ("B", None)])]
    for name, questions in (("steps", steps), ("chains", chains), ("logits", logits)):
        file = write_jsonl(folder / f"{name}.jsonl", questions)
        assert tts_sim("import", "native", file, "--into", folder / "small.duckdb").status == 0
    return folder / "small.duckdb"


def options(specs: list[str]) -> list[str]:
    return [piece for spec in specs for piece in ("--verifier", spec)]


def test_rows_are_those_of_the_library(cache: Path) -> None:
    with open_cache(cache) as opened:
        [(forest, names)] = side_by_side([load_forest(opened, "steps")], SPECS, seed=3)
    known = [str(name) for name in names]
    rows = printed_json("verifiers", cache, "--run", "steps", "--seed", 3, *options(SPECS))
    assert rows == verifier_quality(forest, known).to_dicts()
    assert [row["verifier"] for row in rows] == SPECS
    by_level = printed_json("verifiers", cache, "--run", "steps", "--by", "level", "--agg", "min")
    assert by_level == verifier_quality(forest, ["prm"], by="level", agg="min").to_dicts()
    tenths = printed_json("verifiers", cache, "--run", "steps", "--calibration", "--by", "difficulty", "-v", "prm")
    assert tenths == calibration(forest, ["prm"], by="difficulty").to_dicts()
    csv = tts_sim("verifiers", cache, "--run", "steps", "--csv")
    assert csv.out.startswith("run,verifier,num_solutions,num_unscored,num_questions,num_mixed,pass_at_1,mean_correct,")
    assert csv.err == "" and csv.out.count("\n") == 2


def test_a_seed_decides(cache: Path) -> None:
    first, again, other = (
        printed_json("verifiers", cache, "--run", "steps", "-v", "random", "--seed", s) for s in (1, 1, 2)
    )
    assert first == again != other


def test_people_read_a_table(cache: Path) -> None:
    ended = tts_sim("verifiers", cache, "--run", "steps", *options(SPECS))
    assert ended.status == 0 and ended.err == ""
    assert ended.out.startswith("run 'steps'") and all(f"\n  {spec} " in ended.out for spec in SPECS)
    assert "unscored" not in ended.out  # nothing is
    assert "unscored" in tts_sim("verifiers", cache, "--run", "logits").out
    assert "decile" in tts_sim("verifiers", cache, "--run", "steps", "--calibration").out


def test_revisions(cache: Path, tmp_path: Path) -> None:
    [row] = printed_json("verifiers", cache, "--run", "chains")
    assert (row["run"], row["num_solutions"], row["pass_at_1"], row["mean_correct"]) == ("chains", 5, 1 / 3, 3 / 5)
    file = write_jsonl(tmp_path / "alone.jsonl", [forests.chains("q", [[("B", 0.25), ("A", 0.5)]])])
    assert tts_sim("import", "native", file, "--into", tmp_path / "alone.duckdb").status == 0
    assert printed_json("verifiers", tmp_path / "alone.duckdb")[0]["run"] == "alone"  # its only run


@pytest.mark.parametrize(
    ("arguments", "pieces"),
    [
        (["-v", "judge"], ["verifier 'judge': unknown; known: prm; or made of them: random, flip(ID,probability=0.2)"]),
        (["-v", "blur(prm)"], ["verifier 'blur(prm)': unknown", "sigmoid(ID)"]),
        (["-v", "flip(prm,probability=2)"], ["probability=2: expected a number from 0 to 1"]),
        (["-v", "temper(prm)"], ["temper needs temperature, for example temper(ID,temperature=2)"]),
        (["-v", "power(flip(prm,exponent=2)"], ["unknown 'flip(prm'; known: prm"]),
        (["--run", "logits", "-v", "temper(prm,temperature=2)"], ["'prm' go from -1 to 2", "sigmoid(prm)"]),
        (["--by", "subject"], ["--by subject: expected level or difficulty"]),
        (["--agg", "max"], ["agg=max: expected one of last, min, prod, mean"]),
        (["--run", "nowhere"], ["run 'nowhere': not in the cache; its runs: "]),
        (["--seed", "-1", "-v", "random"], ["seed -1: expected an integer from 0"]),
    ],
)
def test_bad_input(cache: Path, arguments: list[Any], pieces: list[str]) -> None:
    before = cache.read_bytes()
    ended = tts_sim("verifiers", cache, *([] if "--run" in arguments else ["--run", "steps"]), *arguments)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("tts-sim: ") and ended.err.count("\n") == 1
    for piece in pieces:
        assert piece in ended.err, (piece, ended.err)
    assert cache.read_bytes() == before


def test_nothing_scored_and_no_cache(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "r.jsonl", [forests.star("q", [("A", None), ("B", None)])])
    assert tts_sim("import", "native", file, "--into", tmp_path / "r.duckdb").status == 0
    ended = tts_sim("verifiers", tmp_path / "r.duckdb")
    assert ended.status == 1 and "no verifier has scored run 'r'. Run `tts-sim generate score`" in ended.err
    assert printed_json("verifiers", tmp_path / "r.duckdb", "-v", "random")[0]["num_solutions"] == 2
    assert "there is no cache at" in tts_sim("verifiers", tmp_path / "no.duckdb").err


def test_help_loads_nothing_heavy() -> None:
    run = """
import tts_sim.cli.main as command
sys.argv = ["tts-sim", "verifiers", "--help"]
try:
    command.main()
except SystemExit as ended:
    assert ended.code == 0, ended.code
"""
    assert loaded_by(run) == []
