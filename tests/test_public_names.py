"""The public names, and what may import what."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import tts_sim

ROOT = Path(tts_sim.__file__).parent
NAMES = """
    Adaptive Beam Best Bins CacheExhausted CacheFull CacheInvalid CacheLocked CacheMissing CacheTooNew Choice Dvts
    Efficiency ExchangeTerms Forest ImportFailed Ledger Lookahead Majority Oracle Outcomes Policy PolicyInvalid
    PolicyTooNew QueryRefused Rebase Revise Sample ScoreMissing SplitCandidates Strategy TtsSimError Weighted agreement
    allocate allocate_outcomes apply_policy best_of_n best_split break_even break_even_ratio calibration charts combine
    compare compare_all demand efficiency exchange_table exchange_totals extrapolate finetuning_share fit_bins
    fit_policy full_report greedy_outcomes load_forest load_policy majority model_pair model_sizes multiplier open_cache
    pair_terms paired_difference parse_strategy parse_verifier pass_at_k policy_curves priced replay sample_path
    verifier_quality with_verifiers write_charts write_report
"""


def test_public_names() -> None:
    assert sorted(tts_sim.__all__) == sorted(NAMES.split()) == dir(tts_sim)
    for name in tts_sim.__all__:
        assert getattr(tts_sim, name).__name__.removeprefix("tts_sim.") == name


def test_import_is_light() -> None:
    code = (
        "import sys, tts_sim; print([m for m in ('numba', 'numpy', 'polars', 'duckdb', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert done.stdout.strip() == "[]"


def test_functions_win_over_modules_of_the_same_name() -> None:
    code = (
        "import tts_sim, tts_sim.replay, tts_sim.demand; from tts_sim import replay, demand; "
        "print(callable(replay), callable(demand))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert done.stdout.strip() == "True True"


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_kernels_know_only_arrays() -> None:
    for file in (ROOT / "kernels").glob("*.py"):
        if file.name in ("_jit.py", "_threads.py"):
            continue
        for module in imports(file) - {
            "__future__",
            "math",
            "typing",
            "numpy",
            "numba",
            "tts_sim.arrays",
            "tts_sim.user_cache",
        }:
            assert module.startswith("tts_sim.kernels."), (file.name, module)


def test_imports_run_one_way() -> None:
    for file in ROOT.rglob("*.py"):
        modules = imports(file)
        assert not any(module.split(".")[0] in ("torch", "generate") for module in modules) or file.parent.name == "cli"
        if file.parent.name != "cli":
            assert not any(module.startswith("tts_sim.cli") for module in modules), file.name
        if file.parent.name == "strategies":
            assert not modules & {"tts_sim.replay", "tts_sim.outcomes", "tts_sim.load"}, file.name
