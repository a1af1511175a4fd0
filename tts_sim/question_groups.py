"""Groups of questions that a cache knows: a column of its questions, or a key of their extra JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cache import Cache

COLUMNS = ("level", "subject", "dataset", "split")
_KEYS = (
    "SELECT DISTINCT unnest(json_keys(extra)) AS name FROM questions WHERE json_type(extra) = 'OBJECT' ORDER BY name"
)


def question_groups(cache: Cache, name: str) -> dict[str, str | None]:
    """The value of `name` for every question, as text: one of COLUMNS, else a key of the extra JSON; None for no value.

    Raises ValueError for a name that no question has a value of.
    """
    if name in COLUMNS:
        value, parameters = f"{name}::VARCHAR", None
    else:
        value, parameters = "extra ->> $path", {"path": "/" + name.replace("~", "~0").replace("/", "~1")}
        if name not in cache.frame(_KEYS)["name"]:
            raise _unknown(cache, name)
    rows = cache.frame(f"SELECT question_id, {value} AS value FROM questions ORDER BY question_id", parameters)
    if rows["value"].null_count() == len(rows):
        raise _unknown(cache, name)
    return dict(rows.iter_rows())


def _unknown(cache: Cache, name: str) -> ValueError:
    held = cache.frame(f"SELECT {', '.join(f'count({column}) AS {column}' for column in COLUMNS)} FROM questions")
    known = [column for column in COLUMNS if held[column][0]] + cache.frame(_KEYS)["name"].to_list()
    listed = ", ".join(known) or "nothing to group by"
    return ValueError(f"questions have no {name!r}; this cache knows of them: {listed}.")
