"""A strategy on a workload: by our kernel, and by its C twin."""

from __future__ import annotations

from bench import twins
from bench.workloads import SEED, VERIFIER, Workload
from tts_sim.arrays import Float64s, Tally
from tts_sim.ledger import account
from tts_sim.spec import Strategy, parse_strategy
from tts_sim.strategies.plan import Plan


def kernel(workload: Workload, spec: str) -> Float64s:
    """Accuracy, shape (Q, B), by the kernel of the strategy's search; no table is made."""
    return account(kernel_tally(workload, spec), 0, workload.trials).accuracy


def twin(workload: Workload, spec: str) -> Float64s:
    """The same by C."""
    return account(twin_tally(workload, spec), 0, workload.trials).accuracy


def kernel_tally(workload: Workload, spec: str) -> Tally:
    """All that the kernel counts."""
    strategy = parse_strategy(spec)
    return strategy.search.replay(_plan(workload, strategy))


def twin_tally(workload: Workload, spec: str) -> Tally:
    """The same by C."""
    strategy = parse_strategy(spec)
    return twins.replay(strategy.search, _plan(workload, strategy))


def _plan(workload: Workload, strategy: Strategy) -> Plan:
    return Plan(workload.forest, [strategy.selection], workload.budgets, VERIFIER, workload.trials, SEED)
