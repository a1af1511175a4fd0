"""Is a cache sound? Every requirement of the data model, each violation with its question, node and remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cache.rules import NODE_RULES, SCORE_RULES, SMALL_RULES, Rule

if TYPE_CHECKING:
    import duckdb

    from cache.store import Cache

_WHOLE_TABLES = {"nodes": "nodes", "touched": "nodes", "scores": "scores", "touched_scores": "scores"}


@dataclass(frozen=True)
class Violation:
    """One broken requirement. `question`, `node` and `run` are None where the row names none."""

    question: str | None
    node: int | None
    what: str
    remedy: str
    run: str | None = None

    def __str__(self) -> str:
        places = (("run", self.run), ("question", self.question), ("node", self.node))
        where = ", ".join(
            f"{name} '{value}'" if isinstance(value, str) else f"{name} {value}"
            for name, value in places
            if value is not None
        )
        return f"{where}: {self.what}. {self.remedy}" if where else f"{self.what}. {self.remedy}"


def violations(cache: Cache, *, limit: int = 100) -> list[Violation]:
    """Every violation of the data model's requirements; empty for a sound cache.

    At most `limit` are listed for each rule, in the order of run, question and node; one more then says how many
    there are. 2 M nodes take about a second.
    """
    found: list[Violation] = []
    for rule in (*SMALL_RULES, *NODE_RULES, *SCORE_RULES):
        found += broken(cache.connection, rule, _WHOLE_TABLES, limit=limit)
    return found


def broken(connection: duckdb.DuckDBPyConnection, rule: Rule, tables: dict[str, str], *, limit: int) -> list[Violation]:
    """The violations of one rule among the rows of `tables` (placeholder -> table or subquery)."""
    sql = rule.sql
    for placeholder, table in tables.items():
        sql = sql.replace(f"[{placeholder}]", table)
    rows = connection.execute(
        f"SELECT run, question, node, number, what, count(*) OVER () FROM ({sql})"
        f" ORDER BY run, question, node, number LIMIT {limit}"
    ).fetchall()
    found = [
        Violation(question, node, what, rule.remedies[number], run) for run, question, node, number, what, _ in rows
    ]
    if rows and rows[0][5] > len(rows):
        found.append(
            Violation(None, None, f"… and {rows[0][5] - len(rows)} more of the same kind", rule.remedies[rows[0][3]])
        )
    return found
