"""Scores of a verifier for nodes that a run holds already."""

from __future__ import annotations

import polars as pl

from cache import Cache
from generate.protocols import Solution, Verifier
from generate.recorder import Progress, RevisionContext

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
    progress: Progress | None = None,
) -> int:
    """Scores every node of the run that the verifier has not scored; returns how many. Resumes where it ended."""
    known = cache.frame("SELECT verifier_id FROM verifiers")["verifier_id"].to_list()
    if verifier.verifier_id not in known:
        cache.append(verifiers=pl.DataFrame({"verifier_id": [verifier.verifier_id], "kind": [verifier.kind]}))
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
        solutions, owners = [], []
        for bottom, question_id, node_ids, texts, stop in paths:
            prompt = prompt_template.replace("{prompt}", prompts[question_id])
            if revisions is None:
                solutions.append(Solution(prompt, tuple(texts), stop))
                owners.append(node_ids)
            else:
                solutions.append(Solution(revisions.prompt(prompt, texts[:-1]), (texts[-1],), stop))
                owners.append([bottom])
        wanted = [place for place, nodes in enumerate(owners) if not done.issuperset(nodes)]
        rows = []
        for place, values in zip(wanted, verifier.score([solutions[place] for place in wanted]), strict=True):
            for node_id, value in zip(owners[place], values, strict=True):
                if node_id not in done:
                    done.add(node_id)
                    rows.append((run_id, node_id, verifier.verifier_id, value))
        if rows:
            cache.append(scores=pl.DataFrame(rows, schema=["run_id", "node_id", "verifier_id", "score"], orient="row"))
        made += len(rows)
    if progress:
        progress(f"{run_id}: scores of {verifier.verifier_id}", len(bottoms), len(bottoms))
    return made
