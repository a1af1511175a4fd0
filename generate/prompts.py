"""What a model reads before it writes: template, chat, and earlier attempts of a revision chain."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

Turn = dict[str, str]
CHAT_DATE = "26 Jul 2024"  # templates that show today's date (Llama 3) would make another prompt each day


class RevisionContext(NamedTuple):
    """How earlier attempts enter the next prompt: the latest `most`, each closed by `separator`, then the question.

    In a chat the question comes first, and after each attempt the user says `request`.
    """

    separator: str
    most: int
    request: str = ""

    def prompt(self, question: str, attempts: Sequence[str]) -> str:
        """The prompt of the next attempt, outside a chat."""
        return "".join(attempt + self.separator for attempt in attempts[-self.most :]) + question

    def turns(self, question: str, attempts: Sequence[str]) -> list[Turn]:
        """The turns of a chat before the next attempt."""
        turns = [_turn("user", question)]
        for attempt in attempts[-self.most :]:
            turns += [_turn("assistant", attempt), _turn("user", self.request)]
        return turns


@dataclass(frozen=True)
class Prompts:
    """The prompts of a run. `template` holds {prompt} once; `chat` makes one text of the turns of a chat."""

    template: str = "{prompt}"
    system: str | None = None
    chat: Callable[[list[Turn]], str] | None = None
    revisions: RevisionContext | None = None

    def plain(self, question: str, attempts: Sequence[str] = ()) -> str:
        """The prompt without a chat around it: what a verifier is shown."""
        text = self.template.replace("{prompt}", question)
        return text if self.revisions is None else self.revisions.prompt(text, attempts)

    def full(self, question: str, attempts: Sequence[str] = ()) -> str:
        """The prompt as the model reads it."""
        if self.chat is None:
            return self.plain(question, attempts)
        text = self.template.replace("{prompt}", question)
        turns = [_turn("user", text)] if self.revisions is None else self.revisions.turns(text, attempts)
        return self.chat([_turn("system", self.system), *turns] if self.system is not None else turns)

    def digest(self) -> str:
        """A hash of all that makes a prompt but the question, the chat template included."""
        attempts = () if self.revisions is None else ("{first}", "{second}")
        return digest(self.full("{question}", attempts))


def chat_renderer(tokenizer: Any, name: str) -> Callable[[list[Turn]], str]:
    """The tokenizer's own chat template, up to where the assistant begins.

    A beginning-of-sequence token that the tokenizer will put in front of any text is left out: there is one then, not
    two. Templates that show the date are given CHAT_DATE. Raises ValueError, with the `name` of the model, if there is
    no template.
    """
    if not tokenizer.chat_template:
        raise ValueError(f"model '{name}': its tokenizer has no chat template. Leave chat out; use prompt_template.")
    start = tokenizer.bos_token
    doubled = start is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]

    def render(turns: list[Turn]) -> str:
        try:
            text: str = tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True, date_string=CHAT_DATE
            )
        except Exception as error:  # templates raise what they like, for instance where no system turn is allowed
            reason = " ".join(str(error).split())
            raise ValueError(f"model '{name}': its chat template refuses the turns ({reason}).") from error
        return text.removeprefix(start) if doubled else text

    return render


def digest(text: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _turn(role: str, content: str) -> Turn:
    return {"role": role, "content": content}
