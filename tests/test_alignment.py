"""Tokens found in a text: exact wherever the bytes are, in each of the forms that servers give tokens in."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generate.samplers.alignment import token_ends

TEXTS = st.text(alphabet="ab \n<>é→。数🙂👍", max_size=30)


@st.composite
def split_texts(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """A text, and its bytes in pieces that need not end where a character does."""
    text = draw(TEXTS)
    data = text.encode()
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1))))) if len(data) > 1 else []
    return text, [data[start:stop] for start, stop in pairwise([0, *cuts, len(data)])]


def complete(pieces: list[bytes]) -> list[int]:
    """Characters that are whole after each piece."""
    return [len(data.decode(errors="ignore")) for data in accumulate(pieces)]


@given(split_texts())
def test_bytes_split_anywhere_give_back_every_boundary(case: tuple[str, list[bytes]]) -> None:
    text, pieces = case
    ends = token_ends([piece.decode(errors="replace") for piece in pieces], text)
    assert ends is not None and ends[-1] == len(text) and ends == sorted(ends)
    raw = token_ends(["bytes:" + "".join(f"\\x{byte:02x}" for byte in piece) for piece in pieces], text)
    assert raw == complete(pieces)
    if text.isascii():
        assert ends == complete(pieces)


@given(split_texts(), st.sampled_from(["</s>", "<|im_end|>", "", "[EOS]", "end"]))
def test_an_end_of_sequence_takes_no_text(case: tuple[str, list[bytes]], end: str) -> None:
    text, pieces = case
    tokens = [piece.decode(errors="replace") for piece in pieces]
    before, after = token_ends(tokens, text), token_ends([*tokens, end], text)
    assert before is not None and after is not None and after[-2:] == [len(text)] * 2


@pytest.mark.parametrize(
    ("tokens", "text", "ends"),
    [
        ([], "", []),
        (["\ufffd", "\ufffd\ufffd", "\ufffd", "\ufffd\ufffd"], "数。", [0, 1, 1, 2]),
        (["<0xE2>", "<0x86>", "<0x92>", "<0x0A>"], "→\n", [0, 0, 1, 2]),
        (["", "", "→", "\n"], "→\n", [0, 0, 1, 2]),
        (["The", "answer", "is", "4"], "The answer is 4", [3, 10, 13, 15]),  # SentencePiece, decoded one by one
        (["▁The", "▁answer"], "The answer", [3, 10]),
        (["a", "<|sep|>", "b"], "ab", [1, 1, 2]),
        (["a", "<b>", "c"], "a<b>c", [1, 4, 5]),
        (["\ufffd", "\ufffd", "a"], "\ufffda", [0, 1, 2]),  # two bytes that make no character, shown as one
        (["a", "b"], "ac", None),
        (["a"], "ab", None),
        (["a", "b", "</s>"], "a", None),
        ([], "a", None),
    ],
)
def test_the_forms_of_servers(tokens: list[str], text: str, ends: list[int] | None) -> None:
    assert token_ends(tokens, text) == ends
