"""The answers met so far in a recording: equal answers share a row, so they cannot be graded differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cache import Cache
from cache.grading import Grader

KEPT_LENGTH = 200  # longer texts are graded again: whole solutions would fill the memory


class AnswerBook:
    """Answer numbers per question. Rows that the cache does not hold yet are kept until `taken` hands them over."""

    def __init__(self, cache: Cache, grader: Grader) -> None:
        self.grader = grader
        self.gold: Mapping[str, str] = dict(
            cache.frame("SELECT question_id, coalesce(gold, '') AS gold FROM questions").iter_rows()
        )
        ordered = cache.frame("SELECT question_id, text FROM answers ORDER BY question_id, answer_id")
        self._texts: dict[str, list[str]] = {}
        for question_id, text in ordered.iter_rows():
            self._texts.setdefault(question_id, []).append(text)
        self._numbers: dict[str, dict[str, int | None]] = {}  # of texts met in this recording
        self._new: list[dict[str, Any]] = []

    def numbers(self, question_id: str, texts: Sequence[str | None]) -> list[int | None]:
        """The answer number of each text; None for one that cannot be parsed."""
        known = self._numbers.setdefault(question_id, {})
        fresh = list(dict.fromkeys(text for text in texts if text is not None and text not in known))
        graded = self._graded(question_id, fresh) if fresh else {}
        known.update({text: number for text, number in graded.items() if len(text) <= KEPT_LENGTH})
        return [None if text is None else graded[text] if text in graded else known[text] for text in texts]

    def _graded(self, question_id: str, fresh: Sequence[str]) -> dict[str, int | None]:
        """The number of each fresh text; answers that are new are entered."""
        known: dict[str, int | None] = {}
        stored = self._texts.setdefault(question_id, [])
        graded = self.grader.group(self.gold[question_id], [*stored, *fresh])
        before = len(stored)
        number_of_group: dict[int, int] = {}
        for number, answer in enumerate(graded[:before]):
            number_of_group.setdefault(answer.group, number)
        for text, answer in zip(fresh, graded[before:], strict=True):
            if answer.text is None:
                known[text] = None
                continue
            if answer.group not in number_of_group:  # an answer whose text is stored can be new to a grader that failed
                is_stored = answer.text in stored
                number_of_group[answer.group] = stored.index(answer.text) if is_stored else len(stored)
                if not is_stored:
                    stored.append(answer.text)
                    self._new.append(
                        {
                            "question_id": question_id,
                            "answer_id": number_of_group[answer.group],
                            "text": answer.text,
                            "correct": answer.correct,
                            "grader": self.grader.name,
                        }
                    )
            known[text] = number_of_group[answer.group]
        return known

    def taken(self) -> list[dict[str, Any]]:
        """The rows of answers that are new since the last call."""
        rows, self._new = self._new, []
        return rows
