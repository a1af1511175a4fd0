"""What outcomes cost in floating-point operations, and the choice of a unit for budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import polars as pl

from tts_sim.outcomes import Outcomes
from tts_sim.verifiers import parse_verifier

if TYPE_CHECKING:
    from cache import Cache

Prefill = Literal["none", "once", "every"]
PREFILL: tuple[Prefill, ...] = ("none", "once", "every")


@dataclass(frozen=True)
class Ledger:
    """Which tokens are charged.

    `prefill`: none of the context, the prompt `once` per question (Brown et al. 2024), or the whole context at `every`
    sampling call (nothing is kept between calls). `rescore`: a process verifier reads the prefix again at every step
    instead of each token once. `prompt_tokens`: the length of prompts that do not say their own.
    Raises ValueError for a negative length.
    """

    prefill: Prefill = "none"
    rescore: bool = False
    prompt_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.prompt_tokens is not None and self.prompt_tokens < 0:
            raise ValueError(f"prompt_tokens={self.prompt_tokens}: expected a number of tokens, from 0.")


@dataclass(frozen=True)
class Sizes:
    """Parameters of the generator of each run and of each verifier, tokens of each prompt; None where unknown."""

    generators: Mapping[str, int | None] = field(default_factory=dict)
    verifiers: Mapping[str, int | None] = field(default_factory=dict)
    prompt_tokens: Mapping[str, int | None] = field(default_factory=dict)


def model_sizes(cache: Cache) -> Sizes:
    """The sizes that a cache knows: `models.num_params`, and `prompt_tokens` in the extra JSON of its questions.

    A verifier's model is its `model_id`, or the model of its own name.
    """
    runs = cache.frame("SELECT run_id, num_params FROM runs LEFT JOIN models USING (model_id)")
    verifiers = cache.frame(
        "SELECT verifier_id, num_params FROM verifiers AS v "
        "LEFT JOIN models AS m ON m.model_id = coalesce(v.model_id, v.verifier_id)"
    )
    prompts = cache.frame(
        "SELECT question_id, TRY_CAST(json_extract_string(extra, '$.prompt_tokens') AS INTEGER) FROM questions"
    )
    return Sizes(*(dict(frame.iter_rows()) for frame in (runs, verifiers, prompts)))


def priced(outcomes: Outcomes, sizes: Sizes, ledger: Ledger | None = None) -> Outcomes:
    """The outcomes with generator_flops, verifier_flops and their sum flops: 2 · parameters · tokens read or written.

    Null where a size is unknown; a strategy without a verifier pays none. With `rescore`, verifier_tokens grows by the
    tokens that are read again. Attention over the context is not counted.
    Raises ValueError for a prefill where a prompt's length is unknown. Source: statistics §5, token-level options.
    """
    ledger = ledger or Ledger()
    frame = outcomes.frame
    columns = {
        "_generator": _column(frame, "run", sizes.generators),
        "_verifier": _column(frame, "verifier", _judges(frame["verifier"], sizes)),
        "_prompt": _column(frame, "question_id", sizes.prompt_tokens),
    }
    frame = frame.with_columns(**columns)
    read: pl.Expr = pl.lit(0.0)
    if ledger.prefill != "none":
        frame = frame.with_columns(_prompt=pl.coalesce("_prompt", pl.lit(ledger.prompt_tokens, pl.Float64)))
        unknown = frame.filter(pl.col("_prompt").is_null())
        if len(unknown):
            raise ValueError(
                f"prefill={ledger.prefill}: the length of the prompt of question {unknown['question_id'][0]!r} is "
                "unknown; give prompt_tokens (on the command line --prompt-tokens), or put it into the question's "
                "extra JSON as prompt_tokens."
            )
        read = pl.col("_prompt") * 1.0
        if ledger.prefill == "every":
            read = read * pl.col("calls") + pl.col("prefix_tokens")
    if ledger.rescore:
        again = pl.when(pl.col("verifier").is_null()).then(0.0).otherwise(pl.col("prefix_tokens"))
        frame = frame.with_columns(verifier_tokens=pl.col("verifier_tokens") + again)
    frame = frame.with_columns(
        generator_flops=2.0 * pl.col("_generator") * (pl.col("tokens") + read),
        verifier_flops=pl.when(pl.col("verifier").is_null())
        .then(pl.when(pl.col("tokens").is_not_null()).then(0.0))
        .otherwise(2.0 * pl.col("_verifier") * pl.col("verifier_tokens")),
    ).with_columns(flops=pl.col("generator_flops") + pl.col("verifier_flops"))
    return Outcomes(frame.drop(*columns), outcomes.groups)


def within_limits(curve: pl.DataFrame, unit: str, limits: Sequence[float]) -> pl.DataFrame:
    """For each strategy and limit the row of the largest budget whose mean cost in `unit` does not exceed the limit.

    A column `limit` comes first; limits below a strategy's cheapest budget have no row. Raises ValueError if the cost
    is unknown.
    """
    if curve[unit].null_count() == len(curve):
        raise ValueError(f"cost {unit!r}: unknown for these strategies; enter models.num_params into the cache.")
    keys = [name for name in ("run", "strategy", "verifier", "level", "difficulty") if name in curve.columns]
    rows = [
        curve.filter(pl.col(unit) <= limit)
        .sort(pl.col("accuracy").is_not_null(), "budget")  # a supported budget before one that has only bounds
        .group_by(keys, maintain_order=True)
        .last()
        .select(pl.lit(float(limit)).alias("limit"), pl.all())
        for limit in sorted(set(limits))
    ]
    return pl.concat(rows)


def _judges(verifiers: pl.Series, sizes: Sizes) -> dict[str, int | None]:
    """Parameters of each verifier: a derived one, flip(prm,probability=0.2), costs what the cached one in it does.

    `random` costs nothing; a verifier of which the cache knows nothing has no known size.
    """
    found: dict[str, int | None] = {}
    for name in verifiers.drop_nulls().unique():
        try:
            source = parse_verifier(name, sizes.verifiers).source
        except ValueError:
            source = name
        found[name] = 0 if source is None else sizes.verifiers.get(source)
    return found


def _column(frame: pl.DataFrame, key: str, sizes: Mapping[str, int | None]) -> pl.Series:
    values = frame[key].unique().to_list()
    known = {value: sizes.get(value) for value in values}
    return frame[key].replace_strict(known, default=None, return_dtype=pl.Float64)
