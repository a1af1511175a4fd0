"""Strategy strings: round trips, and messages that list what is known."""

from __future__ import annotations

import pytest

from tts_sim.selections import Majority, Weighted
from tts_sim.spec import Strategy, parse_strategy
from tts_sim.strategies.beam import Beam
from tts_sim.strategies.revise import Revise

CANONICAL = {
    "sample+majority": "sample+majority",
    " sample + best( agg = last ) ": "sample+best",
    "sample()+best(agg=prod)": "sample+best(agg=prod)",
    "beam+weighted": "beam(width=4)+weighted",
    "beam(width=sqrt)+oracle": "beam(width=sqrt)+oracle",
    "revise(ratio=2:8)+weighted": "revise(ratio=1:4)+weighted",
    "revise(sequential=8, across=hierarchical)+weighted": "revise(sequential=8)+weighted",
    "revise(sequential=8,across=pooled)+weighted": "revise(sequential=8,across=pooled)+weighted",
    "revise(sequential=8,across=pooled)+majority": "revise(sequential=8)+majority",
}
WRONG = {
    "sample": "expected search\\+selection.*searches: sample, beam, .*; selections: majority, best, weighted",
    "sampel+majority": "unknown search .sampel.; known: sample, beam, lookahead, dvts, rebase, revise, adaptive",
    "sample+most": "unknown selection 'most'; known: majority, best, weighted, oracle",
    "beam(depth=3)+best": "parameter 'depth' of beam is unknown; known: width",
    "beam(width)+best": "parameter 'width' of beam is without a value",
    "beam(width=2,width=3)+best": "given twice",
    "beam(width=0)+best": "width=0: expected a whole number from 1, or sqrt",
    "beam(width=two)+best": "width=two: expected a whole number from 1, or sqrt",
    "sample(n=3)+best": "parameter 'n' of sample is unknown; known: none",
    "sample+best(agg=sum)": "agg=sum: expected one of last, min, prod, mean",
    "revise+majority": "one of sequential=S and ratio=a:b",
    "revise(sequential=2,ratio=1:1)+majority": "one of sequential=S and ratio=a:b",
    "revise(ratio=1)+majority": "expected sequential:parallel",
    "revise(ratio=0:1)+majority": "whole numbers from 1",
    "revise(sequential=x)+majority": "sequential=x: expected a whole number",
    "revise(sequential=2,across=all)+majority": "across=all: expected one of hierarchical, pooled, last",
    "beam(width=4+best": "unknown search",
}


@pytest.mark.parametrize("spec", CANONICAL)
def test_canonical_string_round_trips(spec: str) -> None:
    strategy = parse_strategy(spec)
    assert str(strategy) == CANONICAL[spec]
    assert parse_strategy(str(strategy)) == strategy
    assert hash(parse_strategy(str(strategy))) == hash(strategy)


@pytest.mark.parametrize("spec", WRONG)
def test_wrong_specs_say_what_is_allowed(spec: str) -> None:
    with pytest.raises(ValueError, match=WRONG[spec]):
        parse_strategy(spec)


def test_values_and_strings_agree() -> None:
    assert Strategy(Beam(width=2), Weighted(agg="min")) == parse_strategy("beam(width=2)+weighted(agg=min)")
    assert Strategy(Revise(sequential=2, across="pooled"), Majority()) == parse_strategy(
        "revise(sequential=2)+majority"
    )


def test_width_at_a_budget() -> None:
    assert [Beam("sqrt").width_at(n) for n in (1, 2, 3, 4, 6, 7, 8, 12, 13, 256)] == [1, 1, 2, 2, 2, 3, 3, 3, 4, 16]
    assert [Beam(4).width_at(n) for n in (1, 3, 4, 64)] == [1, 3, 4, 4]


def test_shape_of_revisions() -> None:
    assert Revise(sequential=4).shape_at(16) == (4, 4)
    assert Revise(ratio=(1, 4)).shape_at(16) == (8, 2)
    assert Revise(ratio=(8, 2)).shape_at(64) == (4, 16)
    with pytest.raises(ValueError, match=r"budget 6: revise\(sequential=4\) needs a multiple of 4"):
        Revise(sequential=4).shape_at(6)
    with pytest.raises(ValueError, match=r"budget 8: revise\(ratio=1:1\) needs 1 times a square number \(1, 4, …\)"):
        Revise(ratio=(1, 1)).shape_at(8)
