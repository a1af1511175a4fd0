"""What a cache holds to learn from: finished solutions with their steps, the steps' values, and who is right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cache import Cache
from generate.prompts import Prompts, RevisionContext
from generate.runs import run_prompts
from generate.settings import RunSettings, stored_settings
from tts_sim.draws import mix, question_key

_RUNS = """
SELECT run_id, kind, coalesce(prompt_template, '{prompt}') AS template, root_pool IS NOT NULL AS recorded, provenance
FROM runs ORDER BY run_id
"""
_SOLUTIONS = """
WITH RECURSIVE up AS (
    SELECT node_id AS bottom, node_id, parent_id, greedy, text, 0 AS height FROM nodes
    WHERE run_id = $run AND (stop <> 'step')
    UNION ALL
    SELECT bottom, above.node_id, above.parent_id, above.greedy, above.text, height + 1
    FROM up JOIN nodes AS above ON above.run_id = $run AND above.node_id = up.parent_id
)
SELECT any_value(node.question_id), list(up.node_id ORDER BY height DESC), list(up.text ORDER BY height DESC),
       any_value(node.stop), any_value(node.answer_id) IS NOT NULL, coalesce(any_value(answer.correct), false),
       count(up.text) = count(*)
FROM up
JOIN nodes AS node ON node.run_id = $run AND node.node_id = up.bottom
LEFT JOIN answers AS answer ON answer.question_id = node.question_id AND answer.answer_id = node.answer_id
GROUP BY bottom HAVING NOT bool_or(up.greedy) ORDER BY bottom
"""
_VALUES = "SELECT node_id, value, num_solutions FROM node_values WHERE run_id = $run AND value IS NOT NULL"


@dataclass(frozen=True)
class Sampled:
    """A finished sampled solution, its nodes from the prompt down; of a revision run: the attempts up to this one."""

    question_id: str
    node_ids: tuple[int, ...]
    texts: tuple[str, ...]
    stop: str
    answered: bool
    correct: bool


@dataclass(frozen=True)
class Material:
    """The solutions of one run, its questions without the template, and how it put them.

    `prompts` is without the chat, as a verifier sees it. `settings` is None for an imported run of steps.
    """

    run_id: str
    questions: dict[str, str]
    solutions: tuple[Sampled, ...]
    prompts: Prompts
    settings: RunSettings | None = None

    @property
    def revisions(self) -> RevisionContext | None:
        """How the run showed earlier attempts; None for a run of steps."""
        return self.prompts.revisions


def read_material(cache: Cache, run_id: str | None) -> Material:
    """All finished sampled solutions of the run (without a name: of the only one), greedy ones left out.

    Raises ValueError for an unknown run, one without texts, one of revisions that was imported (how it showed attempts
    is not known), and one whose solutions are all right or all wrong: there is nothing to tell apart.
    """
    runs = cache.frame(_RUNS)
    names = runs["run_id"].to_list()
    if run_id is None and len(names) != 1:
        raise ValueError(f"{cache.path} holds the runs {', '.join(names) or '(none)'}: choose one with --run.")
    name = names[0] if run_id is None else run_id
    if name not in names:
        raise ValueError(f"run '{name}' is not in {cache.path}; its runs: {', '.join(names) or 'none'}.")
    _, kind, template, recorded, provenance = runs.row(names.index(name))
    settings = None
    if kind == "revisions" or (recorded and "settings" in json.loads(provenance or "{}")):
        settings, _ = stored_settings(cache, name)
    prompts = Prompts(template)
    if settings is not None:
        prompts = run_prompts(replace(settings, chat=False, system_prompt=None), None)
    solutions = []
    for question_id, ids, texts, stop, answered, correct, complete in (
        cache.connection.cursor().execute(_SOLUTIONS, {"run": name}).fetchall()
    ):
        if not complete:
            raise ValueError(f"run '{name}', question '{question_id}': node {ids[-1]} has no text to learn from.")
        solutions.append(Sampled(question_id, tuple(ids), tuple(texts), stop, answered, correct))
    right = sum(solution.correct for solution in solutions)
    if right in (0, len(solutions)):
        what = "no finished solution" if not solutions else "no right solution" if not right else "no wrong solution"
        raise ValueError(
            f"run '{name}' holds {what} among {len(solutions)}: nothing to tell apart. "
            "Record more samples, or see whether its answers were extracted and graded (`tts-sim info`)."
        )
    questions = dict(cache.frame("SELECT question_id, coalesce(prompt, '') FROM questions").iter_rows())
    return Material(name, questions, tuple(solutions), prompts, settings)


def step_values(cache: Cache, run_id: str, *, min_solutions: int = 1) -> dict[int, float]:
    """The Monte Carlo value of each node (view `node_values`) that rests on at least so many solutions.

    A finished solution is its own value, whatever `min_solutions`.
    """
    finished = set(
        cache.frame("SELECT node_id FROM nodes WHERE run_id = $run AND stop <> 'step'", {"run": run_id})["node_id"]
    )
    return {
        node_id: value
        for node_id, value, num_solutions in cache.frame(_VALUES, {"run": run_id}).iter_rows()
        if node_id in finished or num_solutions >= min_solutions
    }


def split_questions(question_ids: Sequence[str], *, held_out: float, seed: int) -> tuple[list[str], list[str]]:
    """(to train on, held out): a share of the questions, one at least, by a hash of the seed and their ids.

    The same seed splits the same questions alike for every stage. Raises ValueError for fewer than 3 questions and for
    a share outside (0, 1).
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held-out share {held_out}: expected a number above 0 and below 1.")
    questions = sorted(set(question_ids), key=lambda name: (mix(seed, question_key(name)), name))
    if len(questions) < 3:
        raise ValueError(
            f"{len(questions)} questions to learn from: training needs 3 at least, to hold one out and tell it from "
            "the rest. Record more questions."
        )
    apart = min(max(1, round(held_out * len(questions))), len(questions) - 2)
    return sorted(questions[apart:]), sorted(questions[:apart])
