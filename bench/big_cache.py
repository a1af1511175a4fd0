"""`python -m bench.big_cache OUT.duckdb --nodes 10_000_000`: a recorded run of realistic shape, any size.

Each question holds what `sample` with 256 draws and one trial of `beam(width=4)` at 256 ask for: 256 first steps; under
64 of them, with high step scores, four children at every step, of which draw 0 goes on; under the others a chain. They
end after 8 to 16 steps. About 5 200 nodes a question; one verifier scores all of them. Rows stand as a recorder
commits them: all questions' first steps, then all second steps, and so on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cache import create_cache

NODES_PER_QUESTION = 5_200
ROOTS, WIDTH, SHORTEST, LONGEST, NUM_ANSWERS = 256, 4, 8, 16, 12
RUN, VERIFIER = "steps", "prm"
SEED = 5

NODES = f"""
    INSERT INTO nodes (run_id, node_id, question_id, parent_id, draw, tokens, stop, answer_id)
    SELECT '{RUN}', node_id, format('q{{:05d}}', question), CASE WHEN parent_id >= 0 THEN parent_id END, draw, tokens,
           CASE WHEN ended THEN 'eos' ELSE 'step' END, CASE WHEN answer_id >= 0 THEN answer_id END
    FROM batch
"""
SCORES = f"INSERT INTO scores SELECT '{RUN}', node_id, '{VERIFIER}', score FROM batch"


def write(path: Path, num_nodes: int) -> int:
    """Fill a new cache with about `num_nodes` nodes; return how many."""
    num_questions = max(1, round(num_nodes / NODES_PER_QUESTION))
    written = 0
    with create_cache(path) as cache:
        names = [f"q{q:05d}" for q in range(num_questions)]
        cache.append(
            questions=pl.DataFrame(
                {"question_id": names, "prompt": names, "gold": "1", "level": [1 + q % 5 for q in range(num_questions)]}
            ),
            answers=pl.DataFrame(
                {"question_id": np.repeat(names, NUM_ANSWERS), "answer_id": list(range(NUM_ANSWERS)) * num_questions}
            ).with_columns(text=pl.col("answer_id").cast(pl.String), correct=pl.col("answer_id") == 1),
            runs=pl.DataFrame(
                {
                    "run_id": [RUN],
                    "kind": ["steps"],
                    "root_pool": [ROOTS],
                    "step_pool": [WIDTH],
                    "provenance": [json.dumps({"demand": {"trials": 1}})],
                }
            ),
            verifiers=pl.DataFrame({"verifier_id": [VERIFIER], "kind": ["prm"]}),
        )
        for batch in steps(num_questions):
            written += len(batch)
            cache.connection.register("batch", batch.to_arrow())
            cache.connection.execute(NODES)
            cache.connection.execute(SCORES)
            cache.connection.unregister("batch")
    return written


def steps(num_questions: int) -> Iterator[pl.DataFrame]:
    """The first steps of all questions, then their second steps, …"""
    chance = np.random.default_rng(SEED)
    question = np.repeat(np.arange(num_questions), ROOTS)
    draw = np.tile(np.arange(ROOTS), num_questions)
    bushy = draw % WIDTH == draw // WIDTH % WIDTH  # one of each group of four first steps
    length = chance.integers(SHORTEST, LONGEST + 1, len(question))
    parent, leads, first = np.full(len(question), -1), bushy, 0
    for depth in range(1, LONGEST + 1):
        node = first + np.arange(len(question))
        first += len(node)
        goes_on = (leads | ~bushy) & (depth < length)
        pruned = bushy & ~leads & (depth < length)
        ended = ~goes_on & ~pruned
        unparsable = chance.random(len(node)) < 0.03
        answer = np.minimum(chance.geometric(0.3, len(node)) - 1, NUM_ANSWERS - 1)
        yield pl.DataFrame(
            {
                "question": question,
                "node_id": node,
                "parent_id": parent,
                "draw": draw,
                "tokens": chance.integers(5, 60, len(node)),
                "ended": ended,
                "answer_id": np.where(ended & ~unparsable, answer, -1),
                "score": (0.5 * chance.random(len(node)) + 0.5 * (leads & bushy)).astype(np.float32),
            }
        )
        children = np.where(bushy, WIDTH, 1)[goes_on]
        question, parent, bushy, length = (
            np.repeat(column[goes_on], children) for column in (question, node, bushy, length)
        )
        draw = _counted(children)
        leads = bushy & (draw == 0)


def _counted(sizes: Any) -> Any:
    """0 … size - 1 for each size, one after the other."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)


def main() -> None:
    """Write the file and say how many nodes it holds."""
    parser = argparse.ArgumentParser(prog="python -m bench.big_cache", description="A cache of realistic shape.")
    parser.add_argument("out", type=Path, help="a new .duckdb file")
    parser.add_argument("--nodes", type=int, default=10_000_000, help="about as many")
    arguments = parser.parse_args()
    print(f"{write(arguments.out, arguments.nodes)} nodes, {arguments.out.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
