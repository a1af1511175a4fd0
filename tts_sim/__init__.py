"""tts_sim: replay test-time compute strategies on cached generations, at any budget.

The public names load what they need on first use (PEP 562), so that `import tts_sim` and `tts-sim --help` stay light.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cache import open_cache as open_cache
    from cache import sample_path as sample_path
    from tts_sim import charts as charts
    from tts_sim.agreement import agreement as agreement
    from tts_sim.allocated import allocate_outcomes as allocate_outcomes
    from tts_sim.allocation import allocate as allocate
    from tts_sim.best_split import SplitCandidates as SplitCandidates
    from tts_sim.best_split import best_split as best_split
    from tts_sim.bins import Bins as Bins
    from tts_sim.bins import fit_bins as fit_bins
    from tts_sim.compare import compare as compare
    from tts_sim.compare import compare_all as compare_all
    from tts_sim.costs import Ledger as Ledger
    from tts_sim.costs import model_sizes as model_sizes
    from tts_sim.costs import priced as priced
    from tts_sim.demand import demand as demand
    from tts_sim.efficiency import Efficiency as Efficiency
    from tts_sim.efficiency import efficiency as efficiency
    from tts_sim.errors import CacheExhausted as CacheExhausted
    from tts_sim.errors import CacheFull as CacheFull
    from tts_sim.errors import CacheInvalid as CacheInvalid
    from tts_sim.errors import CacheLocked as CacheLocked
    from tts_sim.errors import CacheMissing as CacheMissing
    from tts_sim.errors import CacheTooNew as CacheTooNew
    from tts_sim.errors import ImportFailed as ImportFailed
    from tts_sim.errors import PolicyInvalid as PolicyInvalid
    from tts_sim.errors import PolicyTooNew as PolicyTooNew
    from tts_sim.errors import QueryRefused as QueryRefused
    from tts_sim.errors import ScoreMissing as ScoreMissing
    from tts_sim.errors import TtsSimError as TtsSimError
    from tts_sim.exact.best_of_n import best_of_n as best_of_n
    from tts_sim.exact.majority import majority as majority
    from tts_sim.exact.pass_at_k import pass_at_k as pass_at_k
    from tts_sim.exchange import ExchangeTerms as ExchangeTerms
    from tts_sim.exchange import break_even_ratio as break_even_ratio
    from tts_sim.exchange import exchange_totals as exchange_totals
    from tts_sim.exchange import finetuning_share as finetuning_share
    from tts_sim.exchange import multiplier as multiplier
    from tts_sim.exchange_tables import break_even as break_even
    from tts_sim.exchange_tables import exchange_table as exchange_table
    from tts_sim.extrapolation.extrapolate import extrapolate as extrapolate
    from tts_sim.forest import Forest as Forest
    from tts_sim.full_report import full_report as full_report
    from tts_sim.greedy import greedy_outcomes as greedy_outcomes
    from tts_sim.load import load_forest as load_forest
    from tts_sim.model_pairs import model_pair as model_pair
    from tts_sim.model_pairs import pair_terms as pair_terms
    from tts_sim.outcomes import Outcomes as Outcomes
    from tts_sim.outcomes import combine as combine
    from tts_sim.paired import paired_difference as paired_difference
    from tts_sim.policy import fit_policy as fit_policy
    from tts_sim.policy import policy_curves as policy_curves
    from tts_sim.policy_apply import apply_policy as apply_policy
    from tts_sim.policy_file import Choice as Choice
    from tts_sim.policy_file import Policy as Policy
    from tts_sim.policy_file import load_policy as load_policy
    from tts_sim.replay import replay as replay
    from tts_sim.report import write_charts as write_charts
    from tts_sim.report import write_report as write_report
    from tts_sim.selections import Best as Best
    from tts_sim.selections import Majority as Majority
    from tts_sim.selections import Oracle as Oracle
    from tts_sim.selections import Weighted as Weighted
    from tts_sim.spec import Strategy as Strategy
    from tts_sim.spec import parse_strategy as parse_strategy
    from tts_sim.strategies.adaptive import Adaptive as Adaptive
    from tts_sim.strategies.beam import Beam as Beam
    from tts_sim.strategies.dvts import Dvts as Dvts
    from tts_sim.strategies.lookahead import Lookahead as Lookahead
    from tts_sim.strategies.rebase import Rebase as Rebase
    from tts_sim.strategies.revise import Revise as Revise
    from tts_sim.strategies.sample import Sample as Sample
    from tts_sim.verifier_quality import calibration as calibration
    from tts_sim.verifier_quality import verifier_quality as verifier_quality
    from tts_sim.verifiers import parse_verifier as parse_verifier
    from tts_sim.verifiers import with_verifiers as with_verifiers

_HOMES = {
    "Adaptive": "tts_sim.strategies.adaptive",
    "Beam": "tts_sim.strategies.beam",
    "Best": "tts_sim.selections",
    "Bins": "tts_sim.bins",
    "CacheExhausted": "tts_sim.errors",
    "CacheFull": "tts_sim.errors",
    "CacheInvalid": "tts_sim.errors",
    "CacheLocked": "tts_sim.errors",
    "CacheMissing": "tts_sim.errors",
    "CacheTooNew": "tts_sim.errors",
    "Choice": "tts_sim.policy_file",
    "Dvts": "tts_sim.strategies.dvts",
    "Efficiency": "tts_sim.efficiency",
    "ExchangeTerms": "tts_sim.exchange",
    "Forest": "tts_sim.forest",
    "ImportFailed": "tts_sim.errors",
    "Ledger": "tts_sim.costs",
    "Lookahead": "tts_sim.strategies.lookahead",
    "Majority": "tts_sim.selections",
    "Oracle": "tts_sim.selections",
    "Outcomes": "tts_sim.outcomes",
    "Policy": "tts_sim.policy_file",
    "PolicyInvalid": "tts_sim.errors",
    "PolicyTooNew": "tts_sim.errors",
    "QueryRefused": "tts_sim.errors",
    "Rebase": "tts_sim.strategies.rebase",
    "Revise": "tts_sim.strategies.revise",
    "Sample": "tts_sim.strategies.sample",
    "ScoreMissing": "tts_sim.errors",
    "SplitCandidates": "tts_sim.best_split",
    "Strategy": "tts_sim.spec",
    "TtsSimError": "tts_sim.errors",
    "Weighted": "tts_sim.selections",
    "agreement": "tts_sim.agreement",
    "allocate": "tts_sim.allocation",
    "allocate_outcomes": "tts_sim.allocated",
    "apply_policy": "tts_sim.policy_apply",
    "best_of_n": "tts_sim.exact.best_of_n",
    "best_split": "tts_sim.best_split",
    "break_even": "tts_sim.exchange_tables",
    "break_even_ratio": "tts_sim.exchange",
    "calibration": "tts_sim.verifier_quality",
    "combine": "tts_sim.outcomes",
    "compare": "tts_sim.compare",
    "compare_all": "tts_sim.compare",
    "demand": "tts_sim.demand",
    "efficiency": "tts_sim.efficiency",
    "exchange_table": "tts_sim.exchange_tables",
    "exchange_totals": "tts_sim.exchange",
    "extrapolate": "tts_sim.extrapolation.extrapolate",
    "finetuning_share": "tts_sim.exchange",
    "fit_bins": "tts_sim.bins",
    "fit_policy": "tts_sim.policy",
    "full_report": "tts_sim.full_report",
    "greedy_outcomes": "tts_sim.greedy",
    "load_forest": "tts_sim.load",
    "load_policy": "tts_sim.policy_file",
    "majority": "tts_sim.exact.majority",
    "model_pair": "tts_sim.model_pairs",
    "model_sizes": "tts_sim.costs",
    "multiplier": "tts_sim.exchange",
    "open_cache": "cache",
    "pair_terms": "tts_sim.model_pairs",
    "paired_difference": "tts_sim.paired",
    "parse_strategy": "tts_sim.spec",
    "parse_verifier": "tts_sim.verifiers",
    "pass_at_k": "tts_sim.exact.pass_at_k",
    "policy_curves": "tts_sim.policy",
    "priced": "tts_sim.costs",
    "replay": "tts_sim.replay",
    "sample_path": "cache",
    "verifier_quality": "tts_sim.verifier_quality",
    "with_verifiers": "tts_sim.verifiers",
    "write_charts": "tts_sim.report",
    "write_report": "tts_sim.report",
}
__all__ = [*_HOMES, "charts"]


def __getattr__(name: str) -> Any:
    if name == "charts":
        return import_module("tts_sim.charts")
    if name not in _HOMES:
        raise AttributeError(f"module 'tts_sim' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """`tts_sim.replay` is the function, although importing its module would bind the module to the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
