"""Nodes in, trees out: columns are taken batch by batch and laid into rows in level order.

No column is ever held twice, and what is held goes as soon as it has served: at most 32 bytes a node stand at any
time, which is what the finished trees with one verifier's scores take (36 where node numbers reach 2^31).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tts_sim.arrays import NO_ANSWER, Bools, Float32s, Int8s, Int32s, Int64s, Trees
from tts_sim.draws import question_key
from tts_sim.errors import CacheInvalid
from tts_sim.kernels import laying as kernels

_PROBLEMS = {
    kernels.TWICE: "this number is given twice; node numbers are unique.",
    kernels.NO_PARENT: "its parent is not in the run; add it, or remove the node.",
    kernels.WRONG_QUESTION: "its parent belongs to another question; move one of them.",
    kernels.NEGATIVE_DRAW: "draw is negative; number the draws from 0.",
    kernels.CYCLE: "it hangs in a cycle; a node's parents must lead to the prompt.",
    kernels.NEGATIVE_TOKENS: "tokens is negative; give the number of tokens, 0 or more.",
    kernels.ANSWER_WITHOUT_END: "an answer ends here, but stop is 'step'; set it to 'eos' or 'length'.",
    kernels.UNKNOWN_STOP: "unknown stop; expected step, eos or length.",
    kernels.UNKNOWN_ANSWER: "its answer is not among the question's answers; add it to `answers`.",
    kernels.CHILDREN_OF_THE_ENDED: "a solution ends here, and yet it has children; remove one or the other.",
}


class Links(NamedTuple):
    """How nodes hang together; `question` counts questions, `parent_id` is -1 under the prompt."""

    node_id: Int64s
    parent_id: Int64s
    question: Int32s
    draw: Int32s
    greedy: Int8s


class Ends(NamedTuple):
    """What stands at nodes: `answer_id` is -1 where null, `stop` 0 step, 1 eos, 2 length."""

    node_id: Int64s
    tokens: Int32s
    answer_id: Int32s
    stop: Int8s


class Slots:
    """Where a node stands before it has a row: its number less the smallest, or its rank where numbers lie far apart.

    `numbers` is called for all node numbers if they do.
    """

    def __init__(self, low: int, high: int, num_nodes: int, numbers: Callable[[], Int64s]) -> None:
        self.low, self.span, self.ranked = low, high - low + 1 if num_nodes else 0, None
        if self.span > 2 * num_nodes + 1024:
            self.ranked = np.unique(numbers())
            self.low, self.span = 0, len(self.ranked)

    def of(self, node_id: Int64s) -> Int64s:
        """Slots, not yet counted from `low`; negative for numbers that are not there, below -1 for those that are."""
        if self.ranked is None:
            return node_id
        at = np.minimum(np.searchsorted(self.ranked, node_id), max(self.span - 1, 0))
        slots: Int64s = np.where(self.ranked[at] == node_id, at, np.where(node_id < 0, -1, self.span))
        slots.flags.writeable = False
        return slots

    def number(self, slot: int) -> int:
        """The number of the node at a slot."""
        return int(self.ranked[slot]) if self.ranked is not None else self.low + slot

    def numbers(self, row_of: Int32s, total: int) -> Any:
        """Node numbers by row, -1 at prompts; int32 where they fit."""
        laid = np.full(total, -1, np.int32 if self.number(max(self.span - 1, 0)) < 2**31 else np.int64)
        kernels.lay_numbers(self.low, np.zeros(0, np.int64) if self.ranked is None else self.ranked, row_of, laid)
        return _frozen(laid)


class Layout:
    """The trees of a run, while they are built: links first, then ends, scores and `trees`."""

    def __init__(self, run_id: str, question_ids: Sequence[str], slots: Slots) -> None:
        self.run_id, self.question_ids, self.slots = run_id, question_ids, slots
        self.question_start = np.zeros(len(question_ids) + 1, np.int64)

    def take_links(self, batches: Iterable[Links]) -> None:
        """Give every node its row. Raises CacheInvalid for anything but trees."""
        num_questions, span = len(self.question_ids), self.slots.span
        above, packed = np.empty(span, np.int32), np.empty(span, np.int32)
        question, sizes = np.full(span, -1, np.int32), np.zeros(num_questions, np.int64)
        for batch in batches:
            ids, parents = self.slots.of(batch.node_id), self.slots.of(batch.parent_id)
            self._demand(
                kernels.take_links(self.slots.low, ids, parents, *batch[2:], above, question, packed, sizes), question
            )
        np.cumsum(sizes + 1, out=self.question_start[1:])
        first, children = np.zeros(num_questions + span + 2, np.int32), np.empty(int(sizes.sum()), np.int32)
        self._demand(kernels.gather_children(above, question, first, children), question)
        del above
        self.row_of = np.full(span, -1, np.int32)
        self.child_start, self.child_stop = (np.empty(int(self.question_start[-1]), np.int32) for _ in range(2))
        verdict, place = kernels.level_order(
            first, children, packed, self.question_start, self.row_of, self.child_start, self.child_stop,
            np.empty(int(sizes.max(initial=0)) + 1, np.int32),
        )  # fmt: skip
        if verdict == kernels.CYCLE:
            place = int(np.flatnonzero((question == place) & (self.row_of < 0))[0])
        if verdict == kernels.DOUBLE_DRAW:
            draw = max(int(packed[place]), -1 - int(packed[place]))
            self._refuse(place, int(question[place]), f"draw {draw} of its parent is there twice; number draws from 0.")
        self._demand((verdict, place), question)
        del first, children, question
        self.draw = np.zeros(int(self.question_start[-1]), np.int32)
        kernels.lay_draws(packed, self.row_of, self.draw)

    def take_ends(self, batches: Iterable[Ends]) -> None:
        """Lay tokens and answers. Raises CacheInvalid."""
        total = int(self.question_start[-1])
        self.tokens, self.answer = np.zeros(total, np.int32), np.full(total, NO_ANSWER, np.int32)
        for batch in batches:
            verdict, slot = kernels.take_ends(
                self.slots.low, self.slots.of(batch.node_id), *batch[1:], self.row_of, self.tokens, self.answer
            )
            if verdict != kernels.SOUND:
                self._refuse(slot, self._question(int(self.row_of[slot])), _PROBLEMS[verdict])

    def scores(self, verifier: str, batches: Iterable[tuple[Int64s, Float32s]], partial: bool = False) -> Float32s:
        """A verifier's scores by row, NaN where there is none. Raises CacheInvalid.

        `partial`: scores of nodes that are not here are passed over.
        """
        column = np.full(int(self.question_start[-1]), np.nan, np.float32)
        for node_id, score in batches:
            verdict, i = kernels.take_scores(
                self.slots.low, self.slots.of(node_id), score, self.row_of, partial, column
            )
            if verdict == kernels.SOUND:
                continue
            node = int(node_id[i])
            if verdict == kernels.STRAY_SCORE:
                raise CacheInvalid(
                    f"verifier {verifier!r} scores node {node}, which is not in run {self.run_id!r}. Remove it."
                )
            if verdict == kernels.NAN_SCORE:
                raise CacheInvalid(
                    f"node {node} of run {self.run_id!r}: its score by {verifier!r} is NaN; remove the row."
                )
            slot = int(self.slots.of(node_id[i : i + 1])[0]) - self.slots.low
            problem = f"its score by {verifier!r} is not finite; remove it."
            self._refuse(slot, self._question(int(self.row_of[slot])), problem)
        column.flags.writeable = False
        return column

    def trees(self, answer_start: Int64s, correct: Bools, known: Bools, *, solutions_end: bool) -> tuple[Trees, Any]:
        """The finished trees, and the node number of each row. `known` are the places of the answer table in use.

        `solutions_end`: nothing may hang below an answer. Raises CacheInvalid.
        """
        node_id = self.slots.numbers(self.row_of, int(self.question_start[-1]))
        del self.row_of
        parent = np.empty(len(node_id), np.int32)
        verdict, row = kernels.finish(
            self.question_start, self.child_start, answer_start, known, solutions_end, self.answer, parent
        )
        if verdict != kernels.SOUND:
            raise self._refusal(int(node_id[row]), self._question(row), _PROBLEMS[verdict])
        trees = Trees(
            question_start=self.question_start,
            question_key=np.array([question_key(name) for name in self.question_ids], np.uint64),
            parent=parent,
            child_start=self.child_start,
            child_stop=self.child_stop,
            tokens=self.tokens,
            answer=self.answer,
            draw=self.draw,
            answer_start=answer_start,
            answer_correct=correct,
        )
        for column in trees:
            _frozen(column)
        return trees, node_id

    def _question(self, row: int) -> int:
        return int(np.searchsorted(self.question_start, row, side="right")) - 1

    def _demand(self, found: tuple[int, int], question: Int32s) -> None:
        verdict, slot = found
        if verdict != kernels.SOUND:
            self._refuse(slot, int(question[slot]), _PROBLEMS[verdict])

    def _refuse(self, slot: int, question: int, problem: str) -> None:
        raise self._refusal(self.slots.number(slot), question, problem)

    def _refusal(self, node: int, question: int, problem: str) -> CacheInvalid:
        where = f"question {self.question_ids[question]!r}, node {node}"
        return CacheInvalid(f"{where} of run {self.run_id!r}: {problem} Run `tts-sim check`.")


def answer_table(
    num_questions: int, question: Int32s, answer_id: Int32s, correct: Bools
) -> tuple[Int64s, Bools, Bools]:
    """Where each question's answers start, which places are correct, and which are in use; answers in any order."""
    counts = np.zeros(num_questions, np.int64)
    np.maximum.at(counts, question, answer_id.astype(np.int64) + 1)
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    right, known = np.zeros(int(start[-1]), np.bool_), np.zeros(int(start[-1]), np.bool_)
    rows = start[question] + answer_id
    right[rows], known[rows] = correct, True
    return start, right, known


def _frozen(array: Any) -> Any:
    array.flags.writeable = False
    return array
