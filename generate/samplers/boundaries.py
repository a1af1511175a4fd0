"""Step boundaries found on tokens: an automaton that reads tokens and says when the delimiter has been completed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

CONTINUING = bytes(range(0x80, 0xC0))  # what is not a letter's first byte
LONGEST_LACK = 3  # bytes that may follow a letter's first in UTF-8


def delimiter_automaton(pieces: Sequence[bytes], delimiter: bytes) -> npt.NDArray[np.int64]:
    """Next states, shape (S, len(pieces)): the state after a token that writes pieces[v] in state s.

    State s < len(delimiter) means that the text ends in the first s bytes of the delimiter. The state S, one beyond the
    table, means that the step closes with this token: the delimiter has been completed, wherever inside the token, and
    the text ends with a whole letter, so neither is cut. The states between wait for 1, 2 or 3 bytes which the letter
    behind the delimiter lacks. Bytes, not letters: tokens may hold parts of a letter.
    Source: Knuth, Morris, Pratt 1977, on tokens instead of letters.
    Raises ValueError for an empty delimiter.
    """
    if not delimiter:
        raise ValueError("step delimiter '': give at least one character, for instance '\\n\\n'.")
    met = len(delimiter)
    table = np.zeros((met + LONGEST_LACK, len(pieces)), np.int64)
    for state in range(met):
        for token, piece in enumerate(pieces):
            table[state, token] = _after(delimiter, delimiter[:state] + piece)
    for token, piece in enumerate(pieces):
        going_on = len(piece) - len(piece.lstrip(CONTINUING))
        for lack in range(1, LONGEST_LACK + 1):
            used = min(lack, going_on)
            rest = lack - used if used == len(piece) else _lack(piece[used:])
            table[met + lack - 1, token] = _met(met, rest)
    return table


def _met(met: int, lack: int) -> int:
    """The state once the delimiter is complete and the last letter lacks so many bytes."""
    return met + (lack - 1 if lack else LONGEST_LACK)


def _lack(text: bytes) -> int:
    """Bytes that the last letter still lacks; 0 for bytes that make no letter."""
    for back in range(1, min(LONGEST_LACK, len(text)) + 1):
        byte = text[-back]
        if byte not in CONTINUING:
            width = 0 if byte < 0xC2 or byte > 0xF4 else 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return max(0, width - back)
    return 0


def _after(delimiter: bytes, text: bytes) -> int:
    _, found, behind = text.partition(delimiter)
    if found:
        return _met(len(delimiter), _lack(behind))
    longest = min(len(text), len(delimiter) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(delimiter[:size])), 0)
