"""Step boundaries found on tokens: an automaton that reads tokens and says when the delimiter has been completed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def delimiter_automaton(pieces: Sequence[bytes], delimiter: bytes) -> npt.NDArray[np.int64]:
    """Next states, shape (len(delimiter), len(pieces)): the state after a token that writes pieces[v] in state s.

    State s means that the text ends in the first s bytes of the delimiter; the state len(delimiter) means that the
    token completed it, wherever inside the token: the step then ends with this whole token, so no text is cut.
    Bytes, not letters: tokens may hold parts of a letter.
    Source: Knuth, Morris, Pratt 1977, on tokens instead of letters.
    Raises ValueError for an empty delimiter.
    """
    if not delimiter:
        raise ValueError("step delimiter '': give at least one character, for instance '\\n\\n'.")
    accepted = len(delimiter)
    table = np.zeros((accepted, len(pieces)), np.int64)
    for state in range(accepted):
        for token, piece in enumerate(pieces):
            table[state, token] = _after(delimiter, delimiter[:state] + piece)
    return table


def _after(delimiter: bytes, text: bytes) -> int:
    if delimiter in text:
        return len(delimiter)
    longest = min(len(text), len(delimiter) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(delimiter[:size])), 0)
