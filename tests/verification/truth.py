"""What each strategy is worth on a Markov family: the algorithm itself, on fresh draws, as an exact distribution.

Written from the definitions of the strategies, not from their kernels: a search is the distribution of the candidates
that it ends with, computed round by round. Ties are broken uniformly, by averaging over all orders of the tied.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby, permutations, product

from tests.verification.markov import GOLD, UNPARSABLE, Family, Step

Bag = tuple[Step, ...]  # candidates, sorted: their order does not matter
Bags = Mapping[Bag, float]  # probability of each


# --------------------------------------------------------------------------------------------------------- searches
def sample(family: Family, n: int) -> Bags:
    """n solutions, each drawn step by step."""
    solution: dict[Bag, float] = defaultdict(float)

    def extend(step: Step | None, depth: int, chance: float) -> None:
        for following, share in family.following(step, depth).items():
            if following.answer is None:
                extend(following, depth + 1, chance * share)
            else:
                solution[following,] += chance * share

    extend(None, 1, 1.0)
    return _times(solution, n)


def beam(family: Family, n: int, width: int, merit: Callable[[Step, int], float] | None = None) -> Bags:
    """Keep the best ⌈active / width⌉, send `width` children from each and the remainder from the last of them.

    Finished candidates join the answers. `merit` ranks an active step, given its depth; default: its score.
    """
    width = min(width, n)
    value = merit or (lambda step, depth: step.score)

    def shares(active: Bag, depth: int) -> Iterable[tuple[list[tuple[Step, int]], float]]:
        kept = math.ceil(len(active) / width)
        sent = [width] * (kept - 1) + [len(active) - width * (kept - 1)]
        for order, chance in _orders(active, lambda step: value(step, depth)):
            yield list(zip(order[:kept], sent, strict=True)), chance

    return _rounds(family, n, shares)


def lookahead(family: Family, n: int, width: int, steps: int) -> Bags:
    """Beam search in which a step is ranked by the score at the end of a greedy rollout of up to `steps` steps."""

    def merit(step: Step, depth: int) -> float:
        for ahead in range(1, steps + 1):
            if step.answer is None:
                step = family.greedy(step, depth + ahead)
        return step.score

    return beam(family, n, width, merit)


def dvts(family: Family, n: int, width: int, outputs: str) -> Bags:
    """n / width subtrees, each going on from the best of `width` siblings until that one has ended.

    The siblings of its last round answer, those that go on not at all (`all`); or the best of them alone (`best`).
    """
    width = min(width, n)
    now: dict[Step | None, float] = {None: 1.0}  # what a subtree stands on, of those that go on
    ended: dict[Bag, float] = defaultdict(float)
    for depth in range(1, family.depth + 1):
        then: dict[Step | None, float] = defaultdict(float)
        for step, chance in now.items():
            law = family.following(step, depth)
            for siblings, share in _times({(following,): part for following, part in law.items()}, width).items():
                top = [sibling for sibling in siblings if sibling.score == max(other.score for other in siblings)]
                for kept in top:
                    weight = chance * share / len(top)
                    if kept.answer is None:
                        then[kept] += weight
                    elif outputs == "best":
                        ended[kept,] += weight
                    else:
                        ended[_sorted(_silent(sibling) for sibling in siblings)] += weight
        now = then
    return _times(ended, n // width)


def _silent(step: Step) -> Step:
    """The same, but one that goes on abstains."""
    return step if step.answer is not None else step._replace(answer=UNPARSABLE)


def rebase(family: Family, n: int, temperature: float) -> Bags:
    """n expansions, less one for each candidate that has finished, shared out by softmax(score / temperature).

    Largest remainders: everyone gets the whole part of what is due, the rest goes to the largest fractions.
    """

    def shares(active: Bag, depth: int) -> Iterable[tuple[list[tuple[Step, int]], float]]:
        weight = {step: math.exp((step.score - active[0].score) / temperature) for step in active}
        total = math.fsum(weight[step] for step in active)
        due = {step: len(active) * weight[step] / total for step in active}
        whole = {step: math.floor(due[step] + 1e-9) for step in active}
        left = len(active) - sum(whole[step] for step in active)
        for order, chance in _orders(active, lambda step: round(due[step] - whole[step], 9)):
            yield [(step, whole[step] + (place < left)) for place, step in enumerate(order)], chance

    return _rounds(family, n, shares)


def revise(family: Family, parallel: int, sequential: int, across: str, selection: str) -> Bags:
    """`parallel` chains of `sequential` attempts: all attempts, or the one that stands for each chain."""
    chain: dict[tuple[Step, ...], float] = {(): 1.0}
    for depth in range(1, sequential + 1):
        longer = {}
        for attempts, chance in chain.items():
            for step, share in family.following(attempts[-1] if attempts else None, depth).items():
                longer[*attempts, step] = chance * share
        chain = longer
    seen: dict[Bag, float] = defaultdict(float)
    for attempts, chance in chain.items():
        if across == "pooled":
            seen[_sorted(attempts)] += chance
        elif across == "last":
            seen[attempts[-1],] += chance
        else:
            choices = _chain_choices(attempts, counted=selection in ("majority", "oracle"))
            for step in choices:
                seen[step,] += chance / len(choices)
    return _times(seen, parallel)


def _chain_choices(attempts: Sequence[Step], counted: bool) -> list[Step]:
    """For each answer that may win the chain's own vote, its best attempt; ties between the answers are even."""
    votes = _votes(attempts, counted)
    if not votes:
        return [attempts[0]]
    winners = [answer for answer in votes if votes[answer] == max(votes.values())]
    return [
        max((step for step in attempts if step.answer == answer), key=lambda step: step.score) for answer in winners
    ]


# -------------------------------------------------------------------------------------------------------- selections
def accuracy(bags: Bags, selection: str) -> float:
    """Expected worth of what the selection chooses."""
    assert abs(math.fsum(bags.values()) - 1) < 1e-9
    return math.fsum(chance * worth(bag, selection) for bag, chance in bags.items())


def worth(bag: Sequence[Step], selection: str) -> float:
    """Chance that the selection gives the right answer; tied winners are equally likely."""
    answered = [step for step in bag if step.answer != UNPARSABLE]
    if not answered:
        return 0.0
    if selection == "oracle":
        return float(any(step.answer == GOLD for step in answered))
    if selection == "best":
        top = [step.answer for step in answered if step.score == max(step.score for step in answered)]
        return top.count(GOLD) / len(top)
    votes = _votes(answered, counted=selection == "majority")
    winners = [answer for answer in votes if votes[answer] == max(votes.values())]
    return winners.count(GOLD) / len(winners)


def _votes(steps: Sequence[Step], counted: bool) -> Mapping[str | None, float]:
    votes: Counter[str | None] = Counter()
    for step in steps:
        if step.answer != UNPARSABLE:
            votes[step.answer] += 1 if counted else step.score  # type: ignore[assignment]
    return votes


# ------------------------------------------------------------------------------------------------------------ rounds
Shares = Callable[[Bag, int], Iterable[tuple[list[tuple[Step, int]], float]]]


def _rounds(family: Family, n: int, shares: Shares) -> Bags:
    """n first steps; then round by round as many children of the active as `shares` sends, until all have finished."""

    @cache
    def children(step: Step | None, depth: int, count: int) -> Bags:
        return _times({(following,): share for following, share in family.following(step, depth).items()}, count)

    now: Bags = children(None, 1, n)
    for depth in range(1, family.depth):
        then: dict[Bag, float] = defaultdict(float)
        for bag, chance in now.items():
            finished = tuple(step for step in bag if step.answer is not None)
            active = tuple(step for step in bag if step.answer is None)
            if not active:
                then[bag] += chance
                continue
            senders: dict[tuple[tuple[Step, int], ...], float] = defaultdict(float)
            for sent, share in shares(active, depth):
                senders[tuple(sorted(sent))] += share
            for sent_out, share in senders.items():
                families = [children(step, depth + 1, count).items() for step, count in sent_out if count]
                for parts in product(*families):
                    new = sum((part for part, _ in parts), finished)
                    then[_sorted(new)] += chance * share * math.prod(part_chance for _, part_chance in parts)
        now = then
    return now


def _orders(active: Bag, key: Callable[[Step], float]) -> Iterable[tuple[tuple[Step, ...], float]]:
    """Every order by falling key, ties in all their orders alike, with its probability."""
    groups = [list(group) for _, group in groupby(sorted(active, key=key, reverse=True), key)]
    ways = math.prod(math.factorial(len(group)) for group in groups)
    for parts in product(*(permutations(group) for group in groups)):
        yield sum(parts, ()), 1 / ways


def _times(bags: Bags, count: int) -> Bags:
    """`count` independent draws, put together."""
    total: Bags = {(): 1.0}
    for _ in range(count):
        longer: dict[Bag, float] = defaultdict(float)
        for bag, chance in total.items():
            for more, share in bags.items():
                longer[_sorted(bag + more)] += chance * share
        total = longer
    return total


def _sorted(bag: Iterable[Step]) -> Bag:
    return tuple(sorted(bag, key=lambda step: (step.state, step.score, step.answer or "")))
