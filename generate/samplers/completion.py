"""One answer of a completions server: what of it matters, and the steps that it holds."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from generate.protocols import Step
from generate.samplers.alignment import token_ends
from generate.samplers.completions_client import Malformed


class Uncounted(Exception):
    """An answer without a count of tokens: the server cannot be used."""


class Completion(NamedTuple):
    """What a server answered."""

    text: str
    finish: str
    tokens: int
    pieces: list[str] | None  # the tokens' texts
    logprobs: list[float | None] | None
    match: Any  # the stop string, or the number of the end token, where the server says what ended the text
    says_match: bool


def read_completion(answer: Any) -> Completion:
    """The parts of an answer that matter. Raises Malformed, or Uncounted if there is no count of tokens."""
    try:
        choice = answer["choices"][0]
        text, finish = choice["text"], choice["finish_reason"]
        listed = choice.get("logprobs") or {}
        pieces, logprobs = listed.get("tokens"), listed.get("token_logprobs")
        tokens = (answer.get("usage") or {}).get("completion_tokens")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise Malformed("was answered with JSON that holds no completion") from None
    if not isinstance(text, str) or finish not in ("stop", "length", "stop_sequence", "eos_token", "eos"):
        raise Malformed(f"was answered with an unfinished completion (finish_reason {finish!r})")
    pieces = pieces if isinstance(pieces, list) and all(isinstance(piece, str) for piece in pieces) else None
    logprobs = logprobs if isinstance(logprobs, list) and logprobs else None
    if pieces is not None and not pieces and text:
        pieces = None
    if tokens is None and pieces is not None:
        tokens = len(pieces)
    if not isinstance(tokens, int):
        raise Uncounted("does not count tokens (usage.completion_tokens is missing)")
    if text and tokens < 1:
        raise Malformed("was answered with a completion of no tokens")
    match = choice.get("stop_reason", choice.get("matched_stop"))
    return Completion(
        text, finish, tokens, pieces, logprobs, match, "stop_reason" in choice or "matched_stop" in choice
    )


def joined(parts: Sequence[Completion]) -> Completion:
    """Completions that continue each other, as one."""
    last = parts[-1]
    pieces = [part.pieces for part in parts if part.pieces is not None]
    logprobs = [part.logprobs for part in parts if part.logprobs is not None]
    return last._replace(
        text="".join(part.text for part in parts),
        tokens=sum(part.tokens for part in parts),
        pieces=list(chain.from_iterable(pieces)) if len(pieces) == len(parts) else None,
        logprobs=list(chain.from_iterable(logprobs)) if len(logprobs) == len(parts) else None,
    )


def begins_before(context: str, text: str, delimiter: str) -> bool:
    """Whether a delimiter that began in the context ends in the text."""
    cuts = range(1, len(delimiter))
    return any(context.endswith(delimiter[:cut]) and text.startswith(delimiter[cut:]) for cut in cuts)


def cut_solution(answer: Completion, delimiter: str) -> list[Step] | None:
    """A solution in steps, each up to the whole token that completes the delimiter; None if its tokens do not fit."""
    final = ending(answer)
    ends = token_ends(answer.pieces or [], answer.text)
    if ends is None:
        return None
    steps: list[Step] = []
    start = first = 0
    for token, end in enumerate(ends):
        if delimiter in answer.text[start:end] and token + 1 < len(ends):
            steps.append(step_of(answer, answer.text[start:end], first, token + 1, "step"))
            start, first = end, token + 1
    unlisted = max(0, answer.tokens - len(ends))  # an end of sequence that is counted and not listed
    last = step_of(answer, answer.text[start:], first, len(ends), final)
    if unlisted:
        last = Step(last.text, last.tokens + unlisted, None, None, final)
    return [*steps, last]


def step_of(answer: Completion, text: str, first: int, stop: int, reason: str) -> Step:
    """The step of the tokens first : stop."""
    logprobs = (answer.logprobs or [])[first:stop]
    known = [value for value in logprobs if isinstance(value, int | float) and math.isfinite(value)]
    if not known or len(known) < stop - first:
        return Step(text, stop - first, None, None, reason)
    return Step(text, stop - first, math.fsum(known), min(known), reason)


def listed_end(pieces: list[str] | None, text: str, delimiter: str) -> str | None:
    """What the listed tokens hold beyond the text: the delimiter (step) or a token of no text (eos); None: unclear."""
    if not pieces:
        return None
    if delimiter in "".join(pieces):
        return "step"
    step = token_ends(pieces, text + delimiter, ended=False) is not None
    end = pieces[-1].strip("\N{REPLACEMENT CHARACTER}")
    eos = bool(end) and token_ends(pieces[:-1], text, ended=False) is not None
    return None if step == eos else "step" if step else "eos"


def ending(answer: Completion) -> str:
    """What ended a solution that was not to stop at a delimiter."""
    return "length" if answer.finish == "length" else "eos"


def share_out(answer: Completion, delimiter: str) -> list[Step]:
    """Steps cut at each delimiter; their tokens are in proportion to their letters, and sum to the server's count."""
    final = ending(answer)
    texts = re.findall(f"(?s).*?{re.escape(delimiter)}|.+", answer.text) or [""]
    steps: list[Step] = []
    letters = tokens = 0
    for number, text in enumerate(texts, start=1):
        letters += len(text)
        upto = answer.tokens if number == len(texts) else round(answer.tokens * letters / len(answer.text))
        steps.append(Step(text, upto - tokens, None, None, final if number == len(texts) else "step"))
        tokens = upto
    return steps
