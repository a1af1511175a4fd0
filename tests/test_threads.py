"""Ranges for threads: every question once, whatever the number of threads."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from tts_sim.kernels import _threads
from tts_sim.kernels._threads import on_threads


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("num", [0, 1, 3, 4, 5, 500, 12_289])
def test_ranges_make_up_the_whole(num: int, threads: int) -> None:
    ranges = _threads._ranges(num, threads)
    assert [number for start, stop in ranges for number in range(start, stop)] == list(range(num))
    lengths = [stop - start for start, stop in ranges]
    assert lengths == sorted(lengths, reverse=True)
    assert not lengths or max(lengths) <= max(_threads.SHORTEST_RANGE, num / threads)


def test_each_number_is_done_once_and_a_failure_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "_num_threads", lambda: 3)
    done, rooms = np.zeros(100, np.int64), []

    def new_room() -> list[int]:
        rooms.append([])
        return rooms[-1]

    def work(start: int, stop: int, room: list[int], counts: Any) -> None:
        counts[start:stop] += 1
        room.append(stop - start)

    on_threads(work, 100, new_room, done)
    assert (done == 1).all() and 1 <= len(rooms) <= 3 and sum(map(sum, rooms)) == 100

    def fail(start: int, stop: int, room: None) -> None:
        raise ValueError("in a thread")

    with pytest.raises(ValueError, match="in a thread"):
        on_threads(fail, 100, lambda: None)


def test_the_number_is_numbas() -> None:
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        assert _threads._num_threads() == 1
    finally:
        numba.set_num_threads(before)
    assert _threads._num_threads() == before
