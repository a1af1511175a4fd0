"""What each token writes, in bytes: alone, a token that holds a part of a character decodes to nothing of use."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")  # SentencePiece's, for what its vocabulary lacks


def token_bytes(tokenizer: Any) -> list[bytes]:
    """The UTF-8 bytes that each token adds to a text, in the order of their numbers.

    Byte-level tokens are read letter by letter, byte tokens by their number, all others decoded behind another token:
    many tokenizers drop the blank in front of the first.
    """
    size = len(tokenizer)
    names = tokenizer.convert_ids_to_tokens(list(range(size)))
    added = {int(number): str(token) for number, token in tokenizer.added_tokens_decoder.items()}
    if _is_byte_level(tokenizer):
        letters = _letters()
        return [
            added[number].encode() if number in added else _read(name or "", letters)
            for number, name in enumerate(names)
        ]
    found = [_BYTE.fullmatch(name or "") for name in names]
    anchor = next((n for n in range(size) if n not in added and tokenizer.decode([n]).isalnum()), None)
    front = [] if anchor is None else [anchor]
    before = tokenizer.decode(front, skip_special_tokens=False)
    texts = tokenizer.batch_decode(
        [[*front, number] for number in range(size)], skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return [
        bytes([int(match[1], 16)]) if match and number not in added else text[len(before) :].encode()
        for number, (match, text) in enumerate(zip(found, texts, strict=True))
    ]


def _is_byte_level(tokenizer: Any) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and "ByteLevel" in repr(backend.decoder)


def _read(name: str, letters: dict[str, int]) -> bytes:
    if all(letter in letters for letter in name):
        return bytes(letters[letter] for letter in name)
    return name.encode()


@lru_cache
def _letters() -> dict[str, int]:
    """The byte that each letter of a byte-level token stands for."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {letter: byte for byte, letter in bytes_to_unicode().items()}  # type: ignore[no-untyped-call]
