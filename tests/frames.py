"""Small made-up tables in the shapes that charts take."""

from __future__ import annotations

import math

import polars as pl

HOSTILE = "</script><script>alert(1)</script><b>bold</b>"


def curve(difficulty: bool = False) -> pl.DataFrame:
    """What Outcomes.curve gives; the second strategy's name is hostile, its first row has no figure."""
    rows = [
        {
            "run": "base",
            "strategy": strategy,
            "verifier": verifier,
            "difficulty": level,
            "budget": budget,
            "accuracy": None if strategy == HOSTILE and budget == 1 else 0.4 + 0.05 * place + 0.02 * level,
            "se": None if budget == 2 else 0.1,
            "ci_low": None if budget == 2 else 0.3,
            "ci_high": None if budget == 2 else 0.7,
            "lower": 0.2,
            "upper": 0.9,
            "supported": 0.2 if strategy == HOSTILE and budget == 1 else 1.0,
            "method": "monte-carlo",
            "tokens": 10.0 * budget,
            "critical_tokens": 12.0,
            "flops": None if verifier else 1e6 * budget,
            "generator_flops": 1e6 * budget,
            "num_questions": 5,
        }
        for strategy, verifier in (("sample+majority", None), (HOSTILE, "prm"))
        for level in ((1, 2) if difficulty else (1,))
        for place, budget in enumerate((1, 2, 4, 8))
    ]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return frame if difficulty else frame.drop("difficulty")


def policy_curves() -> pl.DataFrame:
    """What policy_curves gives, with a line that stands under no difficulty."""
    rows = [
        {"line": line, "difficulty": kind, "budget": budget, "accuracy": 0.5, "se": 0.1, "ci_low": 0.4, "ci_high": 0.6,
         "cost": 0.9 * budget, "num_questions": 9}
        for line, kinds in (
            ("policy, cross-fitted", ("oracle", "predicted")), ("policy, naive", ("oracle",)),
            ("policy, charged", ("predicted",)), ("envelope (oracle, per question)", ("oracle",)),
            ("sample+weighted", (None,)),
        )
        for kind in kinds
        for budget in (2, 4, 8)
    ]  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def choices() -> pl.DataFrame:
    """The choices of a policy."""
    return pl.DataFrame(
        [
            {"level": level, "budget": budget, "strategy": "sample+weighted" if level == budget else "sample+majority",
             "accuracy": 0.5, "ci_low": None, "ci_high": math.nan, "num_questions": 3}
            for level in (1, 2, 3)
            for budget in (2, 3)
        ],
        infer_schema_length=None,
    )  # fmt: skip


def steps() -> pl.DataFrame:
    """What revision_steps gives."""
    share = {"low": 0.3, "high": 0.5}
    rows = [
        {"attempt": attempt, "pass_at_1": 0.5 if attempt else None, "se": 0.1, "ci_low": 0.4, "ci_high": 0.6,
         "num_questions": 5, "num_chains": 50, "right_turned_wrong": 0.4, "num_right": 30, "wrong_turned_right": 0.2,
         "num_wrong": 10 if attempt == 3 else 30,
         **{f"{turn}_{end}": value for turn in ("right_turned_wrong", "wrong_turned_right")
            for end, value in share.items()}}
        for attempt in (1, 2, 3, None)
    ]  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def revisions(difficulty: bool = False) -> pl.DataFrame:
    """A curve of revisions at budget 4 in three shapes, and at 2 in two."""
    rows = [
        {"strategy": f"revise(sequential={sequential})+{selection}", "difficulty": level, "budget": budget,
         "accuracy": 0.5 + 0.01 * sequential, "se": 0.1, "ci_low": 0.4, "ci_high": 0.6, "num_questions": 5}
        for selection in ("weighted", "majority")
        for budget, members in ((2, (1, 2)), (4, (1, 2, 4)))
        for sequential in members
        for level in ((1, 2) if difficulty else (1,))
    ]  # fmt: skip
    frame = pl.DataFrame(rows)
    return frame if difficulty else frame.drop("difficulty")


def small_curve() -> pl.DataFrame:
    """The small model of an exchange by bin; null is all questions."""
    return pl.DataFrame(
        [
            {"bin": level, "budget": budget, "accuracy": 0.5, "se": 0.1, "ci_low": 0.4, "ci_high": 0.6}
            for level in (None, 1, 2)
            for budget in (1, 2, 4)
        ],
        infer_schema_length=None,
    )


def exchange() -> pl.DataFrame:
    """What exchange_table gives: inside the cache, beyond it, and where not one sample is paid."""
    rows = [
        {"bin": level, "R": ratio, "convention": convention, "x": x, "small": small, "large": 0.6,
         "difference": None if small is None else small - 0.6, "se": None if small is None else 0.1,
         "ci_low": None if small is None else -0.2, "ci_high": None if small is None else 0.1, "status": status}
        for convention in ("strict", "snell-v1")
        for level in (None, 1, 2)
        for ratio, x, small, status in (
            (0.16, 8.0, 0.5, "beyond cache"), (0.79, 2.0, 0.55, "inside"), (22.0, 0.5, None, "below one sample"),
        )
    ]  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def break_even() -> pl.DataFrame:
    """What break_even gives: never, at some R, always."""
    ratios = ((None, 0.8, 0.2, 3.0), (1, math.inf, 1.0, math.inf), (2, 0.0, 0.0, 0.5), (3, 1.0, None, None))
    return pl.DataFrame(
        [
            {"bin": level, "convention": "strict", "x_star": 4.0 if star else None, "r_star": star, "r_low": low,
             "r_high": high}
            for level, star, low, high in ratios
        ],
        infer_schema_length=None,
    )  # fmt: skip


def calibration() -> pl.DataFrame:
    """What calibration gives, a bin of one question with no error among them."""
    rows = [
        {"run": "base", "verifier": verifier, "decile": decile, "num_solutions": 10 * decile,
         "num_questions": 1 if decile == 1 else 4, "mean_score": decile / 10, "mean_correct": decile / 10,
         "se": None if decile == 1 else 0.05}
        for verifier in ("prm", HOSTILE)
        for decile in (1, 5, 9)
    ]  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def judged() -> pl.DataFrame:
    """A curve of two strategies under two verifiers, and majority."""
    pairs = [(s, v) for s in ("sample+weighted", "sample+best") for v in ("prm", "random")]
    return pl.DataFrame(
        [
            {"strategy": strategy, "verifier": verifier, "budget": budget, "accuracy": 0.5, "se": 0.1, "ci_low": 0.4,
             "ci_high": 0.6}
            for strategy, verifier in [*pairs, ("sample+majority", None)]
            for budget in (1, 2, 4)
        ],
        infer_schema_length=None,
    )  # fmt: skip
