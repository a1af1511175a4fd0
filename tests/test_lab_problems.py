"""The problem family: right references, a held-out split, one text form."""

from __future__ import annotations

import pytest

from generate.lab.problems import (
    TEST_MIX,
    build_problem,
    draw_mix,
    draw_problems,
    extract_answer,
    revision_prompt,
    split_of,
)
from generate.lab.tokenizer import build_tokenizer


def test_reference_is_worked_by_hand() -> None:
    problem = build_problem(960, [("+", 75), ("*", 9), ("-", 30)])
    assert problem.prompt == "960+75*9-30\n"
    assert problem.solution == "+75=035\n*9=315\n-30=285"
    assert (problem.gold, problem.level) == ("285", 3)


@pytest.mark.parametrize(
    "text, answer", [("+1=022", "022"), ("+1=022\n", None), ("+1=22", None), ("", None), ("*3=3=333", "333")]
)
def test_extract_answer(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


def test_drawing_is_deterministic_and_splits_are_disjoint() -> None:
    assert draw_problems(50, seed=3, levels=[1, 2]) == draw_problems(50, seed=3, levels=[1, 2])
    test = draw_mix(TEST_MIX, seed=0, split="test")
    training = {problem.prompt for problem in draw_problems(2000, seed=1, levels=[1])}
    assert len({problem.question_id for problem in test}) == sum(TEST_MIX.values()) == 500
    assert all(split_of(problem.prompt) == "test" for problem in test)
    assert training.isdisjoint(problem.prompt for problem in test)
    assert all(extract_answer(problem.solution) == problem.gold for problem in test)


def test_revision_prompt_keeps_the_four_latest() -> None:
    assert revision_prompt("1+1\n", []) == "1+1\n"
    assert revision_prompt("q\n", list("abcde")) == "b<next>c<next>d<next>e<next>q\n"


def test_tokens_do_not_depend_on_where_a_text_is_cut() -> None:
    tokenizer = build_tokenizer()
    text = revision_prompt("960+75*9\n", ["+75=035\n*9=315", "+75=135"])
    whole = tokenizer(text)["input_ids"]
    pieces = ["+75=0", "35\n*9=315<next>+7", "5=135<next>", "960+75*9\n"]
    assert whole == [index for piece in pieces for index in tokenizer(piece)["input_ids"]]
    assert tokenizer.decode(whole) == text
