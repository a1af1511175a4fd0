"""Trees in level order: solutions under a prompt, scores along paths."""

from __future__ import annotations

import numpy as np

from tts_sim.arrays import Float32s, Int, Solutions, Trees
from tts_sim.kernels._jit import kernel, kernel_lean
from tts_sim.kernels.draws import cached_child, pool_size

COMPLETE, MISSING, EXHAUSTED = 0, 1, 2
LAST, MIN, PROD, MEAN = 0, 1, 2, 3


@kernel_lean
def follow(trees: Trees, root_pool: Int, step_pool: Int, found: Solutions) -> None:
    """Fill in what each root draw leads to when draw 0 is taken at every later step."""
    for q in range(len(trees.question_start) - 1):
        prompt = trees.question_start[q]
        for place in range(found.start[q], found.start[q + 1]):
            v = prompt
            draw = place - found.start[q]
            pool = root_pool
            tokens = np.int64(0)
            found.state[place] = COMPLETE
            while True:
                child = cached_child(trees, v, draw, pool)
                if child < 0:
                    found.state[place] = EXHAUSTED if pool_size(trees, v, pool) <= draw else MISSING
                    break
                v = child
                tokens += trees.tokens[v]
                if trees.answer[v] != -1:
                    break
                draw = np.int64(0)
                pool = step_pool
            found.row[place] = v
            found.draw[place] = draw
            found.tokens[place] = tokens


@kernel
def path_scores(trees: Trees, score: Float32s, aggregate: Int, out: Float32s) -> None:
    """Min, product or mean of the scores from the first step to each node; NaN where one of them is not scored.

    float64 along the path, rounded once: sums of float32 values over a few hundred solutions then come out the
    same in any order, so that votes which tie, tie.
    """
    running = np.zeros(len(score), np.float64)
    depth = np.zeros(len(score), np.int32)
    for v in range(len(score)):
        above = trees.parent[v]
        if above < 0:
            running[v] = 0.0 if aggregate == MEAN else (np.inf if aggregate == MIN else 1.0)
            out[v] = np.nan
            continue
        value = np.float64(score[v])
        depth[v] = depth[above] + 1
        if aggregate == MIN:
            if value != value or running[above] != running[above]:
                running[v] = np.nan
            else:
                running[v] = min(value, running[above])
            out[v] = running[v]
        elif aggregate == PROD:
            running[v] = running[above] * value
            out[v] = running[v]
        else:
            running[v] = running[above] + value
            out[v] = running[v] / depth[v]
