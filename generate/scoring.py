"""Scores of a verifier for nodes that a run holds already."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import polars as pl

from cache import Cache
from generate.prompts import RevisionContext
from generate.protocols import Solution, Verifier
from generate.recorder import Progress
from generate.verifiers.checked import checked_scores

BATCH = 4096

_LEAVES = """
SELECT node_id AS bottom FROM nodes
WHERE run_id = $run AND node_id NOT IN (SELECT parent_id FROM nodes WHERE run_id = $run AND parent_id IS NOT NULL)
ORDER BY bottom
"""
_ALL = "SELECT node_id AS bottom FROM nodes WHERE run_id = $run ORDER BY bottom"
_PATHS = """
WITH RECURSIVE up AS (
    SELECT node_id AS bottom, node_id, parent_id, question_id, text, stop, 0 AS height FROM nodes
    WHERE run_id = $run AND node_id IN (SELECT node_id FROM wanted)
    UNION ALL
    SELECT bottom, above.node_id, above.parent_id, above.question_id, above.text, up.stop, height + 1
    FROM up JOIN nodes AS above ON above.run_id = $run AND above.node_id = up.parent_id
)
SELECT
    bottom, any_value(question_id),
    list(node_id ORDER BY height DESC), list(text ORDER BY height DESC), any_value(stop)
FROM up GROUP BY bottom ORDER BY bottom
"""


def score_run(
    cache: Cache,
    run_id: str,
    verifier: Verifier,
    *,
    prompt_template: str = "{prompt}",
    revisions: RevisionContext | None = None,
    details: str | None = None,
    progress: Progress | None = None,
) -> int:
    """Scores every node of the run that the verifier has not scored; returns how many. Resumes where it ended.

    A verifier of ends scores the nodes that end a solution. `details` is JSON for a verifier that is new to the cache.
    Raises ValueError that names run, question and node for a solution that the verifier cannot read; what was scored
    in earlier batches stays.
    """
    known = cache.frame("SELECT verifier_id FROM verifiers")["verifier_id"].to_list()
    if verifier.verifier_id not in known:
        row = {"verifier_id": verifier.verifier_id, "kind": verifier.kind, "details": details}
        cache.append(verifiers=pl.DataFrame([row], schema_overrides={"details": pl.String}))
    prompts = dict(cache.frame("SELECT question_id, coalesce(prompt, '') FROM questions").iter_rows())
    done = set(
        cache.frame(
            "SELECT node_id FROM scores WHERE run_id = $run AND verifier_id = $verifier",
            {"run": run_id, "verifier": verifier.verifier_id},
        )["node_id"]
    )
    bottoms = cache.frame(_LEAVES if revisions is None else _ALL, {"run": run_id})["bottom"].to_list()
    made = 0
    for start in range(0, len(bottoms), BATCH):
        if progress:
            progress(f"{run_id}: scores of {verifier.verifier_id}", start, len(bottoms))
        batch = bottoms[start : start + BATCH]
        cursor = cache.connection.cursor()
        cursor.register("wanted", pl.DataFrame({"node_id": batch}).to_arrow())
        paths = cursor.execute(_PATHS, {"run": run_id}).fetchall()
        solutions, owners, questions = [], [], []
        for bottom, question_id, node_ids, texts, stop in paths:
            if verifier.ends_only and (stop == "step" or bottom in done):
                continue
            nodes = node_ids if revisions is None else [bottom]
            if not verifier.ends_only and done.issuperset(nodes):
                continue
            question = prompts[question_id]
            prompt = prompt_template.replace("{prompt}", question)
            if revisions is None:
                solutions.append(Solution(prompt, tuple(texts), stop, question=question))
            else:
                seen = revisions.prompt(prompt, texts[:-1])
                solutions.append(Solution(seen, (texts[-1],), stop, question=question))
            owners.append(nodes)
            questions.append(question_id)
        name = partial(_name, run_id, questions, owners)
        rows = []
        for nodes, values in zip(owners, checked_scores(verifier, solutions, name), strict=True):
            for node_id, value in zip(nodes, values, strict=True):
                if value is not None and node_id not in done:
                    done.add(node_id)
                    rows.append((run_id, node_id, verifier.verifier_id, value))
        if rows:
            cache.append(scores=pl.DataFrame(rows, schema=["run_id", "node_id", "verifier_id", "score"], orient="row"))
        made += len(rows)
    if progress:
        progress(f"{run_id}: scores of {verifier.verifier_id}", len(bottoms), len(bottoms))
    return made


def _name(run_id: str, questions: Sequence[str], owners: Sequence[Sequence[int]], place: int, step: int) -> str:
    return f"run '{run_id}', question '{questions[place]}', node {owners[place][step]}"
