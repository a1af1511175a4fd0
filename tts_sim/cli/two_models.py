"""Two models of a cache, replayed side by side for an exchange of compute between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cache import Cache
    from tts_sim.cli.engine import Asked
    from tts_sim.exchange import Convention, ExchangeTerms
    from tts_sim.model_pairs import RunModel
    from tts_sim.outcomes import Outcomes
    from tts_sim.spec import Strategy

TOKENS = {"generations": "generations", "generated": "tokens", "once": "equivalents", "every": "equivalents"}
GREEDY = "greedy"


@dataclass(frozen=True)
class Wanted:
    """What the options of an exchange ask for; no budgets: those that the cache supports."""

    small: str | None = None
    large: str | None = None
    large_strategy: str = GREEDY
    large_budget: int = 1
    convention: Convention = "strict"
    by: str = "difficulty"
    bins: int = 5
    tokens: str = "generations"
    budgets: Sequence[int] = ()
    verifier: str | None = None
    rho: float | None = None
    size_ratio: float | None = None
    phi: str = "0"
    token_ratio: float = 1.0
    own_data: bool = False
    prompt_tokens: int | None = None
    trials: int | None = None
    seed: int = 0
    sampled: bool = False  # whether the larger model is replayed with the strategies of the small one, too


@dataclass(frozen=True)
class TwoModels:
    """Outcomes of both models. Each strategy of the small one has its terms: who pays for what."""

    small: RunModel
    large: RunModel
    lines: list[tuple[Outcomes, RunModel, ExchangeTerms]]
    rival: Outcomes  # the larger model as it answers
    sampled: list[tuple[Outcomes, float]]  # the larger model with the strategies of the small one, and their rho
    levels: dict[str, int]
    cost: str


def two_models(cache: Cache, wanted: Wanted, specs: Sequence[str]) -> TwoModels:
    """Replays both models. Raises ValueError, naming the remedy, for what the cache or the options lack."""
    from tts_sim.cli.engine import charged, loaded, parsed, replayed
    from tts_sim.cli.groups import question_levels
    from tts_sim.cli.options import note
    from tts_sim.costs import model_sizes
    from tts_sim.load import load_forest
    from tts_sim.model_pairs import model_pair, run_models

    if wanted.tokens != "generations" and wanted.token_ratio != 1:
        raise ValueError(
            f"--token-ratio {wanted.token_ratio}: --tokens {wanted.tokens} counts the tokens themselves; leave one out."
        )
    small, large = model_pair(cache, wanted.small, wanted.large)
    strategies = parsed(list(specs) or [_default(cache, small, wanted)], [])
    named = small.run if any(strategy.search.kind == small.kind for strategy in strategies) else None
    asked = _asked(wanted, strategies, named)
    parts = loaded(cache, asked)
    forests = [part.source for part in parts]
    if small.run not in [forest.run_id for forest in forests]:
        forests.insert(0, load_forest(cache, small.run))
    levels = question_levels(forests, wanted.by, wanted.bins)
    runs = run_models(cache)
    rival = _counted(_rival(cache, large, wanted), runs, wanted)
    if not wanted.own_data and small.pretraining_tokens != large.pretraining_tokens:
        note(
            f"models '{small.model}' and '{large.model}' were pretrained on {_amount(small)} and {_amount(large)} "
            "tokens; both are charged for as many, as in the paper (--own-data: each for its own)."
        )
    outcomes = _counted(charged(replayed(parts, asked), asked, model_sizes(cache)), runs, wanted)
    lines = []
    for line in _by_strategy(outcomes):
        run = runs[line.frame["run"][0]]
        lines.append((line, run, _terms(cache, wanted, run, large, line, rival)))
    sampled = _sampled(cache, large, wanted, strategies, runs, lines[0][2].M) if wanted.sampled else []
    return TwoModels(small, large, lines, rival, sampled, levels, TOKENS[wanted.tokens])


def _asked(wanted: Wanted, strategies: Sequence[Strategy], run: str | None) -> Asked:
    from tts_sim.cli.engine import Asked

    return Asked(
        strategies, wanted.budgets, run, [] if wanted.verifier is None else [wanted.verifier], wanted.trials,
        wanted.seed, prefill=wanted.tokens if wanted.tokens in ("once", "every") else "none",
        prompt_tokens=wanted.prompt_tokens,
    )  # fmt: skip


def _rival(cache: Cache, large: RunModel, wanted: Wanted) -> Outcomes:
    """The larger model as it answers: greedily, or by a strategy; pass@1 where its greedy solutions are missing."""
    from dataclasses import replace

    from tts_sim.cli.engine import outcomes_of, parsed
    from tts_sim.cli.options import note
    from tts_sim.costs import Ledger, model_sizes, priced
    from tts_sim.greedy import greedy_outcomes

    if wanted.large_budget < 1:
        raise ValueError(f"--large-budget {wanted.large_budget}: expected a whole number of generations, from 1.")
    strategies = parsed([wanted.large_strategy if wanted.large_strategy != GREEDY else "sample+oracle"], [])
    asked = _asked(wanted, strategies, large.run)
    if wanted.large_strategy == GREEDY:
        if wanted.large_budget != 1:
            raise ValueError(f"--large-budget {wanted.large_budget}: greedy is one generation; give --large-strategy.")
        found = greedy_outcomes(cache, large.run)
        if len(found.frame):
            ledger = Ledger(asked.prefill, prompt_tokens=wanted.prompt_tokens)  # type: ignore[arg-type]
            return priced(found, model_sizes(cache), ledger)
        note(f"run '{large.run}' holds no greedy solutions: the mean of its samples (pass@1) stands for them.")
    return outcomes_of(cache, replace(asked, budgets=[wanted.large_budget]))


def _sampled(
    cache: Cache, large: RunModel, wanted: Wanted, strategies: Sequence[Strategy], runs: dict[str, RunModel], M: float
) -> list[tuple[Outcomes, float]]:
    """Whole solutions of the larger model, by the strategies of the small one that need no trees."""
    from dataclasses import replace

    from tts_sim.cli.engine import outcomes_of

    suited = [one for one in strategies if one.search.kind == large.kind and not one.search.grows_trees]
    if not suited:
        return []
    asked = replace(_asked(wanted, suited, large.run), budgets=[])
    outcomes = _counted(outcomes_of(cache, asked), runs, wanted)
    return [(line, _verifier_share(wanted, line, M)) for line in _by_strategy(outcomes)]


def _terms(
    cache: Cache, wanted: Wanted, run: RunModel, large: RunModel, line: Outcomes, rival: Outcomes
) -> ExchangeTerms:
    from tts_sim.model_pairs import known_finetuning, pair_terms, size_ratio

    ratio = size_ratio(run, large) if wanted.size_ratio is None else wanted.size_ratio
    rho = v_large = None
    if wanted.convention == "strict":
        rho, v_large = _verifier_share(wanted, line), _verifier_share(wanted, rival, ratio)
    if wanted.phi == "cache":
        phi = known_finetuning(cache, run, line.frame["verifier"][0], rho or 0.0)
    else:
        try:
            phi = float(wanted.phi)
        except ValueError:
            raise ValueError(f"--phi {wanted.phi}: expected a share from 0, or 'cache'.") from None
    return pair_terms(
        run, large, convention=wanted.convention, M=ratio, rho=rho, v_large=v_large, phi=phi,
        token_ratio=wanted.token_ratio, own_data=wanted.own_data, large_samples=wanted.large_budget,
    )  # fmt: skip


def _verifier_share(wanted: Wanted, line: Outcomes, size: float = 1.0) -> float:
    """rho of a line; --rho is for the small model, and falls by the size of the one that is verified."""
    from tts_sim.model_pairs import verifier_share

    judge = line.frame["verifier"][0]
    if judge is None:
        return 0.0
    if wanted.rho is not None:
        return wanted.rho / size
    share = verifier_share(line)
    if share is None:
        raise ValueError(
            f"verifier {judge!r}: the cache has no parameter count for it or for the model; give --rho (its FLOPs "
            "for a token over the small model's), enter models.num_params, or choose another --convention."
        )
    return share


def _counted(outcomes: Outcomes, runs: dict[str, RunModel], wanted: Wanted) -> Outcomes:
    """With `equivalents` where context is charged: generator FLOPs in FLOPs of a generated token."""
    import polars as pl

    from tts_sim.outcomes import Outcomes

    if TOKENS[wanted.tokens] != "equivalents":
        return outcomes
    sizes = {name: run.num_params for name, run in runs.items()}
    params = pl.col("run").replace_strict(sizes, default=None, return_dtype=pl.Float64)
    return Outcomes(outcomes.frame.with_columns(equivalents=pl.col("generator_flops") / (2 * params)), outcomes.groups)


def _by_strategy(outcomes: Outcomes) -> list[Outcomes]:
    from tts_sim.outcomes import Outcomes

    return [Outcomes(part, outcomes.groups) for part in outcomes.frame.partition_by("strategy", maintain_order=True)]


def _default(cache: Cache, small: RunModel, wanted: Wanted) -> str:
    """Weighted best-of-N where the verifier has a price, else majority."""
    from tts_sim.cli.options import note
    from tts_sim.costs import model_sizes

    judges = cache.frame("SELECT DISTINCT verifier_id FROM scores WHERE run_id = $run", {"run": small.run})
    names = [wanted.verifier] if wanted.verifier is not None else judges["verifier_id"].to_list()
    sizes = model_sizes(cache).verifiers
    if wanted.rho is not None or wanted.convention != "strict" or (names and all(sizes.get(name) for name in names)):
        return "sample+weighted"
    why = f"the size of verifier '{names[0]}' is unknown: give --rho" if names else f"run '{small.run}' has no verifier"
    note(f"sample+majority, for {why}.")
    return "sample+majority"


def _amount(run: RunModel) -> str:
    return "an unknown number of" if run.pretraining_tokens is None else f"{run.pretraining_tokens:,}".replace(",", " ")
