"""The random stream: the same in kernels, in Python and in the specification, and uniform."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numba
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import naive
from tts_sim import draws
from tts_sim.kernels import draws as kernels

WORDS = st.integers(0, 2**64 - 1)


@numba.njit
def mixed(key: Any, counter: Any) -> Any:
    return kernels.mix(key, counter)


@numba.njit
def draw_prefix(key: Any, pool: int, count: int, places: Any, swapped: Any, picked: Any) -> None:
    kernels.draw_prefix(key, pool, count, places, swapped, picked)


@settings(deadline=None)  # the first example compiles
@given(key=WORDS, counter=WORDS)
def test_three_copies_agree(key: int, counter: int) -> None:
    expected = draws.mix(key, counter)
    assert naive.mix(key, counter) == expected
    assert int(mixed(np.uint64(key), np.uint64(counter))) == expected


@settings(deadline=None)
@given(key=WORDS, pool=st.integers(1, 300), share=st.floats(0, 1))
def test_prefixes_are_permutations(key: int, pool: int, share: float) -> None:
    count = max(1, round(pool * share))
    places, swapped, picked = np.arange(400), np.empty(count, np.int64), np.empty(count, np.int64)
    draw_prefix(np.uint64(key), pool, count, places, swapped, picked)
    assert picked.tolist() == naive.first_draws(key, pool, pool)[:count]
    assert len(set(picked.tolist())) == count
    assert places.tolist() == list(range(400))  # scratch is left as it was


def test_orders_are_uniform() -> None:
    """All 24 orders of four draws come up equally often: chi-squared with 23 degrees of freedom, p > .0001."""
    num = 24_000
    orders = Counter(tuple(naive.first_draws(naive.trial_key(3, "q", trial), 4, 4)) for trial in range(num))
    assert len(orders) == 24
    assert sum((count - num / 24) ** 2 / (num / 24) for count in orders.values()) < 56


def test_question_keys_follow_the_id() -> None:
    assert draws.question_key("q1") == draws.question_key("q1") != draws.question_key("q2")
    assert 0 <= draws.question_key("q1") < 2**64
