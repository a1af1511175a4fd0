"""The readable specification of replays: node objects, dictionaries, loops. Slow on purpose, and nothing from kernels.

The engine must give the very same numbers: `==`, floats included. Sums therefore run in the order in which they are
written here. Where a closed form exists it is given as a fraction, computed by counting subsets.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

# ------------------------------------------------------------------------------------------------- the random stream
MASK = 2**64 - 1
PERMUTE, TIE, BORROWING = 2**32, 2**33, 2**34
ROUNDS = 40
GREEDY = -1  # as the number of a draw: the greedy continuation


def mix(key: int, counter: int) -> int:
    z = (key + 0x9E3779B97F4A7C15 * (counter + 1)) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def trial_key(seed: int, question_id: str, trial: int) -> int:
    question = int.from_bytes(hashlib.blake2b(question_id.encode()).digest()[:8], "little")
    return mix(mix(seed, question), trial)


def first_draws(key: int, pool: int, count: int) -> list[int]:
    """The first `count` of a random permutation of range(pool)."""
    places = list(range(pool))
    for i in range(count):
        j = i + ((mix(key, PERMUTE + i) >> 32) * (pool - i) >> 32)
        places[i], places[j] = places[j], places[i]
    return places[:count]


# ------------------------------------------------------------------------------------------------------------- trees
@dataclass(eq=False)
class Node:
    id: int | None
    draw: int
    tokens: int
    ends: bool
    answer: str | None
    correct: bool
    score: float  # NaN: not scored
    parent: Node | None
    children: list[Node] = field(default_factory=list)  # sampled ones, by draw
    greedy: Node | None = None


@dataclass
class Run:
    prompts: dict[str, Node]
    root_pool: int | None
    step_pool: int | None

    def pool(self, node: Node) -> int:
        pool = self.root_pool if node.parent is None else self.step_pool
        return len(node.children) if pool is None else pool

    def child(self, node: Node, draw: int) -> Node | None:
        """Draw number `draw` of a node, None if it is not cached. Imported: the draws are what is cached."""
        pool = self.root_pool if node.parent is None else self.step_pool
        if pool is None:
            return node.children[draw] if draw < len(node.children) else None
        return next((child for child in node.children if child.draw == draw), None)


def read(questions: Sequence[dict[str, Any]], root_pool: int | None, step_pool: int | None, verifier: str) -> Run:
    prompts = {}
    for question in questions:
        prompt = Node(None, 0, 0, False, None, False, math.nan, None)
        nodes: dict[int | None, Node] = {None: prompt}
        for entry in sorted(question["nodes"], key=lambda entry: entry["id"]):
            answer = entry.get("answer")
            score = float(np.float32(entry.get("scores", {}).get(verifier, math.nan)))
            parent = nodes[entry["parent"]]
            node = Node(
                entry["id"], entry.get("draw", 0), entry["tokens"], "answer" in entry, answer,
                answer is not None and answer == question["gold"], score, parent,
            )  # fmt: skip
            nodes[entry["id"]] = node
            if not entry.get("greedy", False):
                parent.children.append(node)
            elif parent.greedy is None or node.draw < parent.greedy.draw:
                parent.greedy = node
        for node in nodes.values():
            node.children.sort(key=lambda child: child.draw)
        prompts[question["question_id"]] = prompt
    return Run(prompts, root_pool, step_pool)


def path_score(node: Node, agg: str) -> float:
    """Score of a solution: last, min, prod or mean over its steps; computed in float64, kept as float32."""
    steps = []
    at: Node | None = node
    while at is not None and at.parent is not None:
        steps.append(at.score)
        at = at.parent
    steps.reverse()
    if agg == "last":
        return steps[-1]
    if any(math.isnan(step) for step in steps):
        return math.nan
    if agg == "min":
        return min(steps)
    total = 0.0 if agg == "mean" else 1.0
    for step in steps:
        total = total + step if agg == "mean" else total * step
    return float(np.float32(total / len(steps) if agg == "mean" else total))


# -------------------------------------------------------------------------------------------------------- selections
def added(values: Sequence[float]) -> float:
    """Plain float sums in order: Python's own `sum` does better from 3.12 on."""
    total = 0.0
    for value in values:
        total += value
    return total


def share_correct(tied: Sequence[Node]) -> float:
    return sum(node.correct for node in tied) / len(tied) if tied else 0.0


def select(name: str, candidates: Sequence[Node], score: Callable[[Node], float]) -> float:
    """What a selection makes of the candidates: the share of correct ones among those that tie for the win."""
    answered = [node for node in candidates if node.ends and node.answer is not None]
    if name == "oracle":
        return float(any(node.correct for node in answered))
    if name == "best":
        highest = max((score(node) for node in answered), default=0.0)
        return share_correct([node for node in answered if score(node) == highest])
    sums: dict[str, float] = {}
    first: dict[str, Node] = {}
    for node in answered:
        assert node.answer is not None
        sums[node.answer] = sums.get(node.answer, 0.0) + (1.0 if name == "majority" else score(node))
        first.setdefault(node.answer, node)
    return share_correct([first[answer] for answer in sums if sums[answer] == max(sums.values())])


# ---------------------------------------------------------------------------------------------------------- searches
class Missing(Exception):
    """Draws that are not cached: (node, draw)."""


class Exhausted(Exception):
    """A pool is smaller than what is asked of it."""


@dataclass
class Found:
    candidates: list[Node]
    tokens: int
    critical: int
    generations: int = 0
    calls: int = 0
    prefix: int = 0
    borrowed: int = 0
    product: float | None = None  # mean product of what two different blocks of a trial are worth


def solution(run: Run, prompt: Node, draw: int) -> tuple[Node, int, str]:
    """Where a root draw leads when draw 0 is taken below it, its tokens, and how it ended."""
    node, tokens = prompt, 0
    while not node.ends:
        child = run.child(node, draw)
        if child is None:
            return node, tokens, "exhausted" if run.pool(node) <= draw else "missing"
        node, tokens, draw = child, tokens + child.tokens, 0
    return node, tokens, "complete"


def sample(run: Run, prompt: Node, key: int, n: int, reuse: bool = False) -> list[Found]:
    """The blocks of n that a permutation of a complete pool is cut into; of another pool, its first n alone.

    With `reuse` there is one block, drawn from the complete solutions with replacement.
    """
    if reuse:
        pool = [ended for ended in pool_of(run, prompt) if ended[2] == "complete"]
        if not pool:
            raise Exhausted
        return [found_of([pool[(mix(key, PERMUTE + i) >> 32) * len(pool) >> 32] for i in range(n)])]
    pool = pool_of(run, prompt)
    if len(pool) < n:
        raise Exhausted
    if all(state == "complete" for _, _, state in pool):
        order = first_draws(key, len(pool), len(pool))
        return [found_of([pool[draw] for draw in order[i * n : i * n + n]]) for i in range(len(pool) // n)]
    draws = first_draws(key, len(pool), n)
    missing = []
    for draw in draws:
        if pool[draw][2] == "missing":
            node = pool[draw][0]
            missing.append((node, draw if node is prompt else 0))
    exhausted = any(pool[draw][2] == "exhausted" for draw in draws)
    if missing or exhausted:
        raise Missing(missing, exhausted) if missing else Exhausted
    return [found_of([pool[draw] for draw in draws])]


def pool_of(run: Run, prompt: Node) -> list[tuple[Node, int, str]]:
    return [solution(run, prompt, draw) for draw in range(run.pool(prompt))]


def found_of(solutions: Sequence[tuple[Node, int, str]]) -> Found:
    lengths = [tokens for _, tokens, _ in solutions]
    return Found([node for node, _, _ in solutions], sum(lengths), max(lengths))


@dataclass(eq=False)
class Candidate:
    node: Node
    key: int
    above: int  # tokens from the prompt to its parent
    copy: bool = False  # of an absorbed candidate: nothing was sampled


def beam(
    run: Run, prompt: Node, key: int, n: int, width: int, finished: str = "freeze", steps: int = 0,
    policy: str = "refuse",
) -> Found:  # fmt: skip
    """Beam search of n candidates; with `steps`, they rank by the score at the end of a greedy rollout."""
    width = min(width, n)
    places = math.ceil(n / width)
    answers: list[Node] = []
    tokens = critical = generations = calls = prefix = borrowed = 0
    senders = [(Candidate(prompt, key, 0), n)]
    for depth in range(ROUNDS):
        last = depth == ROUNDS - 1
        candidates: list[Candidate] = []
        missing: list[tuple[Node, int]] = []
        for sender, count in senders:
            node, above = sender.node, sender.above + sender.node.tokens
            if node.ends:
                candidates += [Candidate(node, mix(sender.key, i + 1), above, copy=True) for i in range(count)]
                continue
            children, lent = draw_children(run, node, sender.key, count, policy)
            for child, draw in children:
                if child is None:
                    missing.append((node, draw))
                else:
                    candidates.append(Candidate(child, mix(sender.key, draw + 1), above))
            borrowed += lent
            calls += count
            prefix += count * above
        ends: dict[Candidate, Node] = {}
        chains: dict[Candidate, int] = {}
        for candidate in candidates:
            end, length = candidate.node, 0
            for _ in range(0 if last else steps):
                if end.ends:
                    break
                if end.greedy is None:
                    missing.append((end, GREEDY))
                    break
                end = end.greedy
                length += end.tokens
            ends[candidate] = end
            chains[candidate] = 0 if candidate.copy else candidate.node.tokens + length
            if end is not candidate.node:
                calls += 1
                prefix += candidate.above + candidate.node.tokens
        if missing:
            if run.step_pool is None:
                raise Exhausted
            raise Missing(missing, False)
        tokens += sum(chains.values())
        critical += max(chains.values())
        generations += sum(candidate.node.ends and not candidate.copy for candidate in candidates)
        going = [candidate for candidate in candidates if not candidate.node.ends]
        if finished in ("freeze", "pool"):
            answers += [candidate.node for candidate in candidates if candidate.node.ends]
            candidates = going
        if finished == "absorb" and (not going or last):
            answers = [candidate.node for candidate in candidates if candidate.node.ends]
        if finished != "shrink" and (not going or last):
            generations += len(going)
            break
        ranked = sorted(candidates, key=lambda candidate: (-ends[candidate].score, mix(candidate.key, TIE)))
        if finished == "pool" and len(ranked) < places:
            shares = [n // len(ranked) + (p < n % len(ranked)) for p in range(len(ranked))]
        else:
            num = n if finished == "pool" else len(ranked)
            shares = [min(width, num - start) for start in range(0, num, width)]
        senders = list(zip(ranked, shares, strict=False))
        if finished == "shrink":
            answers += [sender.node for sender, _ in senders if sender.node.ends]
            senders = [(sender, share) for sender, share in senders if not sender.node.ends]
            if not senders:
                break
            if last:
                generations += len(going)
    return Found(answers, tokens, critical, generations * (steps + 1), calls, prefix, borrowed)


def draw_children(run: Run, node: Node, key: int, count: int, policy: str) -> tuple[list[tuple[Node | None, int]], int]:
    """Children with the numbers that key them, None for a draw that is not cached; how many of them are borrowed."""
    pool, recorded = run.pool(node), run.step_pool is not None
    if policy == "reuse":
        if not node.children:
            raise Missing([], False) if recorded else Exhausted
        places = [(mix(key, PERMUTE + i) >> 32) * len(node.children) >> 32 for i in range(count)]
        return [(node.children[place], i) for i, place in enumerate(places)], 0
    borrows = policy == "borrow" and node.parent is not None
    if pool < count and not borrows:
        raise Exhausted
    draws = list(range(count)) if pool <= count else first_draws(key, pool, count)
    children = [(run.child(node, draw) if draw < pool else None, draw) for draw in draws]
    lacking = sum(child is None for child, _ in children)
    if not borrows or not lacking:
        return children, 0
    scored = [other for other in same_depth(node) if not math.isnan(other.score)]
    donors = [other for other in scored if other is not node and len(other.children) >= lacking]
    if not donors:
        raise Exhausted if pool < count else Missing([], False)
    donor = min(donors, key=lambda other: abs(other.score - node.score))  # the first of those as near
    lent = iter(first_draws(mix(key, BORROWING), len(donor.children), lacking))
    return [(donor.children[next(lent)] if child is None else child, draw) for child, draw in children], lacking


def same_depth(node: Node) -> list[Node]:
    """The nodes of its question and depth, in level order; greedy ones after their sampled siblings."""
    depth, prompt = 0, node
    while prompt.parent is not None:
        depth, prompt = depth + 1, prompt.parent
    level = [prompt]
    for _ in range(depth):
        level = [child for above in level for child in [*above.children, above.greedy] if child is not None]
    return level


# ----------------------------------------------------------------------------------------------------------- replays
def search_of(spec: str, budget: int) -> tuple[str, dict[str, Any], str, str]:
    """Search, its parameters at this budget, selection and its aggregate, of a spec that is known to be sound."""
    left, right = spec.split("+")
    selection, _, aggregate = right.rstrip(")").partition("(agg=")
    search, _, inside = left.rstrip(")").partition("(")
    given = dict(part.split("=") for part in inside.split(",") if part)
    if search in ("beam", "lookahead"):
        width, steps = given.get("width", "4"), int(given.get("steps", "3" if search == "lookahead" else "0"))
        n = budget // (steps + 1)
        number = round(math.sqrt(n)) if width == "sqrt" else int(width)
        choice = {"n": n, "width": number, "steps": steps, "finished": given.get("finished", "freeze")}
        return search, choice, selection, aggregate
    if search == "revise":
        if "sequential" in given:
            sequential = int(given["sequential"])
        else:
            a, b = map(int, given["ratio"].split(":"))
            sequential = round(math.sqrt(budget * a / b))
        assert budget % sequential == 0
        default = "hierarchical" if selection in ("best", "weighted") else "pooled"
        shape = {"parallel": budget // sequential, "sequential": sequential, "across": given.get("across", default)}
        return search, shape, selection, aggregate
    return search, {}, selection, aggregate


def run_trial(
    run: Run, question_id: str, spec: str, budget: int, seed: int, trial: int, policy: str = "refuse"
) -> tuple[Found, float]:
    """One trial: what the search found, and the value of the selection. Raises Missing or Exhausted."""
    search, parameters, selection, agg = search_of(spec, budget)
    prompt, key = run.prompts[question_id], trial_key(seed, question_id, trial)
    scores: dict[Node, float] = {}

    def score(node: Node) -> float:
        if node not in scores:
            scores[node] = path_score(node, agg or "last")
        return scores[node]

    if search == "sample":
        blocks = sample(run, prompt, key, budget, policy == "reuse")
        worths = [select(selection, block.candidates, score) for block in blocks]
        m, total, squares = len(blocks), added(worths), added([worth * worth for worth in worths])
        product = (total * total - squares) / (m * (m - 1)) if m > 1 else None
        return replace(blocks[0], product=product), total / m  # its costs are the first block's
    found = beam(run, prompt, key, **parameters, policy=policy)
    return found, select(selection, found.candidates, score)


def replay(
    run: Run, spec: str, budgets: Sequence[int], *, trials: int, seed: int, policy: str = "refuse"
) -> dict[tuple[str, int], dict[str, Any]]:
    """Monte Carlo figures per (question, budget)."""
    figures = {}
    for question_id in run.prompts:
        for budget in budgets:
            values: list[float] = []
            products: list[float] = []
            tokens = critical = missing = exhausted = 0
            for trial in range(trials):
                try:
                    found, value = run_trial(run, question_id, spec, budget, seed, trial, policy)
                except Missing as draws:
                    missing += 1
                    exhausted += draws.args[1]
                except Exhausted:
                    exhausted += 1
                else:
                    values.append(value)
                    if found.product is not None:
                        products.append(found.product)
                    tokens += found.tokens
                    critical += found.critical
            figures[question_id, budget] = summary(values, trials, tokens, critical, missing, exhausted)
            figures[question_id, budget]["within"] = within(figures[question_id, budget], products, len(values))
    return figures


def within(figures: dict[str, Any], products: list[float], count: int) -> float | None:
    """Variance over new generations: squared mean less mean product of blocks, without the noise of the mean."""
    if not products or len(products) < count or figures["variance"] is None:
        return None
    mean, variance = float(figures["lower"]), float(figures["variance"])  # a complete pool: all trials are supported
    return mean * mean - variance - added(products) / count


def summary(
    values: list[float], trials: int, tokens: int, critical: int, missing: int, exhausted: int
) -> dict[str, Any]:
    count = len(values)
    supported = count / trials
    accuracy = variance = None
    lower = 0.0
    if count:
        shift = squares = 0.0
        for value in values[1:]:
            shift += value - values[0]
            squares += (value - values[0]) * (value - values[0])
        mean = values[0] + shift / count
        lower = mean * supported
        accuracy = mean if supported >= 0.9 else None
        if count > 1:
            variance = max(squares - shift * shift / count, 0.0) / (count - 1) / count
    return {
        "accuracy": accuracy,
        "lower": lower,
        "upper": lower + (1.0 - supported),
        "supported": supported,
        "variance": variance,
        "tokens": tokens / count if count else None,
        "critical_tokens": critical / count if count else None,
        "missing": missing / trials,
        "exhausted": exhausted / trials,
    }


def demand(
    run: Run, specs: Sequence[str], budgets: Sequence[int], *, trials: int, seed: int
) -> set[tuple[str, int | None, int]]:
    """(question, node or None for the prompt, draw): the next layer of draws that the replays lack."""
    wanted: set[tuple[str, int | None, int]] = set()
    for spec in specs:
        for budget in budgets:
            search, parameters, _, _ = search_of(spec, budget)
            for question_id, prompt in run.prompts.items():
                if search == "revise":
                    for draw in range(parameters["parallel"]):
                        node, following = prompt, draw
                        for _ in range(parameters["sequential"]):
                            child = run.child(node, following)
                            if child is None:
                                wanted.add((question_id, node.id, following))
                                break
                            node, following = child, 0
                    continue
                for trial in range(trials):
                    try:
                        run_trial(run, question_id, spec, budget, seed, trial)
                    except Missing as draws:
                        wanted.update((question_id, node.id, draw) for node, draw in draws.args[0])
                    except Exhausted:
                        pass
    return wanted


# ------------------------------------------------------------------------------------------------------ closed forms
def exact(run: Run, question_id: str, spec: str, n: int) -> tuple[Fraction, Fraction, Fraction]:
    """Value, tokens and critical tokens of `sample` over all n-subsets of a complete pool; not of weighted votes."""
    _, _, selection, agg = search_of(spec, n)
    pool = pool_of(run, run.prompts[question_id])
    assert all(state == "complete" for _, _, state in pool)
    num = len(pool)

    def highest(keys: list[float], worth: list[Fraction]) -> Fraction:
        """Expected worth of the highest-keyed solution of a subset, tied ones sharing."""
        total = Fraction(0)
        for key in set(keys):
            below = sum(other < key for other in keys)
            group = [value for other, value in zip(keys, worth, strict=True) if other == key]
            wins = Fraction(math.comb(below + len(group), n) - math.comb(below, n), math.comb(num, n))
            total += wins * sum(group, Fraction(0)) / len(group)
        return total

    keys = []
    for node, _, _ in pool:
        score = path_score(node, agg or "last")
        keys.append(float(node.correct) if selection == "oracle" else -math.inf if node.answer is None else score)
    lengths = [Fraction(tokens) for _, tokens, _ in pool]
    value = Fraction(0)
    if selection == "majority":
        value = majority([(node.answer, node.correct) for node, _, _ in pool], n)
    elif selection in ("best", "oracle"):
        value = highest(keys, [Fraction(int(node.correct)) for node, _, _ in pool])
    costs = n * sum(lengths, Fraction(0)) / num, highest([float(length) for length in lengths], lengths)
    return value, *costs


def majority(answers: Sequence[tuple[str | None, bool]], n: int) -> Fraction:
    """Expected share of correct ones among the most frequent answers of n, counted over how many each may have."""
    counts: dict[tuple[str | None, bool], int] = {}
    for answer in answers:
        counts[answer] = counts.get(answer, 0) + 1
    total = Fraction(0)
    for drawn in itertools.product(*(range(count + 1) for count in counts.values())):
        if sum(drawn) == n:
            votes = {answer: num for answer, num in zip(counts, drawn, strict=True) if answer[0] is not None and num}
            winners = [answer for answer in votes if votes[answer] == max(votes.values())]
            subsets = math.prod(math.comb(count, num) for count, num in zip(counts.values(), drawn, strict=True))
            if winners:
                total += subsets * Fraction(sum(correct for _, correct in winners), len(winners))
    return total / math.comb(len(answers), n)
