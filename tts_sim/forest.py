"""The forest: the trees of one run as arrays, with the scores that verifiers gave to their nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tts_sim.arrays import IMPORTED, NO_ANSWER, UNPARSABLE, Bools, Float32s, Int8s, Int32s, Int64s, Solutions, Trees
from tts_sim.draws import question_key
from tts_sim.errors import CacheInvalid
from tts_sim.kernels import levels
from tts_sim.selections import AGGREGATES


@dataclass(frozen=True, eq=False)
class Forest:
    """The trees of one run. Arrays are read-only; `scores` holds one column per verifier, NaN where not scored.

    `node_id` gives the cache's number of each row, -1 at prompts. A pool that is None is what is cached.
    """

    run_id: str
    kind: str
    trees: Trees
    question_ids: tuple[str, ...]
    levels: tuple[int | str | None, ...]
    scores: Mapping[str, Float32s]
    node_id: Int64s
    root_pool: int | None = None
    step_pool: int | None = None
    recorded: Mapping[str, Any] = field(default_factory=dict)
    exchangeable: bool = True
    verifier_kinds: Mapping[str, str] = field(default_factory=dict)
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def num_questions(self) -> int:
        return len(self.question_ids)

    @property
    def num_nodes(self) -> int:
        """Nodes without the prompts."""
        return len(self.node_id) - self.num_questions

    def root_pools(self) -> Int64s:
        """Draws that a replay may ask for under each prompt."""
        if self.root_pool is not None:
            return np.full(self.num_questions, self.root_pool, np.int64)
        prompts = self.trees.question_start[:-1]
        return (self.trees.child_stop[prompts] - self.trees.child_start[prompts]).astype(np.int64)

    def path_score(self, verifier: str, agg: str) -> Float32s:
        """Score of the path that ends at each row: its last step's score, or min, prod, mean over its steps.

        Raises ValueError for a verifier that has scored nothing of this run.
        """
        if verifier not in self.scores:
            known = ", ".join(self.scores) or "none"
            raise ValueError(f"verifier {verifier!r}: not among those that scored run {self.run_id!r}; known: {known}.")
        if agg == "last":
            return self.scores[verifier]
        if ("path", verifier, agg) not in self._kept:
            column = np.empty(len(self.node_id), np.float32)
            levels.path_scores(self.trees, self.scores[verifier], AGGREGATES.index(agg), column)
            self._kept["path", verifier, agg] = _frozen(column)
        kept: Float32s = self._kept["path", verifier, agg]
        return kept

    def solutions(self) -> Solutions:
        """What each draw of the root pools leads to when draw 0 is taken at every later step."""
        if "solutions" not in self._kept:
            start = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.root_pools())])
            total = int(start[-1])
            found = Solutions(
                start, np.empty(total, np.int8), np.empty(total, np.int32), np.empty(total, np.int32),
                np.empty(total, np.int64),
            )  # fmt: skip
            root_pool, step_pool = (IMPORTED if pool is None else pool for pool in (self.root_pool, self.step_pool))
            levels.follow(self.trees, root_pool, step_pool, found)
            self._kept["solutions"] = found
        kept: Solutions = self._kept["solutions"]
        return kept

    def default_verifier(self) -> str:
        """The only verifier of the run, or the only one of the kind that suits it (prm for steps, orm for revisions).

        Raises ValueError if there is none or if the choice is open.
        """
        known = list(self.scores)
        suited = "orm" if self.kind == "revisions" else "prm"
        preferred = [verifier for verifier in known if self.verifier_kinds.get(verifier) == suited]
        for candidates in (known, preferred):
            if len(candidates) == 1:
                return candidates[0]
        if not known:
            raise ValueError(f"verifier: no verifier has scored run {self.run_id!r}. Run `tts-sim generate score`.")
        raise ValueError(f"verifier: several have scored run {self.run_id!r}; name one of {', '.join(known)}.")


@dataclass(frozen=True)
class NodeColumns:
    """Nodes in any order, one array per column; `question` counts questions, `parent_id` is -1 under the prompt."""

    question: Int32s
    node_id: Int64s
    parent_id: Int64s
    draw: Int32s
    greedy: Bools
    tokens: Int32s
    answer_id: Int32s  # -1 where null
    stop: Int8s  # 0 step, 1 eos, 2 length


@dataclass(frozen=True)
class AnswerColumns:
    """Distinct answers in any order."""

    question: Int32s
    answer_id: Int32s
    correct: Bools


def build_forest(
    *,
    run_id: str,
    kind: str,
    question_ids: Sequence[str],
    levels_of: Sequence[int | str | None],
    nodes: NodeColumns,
    answers: AnswerColumns,
    scores: Mapping[str, tuple[Int64s, Float32s]],
    root_pool: int | None = None,
    step_pool: int | None = None,
    recorded: Mapping[str, Any] | None = None,
    exchangeable: bool = True,
    verifier_kinds: Mapping[str, str] | None = None,
) -> Forest:
    """A forest out of columns; `scores` are (node ids, values) per verifier. O(N).

    Raises CacheInvalid, naming question, node and remedy, if a requirement of the data model does not hold.
    """
    num_questions, num_nodes = len(question_ids), len(nodes.node_id)
    nodes = NodeColumns(**{column: _frozen(getattr(nodes, column).view()) for column in NodeColumns.__annotations__})

    def refuse(node: int, problem: str) -> CacheInvalid:
        where = f"question {question_ids[int(nodes.question[node])]!r}, node {int(nodes.node_id[node])}"
        return CacheInvalid(f"{where} of run {run_id!r}: {problem} Run `tts-sim check`.")

    def demand_none(broken: Bools, problem: str) -> None:
        if broken.any():
            raise refuse(int(np.argmax(broken)), problem)

    place = _places(nodes.node_id)
    if place is None:
        values, counts = np.unique(nodes.node_id, return_counts=True)
        twice = int(values[np.argmax(counts > 1)])
        raise refuse(int(np.argmax(nodes.node_id == twice)), "this number is given twice; node numbers are unique.")
    above = _frozen(place(nodes.parent_id))
    demand_none((nodes.parent_id >= 0) & (above < 0), "its parent is not in the run; add it, or remove the node.")
    demand_none(nodes.tokens < 0, "tokens is negative; give the number of tokens, 0 or more.")
    demand_none(nodes.draw < 0, "draw is negative; number the draws from 0.")
    ended = nodes.stop != 0
    demand_none(
        (nodes.answer_id >= 0) & ~ended, "an answer ends here, but stop is 'step'; set it to 'eos' or 'length'."
    )
    if kind == "steps":
        parents = np.zeros(num_nodes, np.bool_)
        parents[above[above >= 0]] = True
        demand_none(parents & ended, "a solution ends here, and yet it has children; remove one or the other.")

    counts = np.zeros(num_questions, np.int64)
    np.maximum.at(counts, answers.question, answers.answer_id.astype(np.int64) + 1)
    answer_start = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    correct, known = np.zeros(int(answer_start[-1]), np.bool_), np.zeros(int(answer_start[-1]), np.bool_)
    rows = answer_start[answers.question] + answers.answer_id
    correct[rows], known[rows] = answers.correct, True
    answered = nodes.answer_id >= 0
    inside = answered & (nodes.answer_id < counts[nodes.question])
    answer = np.where(ended, np.int32(UNPARSABLE), np.int32(NO_ANSWER)).astype(np.int32)
    answer[inside] = (answer_start[nodes.question[inside]] + nodes.answer_id[inside]).astype(np.int32)
    unknown = answered & ~inside
    unknown[inside] |= ~known[answer[inside]]
    demand_none(unknown, "its answer is not among the question's answers; add it to `answers`.")

    total = num_nodes + num_questions
    question_start, source = np.empty(num_questions + 1, np.int64), np.empty(total, np.int32)
    parent, child_start, child_stop = (np.empty(total, np.int32) for _ in range(3))
    verdict, node = levels.level_order(
        nodes.question, above, nodes.draw, nodes.greedy, question_start, source, parent, child_start, child_stop
    )
    if verdict == levels.WRONG_QUESTION:
        raise refuse(node, "its parent belongs to another question; move one of them.")
    if verdict == levels.DOUBLE_DRAW:
        raise refuse(node, f"draw {int(nodes.draw[node])} of its parent is there twice; number draws from 0.")
    if verdict == levels.CYCLE:
        raise refuse(node, "it hangs in a cycle; a node's parents must lead to the prompt.")

    prompt = source < 0

    def in_rows(column: Any, at_prompts: int) -> Any:
        if num_nodes == 0:
            return _frozen(np.full(total, at_prompts, column.dtype))
        laid = column[source]
        laid[prompt] = at_prompts
        return _frozen(laid)

    row_of = np.empty(num_nodes, np.int32)
    row_of[source[~prompt]] = np.flatnonzero(~prompt)
    score_rows = {}
    for verifier, (ids, given) in scores.items():
        rated = place(ids)
        if (rated < 0).any():
            stray = int(ids[np.argmax(rated < 0)])
            raise CacheInvalid(f"verifier {verifier!r} scores node {stray}, which is not in run {run_id!r}. Remove it.")
        if np.isinf(given).any():
            raise refuse(int(rated[np.argmax(np.isinf(given))]), f"its score by {verifier!r} is not finite; remove it.")
        column = np.full(total, np.nan, np.float32)
        column[row_of[rated]] = given
        score_rows[verifier] = _frozen(column)

    trees = Trees(
        question_start=_frozen(question_start),
        question_key=_frozen(np.array([question_key(name) for name in question_ids], np.uint64)),
        parent=_frozen(parent),
        child_start=_frozen(child_start),
        child_stop=_frozen(child_stop),
        tokens=in_rows(nodes.tokens, 0),
        answer=in_rows(answer, NO_ANSWER),
        draw=in_rows(nodes.draw, 0),
        answer_start=_frozen(answer_start),
        answer_correct=_frozen(correct),
    )
    return Forest(
        run_id=run_id,
        kind=kind,
        trees=trees,
        question_ids=tuple(question_ids),
        levels=tuple(levels_of),
        scores=score_rows,
        node_id=in_rows(nodes.node_id, -1),
        root_pool=root_pool,
        step_pool=step_pool,
        recorded=recorded or {},
        exchangeable=exchangeable,
        verifier_kinds=verifier_kinds or {},
    )


class _Places:
    """Where node numbers stand in a column; -1 for a number that is not there."""

    def __init__(self, node_id: Int64s) -> None:
        self.low = int(node_id.min()) if len(node_id) else 0
        span = int(node_id.max()) - self.low + 1 if len(node_id) else 0
        self.table: Int32s | None = None
        if span <= 4 * len(node_id) + 1024:
            self.table = np.full(span, -1, np.int32)
            self.table[node_id - self.low] = np.arange(len(node_id), dtype=np.int32)
            self.distinct = int(np.count_nonzero(self.table >= 0)) == len(node_id)
        else:
            self.order = np.argsort(node_id).astype(np.int32)
            self.sorted = node_id[self.order]
            self.distinct = not bool((self.sorted[1:] == self.sorted[:-1]).any())

    def __call__(self, ids: Int64s) -> Int32s:
        if self.table is not None:
            inside = (ids >= self.low) & (ids < self.low + len(self.table))
            if inside.all():
                return self.table[ids - self.low]
            found = np.full(len(ids), -1, np.int32)
            found[inside] = self.table[ids[inside] - self.low]
            return found
        at = np.minimum(np.searchsorted(self.sorted, ids), len(self.sorted) - 1)
        return np.where(self.sorted[at] == ids, self.order[at], np.int32(-1)).astype(np.int32)


def _places(node_id: Int64s) -> _Places | None:
    places = _Places(node_id)
    return places if places.distinct else None


def _frozen(array: Any) -> Any:
    array.flags.writeable = False
    return array
