"""`tts-sim extrapolate`: the library's table, what people read, and one line for whatever it cannot do."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from tests import forests
from tests.command import printed_json, tts_sim, write_jsonl
from tests.test_cli_errors import refused
from tests.test_cli_tables import on_a_terminal
from tests.test_start_up import loaded_by
from tts_sim import extrapolate, load_forest, open_cache
from tts_sim.extrapolation.extrapolate import COLUMNS


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty questions of sixteen samples, at rates from a Beta distribution, and a run of revisions."""
    folder = tmp_path_factory.mktemp("extrapolate")
    random = np.random.default_rng(11)
    stars = []
    for q, rate in enumerate(random.beta(0.6, 1.2, 40)):
        right = random.random(16) < rate
        pairs = [("A" if good else f"B{k % 3}", (0.75 if good else 0.25)) for k, good in enumerate(right)]
        stars.append(forests.star(f"q{q:02}", pairs))
    chains = [forests.chains("q00", [[("B", 0.25), ("A", 0.5)]])]
    for name, questions in (("steps", stars), ("chains", chains)):
        file = write_jsonl(folder / f"{name}.jsonl", questions)
        ended = tts_sim("import", "native", file, "--into", folder / "small.duckdb")
        assert ended.status == 0, ended.err
    return folder / "small.duckdb"


SPECS = ["sample+oracle", "sample+majority", "sample+best"]


def test_json_and_csv_are_the_library_s_table(cache: Path) -> None:
    rows = printed_json("extrapolate", cache, *SPECS, "--to", "32,64", "--seed", 3)
    with open_cache(cache) as opened:
        expected = extrapolate(load_forest(opened, "steps"), SPECS, [32, 64], seed=3)
    assert rows == expected.to_dicts() and list(rows[0]) == list(COLUMNS)
    assert [(row["model"], row["k"]) for row in rows] == [(m, k) for m in ("zoibb", "plugin", "none") for k in (32, 64)]
    printed = tts_sim("extrapolate", cache, ",".join(SPECS), "--to", "32,64", "--seed", 3, "--csv")
    table = list(csv.DictReader(io.StringIO(printed.out)))
    assert [float(row["bound_high"]) for row in table] == [row["bound_high"] for row in rows]


def test_coverage_up_to_sixteen_times_the_cache_is_the_default(cache: Path) -> None:
    rows = printed_json("extrapolate", cache)
    assert [(row["strategy"], row["k"]) for row in rows] == [("sample+oracle", k) for k in (32, 64, 128, 256)]
    assert all(row["refused"] is None and row["ci_low"] < row["value"] < row["ci_high"] for row in rows)


def test_what_people_read(cache: Path) -> None:
    ended = tts_sim("extrapolate", cache, *SPECS, "--to", "32,512")
    assert ended.status == 0 and ended.err == ""
    assert "run 'steps', 40 questions, 16 samples of each" in ended.out
    assert "refused: sample+oracle (zoibb) at 512: horizon: at most 16 × 16 = 256 samples." in ended.out
    assert "refused: sample+best (none) at 32, 512: best-of-n has no model: " in ended.out
    assert "\nbound: 95 %, what the samples allow without a model.\nci: 95 %, over questions" in ended.out
    assert "\nrange: all models that pass" in ended.out and "near_ties: questions where it is open" in ended.out
    nothing = tts_sim("extrapolate", cache, "sample+best", "--to", "32").out
    assert "bound:" in nothing and all(word not in nothing for word in ("ci:", "range:", "limit", "value"))


def test_it_fits(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    ended = on_a_terminal(monkeypatch, 80, "extrapolate", cache, *SPECS[:2], "--to", "32")
    table = ended.out[: ended.out.index("bound: ")]
    assert ended.status == 0 and max(map(len, table.splitlines())) <= 80
    assert "left out on this narrow terminal: near_ties, limit" in ended.err


@pytest.mark.parametrize(
    ("arguments", "pieces"),
    [
        (["--to", "8,32"], ["budget 8: inside the cache, which holds 16 samples of every question; use replay."]),
        (["--to", "x"], ["budget 'x' in 'x': budgets are whole numbers"]),
        (["beam+best"], ["strategy 'beam(width=4)+best': only sample is extrapolated"]),
        (["-s", "revise(sequential=2)+oracle"], ["only sample is extrapolated"]),
        (["sample+mode"], ["unknown selection 'mode'"]),
        (["--model", "linear"], ["model 'linear': expected one of auto, zoibb, beta-binomial, power-law, plugin."]),
        (["--model", "plugin"], ["model 'plugin': not for sample+oracle; for it there is zoibb, beta-binomial"]),
        (["--run", "chains"], ["run 'chains' is of kind 'revisions'", "of kind steps"]),
        (["--run", "none"], ["run 'none': not in the cache"]),
        (["sample+weighted", "--verifier", "judge"], ["verifier 'judge'", "known: prm"]),
        (["--seed", "-1"], ["seed -1"]),
    ],
    ids=lambda value: " ".join(map(str, value))[:40],
)
def test_bad_input(cache: Path, arguments: list[object], pieces: list[str]) -> None:
    refused(tts_sim("extrapolate", cache, *arguments), *pieces)
    refused(tts_sim("extrapolate", cache, *arguments, "--json"), *pieces)


def test_a_run_without_solutions(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "dead.jsonl", [forests.tree("q", [(0.5, []), (0.5, [])])])
    assert tts_sim("import", "native", file, "--into", tmp_path / "dead.duckdb").status == 0
    refused(
        tts_sim("extrapolate", tmp_path / "dead.duckdb"),
        "run 'dead': 1 of 1 questions (first: 'q') holds no complete solution. Record with",
    )
    refused(tts_sim("extrapolate", tmp_path / "no.duckdb"), "there is no cache at")


def test_help_loads_nothing_heavy() -> None:
    run = """
import tts_sim.cli.main as command
sys.argv = ["tts-sim", "extrapolate", "--help"]
try:
    command.main()
except SystemExit as ended:
    assert ended.code == 0, ended.code
"""
    assert loaded_by(run) == []
