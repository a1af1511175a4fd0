"""What the policy commands read of a cache: outcomes, and difficulty from samples that are apart from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cache import Cache
    from tts_sim.cli.engine import Asked
    from tts_sim.forest import Forest
    from tts_sim.outcomes import Outcomes
    from tts_sim.spec import Strategy

DIFFICULTIES = ("oracle", "predicted")


@dataclass(frozen=True)
class Measured:
    """Outcomes with prices, difficulty by kind, and where both come from."""

    outcomes: Outcomes
    difficulty: Mapping[str, Mapping[str, float]]
    about: Mapping[str, Any]
    cache: Mapping[str, Any]

    def of_kind(self, kind: str) -> Mapping[str, float]:
        """Difficulty of each question. Raises ValueError for predicted difficulty that nobody has scored."""
        if kind not in self.difficulty:
            raise ValueError(f"--difficulty {kind}: no verifier has scored the run. Run `tts-sim generate score`.")
        return self.difficulty[kind]


def measure_apart(
    cache: Cache, path: str, asked: Asked, sizes: Mapping[str, Sequence[int]] | None, draws: int
) -> Measured:
    """Replays on the samples that evaluate; difficulty from `draws` others.

    `sizes`: the budgets of each strategy; None: those of `asked`, or every power of two that the cache holds where it
    asks for none. Raises ValueError and CacheExhausted as `replay_apart`.
    """
    from tts_sim.cli.engine import loaded
    from tts_sim.costs import model_sizes, priced
    from tts_sim.roles import replay_apart

    parts = loaded(cache, asked)
    forests = [part.forest for part in parts]
    budgets = sizes or {
        str(strategy): found
        for part in parts
        for strategy, found in _sizes(part.source, part.strategies, asked.budgets, draws).items()
    }
    apart = replay_apart(
        forests, list(asked.strategies), budgets, difficulty_draws=draws, trials=asked.trials, seed=asked.seed,
        verifier=next((name for part in parts for name in part.judges if name is not None), None),
    )  # fmt: skip
    difficulty = {"oracle": apart.oracle} | ({} if apart.predicted is None else {"predicted": apart.predicted})
    return Measured(
        priced(apart.outcomes, model_sizes(cache)),
        difficulty,
        {"run": forests[0].run_id, "verifier": next(iter(asked.verifiers), None), "samples": draws},
        {"path": path, "runs": _runs(cache, [forest.run_id for forest in forests])},
    )


def default_strategies(cache: Cache) -> list[str]:
    """The usual strategies that this cache can replay, without bounds; trees where some were recorded for them."""
    from tts_sim.headline import REVISIONS, SAMPLING, TREES

    runs = cache.frame("SELECT kind, provenance::VARCHAR LIKE '%\"demand\"%' AS trees FROM runs")
    scored = {kind for kind, in cache.frame(
        "SELECT DISTINCT kind FROM runs WHERE run_id IN (SELECT DISTINCT run_id FROM scores)"
    ).rows()}  # fmt: skip
    known = set(runs["kind"])
    trees = TREES if (runs.filter(kind="steps")["trees"].fill_null(False)).any() else ()
    wanted = {"steps": (*SAMPLING, *trees), "revisions": REVISIONS}
    return [
        spec
        for kind, specs in wanted.items()
        if kind in known
        for spec in specs
        if not spec.endswith("+oracle") and (kind in scored or spec.endswith("+majority"))
    ]


def _sizes(
    forest: Forest, strategies: Sequence[Strategy], budgets: Sequence[int], draws: int
) -> dict[Strategy, Sequence[int]]:
    """The budgets that each strategy is replayed at; trees that were recorded for some, at those at most."""
    from tts_sim.budgets import spendable
    from tts_sim.cli.engine import fitting
    from tts_sim.cli.options import note

    demand = forest.recorded.get("demand")
    noted = demand.get("budgets") if isinstance(demand, dict) else None
    recorded = max(noted) if isinstance(noted, list) and noted else None
    pools = forest.root_pools()
    least = int(pools.min())
    most = max(1, least - (min(draws, least // 2) if forest.kind == "steps" else 0))  # as split_roles leaves it
    found: dict[Strategy, Sequence[int]] = {}
    for strategy in strategies:
        limit = recorded if recorded is not None and strategy.search.grows_trees else None
        if not budgets:
            last = most if limit is None else min(limit, least)
            held = spendable(strategy.search, forest)
            found[strategy] = [budget for budget in held if budget <= last] or held[:1]
            continue
        ((asked_for, _),) = fitting([strategy], budgets)
        kept = [budget for budget in asked_for if limit is None or budget <= limit]
        if not kept:
            raise ValueError(f"{strategy}: run {forest.run_id!r} recorded its trees for budgets up to {limit}.")
        if len(kept) < len(asked_for):
            note(f"{strategy}: left out above {limit} (run {forest.run_id!r} recorded its trees up to there).")
        found[strategy] = kept
    return found


def _runs(cache: Cache, names: Sequence[str]) -> list[dict[str, Any]]:
    """What tells the content of the runs apart: their questions, nodes and tokens."""
    rows = cache.frame(
        "SELECT run_id AS run, count(DISTINCT question_id) AS questions, count(*) AS nodes, sum(tokens)::BIGINT AS "
        "tokens FROM nodes GROUP BY run_id"
    ).to_dicts()
    return [row for name in names for row in rows if row["run"] == name]
