"""What is not loaded before it is needed: `tts-sim --help` and `import tts_sim` answer at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import COMPILING

HEAVY = ("numba", "numpy", "polars", "duckdb", "altair", "torch", "transformers", "scipy", "pyarrow", "math_verify")
ROOT = Path(__file__).parents[1]


def loaded_by(code: str) -> list[str]:
    """The heavy modules that a fresh process has loaded after `code`."""
    code = f"import sys\n{code}\nprint('loaded:', *[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["replay", "--help"],
        ["compare", "--help"],
        ["verifiers", "--help"],
        ["policy", "fit", "--help"],
        ["exchange", "--help"],
        ["export", "sft", "--help"],
        ["report", "--help"],
        ["generate", "--help"],
        ["generate", "sample", "--help"],
        ["generate", "train", "prm", "--help"],
        ["nonsense"],
    ],
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    run = f"""
import tts_sim.cli.main as command
sys.argv = ["tts-sim", *{arguments!r}]
try:
    command.main()
except SystemExit as ended:
    assert ended.code == {2 if arguments == ["nonsense"] else 0}, ended.code
"""
    assert loaded_by(run) == []


def test_importing_the_library_loads_nothing_heavy() -> None:
    assert loaded_by("import tts_sim; dir(tts_sim)") == []
    assert "torch" not in loaded_by("import tts_sim; tts_sim.replay, tts_sim.open_cache")


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")
def test_the_first_run_says_that_it_compiles(tmp_path: Path) -> None:
    node = {"id": 1, "parent": None, "draw": 0, "tokens": 1, "answer": "A"}
    (tmp_path / "q.jsonl").write_text(json.dumps({"question_id": "q", "prompt": "p", "gold": "A", "nodes": [node]}))

    def said_by(arguments: str) -> str:
        code = f"import sys; sys.argv = ['tts-sim', *{arguments.split()!r}]; from tts_sim.cli.main import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)},
        )  # fmt: skip
        return done.stderr

    cache = tmp_path / "q.duckdb"
    assert "compiling" not in said_by(f"import native {tmp_path / 'q.jsonl'} --into {cache}")
    replay = f"replay {cache} --strategy sample+oracle --budget 1 --json"
    assert said_by(replay) == COMPILING
    assert said_by(replay) == ""
