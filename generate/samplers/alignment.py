"""Where the tokens of a completion stand in its text, found from what each token decodes to alone."""

from __future__ import annotations

import re
from collections.abc import Sequence

BROKEN = "\N{REPLACEMENT CHARACTER}"  # what bytes of a part of a character decode to
_BYTES = re.compile(r"(?:bytes:)?(?:\\x[0-9A-Fa-f]{2})+|<0x[0-9A-Fa-f]{2}>")
_SPECIAL = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")  # </s>, <|im_end|>, [INST]: left out of the text by most servers


def token_ends(tokens: Sequence[str], text: str, ended: bool = True) -> list[int] | None:
    """For each token the place in `text` where it ends, rising to len(text); None if they do not make up the text.

    A character that is split over tokens belongs to the one that completes it. Tokens may come as servers give them:
    parts of characters as U+FFFD, as nothing, as `bytes:\\xe2\\x80` or as `<0xE2>`; without the space that
    SentencePiece keeps in front; special tokens that the text leaves out, and (`ended`) whatever ended the sequence.
    """
    exact = _token_ends(tokens, text, ended, spaces=True)
    return _token_ends(tokens, text, ended, spaces=False) if exact is None else exact


def _token_ends(tokens: Sequence[str], text: str, ended: bool, spaces: bool) -> list[int] | None:
    """`token_ends` of tokens that come with the spaces in front of them (`spaces`), or may come without."""
    data = text.encode()
    reached = [{0}]
    for number, token in enumerate(tokens):
        last = ended and number + 1 == len(tokens)
        reached.append({end for place in reached[-1] for end in _ends(token, data, place, last, spaces)})
        if not reached[-1]:
            return None
    if len(data) not in reached[-1]:
        return None
    places = [len(data)]
    for number in range(len(tokens) - 1, 0, -1):
        token, last = tokens[number], ended and number + 1 == len(tokens)
        places.append(min(place for place in reached[number] if places[-1] in _ends(token, data, place, last, spaces)))
    ends: list[int] = []
    start = letters = 0
    for place in reversed(places[: len(tokens)]):
        whole = data[start:place].decode(errors="ignore")  # without a character that goes on in the next token
        letters, start = letters + len(whole), start + len(whole.encode())
        ends.append(letters)
    return ends


def _ends(token: str, data: bytes, place: int, last: bool, spaces: bool) -> set[int]:
    """Where the token may end if it begins at `place`, in bytes."""
    ends = {place} if last or not token or _SPECIAL.fullmatch(token) else set()
    if _BYTES.fullmatch(token):
        raw = bytes.fromhex("".join(re.findall(r"x([0-9A-Fa-f]{2})", token)))
        ends |= {place + len(raw)} if data.startswith(raw, place) else set()
    forms = {token}
    if not spaces:
        forms |= {token.replace("▁", " "), " " + token}
        forms |= {form[1:] for form in forms if place == 0 and form.startswith(" ")}
    for form in forms:
        if BROKEN not in form:
            raw = form.encode()
            ends |= {place + len(raw)} if data.startswith(raw, place) else set()
            continue
        for width in range(len(form), 4 * len(form) + 1):
            if data[place : place + width].decode(errors="replace") == form:
                ends.add(min(place + width, len(data)))
        rest = form.lstrip(BROKEN).encode()  # bytes that make no character: several tokens may share one U+FFFD
        if BROKEN.encode() in data and BROKEN.encode() not in rest and data.startswith(rest, place):
            ends.add(place + len(rest))
    return ends
