"""From log-odds to recorded scores, for every family of verifiers alike."""

from __future__ import annotations

from torch import Tensor

GRAIN = 2048  # a batch's rounding moves float32 log-odds by about 1e-6
REWARD_GRAIN = 8192  # a reward is stored as it is, without a sigmoid that makes its rounding smaller


def rounded(values: Tensor, grain: int = REWARD_GRAIN) -> Tensor:
    """Values in float32, to the nearest 1/grain: what was read in two batches comes out the same."""
    return (values.float() * grain).round() / grain


def probabilities(log_odds: Tensor) -> Tensor:
    """P(good) in [0, 1]: the sigmoid of log-odds to 1/2048, at most 6e-5 from that of the log-odds themselves.

    Equal steps so score equal in whatever batch they were read, and a search breaks their tie alike.
    """
    return rounded(log_odds, GRAIN).sigmoid()


def label_odds(logits: Tensor) -> Tensor:
    """Log-odds of the last dimension's labels: the one logit, or of two the second less the first (their softmax)."""
    return logits[..., 0] if logits.shape[-1] == 1 else logits[..., 1] - logits[..., 0]
