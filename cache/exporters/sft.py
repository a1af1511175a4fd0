"""Exports solutions as supervised fine-tuning data, in the forms that TRL's SFTTrainer reads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from cache.errors import CacheInvalid
from cache.store import Cache

Form = Literal["chat", "plain", "messages"]
FORMS: tuple[Form, ...] = ("chat", "plain", "messages")

_TEXTS = """
WITH RECURSIVE up AS (
    SELECT node_id AS bottom, parent_id, question_id, text, 0 AS height FROM nodes
    WHERE run_id = $run AND node_id IN (SELECT node_id FROM chosen_solutions)
    UNION ALL
    SELECT bottom, above.parent_id, above.question_id, above.text, height + 1
    FROM up JOIN nodes AS above ON above.run_id = $run AND above.node_id = up.parent_id
)
SELECT bottom, any_value(question_id), count(*) = count(text), string_agg(text, '' ORDER BY height DESC)
FROM up GROUP BY bottom
"""


def export_sft(cache: Cache, run_id: str, solutions: Sequence[int], file: str | Path, *, form: Form = "chat") -> int:
    """Writes a line per solution of a run of kind steps, in the order given; the number of lines.

        chat      {"prompt": [user message], "completion": [assistant message]}
        plain     {"prompt": text, "completion": text}: the prompt as the run's template made it
        messages  {"messages": [user message, assistant message]}

    `solutions` are the nodes that end them. With prompt and completion apart, SFTTrainer learns the completion only;
    it adds the end-of-sequence token itself. The file replaces its predecessor whole.
    Raises ValueError for an unknown form, CacheInvalid where a prompt or a step has no text.
    """
    if form not in FORMS:
        raise ValueError(f"form '{form}': expected one of {', '.join(FORMS)}.")
    path = Path(file)
    part = path.with_name(f".{path.name}.part")
    lines = list(_lines(cache, run_id, solutions, form))
    with part.open("w", encoding="utf-8") as out:
        out.writelines(lines)
    os.replace(part, path)
    return len(lines)


def _lines(cache: Cache, run_id: str, solutions: Sequence[int], form: Form) -> Iterator[str]:
    template = cache.frame("SELECT prompt_template FROM runs WHERE run_id = $run", {"run": run_id}).item() or "{prompt}"
    prompts = dict(cache.frame("SELECT question_id, prompt FROM questions").iter_rows())
    cursor = cache.connection.cursor()
    cursor.register("chosen_solutions", pl.DataFrame({"node_id": list(solutions)}, schema={"node_id": pl.Int64}))
    rows = {row[0]: row[1:] for row in cursor.execute(_TEXTS, {"run": run_id}).fetchall()}
    for node_id in solutions:
        question_id, complete, text = rows[node_id]
        prompt = prompts[question_id]
        if prompt is None or not complete:
            what = "it has no prompt" if prompt is None else f"the solution that ends in node {node_id} lacks text"
            raise CacheInvalid(
                f"question '{question_id}' of run '{run_id}': {what}. Import the texts too, or record them.",
                question=question_id,
            )
        yield json.dumps(_row(prompt, template, text, form), ensure_ascii=False) + "\n"


def _row(prompt: str, template: str, text: str, form: Form) -> dict[str, Any]:
    user, assistant = {"role": "user", "content": prompt}, {"role": "assistant", "content": text}
    if form == "messages":
        return {"messages": [user, assistant]}
    if form == "chat":
        return {"prompt": [user], "completion": [assistant]}
    return {"prompt": template.replace("{prompt}", prompt), "completion": text}
