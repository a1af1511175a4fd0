"""The charged policy: the samples that tell how difficult a question is are paid for, and reused where they can be.

The first m samples of a trial, the pilot, are judged by the verifier; their mean score decides the level, and the level
the strategy. For parallel sampling they are the first m of its own n, at a cost of max(m, n); any other strategy starts
anew, at m + n. Trials are permutations of the samples that evaluate, so that pilot and votes are those of one run
(statistics §2.6, §4). A strategy that starts anew does not depend on its pilot: its accuracy stands in the outcomes,
and what share of pilots leads to it is read off the draws that are apart from those that evaluate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tts_sim.arrays import Float64s, Int64s
from tts_sim.costs import Sizes, priced
from tts_sim.draws import checked_seed
from tts_sim.errors import CacheExhausted, ScoreMissing
from tts_sim.forest import Forest
from tts_sim.intervals import t_interval
from tts_sim.kernels import pilot as kernels
from tts_sim.kernels._threads import no_room, on_threads
from tts_sim.outcomes import PRICES, VALUE, Outcomes
from tts_sim.replay import DEFAULT_TRIALS, checked_strategies, checked_trials
from tts_sim.roles import Budgets, Roles, budgets_of
from tts_sim.spec import Strategy
from tts_sim.strategies.plan import Plan, refuse_kind
from tts_sim.strategies.sample import Sample, ready

CHARGED = "policy, charged"
COSTS = ("generations", "tokens", "verifier_tokens", "critical_tokens")
Choice = str | tuple[str, int]  # a strategy, with the generations that it is given where they are not the budget


@dataclass(frozen=True, eq=False)
class Pilot:
    """Trials of a pilot of `samples` draws, and of the strategies that go on from it.

    `found` has shape (Q, T, …, B, S) over questions, trials, `budgets` and `strategies`; `asked` (B, S) says which
    budgets are asked of which strategy. `apart` are pilots of the draws that do not evaluate; None where they are
    fewer than `samples`, `fewest` being the least that a question has.
    """

    run_id: str
    verifier: str
    samples: int
    question_ids: tuple[str, ...]
    strategies: tuple[Strategy, ...]
    budgets: tuple[int, ...]
    asked: np.ndarray
    found: kernels.Found
    apart: kernels.Found | None
    fewest: int


def run_pilot(
    roles: Roles,
    strategies: Sequence[Strategy | str],
    budgets: Budgets,
    *,
    samples: int,
    verifier: str | None = None,
    trials: int | None = None,
    seed: int,
) -> Pilot:
    """Pilots of `samples` draws (m), with what the strategies that are parallel sampling make of the same draws.

    Each of the `trials` (default 256) is a permutation of the draws that evaluate, the very one of a replay with this
    seed. A budget n ≥ m continues the pilot; one below m takes the first n of it. Other strategies are passed over.
    Raises CacheExhausted where m or a budget exceeds what evaluates, or a solution is not complete; ScoreMissing for a
    solution that the verifier has not scored; ValueError for bad arguments and for a run of revisions.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise ValueError(f"samples {samples!r}: expected a whole number of draws for the pilot, from 1.")
    checked_seed(seed)
    count = checked_trials(trials) or DEFAULT_TRIALS
    forest = roles.evaluation
    refuse_kind(forest, "steps", "a pilot")
    judge = forest.default_verifier() if verifier is None else verifier
    wanted = checked_strategies(strategies) if strategies else []
    wanted = [strategy for strategy in wanted if isinstance(strategy.search, Sample)]
    each = [budgets_of(strategy, budgets) for strategy in wanted]
    everything = sorted({budget for asked in each for budget in asked})
    fewest = int(roles.difficulty.root_pools().min(initial=samples))
    found = _trials(forest, wanted, everything, samples, judge, count, seed)
    apart = _trials(roles.difficulty, [], [], samples, judge, count, seed) if fewest >= samples else None
    asked_of = np.array([[budget in asked for asked in each] for budget in everything], np.bool_)
    return Pilot(
        forest.run_id, judge, samples, forest.question_ids, tuple(wanted), tuple(everything),
        asked_of.reshape(len(everything), len(wanted)), found, apart, fewest,
    )  # fmt: skip


def by_level(
    pilot: Pilot,
    edges: Sequence[float] | Float64s,
    outcomes: Outcomes | None = None,
    *,
    questions: Sequence[str] | None = None,
    sizes: Sizes | None = None,
) -> pl.DataFrame:
    """What every strategy does on the trials whose pilot falls into a level; one row per (question, level, …, budget).

    Columns: question_id, level, strategy, budget (what the strategy is given), `reused` (the pilot is part of it),
    `share` (of the pilots of this question that fall into the level), `accuracy` and costs (means over these), with the
    pilot's in them: generations, tokens, verifier_tokens, critical_tokens (the pilot waits for nothing, the rest for
    the pilot), and with `sizes` those in FLOPs (generated tokens only). Rows with a share of 0 are left out.
    `edges` ascend; levels count from 1 (easiest), a pilot on an edge is above it, as in `Bins`.
    `outcomes` gives the accuracy of strategies that cannot reuse the pilot; null where no trial is supported. Those
    of `pilot` are left out of it. `questions`: these alone, for example those of a fold.
    Raises ValueError for edges that do not ascend, unknown questions, strategies that stand in the outcomes twice, and
    where `outcomes` needs pilots that are apart from what evaluates and there are too few draws.
    """
    cuts = np.asarray(edges, np.float64)
    if cuts.ndim != 1 or np.isnan(cuts).any() or (np.diff(cuts) < 0).any():
        raise ValueError(f"edges {list(edges)}: expected numbers in ascending order.")
    place = {name: q for q, name in enumerate(pilot.question_ids)}
    chosen = list(pilot.question_ids if questions is None else questions)
    unknown = [name for name in chosen if name not in place]
    if unknown:
        raise ValueError(f"question {unknown[0]!r}: not among those of the pilot.")
    rows = np.array([place[name] for name in chosen], np.int64)
    parts = [_reusing(pilot, cuts, rows, sizes)]
    if outcomes is not None:
        known = [str(strategy) for strategy in pilot.strategies]
        others = outcomes.frame.filter(~pl.col("strategy").is_in(known), pl.col("question_id").is_in(chosen))
        if len(others):
            parts.append(_starting_anew(pilot, cuts, rows, others, sizes))
    columns = ["question_id", "level", "strategy", "budget", "reused", "share", "accuracy", *COSTS]
    return pl.concat(parts).select(*columns, *(PRICES if sizes is not None else []))


def charged_values(frame: pl.DataFrame, policy: pl.DataFrame | Mapping[tuple[int, float], Choice]) -> pl.DataFrame:
    """What a policy is worth on each question when its pilot is charged: question_id, budget, accuracy, costs.

    `frame` is that of `by_level`, at the policy's edges. `policy` says for each (level, budget) which strategy is run,
    and with how many generations (the budget, unless it says so): a mapping, or a table with the columns level, budget,
    strategy, generations; with a column question_id it holds for these alone, and with a column split values are means
    over splits, as a cross-fitted policy needs it. Differences between policies or budgets are paired by question.
    Each is unbiased for new samples. With a mixture of strategies that reuse the pilot and others, the shares come from
    different draws and need not add up to 1, so that a single question's value may leave [0, 1].
    A question for which a chosen strategy has no value is null. Raises ValueError for a level or budget without a
    choice, and for a choice that the frame does not hold.
    """
    choices = _choices(policy)
    of_question = ["question_id"] if "question_id" in choices.columns else []
    whole = ["split", "budget"]
    held = frame.rename({"budget": "generations", "generations": "_generations"})
    limits = choices.select(*of_question, *whole).unique(maintain_order=True)
    levels = frame.select("question_id", "level").unique(maintain_order=True)
    if of_question:
        cells = levels.join(limits, on="question_id", maintain_order="left_right")
    else:
        cells = levels.join(limits, how="cross", maintain_order="left_right")
    keys = [*of_question, "level", *whole]
    lacking = cells.join(choices, on=keys, how="anti", maintain_order="left")
    if len(lacking):
        row = lacking.row(0, named=True)
        raise ValueError(f"policy: no strategy for level {row['level']} at budget {row['budget']}.")
    asked = cells.join(choices, on=keys, maintain_order="left")
    strange = asked.join(held, on=["strategy", "generations"], how="anti", maintain_order="left")
    if len(strange):
        row = strange.row(0, named=True)
        raise ValueError(
            f"policy: {row['strategy']} at {row['generations']} (level {row['level']}, budget {row['budget']}) is not "
            "among the strategies and budgets of the pilot and its outcomes."
        )
    # a strategy's rows lack the levels that none of its pilots fell into, but not a question
    there = held.select("question_id", "strategy", "generations").unique().with_columns(_there=True)
    asked = asked.join(there, on=["question_id", "strategy", "generations"], how="left", maintain_order="left")
    met = asked.join(held, on=["question_id", "level", "strategy", "generations"], how="left", maintain_order="left")
    absent = pl.col("_there").is_null()
    costs = {"generations": "_generations", **{name: name for name in (*COSTS[1:], *PRICES) if name in frame.columns}}
    sums = {
        name: pl.when((absent | (pl.col("share").is_not_null() & pl.col(column).is_null())).any())
        .then(None)
        .otherwise((pl.col("share") * pl.col(column)).sum())
        for name, column in {"accuracy": "accuracy", **costs}.items()
    }
    values = met.group_by("question_id", *whole, maintain_order=True).agg(**sums)
    return values.group_by("question_id", "budget", maintain_order=True).agg(pl.col(name).mean() for name in sums)


def charged_curve(values: pl.DataFrame, *, unit: str = "generations", line: str = CHARGED) -> pl.DataFrame:
    """Rows of the policy curve: the means of `charged_values` over questions at each budget, interval t, 95 %.

    `cost` is the mean realised cost in `unit`. Raises ValueError for a unit that the values do not have.
    """
    if unit not in values.columns or unit in ("question_id", "budget", "accuracy"):
        known = [name for name in values.columns if name in (*COSTS, *PRICES)]
        raise ValueError(f"unit {unit!r}: expected one of {', '.join(known)}.")
    rows: list[dict[str, Any]] = []
    for (budget,), part in values.group_by("budget", maintain_order=True):
        there = part.filter(pl.col("accuracy").is_not_null())
        accuracy, count = there["accuracy"].to_numpy(), len(there)
        row = {"line": line, "difficulty": "predicted", "budget": budget, "num_questions": count, "unit": unit}
        row |= {"without_value": len(part) - count}
        if count:
            cost = None if there[unit].null_count() else there[unit].mean()
            row |= {"accuracy": float(accuracy.mean()), "cost": cost}
        if count > 1:
            se = float(accuracy.std(ddof=1) / np.sqrt(count)) if np.ptp(accuracy) else 0.0
            low, high = t_interval(float(accuracy.mean()), se, count)
            row |= {"se": se, "ci_low": low, "ci_high": high}
        rows.append(row)
    numbers = dict.fromkeys(["accuracy", "se", "ci_low", "ci_high", "cost"], pl.Float64)
    schema: dict[str, Any] = {
        "line": pl.String, "difficulty": pl.String, "budget": values.schema["budget"], **numbers,
        "num_questions": pl.Int64, "without_value": pl.Int64, "unit": pl.String,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema).sort("budget")


# ------------------------------------------------------------------------------------------------------------- trials
def _trials(
    forest: Forest, strategies: Sequence[Strategy], budgets: Sequence[int], samples: int, judge: str, trials: int,
    seed: int,
) -> kernels.Found:  # fmt: skip
    """Run the kernel on one forest, once everything is checked."""
    plan = Plan(
        forest, [strategy.selection for strategy in strategies], [samples, *budgets], judge, trials, seed,
    )  # fmt: skip
    looks = forest.path_score(judge, "last")
    solutions, scores, columns = ready(Sample(), plan)
    question = np.repeat(np.arange(forest.num_questions), np.diff(solutions.start))
    _refuse_incomplete(forest, question[solutions.state != 0])
    unscored = question[np.isnan(looks[solutions.row])]
    if len(unscored):
        raise ScoreMissing(
            f"verifier {judge!r} has not scored {len(unscored)} of {len(question)} solutions of run {forest.run_id!r} "
            f"(first: question {forest.question_ids[unscored[0]]!r}), which a pilot may draw. Run `tts-sim generate "
            "score`, or choose another verifier."
        )
    shape = (forest.num_questions, trials)
    found = kernels.Found(
        np.empty(shape), np.empty((*shape, len(budgets), len(strategies))), np.empty((*shape, 1 + len(budgets))),
        np.empty((*shape, 1 + len(budgets))),
    )  # fmt: skip
    on_threads(
        kernels.pilot, forest.num_questions, no_room, forest.trees, looks, scores, plan.kinds, columns, samples,
        np.array(budgets, np.int64), trials, np.uint64(seed), solutions, found,
    )  # fmt: skip
    return found


def _refuse_incomplete(forest: Forest, lacking: Int64s) -> None:
    if len(lacking):
        raise CacheExhausted(
            f"{len(np.unique(lacking))} of {forest.num_questions} questions of run {forest.run_id!r} hold samples that "
            f"are not complete (first: {forest.question_ids[lacking[0]]!r}), which a pilot may draw. Record more."
        )


# ------------------------------------------------------------------------------------------------------------- levels
def _levels(easiness: Float64s, edges: Float64s) -> Float64s:
    """1 where a pilot falls into a level, shape (Q, T, levels)."""
    level = len(edges) - np.searchsorted(edges, easiness, side="right")
    one_hot: Float64s = (level[:, :, None] == np.arange(len(edges) + 1)).astype(np.float64)
    return one_hot


def _means(one_hot: Float64s, counts: Float64s, figures: Float64s) -> Float64s:
    """Means of figures (Q, T, C) over the trials of each level, shape (Q, levels, C); NaN where there is none."""
    sums = np.matmul(one_hot.transpose(0, 2, 1), figures)
    with np.errstate(invalid="ignore"):
        means: Float64s = sums / counts[:, :, None]
    return means


def _reusing(pilot: Pilot, edges: Float64s, rows: Int64s, sizes: Sizes | None) -> pl.DataFrame:
    """Rows of the strategies that go on from the pilot."""
    one_hot = _levels(pilot.found.easiness[rows], edges)
    num_questions, num_trials, num_levels = one_hot.shape
    num_budgets, num_strategies = pilot.asked.shape
    counts = one_hot.sum(axis=1)
    value = pilot.found.value[rows].reshape(num_questions, num_trials, num_budgets * num_strategies)
    accuracy = _means(one_hot, counts, value).reshape(num_questions, num_levels, num_budgets, num_strategies)
    tokens, critical = (_means(one_hot, counts, cost[rows]) for cost in (pilot.found.tokens, pilot.found.critical))
    q, g, b, s = np.nonzero((counts > 0)[:, :, None, None] & pilot.asked)
    budgets = np.array(pilot.budgets, np.int64)[b]
    judged = np.array([strategy.uses_scores for strategy in pilot.strategies], np.bool_)[s]
    names = pl.Series([str(strategy) for strategy in pilot.strategies], dtype=pl.String)
    frame = pl.DataFrame(
        {
            "question_id": pl.Series(pilot.question_ids, dtype=pl.String).gather(rows[q]),
            "level": g + 1,
            "strategy": names.gather(s),
            "budget": budgets,
            "reused": np.ones(len(q), np.bool_),
            "share": counts[q, g] / num_trials,
            "accuracy": accuracy[q, g, b, s],
            "generations": np.maximum(budgets, pilot.samples).astype(np.float64),
            "tokens": tokens[q, g, 1 + b],
            "verifier_tokens": np.where(judged, tokens[q, g, 1 + b], tokens[q, g, 0]),
            "critical_tokens": critical[q, g, 1 + b],
        },
        schema_overrides={"level": pl.Int64},
    )
    return frame if sizes is None else frame.with_columns(**_prices(pilot, sizes, "tokens", "verifier_tokens"))


def _starting_anew(
    pilot: Pilot, edges: Float64s, rows: Int64s, others: pl.DataFrame, sizes: Sizes | None
) -> pl.DataFrame:
    """Rows of the strategies that do not depend on the pilot; their accuracy is the same in every level."""
    if pilot.apart is None:
        raise ValueError(
            f"samples {pilot.samples}: a question has only {pilot.fewest} draws that are apart from those that "
            f"evaluate; {others['strategy'][0]}, which cannot reuse a pilot, needs as many. Lower samples, or raise "
            "difficulty_draws."
        )
    twice = others.select("question_id", "strategy", "budget").is_duplicated()
    if twice.any():
        strategy = others.filter(twice)["strategy"][0]
        raise ValueError(f"outcomes hold {strategy} several times, by run or verifier; keep one of them.")
    one_hot = _levels(pilot.apart.easiness[rows], edges)
    counts = one_hot.sum(axis=1)
    costs = [_means(one_hot, counts, cost[rows])[:, :, 0] for cost in (pilot.apart.tokens, pilot.apart.critical)]
    q, g = np.nonzero(counts)
    pilots = pl.DataFrame(
        {
            "question_id": pl.Series(pilot.question_ids, dtype=pl.String).gather(rows[q]),
            "level": g + 1,
            "share": counts[q, g] / one_hot.shape[1],
            "_tokens": costs[0][q, g],
            "_critical": costs[1][q, g],
        },
        schema_overrides={"level": pl.Int64},
    )
    if sizes is not None:
        others = priced(Outcomes(others), sizes).frame
    frame = others.with_columns(accuracy=VALUE).join(pilots, on="question_id", maintain_order="left_right")
    frame = frame.with_columns(
        reused=False,
        generations=pl.col("generations") + float(pilot.samples),
        tokens=pl.col("tokens") + pl.col("_tokens"),
        verifier_tokens=pl.col("verifier_tokens") + pl.col("_tokens"),
        critical_tokens=pl.col("critical_tokens") + pl.col("_critical"),
    )
    columns = ["question_id", "level", "strategy", "budget", "reused", "share", "accuracy", *COSTS]
    if sizes is not None:
        own = _prices(pilot, sizes, "_tokens", "_tokens")
        frame = frame.with_columns(pl.col(name) + own[name] for name in PRICES)
        columns += PRICES
    return frame.select(columns)


def _prices(pilot: Pilot, sizes: Sizes, tokens: str, verifier_tokens: str) -> dict[str, pl.Expr]:
    """FLOPs of tokens that the pilot's own model writes and its verifier reads."""
    unit = pl.DataFrame(
        {"run": [pilot.run_id], "question_id": [""], "verifier": [pilot.verifier], "tokens": [1.0],
         "verifier_tokens": [1.0]}
    )  # fmt: skip
    one = priced(Outcomes(unit), sizes).frame.row(0, named=True)
    generator = pl.col(tokens) * pl.lit(one["generator_flops"], pl.Float64)
    verifier = pl.col(verifier_tokens) * pl.lit(one["verifier_flops"], pl.Float64)
    return {"generator_flops": generator, "verifier_flops": verifier, "flops": generator + verifier}


def _choices(policy: pl.DataFrame | Mapping[tuple[int, float], Choice]) -> pl.DataFrame:
    """A policy as a table: level, split, budget, strategy, generations, and question_id where it has one."""
    if isinstance(policy, Mapping):
        rows = [
            (level, budget, *(choice if isinstance(choice, tuple) else (choice, int(budget))))
            for (level, budget), choice in policy.items()
        ]
        policy = pl.DataFrame(rows, schema=["level", "budget", "strategy", "generations"], orient="row", strict=False)
    if not len(policy):
        raise ValueError("policy: expected a strategy for each level and budget; it is empty.")
    if "generations" not in policy.columns:
        policy = policy.with_columns(generations=pl.col("budget"))
    if "split" not in policy.columns:
        policy = policy.with_columns(split=0)
    columns = ["level", "split", "budget", "strategy", "generations"]
    chosen = policy.select(*(["question_id"] if "question_id" in policy.columns else []), *columns).with_columns(
        pl.col("level", "generations").cast(pl.Int64)
    )
    keys = [column for column in chosen.columns if column not in ("strategy", "generations")]
    if chosen.select(keys).is_duplicated().any():
        raise ValueError("policy: two strategies for one level and budget.")
    return chosen
