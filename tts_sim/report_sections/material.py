"""What a report draws on: the runs of a cache, and replays that several sections share, each made once when needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from cache import Cache
from tts_sim.budgets import powers_of_two
from tts_sim.costs import model_sizes, priced
from tts_sim.draws import checked_seed
from tts_sim.errors import TtsSimError
from tts_sim.forest import Forest
from tts_sim.headline import SAMPLING, TREES
from tts_sim.load import load_forest
from tts_sim.model_pairs import RunModel, run_models
from tts_sim.outcomes import Outcomes, combine
from tts_sim.replay import checked_trials, replay
from tts_sim.roles import DIFFICULTY_DRAWS, Apart, replay_apart
from tts_sim.spec import parse_strategy
from tts_sim.strategies.revise import chains_of

CHAIN_SELECTIONS = ("weighted", "majority")


class NotShown(ValueError):
    """Why a cache gets no such section, with what it would take."""


@dataclass(frozen=True)
class Settings:
    """What the options of a report choose; None: the default."""

    verifier: str | None = None
    trials: int | None = None
    seed: int = 0


class Material:
    """The first run of steps and the first of revisions of a cache, with one verifier each; replays on first use."""

    def __init__(self, cache: Cache, settings: Settings) -> None:
        self.cache = cache
        self.settings = settings
        self.models: dict[str, RunModel] = run_models(cache)
        checked_seed(settings.seed)
        checked_trials(settings.trials)
        kinds = [run.kind for run in self.models.values()]
        self.every_verifier = {kind: load_forest(cache, kind=kind) for kind in ("steps", "revisions") if kind in kinds}
        if settings.verifier is not None:
            known = [name for forest in self.every_verifier.values() for name in forest.scores]
            if settings.verifier not in known:
                listed = ", ".join(dict.fromkeys(known)) or "none"
                raise ValueError(f"verifier {settings.verifier!r}: has scored no run that is read; known: {listed}.")
        self.forests = {kind: self._judged(forest) for kind, forest in self.every_verifier.items()}

    def run(self, kind: str) -> Forest:
        """The run of that kind. Raises NotShown where there is none, or nothing in it."""
        if kind not in self.forests or not self.forests[kind].num_nodes:
            raise NotShown(f"needs a run of kind {kind}; record one with `tts-sim generate`.")
        return self.forests[kind]

    def judge(self, kind: str) -> str:
        """The verifier of that run. Raises NotShown where nobody has scored it."""
        forest = self.run(kind)
        if not forest.scores:
            raise NotShown(f"needs a verifier's scores of run {forest.run_id!r}; `tts-sim generate score` makes them.")
        return next(iter(forest.scores))

    @cached_property
    def search(self) -> Outcomes:
        """Sampling at powers of two up to what the cache holds, and the tree searches that it was recorded for."""
        forest = self.run("steps")
        parts = [self._replay(forest, self._sampling(forest), powers_of_two(1, int(forest.root_pools().min())))]
        parts += [self._replay(forest, [spec], budgets) for spec, budgets in self._trees(forest).items()]
        return self._priced(combine(parts))

    @cached_property
    def apart(self) -> Apart:
        """The same strategies on draws that are apart from those that measure difficulty: two thirds to half of them.

        Raises ValueError for fewer than 16 samples of a question.
        """
        forest = self.run("steps")
        least = int(forest.root_pools().min())
        rest = powers_of_two(1, least - min(DIFFICULTY_DRAWS, least // 2))
        budgets = {spec: rest for spec in self._sampling(forest)} | self._trees(forest)
        found = replay_apart(forest, list(budgets), budgets, trials=self.settings.trials, seed=self.settings.seed)
        return found._replace(outcomes=self._priced(found.outcomes))

    @cached_property
    def revisions(self) -> Outcomes:
        """Revisions in every shape; difficulty is that of `apart`, and where there is none that of first attempts."""
        forest = self.run("revisions")
        selections = [name for name in CHAIN_SELECTIONS if forest.scores or name == "majority"]
        groups: dict[tuple[int, ...], list[str]] = {}
        for spec, budgets in shapes(forest, selections).items():
            groups.setdefault(tuple(budgets), []).append(spec)
        if not groups:
            raise NotShown(f"run {forest.run_id!r} holds no attempt yet.")
        outcomes = self._priced(combine([self._replay(forest, specs, asked) for asked, specs in groups.items()]))
        try:
            measured = self.apart.outcomes.groups["difficulty"]
        except (TtsSimError, ValueError):
            return outcomes
        return Outcomes(outcomes.frame, {**outcomes.groups, "difficulty": measured})

    @cached_property
    def together(self) -> Outcomes:
        """What the overview compares: `search`, and chains of four attempts where there are some."""
        parts = [self.search] if "steps" in self.forests else []
        if "revisions" in self.forests:
            frame = self.revisions.frame
            chains = frame.filter(pl.col("strategy").str.starts_with("revise(sequential=4)"))
            parts.append(Outcomes(chains if len(chains) else frame, self.revisions.groups))
        return combine(parts)

    def _replay(self, forest: Forest, specs: Sequence[str], budgets: Sequence[int]) -> Outcomes:
        return replay(forest, specs, budgets, trials=self.settings.trials, seed=self.settings.seed)

    def _priced(self, outcomes: Outcomes) -> Outcomes:
        return priced(outcomes, model_sizes(self.cache))

    def _judged(self, forest: Forest) -> Forest:
        """The run with the scores of one verifier: the one asked for, the default, or the first of the suited kind."""
        names = sorted(forest.scores, key=lambda name: forest.verifier_kinds.get(name) != suited(forest.kind))
        chosen = self.settings.verifier if self.settings.verifier in names else next(iter(names), None)
        return replace(forest, scores={} if chosen is None else {chosen: forest.scores[chosen]}, _kept={})

    def _sampling(self, forest: Forest) -> list[str]:
        return [spec for spec in SAMPLING if forest.scores or not parse_strategy(spec).uses_scores]

    def _trees(self, forest: Forest) -> dict[str, Sequence[int]]:
        """The tree searches that the run was recorded for, at the budgets noted."""
        demand = forest.recorded.get("demand")
        noted = demand.get("budgets") if isinstance(demand, dict) else None
        if not forest.scores or not isinstance(demand, dict) or not isinstance(noted, list) or not noted:
            return {}
        given = demand.get("strategies")
        specs = [str(parse_strategy(spec)) for spec in (given if isinstance(given, list) else TREES)]
        return {spec: noted for spec in specs if parse_strategy(spec).search.grows_trees}


def suited(kind: str) -> str:
    """The kind of verifier that suits a kind of run."""
    return "orm" if kind == "revisions" else "prm"


def shapes(forest: Forest, selections: Sequence[str]) -> dict[str, list[int]]:
    """Specs of `revise(sequential=S)`, S a power of two, with the budgets that every question supports."""
    chains = chains_of(forest)
    lengths = np.diff(chains.attempt)
    found: dict[str, list[int]] = {}
    for sequential in powers_of_two(1, int(lengths.max(initial=0))):
        running = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths >= sequential)])
        parallel = int((running[chains.start[1:]] - running[chains.start[:-1]]).min())
        for selection in selections if parallel else ():
            budgets = [sequential * count for count in powers_of_two(1, parallel)]
            found[f"revise(sequential={sequential})+{selection}"] = budgets
    return found
