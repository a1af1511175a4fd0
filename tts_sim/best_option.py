"""Cross-fitting: the value of a choice on questions that had no part in it."""

from __future__ import annotations

import numpy as np

from tts_sim.arrays import Float64s
from tts_sim.resampling import fold_numbers

FOLDS, SPLITS = 5, 20


def crossfitted(values: Float64s, *, seed: int, folds: int = FOLDS, splits: int = SPLITS) -> Float64s:
    """For each question the value of the option that is best on the other folds, averaged over random splits.

    `values` has shape (questions, options); ties go to the first option. With fewer questions than folds each question
    is a fold; a single question has nothing to learn from and gets the first option's value.
    Source: statistics §3 (winner's curse), §4.
    """
    num_questions = len(values)
    if num_questions < 2 or values.shape[1] == 1:
        return values[:, 0].copy()
    random = np.random.default_rng(seed)
    count = min(folds, num_questions)
    sums, out = values.sum(axis=0), np.zeros(num_questions)
    for _ in range(splits):
        fold = fold_numbers(num_questions, count, random)
        for number in range(count):
            held_out = fold == number
            rest = (sums - values[held_out].sum(axis=0)) / (~held_out).sum()
            choice = int(np.flatnonzero(rest >= rest.max() - 1e-12)[0])
            out[held_out] += values[held_out, choice]
    return out / splits
