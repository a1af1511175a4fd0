"""What `replay` and `demand` share: runs by kind of strategy, and a word of patience before the first compilation."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cache import Cache
    from tts_sim.forest import Forest
    from tts_sim.spec import Strategy


def announce_compilation(strategies: Sequence[Strategy] | None = None) -> None:
    """Say so on stderr if the kernels that these strategies (None: all) run on are not compiled yet."""
    from tts_sim.kernels._jit import is_compiled

    searches = {"sample", "beam", "revise"} if strategies is None else {entry.search.name for entry in strategies}
    if not is_compiled("levels", *searches):
        print("compiling kernels, once for this machine …", file=sys.stderr)


def parsed(specs: Sequence[str], strategies: Sequence[str]) -> list[Strategy]:
    """The strategies of the command line: arguments and --strategy options, commas split."""
    from tts_sim.cli.options import split_specs
    from tts_sim.replay import checked_strategies

    return checked_strategies(split_specs([*specs, *strategies]))


def forests_of(
    cache: Cache, strategies: Sequence[Strategy], run: str | None, *, all_questions: bool = False
) -> list[tuple[Forest, list[Strategy]]]:
    """The run of each kind that the strategies need, with its strategies.

    `run` names the run for strategies of its kind; the others take the first run of theirs. `all_questions`: those of
    the cache, also where the run holds no node of them yet; otherwise those of which it holds nodes.
    Raises ValueError if no strategy fits the named run.
    """
    from tts_sim.load import load_forest

    by_kind: dict[str, list[Strategy]] = {}
    for strategy in strategies:
        by_kind.setdefault(strategy.search.kind, []).append(strategy)
    questions = None
    if all_questions:
        questions = cache.frame("SELECT question_id FROM questions ORDER BY question_id")["question_id"].to_list()
    named = load_forest(cache, run, questions=questions) if run is not None else None
    if named is not None and named.kind not in by_kind:
        kinds = ", ".join(by_kind)
        raise ValueError(f"run {run!r} is of kind {named.kind!r}; the strategies need a run of kind {kinds}.")
    kinds_in_order = sorted(by_kind, key=lambda kind: kind != "steps")  # difficulty comes from the first run
    return [
        (
            named if named is not None and named.kind == kind else load_forest(cache, kind=kind, questions=questions),
            by_kind[kind],
        )
        for kind in kinds_in_order
    ]


def judges(parts: Sequence[tuple[Forest, list[Strategy]]], verifier: str | None) -> list[str | None]:
    """The verifier for each run: the named one where it has scored, the run's own default elsewhere.

    Raises ValueError if the named one has scored none of the runs, unless nothing is cached that could be scored.
    """
    if verifier is None or not any(forest.num_nodes for forest, _ in parts):
        return [None] * len(parts)
    if not any(verifier in forest.scores for forest, _ in parts):
        known = ", ".join(sorted({name for forest, _ in parts for name in forest.scores})) or "none"
        raise ValueError(f"verifier {verifier!r}: has scored none of these runs; known: {known}.")
    return [verifier if verifier in forest.scores else None for forest, _ in parts]
