"""Which budgets there are to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tts_sim.forest import Forest
    from tts_sim.strategies.search import Search


def powers_of_two(first: int, last: int) -> list[int]:
    """first, 2·first, 4·first … up to last."""
    budgets = []
    while first <= last:
        budgets.append(first)
        first *= 2
    return budgets


def spendable(search: Search, forest: Forest) -> list[int]:
    """The powers of two that the search can spend and that a root pool of this run may hold; [1] if there is none.

    A draw of the root pool is one generation, of `lookahead` k + 1, of `revise` as many as the longest chain: short
    chains may hold less than the largest of these budgets asks for.
    """
    from tts_sim.strategies.lookahead import Lookahead
    from tts_sim.strategies.revise import Revise, chains_of

    pools = forest.root_pools()
    most = int(pools.min()) if len(pools) else 0
    if isinstance(search, Lookahead):
        most *= search.steps + 1
    if isinstance(search, Revise) and forest.kind == search.kind:
        most *= int(np.diff(chains_of(forest).attempt).max(initial=1))
    budgets = []
    for budget in powers_of_two(1, most):
        try:
            search.check_budget(budget)
        except ValueError:
            continue
        budgets.append(budget)
    return budgets or [1]
