"""Where the tokens of a completion stand in its text, found from what each token decodes to alone."""

from __future__ import annotations

import re
from collections.abc import Sequence

BROKEN = "\N{REPLACEMENT CHARACTER}"  # what bytes of a part of a character decode to
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")  # byte fallback of SentencePiece
_SPECIAL = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")  # </s>, <|im_end|>, [INST]: left out of the text by most servers


def token_ends(tokens: Sequence[str], text: str) -> list[int] | None:
    """For each token the place in `text` where it ends, rising to len(text); None if they do not make up the text.

    A character that is split over tokens belongs to the one that completes it. Tokens may come as servers give them:
    parts of characters as U+FFFD, as nothing, as `bytes:\\xe2\\x80` or as `<0xE2>`; without the space that
    SentencePiece keeps in front; special tokens that the text leaves out, as the end of sequence.
    """
    reached = [{0}]
    for number, token in enumerate(tokens):
        last = number + 1 == len(tokens)
        reached.append({end for place in reached[-1] for end in _ends(token, text, place, last)})
        if not reached[-1]:
            return None
    if len(text) not in reached[-1]:
        return None
    ends = [len(text)]
    for number in range(len(tokens) - 1, 0, -1):
        token, last = tokens[number], number + 1 == len(tokens)
        ends.append(min(place for place in reached[number] if ends[-1] in _ends(token, text, place, last)))
    return ends[::-1] if tokens else []


def _ends(token: str, text: str, place: int, last: bool) -> set[int]:
    """Where the token may end if it begins at `place`."""
    ends = {place} if last or not token or _SPECIAL.fullmatch(token) else set()
    if byte := _BYTE.fullmatch(token):
        value = int(byte[1], 16)
        return ends | (_read(BROKEN, text, place) if value > 127 else _read(chr(value), text, place))
    if token.startswith("bytes:\\x"):
        return ends | _read(BROKEN * token.count("\\x"), text, place)
    for form in {token, token.replace("▁", " ")}:
        ends |= _read(form, text, place)
        ends |= _read(" " + form, text, place)
        if place == 0 and form.startswith(" "):
            ends |= _read(form[1:], text, place)
    return ends


def _read(token: str, text: str, place: int) -> set[int]:
    """Ends of a token of letters, and of runs of U+FFFD, each of which stands for at most that many characters."""
    places = {place}
    for part in re.findall(f"{BROKEN}+|[^{BROKEN}]+", token):
        if part[0] != BROKEN:
            places = {start + len(part) for start in places if text.startswith(part, start)}
            continue
        reached = set(places)
        for start in places:
            for end in range(start + 1, min(start + len(part), len(text)) + 1):
                if text[end - 1] < "\x80":
                    break
                reached.add(end)
        places = reached
    return places
