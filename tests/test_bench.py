"""Benchmarks compare like with like: every contender of a comparison gives the same results."""

from __future__ import annotations

import numpy as np
import pytest

from bench.registry import COMPARISONS, Comparison


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda comparison: comparison.name)
def test_contenders_agree(comparison: Comparison) -> None:
    whole = comparison.workload("tiny")
    ours = comparison.contenders[0].run(whole)
    assert len(ours) == whole.forest.num_questions
    assert comparison.work(whole) > 0
    for contender in comparison.contenders[1:]:
        theirs = contender.run(whole.first(contender.most_questions))
        np.testing.assert_allclose(theirs, ours[: len(theirs)], rtol=0, atol=1e-12)
