"""Roles: the solutions that estimate a question's difficulty are apart, by index, from those that evaluate strategies.

Where both are the same solutions, bins correlate with the noise of what is averaged in them, and a policy fitted on
them looks better than it is: +1.3 points with 16 samples a question, +.1 with 256 (statistics §4). Draws are told
apart by their numbers alone, so that what is left to each role is still independent draws of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tts_sim.arrays import Bools, Int32s, Int64s, Trees, UInt64s
from tts_sim.difficulty import difficulty_levels, pass_at_1
from tts_sim.draws import PERMUTE, checked_seed, mixed
from tts_sim.errors import CacheExhausted, ScoreMissing
from tts_sim.forest import Forest
from tts_sim.outcomes import Outcomes, combine
from tts_sim.replay import (
    Method,
    by_search,
    check_budgets,
    checked_budgets,
    checked_choice,
    checked_strategies,
    checked_trials,
    default_trials,
    replay,
)
from tts_sim.spec import Strategy
from tts_sim.strategies.lookahead import Lookahead
from tts_sim.strategies.plan import ON_EXHAUSTED, OnExhausted

DIFFICULTY_DRAWS = 32
LEAST_DRAWS = 8  # fewer say too little about a question
CELLS = 1 << 22  # of the table in which draws are permuted at a time

Budgets = Sequence[int] | Mapping[str, Sequence[int]]  # for all strategies, or by their specs


@dataclass(frozen=True, eq=False)
class Roles:
    """The draws of one run by what they are for, and the forests that hold them.

    draws        root draws that estimate difficulty, by question: numbers of draws; in an imported run, places
    difficulty   those alone, the same in number for all questions or not
    evaluation   the rest, as a run of its own with draws numbered anew: for sample, adaptive and revisions
    trees        for searches that grow trees: `evaluation` in an imported run. In a recorded run the whole one, where
                 the permutations are those that it was recorded for; they ask for no draw that estimates difficulty
                 (which are gone from it where nodes lend each other children)
    """

    draws: Mapping[str, Int64s]
    difficulty: Forest
    evaluation: Forest
    trees: Forest


class Apart(NamedTuple):
    """Outcomes on the draws that evaluate, and the difficulty of questions on those that are apart from them."""

    outcomes: Outcomes
    oracle: dict[str, float]
    predicted: dict[str, float] | None  # None: no verifier has scored the run
    roles: Roles


def split_roles(
    forest: Forest,
    strategies: Sequence[Strategy | str] = (),
    budgets: Budgets = (),
    *,
    trials: int | None = None,
    seed: int,
    difficulty_draws: int = DIFFICULTY_DRAWS,
    on_exhausted: OnExhausted = "refuse",
) -> Roles:
    """Who estimates difficulty and who evaluates; strategies, budgets, trials and seed are those of the replay.

    Difficulty: the highest-numbered root draws (chains, in a run of revisions) that lead to a solution and that no
    trial of a tree search on a recorded run asks for; which these are is known from seed, question and trial, without
    a look at a tree. They are `difficulty_draws`, or as many as there are, but at most half of a question's draws.
    Evaluation: in a recorded run the lowest-numbered others, as many for every question; in an imported one all others.
    Raises ValueError where fewer than 8 (or than `difficulty_draws`) are left to difficulty, and for bad arguments.
    """
    checked_seed(seed)
    checked_trials(trials)
    checked_choice("on_exhausted", on_exhausted, ON_EXHAUSTED)
    if isinstance(difficulty_draws, bool) or not isinstance(difficulty_draws, int) or difficulty_draws < 1:
        raise ValueError(f"difficulty_draws {difficulty_draws!r}: expected a whole number from 1.")
    wanted = [strategy for strategy in checked_strategies(strategies) if _is_tree(strategy)] if strategies else []
    recorded = forest.root_pool is not None
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(forest.root_pools())])
    asked = np.zeros(int(start[-1]), np.bool_)
    if wanted and recorded and forest.kind == "steps":
        for most, count in _demands(forest, wanted, budgets, trials):
            asked |= _asked_for(forest, most, count, seed, on_exhausted == "reuse")
    free = (forest.solutions().state == 0) & ~asked
    chosen = [
        np.flatnonzero(free[start[q] : start[q + 1]])[-min(difficulty_draws, int(start[q + 1] - start[q]) // 2) :]
        if start[q + 1] - start[q] > 1
        else np.zeros(0, np.int64)
        for q in range(forest.num_questions)
    ]
    _refuse_few(forest, chosen, min(LEAST_DRAWS, difficulty_draws), wanted if recorded else [])
    others = [np.setdiff1d(np.arange(start[q + 1] - start[q]), chosen[q]) for q in range(forest.num_questions)]
    size = min((len(rest) for rest in others), default=0)
    whole = forest.kind == "revisions" or not recorded
    evaluating = [rest[:size] for rest in others] if recorded else others
    evaluation = trees = replace(_part(forest, evaluating, whole=whole), root_pool=size if recorded else None)
    if recorded and forest.kind == "steps":
        trees = forest
        if on_exhausted == "borrow":  # what is not there cannot lend
            trees = _part(forest, others, whole=True, renumber=False)
    return Roles(
        draws=dict(zip(forest.question_ids, chosen, strict=True)),
        difficulty=replace(_part(forest, chosen, whole=False), root_pool=None, step_pool=None),
        evaluation=evaluation,
        trees=trees,
    )


def oracle_difficulty(roles: Roles) -> dict[str, float]:
    """Share of correct ones among the draws that estimate difficulty, by question: high is easy."""
    return pass_at_1(roles.difficulty)


def predicted_difficulty(roles: Roles, verifier: str | None = None) -> dict[str, float]:
    """Mean score that the verifier gives to the last step of the draws that estimate difficulty, by question.

    Default verifier: as in a replay. Raises ValueError for an unknown one, ScoreMissing for a draw without a score.
    Source: Snell et al. 2024 (arXiv:2408.03314) §3.2.
    """
    forest = roles.difficulty
    judge = forest.default_verifier() if verifier is None else verifier
    found = forest.solutions()
    scores = forest.path_score(judge, "last")[found.row].astype(np.float64)
    counts = np.diff(found.start)
    question = np.repeat(np.arange(forest.num_questions), counts)
    lacking = np.flatnonzero(np.isnan(scores))
    if len(lacking):
        raise ScoreMissing(
            f"verifier {judge!r} has not scored {len(lacking)} of {len(scores)} solutions of run {forest.run_id!r} "
            f"that estimate difficulty (first: question {forest.question_ids[question[lacking[0]]]!r}). Run "
            "`tts-sim generate score`, or choose another verifier."
        )
    means = np.bincount(question, scores, forest.num_questions) / counts
    return dict(zip(forest.question_ids, means.tolist(), strict=True))


def replay_apart(
    forests: Forest | Sequence[Forest],
    strategies: Sequence[Strategy | str],
    budgets: Budgets,
    *,
    difficulty_draws: int = DIFFICULTY_DRAWS,
    verifier: str | None = None,
    trials: int | None = None,
    seed: int,
    method: Method = "auto",
    on_exhausted: OnExhausted = "refuse",
) -> Apart:
    """`replay` on the draws that evaluate, and difficulty on the others: nothing is used for both.

    `forests` is one run, or one of steps and one of revisions. With both, difficulty comes from the steps, and the
    revisions, which are other draws anyway, are replayed whole. `budgets` may differ by strategy: {spec: budgets}.
    `verifier` holds for the runs that it has scored; the others take their default.
    The outcomes' own group `difficulty` is oracle difficulty on the draws that are apart.
    Raises ValueError as `replay` and `split_roles`; CacheExhausted for a budget above what is left to evaluate.
    """
    runs = [forests] if isinstance(forests, Forest) else list(forests)
    by_kind = {run.kind: run for run in runs}
    if not runs or len(by_kind) < len(runs):
        raise ValueError(f"forests: expected one run of steps, one of revisions, or both; got {len(runs)}.")
    if verifier is not None and not any(verifier in run.scores for run in runs):
        runs[0].path_score(verifier, "last")  # raises, and names the known ones
    wanted = checked_strategies(strategies)
    for strategy in wanted:
        if strategy.search.kind not in by_kind:
            raise ValueError(f"{strategy}: needs a run of kind {strategy.search.kind!r}; got {', '.join(by_kind)}.")
    main = by_kind.get("steps", runs[0])
    here = [strategy for strategy in wanted if strategy.search.kind == main.kind]
    roles = split_roles(
        main, here, budgets, trials=trials, seed=seed, difficulty_draws=difficulty_draws, on_exhausted=on_exhausted
    )
    parts = []
    for asked, members in _by_budgets(wanted, budgets).items():
        for forest, group in _by_forest(roles, by_kind, members):
            if forest is roles.evaluation and on_exhausted == "refuse":
                _refuse_above(roles, max(asked), group)
            judge = verifier if verifier in forest.scores else None
            parts.append(
                replay(
                    forest, group, asked, verifier=judge, trials=trials, seed=seed, method=method,
                    on_exhausted=on_exhausted,
                )
            )  # fmt: skip
    oracle = oracle_difficulty(roles)
    together = combine(parts)
    outcomes = Outcomes(together.frame, {**together.groups, "difficulty": difficulty_levels(oracle)})
    judge = verifier if verifier in main.scores else None
    predicted = predicted_difficulty(roles, judge) if main.scores else None
    return Apart(outcomes, oracle, predicted, roles)


def _is_tree(strategy: Strategy) -> bool:
    return strategy.search.grows_trees


def budgets_of(strategy: Strategy, budgets: Budgets) -> list[int]:
    """The budgets that are asked of a strategy, in ascending order. Raises ValueError if there is none."""
    if not isinstance(budgets, Mapping):
        return checked_budgets(budgets)
    if str(strategy) not in budgets:
        raise ValueError(f"budgets: none for {strategy}; they are given for {', '.join(budgets) or 'nothing'}.")
    return checked_budgets(budgets[str(strategy)])


def _by_budgets(strategies: Sequence[Strategy], budgets: Budgets) -> dict[tuple[int, ...], list[Strategy]]:
    groups: dict[tuple[int, ...], list[Strategy]] = {}
    for strategy in strategies:
        groups.setdefault(tuple(budgets_of(strategy, budgets)), []).append(strategy)
    return groups


def _by_forest(
    roles: Roles, by_kind: Mapping[str, Forest], strategies: Sequence[Strategy]
) -> list[tuple[Forest, list[Strategy]]]:
    """The forest that each strategy is to be evaluated on, with its strategies."""
    groups: dict[int, tuple[Forest, list[Strategy]]] = {}
    for strategy in strategies:
        forest = by_kind[strategy.search.kind]
        if forest.kind == roles.evaluation.kind:
            forest = roles.trees if _is_tree(strategy) else roles.evaluation
        groups.setdefault(id(forest), (forest, []))[1].append(strategy)
    return list(groups.values())


def _refuse_above(roles: Roles, most: int, strategies: Sequence[Strategy]) -> None:
    """Raise CacheExhausted if a budget of samples exceeds what difficulty has left of a question's draws."""
    forest = roles.evaluation
    pools = forest.root_pools()
    short = np.flatnonzero(pools < most)
    if forest.kind == "steps" and len(short):
        first = forest.question_ids[int(short[0])]
        raise CacheExhausted(
            f"{strategies[0]} at budget {most}: {len(short)} of {len(pools)} questions hold fewer samples apart from "
            f"those that estimate difficulty (first: {first!r}, {int(pools[short[0]])} and {len(roles.draws[first])}). "
            "Lower the budget or difficulty_draws, or record more."
        )


def _refuse_few(forest: Forest, chosen: Sequence[Int64s], least: int, strategies: Sequence[Strategy]) -> None:
    """Raise ValueError if a question has too few draws for its difficulty."""
    few = [q for q, draws in enumerate(chosen) if len(draws) < least]
    if not few:
        return
    fewest = min(few, key=lambda q: len(chosen[q]))
    where = f"{len(few)} of {len(chosen)} questions of run {forest.run_id!r}"
    count = f"(fewest: {forest.question_ids[fewest]!r}, {len(chosen[fewest])})"
    if strategies:
        named = ", ".join(map(str, strategies))
        raise ValueError(
            f"difficulty: {where} hold fewer than {least} solutions that no trial of {named} asks for {count}. "
            "Lower their trials or budgets, or record more samples."
        )
    raise ValueError(
        f"difficulty: {where} hold fewer than {2 * least} solutions, half of which would estimate it {count}. "
        "Record more samples, or leave these questions out."
    )


# ------------------------------------------------------------------------------------ which draws tree searches ask for
def _demands(
    forest: Forest, strategies: Sequence[Strategy], budgets: Budgets, trials: int | None
) -> set[tuple[int, int]]:
    """The most root draws that a trial of each search asks for, and the number of trials."""
    demands: dict[int, int] = {}  # searches with as many trials share their permutations
    for search, members in by_search(strategies).items():
        asked = sorted({budget for member in members for budget in budgets_of(member, budgets)})
        check_budgets(search, asked)
        most = max(asked) // (search.steps + 1 if isinstance(search, Lookahead) else 1)
        count = trials if trials is not None else default_trials(forest, search)
        demands[count] = max(most, demands.get(count, 0))
    return {(most, count) for count, most in demands.items()}


def _asked_for(forest: Forest, most: int, trials: int, seed: int, reuse: bool) -> Bools:
    """Which root draws of a recorded run some trial of a tree search asks for, question by question.

    The first `most` of the keyed permutation of the pool, or with `reuse` as many of the cached ones.
    """
    pool = forest.root_pool
    assert pool is not None
    if most >= pool and not reuse:
        return np.ones(forest.num_questions * pool, np.bool_)
    asked = np.zeros((forest.num_questions, pool), np.bool_)
    _, question, draw = _root_children(forest)
    first = np.searchsorted(question, np.arange(forest.num_questions))
    cached = np.bincount(question, minlength=forest.num_questions)
    step = max(1, CELLS // (trials * pool))
    for begin in range(0, forest.num_questions, step):
        here = np.arange(begin, min(begin + step, forest.num_questions))
        seeds = mixed(np.uint64(seed), forest.trees.question_key[here])
        keys = mixed(np.repeat(seeds, trials), np.tile(np.arange(trials, dtype=np.uint64), len(here)))
        q = np.repeat(here, trials)
        if reuse:
            for i in range(most):
                place = (_bits(keys, i) * cached[q].astype(np.uint64)) >> np.uint64(32)
                there = cached[q] > 0
                asked[q[there], draw[(first[q] + place.astype(np.int64))[there]]] = True
            continue
        lanes = np.arange(len(keys))
        places = np.tile(np.arange(pool, dtype=np.int32), (len(keys), 1))
        for i in range(most):
            j = i + ((_bits(keys, i) * np.uint64(pool - i)) >> np.uint64(32)).astype(np.int64)
            picked = places[lanes, j]
            places[lanes, j] = places[:, i]
            asked[q, picked] = True
    return asked.ravel()


def _bits(keys: UInt64s, i: int) -> UInt64s:
    """32 random bits of each key for step i of its permutation."""
    return mixed(keys, np.uint64(PERMUTE + i)) >> np.uint64(32)


# --------------------------------------------------------------------------------------------------- parts of a forest
def _root_children(forest: Forest) -> tuple[Int64s, Int64s, Int32s]:
    """Rows of the cached root draws, their questions and numbers; question by question, in draw order."""
    trees = forest.trees
    prompts = trees.question_start[:-1]
    first, counts = trees.child_start[prompts].astype(np.int64), trees.child_stop[prompts] - trees.child_start[prompts]
    question = np.repeat(np.arange(forest.num_questions), counts)
    rows = np.arange(len(question)) + np.repeat(first - np.cumsum(counts) + counts, counts)
    return rows, question, trees.draw[rows]


def _part(forest: Forest, draws: Sequence[Int64s], *, whole: bool, renumber: bool = True) -> Forest:
    """The forest with these root draws of each question alone, numbered anew in their order; pools as they were.

    Below them stands everything (`whole`), or the solution that they lead to, draw 0 at every step. Draws that are not
    cached take their number and are not cached in the part either.
    """
    trees = forest.trees
    rows, question, number = _root_children(forest)
    if forest.root_pool is None:
        prompts = trees.question_start[:-1]
        number = (rows - trees.child_start[prompts][question]).astype(np.int32)
    width = 1 + max((int(taken.max(initial=0)) for taken in draws), default=0)
    renumbered = np.full((forest.num_questions, width), -1, np.int32)
    for q, taken in enumerate(draws):
        renumbered[q, taken] = np.arange(len(taken))
    among = number < width
    new_draw = np.full(len(rows), -1, np.int32)
    new_draw[among] = renumbered[question[among], number[among]]
    roots = rows[new_draw >= 0]
    kept = np.zeros(len(forest.node_id), np.bool_)
    kept[trees.question_start[:-1]] = True
    kept[roots] = True
    if whole:
        _keep_below(trees, kept)
    else:
        found = forest.solutions()
        places = np.concatenate([found.start[q] + taken for q, taken in enumerate(draws)] or [np.zeros(0, np.int64)])
        above = found.row[places]
        while len(above):
            above = above[~kept[above]]
            kept[above] = True
            above = trees.parent[above]
    draw = trees.draw.copy()
    if renumber:
        draw[rows] = new_draw
    place = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    parent = trees.parent[kept]
    part = trees._replace(
        question_start=place[trees.question_start],
        parent=np.where(parent < 0, -1, place[parent]).astype(np.int32),
        child_start=place[trees.child_start[kept]].astype(np.int32),
        child_stop=place[trees.child_stop[kept]].astype(np.int32),
        tokens=trees.tokens[kept],
        answer=trees.answer[kept],
        draw=draw[kept],
    )
    scores = {verifier: column[kept] for verifier, column in forest.scores.items()}
    node_id = forest.node_id[kept]
    for column in (*part, *scores.values(), node_id):
        column.flags.writeable = False
    return replace(forest, trees=part, scores=scores, node_id=node_id, _kept={})


def _keep_below(trees: Trees, kept: Bools) -> None:
    """Keep whatever stands below what is kept under a prompt."""
    below = np.flatnonzero(trees.parent >= 0)
    below = below[trees.parent[trees.parent[below]] >= 0]
    above = trees.parent[below]
    while True:
        found = kept[above] & ~kept[below]
        if not found.any():
            return
        kept[below[found]] = True
