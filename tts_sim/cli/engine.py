"""What the commands that replay share: runs by kind of strategy, budgets that fit, verifiers, prices."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cache import Cache
    from tts_sim.costs import Ledger, Sizes
    from tts_sim.forest import Forest
    from tts_sim.outcomes import Outcomes
    from tts_sim.spec import Strategy

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy starts its threads when it is loaded; no replay needs them


def announce_compilation() -> None:
    """From here on, say so on stderr when a kernel that is needed is not compiled yet."""
    from tts_sim.kernels._jit import before_compiling

    before_compiling(lambda: print("compiling kernels, once for this machine …", file=sys.stderr))


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


@dataclass(frozen=True)
class Asked:
    """What the options of a replaying command ask for; no budgets: those that the cache supports."""

    strategies: Sequence[Strategy]
    budgets: Sequence[int]
    run: str | None = None
    verifiers: Sequence[str] = ()
    trials: int | None = None
    seed: int = 0
    method: str = "auto"
    on_exhausted: str = "refuse"
    prefill: str = "none"
    rescore: bool = False
    prompt_tokens: int | None = None


class Part(NamedTuple):
    """A run with its score columns, the verifiers to judge by one after the other, and the strategies that need it."""

    forest: Forest
    judges: Sequence[str | None]
    strategies: Sequence[Strategy]
    source: Forest  # as it was loaded, without verifiers made of others


def outcomes_of(cache: Cache, asked: Asked) -> Outcomes:
    """Outcomes of every strategy at the budgets that it can spend, for each verifier, with their prices.

    Budgets that a strategy cannot spend are named on stderr. Raises ValueError if a strategy can spend none of them.
    """
    from tts_sim.costs import model_sizes

    return charged(replayed(loaded(cache, asked), asked), asked, model_sizes(cache))


def loaded(cache: Cache, asked: Asked) -> list[Part]:
    """The runs that the strategies need, each loaded once, when all that was asked for has been checked."""
    from tts_sim.costs import PREFILL
    from tts_sim.errors import CacheExhausted
    from tts_sim.replay import METHODS, checked_choice
    from tts_sim.strategies.plan import ON_EXHAUSTED
    from tts_sim.verifiers import side_by_side

    checked_choice("--method", asked.method, METHODS)
    checked_choice("--on-exhausted", asked.on_exhausted, ON_EXHAUSTED)
    checked_choice("--prefill", asked.prefill, PREFILL)
    _ledger(asked)
    announce_compilation()
    found = forests_of(cache, asked.strategies, asked.run)
    for forest, _ in found:
        if not forest.num_questions:
            raise CacheExhausted(f"run {forest.run_id!r} holds no generation yet. Record with `tts-sim generate`.")
        note_unexchangeable(forest)
    judged = side_by_side([forest for forest, _ in found], asked.verifiers, seed=asked.seed)
    return [
        Part(forest, names, wanted, source) for (forest, names), (source, wanted) in zip(judged, found, strict=True)
    ]


def replayed(parts: Sequence[Part], asked: Asked) -> Outcomes:
    """Outcomes of these parts, without prices; strategies are those of the parts."""
    from tts_sim.outcomes import combine
    from tts_sim.replay import replay
    from tts_sim.verifiers import rounds

    return combine([
        replay(
            part.forest, group, budgets, verifier=judge, trials=asked.trials, seed=asked.seed,
            method=asked.method, on_exhausted=asked.on_exhausted,  # type: ignore[arg-type]
        )
        for part in parts
        for judge, members in rounds(part.strategies, part.judges)
        for budgets, group in (fitting(members, asked.budgets) if asked.budgets else supported(part.forest, members))
    ])  # fmt: skip


def charged(outcomes: Outcomes, asked: Asked, sizes: Sizes) -> Outcomes:
    """The same with their prices."""
    from tts_sim.costs import priced

    return priced(outcomes, sizes, _ledger(asked))


def _ledger(asked: Asked) -> Ledger:
    from tts_sim.costs import Ledger

    return Ledger(asked.prefill, asked.rescore, asked.prompt_tokens)  # type: ignore[arg-type]


def note_unexchangeable(forest: Forest) -> None:
    """Say so on stderr if a run's siblings are not i.i.d. draws."""
    from tts_sim.cli.options import note

    if not forest.exchangeable:
        note(f"run {forest.run_id!r}: its siblings are not i.i.d. (exchangeable is false): no figure is unbiased.")


def fitting(strategies: Sequence[Strategy], budgets: Sequence[int]) -> list[tuple[tuple[int, ...], list[Strategy]]]:
    """The strategies by the budgets that they can spend, in order; what is left out is said on stderr.

    Raises ValueError, with the reason, for a strategy that can spend none of them.
    """
    from tts_sim.cli.options import note

    groups: dict[tuple[int, ...], list[Strategy]] = {}
    for strategy in strategies:
        refused: dict[int, str] = {}
        for budget in budgets:
            try:
                strategy.search.check_budget(budget)
            except ValueError as error:
                refused[budget] = str(error)
        if len(refused) == len(budgets):
            raise ValueError(refused[budgets[0]])
        if refused:
            listed = ", ".join(map(str, refused))
            note(f"{strategy}: left out at {listed} ({next(iter(refused.values())).partition(': ')[2].rstrip('.')}).")
        groups.setdefault(tuple(budget for budget in budgets if budget not in refused), []).append(strategy)
    return list(groups.items())


def supported(forest: Forest, strategies: Sequence[Strategy]) -> list[tuple[tuple[int, ...], list[Strategy]]]:
    """The strategies by the budgets that the cache holds for them: those that a tree search was recorded for, and for
    the rest the powers of two up to the smallest pool.
    """
    from tts_sim.budgets import powers_of_two

    demand = forest.recorded.get("demand")
    noted = demand.get("budgets") if isinstance(demand, dict) else None
    most = int(forest.root_pools().min())
    groups: dict[tuple[int, ...], list[Strategy]] = {}
    for strategy in strategies:
        budgets = powers_of_two(1, most)
        if strategy.search.grows_trees and isinstance(noted, list):
            budgets = sorted(noted)
        spendable = []
        for budget in budgets:
            with suppress(ValueError):
                strategy.search.check_budget(budget)
                spendable.append(budget)
        if not spendable:
            raise ValueError(f"{strategy}: none of the budgets {', '.join(map(str, budgets))} suits it; give --budget.")
        groups.setdefault(tuple(spendable), []).append(strategy)
    return list(groups.items())
