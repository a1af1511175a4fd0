"""Greedy rollouts: where they lead from each node."""

from __future__ import annotations

import numpy as np

from tts_sim.arrays import NO_ANSWER, Float32s, Int, Trees
from tts_sim.kernels._jit import kernel_lean
from tts_sim.kernels.beam import Rollouts


@kernel_lean
def roll_out(trees: Trees, step_score: Float32s, steps: Int, found: Rollouts, ahead: Float32s) -> None:
    """Follow up to `steps` greedy steps from every node, to the end of its solution at most.

    `ahead` gets the score at the end of the rollout: the node's own where it has ended, NaN where a step is missing.
    """
    for v in range(len(trees.parent)):
        end, tokens, missing = np.int64(v), np.int64(0), False
        for _ in range(steps):
            if trees.answer[end] != NO_ANSWER:
                break
            following = np.int64(trees.child_stop[end])  # the greedy child stands behind the sampled ones
            if following >= len(trees.parent) or trees.parent[following] != end:
                missing = True
                break
            end = following
            tokens += trees.tokens[end]
        found.end[v] = ~end if missing else end
        found.tokens[v] = tokens
        ahead[v] = np.nan if missing else step_score[end]
