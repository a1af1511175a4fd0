"""Graders and extractors: what is one answer, what is right, and what fails or hangs on one answer only."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import polars as pl
import pytest

from cache import create_cache
from cache.functions import is_function_path
from cache.grading import UNPARSED, GradedAnswer, grader, lone_letter
from cache.isolation import IsolatedExtractor, IsolatedGrader
from generate.answers import AnswerBook
from generate.extraction import chosen_letter, extractor

ODD = """
import os, sys, time
from pathlib import Path

def same(gold, answer):
    print("graders may print")
    if answer == "fail":
        raise RuntimeError("no")
    if answer == "hang":
        while True:
            time.sleep(1)
    if answer == "die":
        os._exit(3)
    if answer == "die once" and not Path("died").exists():
        Path("died").touch()
        os._exit(3)
    return gold.lower() == answer.lower()

def first_word(solution):
    if solution == "hang":
        time.sleep(60)
    return solution.split()[0] if solution != "none" else None

number = 3
"""


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a module `oddly`."""
    (tmp_path / "oddly.py").write_text(ODD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_one_odd_answer_is_unparsed_and_the_others_are_graded(odd: Path) -> None:
    judge = grader("oddly:same", seconds=1.0)
    texts = ["x", "fail", "X", "hang", "x", "die", None, " y ", "die once", "X"]
    assert judge.group("X", texts) == [
        GradedAnswer("x", True, 0),
        UNPARSED,
        GradedAnswer("X", True, 1),
        UNPARSED,
        GradedAnswer("x", True, 0),
        UNPARSED,
        UNPARSED,
        GradedAnswer("y", False, 2),
        GradedAnswer("die once", False, 3),  # a process that was ended from outside is no fault of the answer
        GradedAnswer("X", True, 1),
    ]
    assert isinstance(judge, IsolatedGrader) and judge.failed == 3
    assert judge.group("Z", ["z"]) == [GradedAnswer("z", True, 0)]


def test_an_extractor_that_hangs_finds_no_answer(odd: Path) -> None:
    extract = extractor("oddly:first_word", seconds=1.0)
    assert [extract(text) for text in ("a b", "hang", "none", "   ", "c d")] == ["a", None, None, None, "c"]
    assert isinstance(extract, IsolatedExtractor) and extract.failed == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("oddly:other", "AttributeError"),
        ("nowhere.at_all:same", "ModuleNotFoundError"),
        ("oddly:number", "is not a function"),
    ],
)
def test_a_function_that_is_not_there(odd: Path, name: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"grader '{name}'.*{said}"):
        grader(name)
    with pytest.raises(ValueError, match=f"extractor '{name}'.*{said}"):
        extractor(name)


def test_math_verify_has_a_limit_off_the_main_thread() -> None:
    """The tower of powers is spelled out in C, where no signal stops it."""
    found: list[GradedAnswer] = []
    judge = grader("math-verify", seconds=3.0)
    texts = ["\\boxed{\\frac{1}{2}}", "0.5", "\\boxed{10^{10^{10}}}", "\\boxed{2}"]
    thread = threading.Thread(target=lambda: found.extend(judge.group("\\frac12", texts)))
    thread.start()
    thread.join(timeout=120)
    assert not thread.is_alive()
    assert found == [*[GradedAnswer("\\frac{1}{2}", True, 0)] * 2, UNPARSED, GradedAnswer("2", False, 1)]


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="unknown grader 'guess'; there are exact, letter, math-verify, or package"):
        grader("guess")
    with pytest.raises(ValueError, match="unknown extractor 'guess'; there are boxed"):
        extractor("guess")
    with pytest.raises(ValueError, match="grader seconds 0"):
        grader("math-verify", seconds=0)
    assert is_function_path("a.b:c") and not any(map(is_function_path, ("a.b", "a:b:c", "a b:c", ":c", "a:", "1a:b")))


@pytest.mark.parametrize(
    ("text", "letter"),
    [("B", "B"), ("(b)", "B"), ("b) four", "B"), ("**C**", "C"), ("\\text{D}", "D"), ("A cat", None), ("", None)],
)
def test_lone_letters(text: str, letter: str | None) -> None:
    assert lone_letter(text) == letter


@pytest.mark.parametrize(
    ("solution", "letter"),
    [
        ("So \\boxed{B}.", "B"),
        ("A or B? The answer is (C).", "C"),
        ("Option A is wrong. Answer: d", "D"),
        ("Hence\n(B)", "B"),
        ("The answer is a mystery", None),
        ("The answer is B because A is not", "B"),
        ("no idea", None),
        ("", None),
    ],
)
def test_the_letter_that_is_chosen(solution: str, letter: str | None) -> None:
    assert chosen_letter(solution) == letter


def test_letters_are_graded_by_letter() -> None:
    graded = grader("letter").group("(B)", ["b", "B.", "C", "neither"])
    assert graded == [GradedAnswer("B", True, 0), GradedAnswer("B", True, 0), GradedAnswer("C", False, 1), UNPARSED]


def test_an_answer_that_is_stored_is_not_stored_again_where_its_grading_fails(odd: Path) -> None:
    """The stored text hangs now; a text that equals it, met again, keeps its number."""
    with create_cache(odd / "c.duckdb") as cache:
        cache.append(
            questions=pl.DataFrame({"question_id": ["q"], "gold": ["x"]}),
            answers=pl.DataFrame(
                {"question_id": ["q", "q"], "answer_id": [0, 1], "text": ["die", "x"], "correct": [False, True]}
            ).with_columns(grader=pl.lit("oddly:same")),
        )
        book = AnswerBook(cache, grader("oddly:same", seconds=5.0))
        assert book.numbers("q", ["x", None, "y", "die", " x"]) == [1, None, 2, None, 1]
        assert book.numbers("q", ["y", "z"]) == [2, 3]
        assert [row["text"] for row in book.taken()] == ["y", "z"]
