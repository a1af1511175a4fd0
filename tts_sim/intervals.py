"""Intervals over questions."""

from __future__ import annotations


def t_quantile(probability: float, degrees_of_freedom: int) -> float:
    """Quantile of Student's t distribution."""
    from scipy.special import stdtrit  # here: half of the start-up time of a replay would be this import

    return float(stdtrit(degrees_of_freedom, probability))


def t_interval(mean: float, standard_error: float, num_questions: int, level: float = 0.95) -> tuple[float, float]:
    """Two-sided interval around a mean over questions, with num_questions - 1 degrees of freedom.

    Not clipped to [0, 1]. Raises ValueError for fewer than two questions. Source: statistics §3, estimand (A).
    """
    if num_questions < 2:
        raise ValueError(f"num_questions={num_questions}: an interval over questions needs at least 2.")
    reach = t_quantile(0.5 + level / 2, num_questions - 1) * standard_error
    return mean - reach, mean + reach
