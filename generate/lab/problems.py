"""The lab's problems: left-to-right chains of + - * mod 1000, one operation a line."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Split = Literal["train", "validation", "test"]

MODULUS = 1000
LARGEST_FACTOR = 29
TEMPERATURE = 2.2  # of the base: high, so that a model that knows its arithmetic slips
REVISER_TEMPERATURE = 1.5  # its first attempts are then about as often right as the base's samples
LARGE_TEMPERATURE = 1.0
TEST_MIX = {1: 80, 2: 70, 3: 60, 4: 60, 5: 50, 6: 40, 7: 40, 8: 40, 9: 15, 10: 15, 11: 15, 12: 15}
TEST_LEVELS = tuple(level for level, count in TEST_MIX.items() for _ in range(count))
MAX_NEW_TOKENS = 112
TRAINING_LEVELS = tuple(level for level in range(1, 13) for _ in range(round(100 * 0.85 ** (level - 1))))
DELIMITER = "\n"
NEXT_ATTEMPT = "<next>"
MAX_CONTEXT_ATTEMPTS = 4
ANSWER = re.compile(r"=(\d{3})\Z")


@dataclass(frozen=True)
class Problem:
    """One chain: `prompt + "\\n".join(steps)` is the whole text, `gold` the three digits that end it."""

    question_id: str
    prompt: str
    gold: str
    level: int
    steps: tuple[str, ...]

    @property
    def solution(self) -> str:
        """The reference solution, without the end-of-sequence token."""
        return DELIMITER.join(self.steps)


def build_problem(start: int, operations: Sequence[tuple[str, int]]) -> Problem:
    """The problem that applies `operations` (sign, operand) to `start` from left to right, mod 1000."""
    value = start
    written, steps = [f"{start:03d}"], []
    for sign, operand in operations:
        if sign == "+":
            value += operand
        elif sign == "-":
            value -= operand
        else:
            value *= operand
        value %= MODULUS
        written.append(f"{sign}{operand}")
        steps.append(f"{sign}{operand}={value:03d}")
    expression = "".join(written)
    return Problem(f"chain-{expression}", expression + DELIMITER, f"{value:03d}", len(operations), tuple(steps))


def split_of(prompt: str) -> Split:
    """Where a prompt belongs, by its hash: 5 % test, 5 % validation, the rest training."""
    bucket = zlib.crc32(prompt.encode()) % 20
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def draw_problems(count: int, *, seed: int, levels: Sequence[int], split: Split = "train") -> list[Problem]:
    """`count` problems of one split, each with a level drawn uniformly from `levels` (repeat a level to weight it).

    The same arguments give the same problems. Those of "validation" and "test" are distinct; training ones may repeat.
    """
    random = np.random.default_rng([seed, ("train", "validation", "test").index(split)])
    problems: list[Problem] = []
    seen: set[str] = set()
    while len(problems) < count:
        for level in random.choice(levels, size=256):
            start = int(random.integers(MODULUS))
            multiplies = random.random(level) < random.random() ** 1.5
            subtracts = random.random(level) < 0.5
            addends = random.integers(10, 100, size=level)
            factors = random.integers(2, LARGEST_FACTOR + 1, size=level)
            operations = [
                ("*", int(factor)) if multiply else ("-" if subtract else "+", int(addend))
                for multiply, subtract, addend, factor in zip(multiplies, subtracts, addends, factors, strict=True)
            ]
            problem = build_problem(start, operations)
            if split_of(problem.prompt) != split or (split != "train" and problem.prompt in seen):
                continue
            seen.add(problem.prompt)
            problems.append(problem)
    return problems[:count]


def draw_mix(mix: Mapping[int, int], *, seed: int, split: Split) -> list[Problem]:
    """The given number of problems per level, levels ascending."""
    return [
        problem
        for level in sorted(mix)
        for problem in draw_problems(mix[level], seed=seed + level, levels=[level], split=split)
    ]


def extract_answer(solution_text: str) -> str | None:
    """The three digits that end a solution, or None when it does not end in `=ddd`."""
    match = ANSWER.search(solution_text)
    return match.group(1) if match else None


def revision_prompt(prompt: str, attempts: Sequence[str]) -> str:
    """The prompt of the next attempt: at most the four latest attempts, each closed by `<next>`, then the question.

    The question comes last, as near to the answer as the base has learned it: with the attempts in between, the base's
    size and training did not suffice to find the operands again (pass@1 fell from .29 to .04 at the second attempt).
    """
    return "".join(attempt + NEXT_ATTEMPT for attempt in attempts[-MAX_CONTEXT_ATTEMPTS:]) + prompt
