"""The forest: the trees of one run as arrays, with the scores that verifiers gave to their nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tts_sim.arrays import IMPORTED, Bools, Float32s, Int8s, Int32s, Int64s, Solutions, Trees
from tts_sim.kernels import levels
from tts_sim.laying import Ends, Layout, Links, Slots, answer_table
from tts_sim.selections import AGGREGATES

BATCH = 1 << 17  # rows


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
    node_id: Int32s | Int64s
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

    def most_children(self) -> int:
        """Sampled children of the node that has the most, prompts included."""
        if "most_children" not in self._kept:
            start, stop, rows = self.trees.child_start, self.trees.child_stop, range(0, len(self.node_id), BATCH)
            batches = ((stop[row : row + BATCH] - start[row : row + BATCH]).max() for row in rows)  # not 4 bytes a node
            self._kept["most_children"] = max(map(int, batches), default=0)
        kept: int = self._kept["most_children"]
        return kept

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
    ids = nodes.node_id
    low, high = (int(ids.min()), int(ids.max())) if len(ids) else (0, 0)
    layout = Layout(run_id, question_ids, Slots(low, high, len(ids), lambda: ids))
    views = {column: _frozen(getattr(nodes, column).view()) for column in NodeColumns.__annotations__}
    greedy = _frozen(nodes.greedy.view(np.int8))
    layout.take_links([Links(views["node_id"], views["parent_id"], views["question"], views["draw"], greedy)])
    layout.take_ends([Ends(views["node_id"], views["tokens"], views["answer_id"], views["stop"])])
    columns = {
        verifier: layout.scores(verifier, [(_frozen(rated.view()), _frozen(given.view()))])
        for verifier, (rated, given) in scores.items()
    }
    table = answer_table(len(question_ids), answers.question, answers.answer_id, answers.correct)
    trees, node_id = layout.trees(*table, solutions_end=kind == "steps")
    return Forest(
        run_id=run_id,
        kind=kind,
        trees=trees,
        question_ids=tuple(question_ids),
        levels=tuple(levels_of),
        scores=columns,
        node_id=node_id,
        root_pool=root_pool,
        step_pool=step_pool,
        recorded=recorded or {},
        exchangeable=exchangeable,
        verifier_kinds=verifier_kinds or {},
    )


def _frozen(array: Any) -> Any:
    array.flags.writeable = False
    return array
