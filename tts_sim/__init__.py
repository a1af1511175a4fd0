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
    from tts_sim.compare import compare as compare
    from tts_sim.compare import compare_all as compare_all
    from tts_sim.costs import Ledger as Ledger
    from tts_sim.costs import model_sizes as model_sizes
    from tts_sim.costs import priced as priced
    from tts_sim.demand import demand as demand
    from tts_sim.errors import CacheExhausted as CacheExhausted
    from tts_sim.errors import CacheFull as CacheFull
    from tts_sim.errors import CacheInvalid as CacheInvalid
    from tts_sim.errors import CacheLocked as CacheLocked
    from tts_sim.errors import CacheMissing as CacheMissing
    from tts_sim.errors import CacheTooNew as CacheTooNew
    from tts_sim.errors import ImportFailed as ImportFailed
    from tts_sim.errors import QueryRefused as QueryRefused
    from tts_sim.errors import ScoreMissing as ScoreMissing
    from tts_sim.errors import TtsSimError as TtsSimError
    from tts_sim.exact.best_of_n import best_of_n as best_of_n
    from tts_sim.exact.majority import majority as majority
    from tts_sim.exact.pass_at_k import pass_at_k as pass_at_k
    from tts_sim.forest import Forest as Forest
    from tts_sim.load import load_forest as load_forest
    from tts_sim.outcomes import Outcomes as Outcomes
    from tts_sim.outcomes import combine as combine
    from tts_sim.paired import paired_difference as paired_difference
    from tts_sim.replay import replay as replay
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
    "CacheExhausted": "tts_sim.errors",
    "CacheFull": "tts_sim.errors",
    "CacheInvalid": "tts_sim.errors",
    "CacheLocked": "tts_sim.errors",
    "CacheMissing": "tts_sim.errors",
    "CacheTooNew": "tts_sim.errors",
    "Dvts": "tts_sim.strategies.dvts",
    "Forest": "tts_sim.forest",
    "Ledger": "tts_sim.costs",
    "Lookahead": "tts_sim.strategies.lookahead",
    "ImportFailed": "tts_sim.errors",
    "Majority": "tts_sim.selections",
    "Oracle": "tts_sim.selections",
    "Outcomes": "tts_sim.outcomes",
    "QueryRefused": "tts_sim.errors",
    "Rebase": "tts_sim.strategies.rebase",
    "Revise": "tts_sim.strategies.revise",
    "Sample": "tts_sim.strategies.sample",
    "ScoreMissing": "tts_sim.errors",
    "Strategy": "tts_sim.spec",
    "TtsSimError": "tts_sim.errors",
    "Weighted": "tts_sim.selections",
    "best_of_n": "tts_sim.exact.best_of_n",
    "calibration": "tts_sim.verifier_quality",
    "combine": "tts_sim.outcomes",
    "compare": "tts_sim.compare",
    "compare_all": "tts_sim.compare",
    "demand": "tts_sim.demand",
    "load_forest": "tts_sim.load",
    "majority": "tts_sim.exact.majority",
    "model_sizes": "tts_sim.costs",
    "open_cache": "cache",
    "paired_difference": "tts_sim.paired",
    "parse_strategy": "tts_sim.spec",
    "parse_verifier": "tts_sim.verifiers",
    "pass_at_k": "tts_sim.exact.pass_at_k",
    "priced": "tts_sim.costs",
    "replay": "tts_sim.replay",
    "sample_path": "cache",
    "verifier_quality": "tts_sim.verifier_quality",
    "with_verifiers": "tts_sim.verifiers",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tts_sim' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_HOMES)


class _Package(ModuleType):
    """`tts_sim.replay` is the function, although importing its module would bind the module to the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
