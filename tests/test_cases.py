"""Exact cases of what is computed from figures; those of replays go through the command, see test_cli_cases."""

from __future__ import annotations

from collections import Counter

import pytest

from tests import cases
from tts_sim.bins import fit_bins


def test_c20_difficulty() -> None:
    shares = [count / 16 for count in cases.C20_CORRECT_OF_16]
    bins = fit_bins(shares)
    assert bins.edges == pytest.approx([float(edge) for edge in cases.C20_EDGES], abs=1e-12)
    levels = bins.levels(shares).tolist()
    assert levels == cases.C20_LEVELS
    assert [Counter(levels)[level] for level in (1, 2, 3, 4, 5)] == cases.C20_SIZES
