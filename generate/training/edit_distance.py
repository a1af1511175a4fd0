"""How far apart two texts are: which wrong attempt is the closest to a right one."""

from __future__ import annotations

import numpy as np


def edit_distance(first: str, second: str) -> int:
    """Levenshtein distance in characters."""
    row = np.arange(len(second) + 1)
    letters = np.frombuffer(second.encode("utf-32-le"), dtype=np.uint32)
    offsets = np.arange(1, len(second) + 1)
    for place, letter in enumerate(map(ord, first), start=1):
        best = np.minimum(row[1:] + 1, row[:-1] + (letters != letter))
        # an insertion costs one a place, so the running minimum of (cost - place) settles the whole row at once
        row = np.concatenate(([place], np.minimum.accumulate(np.minimum(best - offsets, place)) + offsets))
    return int(row[-1])
