"""The answers met so far in a recording: equal answers share a row, so they cannot be graded differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cache import Cache
from cache.grading import Grader


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
        self._new: list[dict[str, Any]] = []

    def numbers(self, question_id: str, texts: Sequence[str | None]) -> list[int | None]:
        """The answer number of each text; None for one that cannot be parsed."""
        stored = self._texts.setdefault(question_id, [])
        graded = self.grader.group(self.gold[question_id], [*stored, *texts])
        number_of_group = {answer.group: number for number, answer in enumerate(graded[: len(stored)])}
        numbers: list[int | None] = []
        for answer in graded[len(stored) :]:
            if answer.text is None:
                numbers.append(None)
                continue
            if answer.group not in number_of_group:
                number_of_group[answer.group] = len(self._texts[question_id])
                self._texts[question_id].append(answer.text)
                self._new.append(
                    {
                        "question_id": question_id,
                        "answer_id": number_of_group[answer.group],
                        "text": answer.text,
                        "correct": answer.correct,
                        "grader": self.grader.name,
                    }
                )
            numbers.append(number_of_group[answer.group])
        return numbers

    def taken(self) -> list[dict[str, Any]]:
        """The rows of answers that are new since the last call."""
        rows, self._new = self._new, []
        return rows
