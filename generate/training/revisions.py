"""What a reviser learns from: attempts at a question with a right one behind them, and the tokens of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from generate.prompts import Prompts
from generate.training.edit_distance import edit_distance
from generate.training.loop import IGNORE, Example
from generate.training.material import Material, Sampled
from tts_sim.draws import mix, question_key


class Revision(NamedTuple):
    """Earlier attempts, and the right one that follows; `after_right`: the last of them was right, too."""

    question_id: str
    attempts: tuple[str, ...]
    right: str
    after_right: bool = False


class Shown(NamedTuple):
    """What makes tokens of a revision: the bare questions, how the recorder puts them, and what ends an attempt."""

    questions: dict[str, str]
    prompts: Prompts
    tokenizer: Any
    end: int


def sampled_revisions(
    material: Material, *, most: int, per_question: int, any_attempts: float, seed: int
) -> list[Revision]:
    """`per_question` revisions of each question that has a right and a wrong answered sample.

    The right one is a draw; 0 to `most` others (a uniform number) stand before it. With the chance `any_attempts` they
    are any other draws of the question that have an answer, as the next attempts of a chain would be. Else they are
    wrong, no text twice, the last one the closest to the right one by edit distance, the others drawn.
    Questions draw independently of each other.
    """
    answered = defaultdict[str, list[tuple[str, bool]]](list)
    for solution in material.solutions:
        if solution.answered:
            answered[solution.question_id].append(("".join(solution.texts), solution.correct))
    revisions = []
    for question_id, samples in sorted(answered.items()):
        right = [place for place, (_, correct) in enumerate(samples) if correct]
        wrong = sorted({text for text, correct in samples if not correct})
        if not right or not wrong:
            continue
        random = np.random.default_rng(mix(seed, question_key(question_id)))
        closest: dict[str, str] = {}
        for _ in range(per_question):
            chosen = right[random.integers(len(right))]
            target, count = samples[chosen][0], int(random.integers(most + 1))
            if random.random() < any_attempts:
                others = [*range(chosen), *range(chosen + 1, len(samples))]
                picked = [samples[others[place]] for place in random.permutation(len(others))[:count]]
                attempts, after_right = [text for text, _ in picked], bool(picked) and picked[-1][1]
            else:
                if target not in closest:
                    closest[target] = min((edit_distance(text, target), text) for text in wrong)[1]
                far = [text for text in wrong if text != closest[target]]
                attempts = [*(far[place] for place in random.permutation(len(far))[: count - 1]), closest[target]]
                attempts, after_right = attempts if count else [], False
            revisions.append(Revision(question_id, tuple(attempts), target, after_right))
    return revisions


def chain_revisions(material: Material, *, per_question: int, any_attempts: float, seed: int) -> list[Revision]:
    """Right attempts of the run's chains, at most `per_question` of a question, drawn.

    About the share `any_attempts` of them are any right attempts, with all attempts before them as the run showed them.
    The others follow a wrong one; of the attempts before them only the wrong ones that have an answer are kept, in
    order. There are fewer where the chains hold fewer; questions without both a right and a wrong attempt have none.
    """
    assert material.revisions is not None
    most = material.revisions.most
    attempts = {solution.node_ids: solution for solution in material.solutions}
    mended, found = defaultdict[str, list[Revision]](list), defaultdict[str, list[Revision]](list)
    answered = {(solution.question_id, solution.correct) for solution in material.solutions if solution.answered}
    for solution in material.solutions:
        name = solution.question_id
        if not solution.correct or (name, False) not in answered:
            continue
        before = _before(solution, attempts)
        after_right = bool(before) and before[-1].correct
        texts = tuple(one.texts[-1] for one in before[-most:])
        found[name].append(Revision(name, texts, solution.texts[-1], after_right))
        wrong = tuple(one.texts[-1] for one in before if one.answered and not one.correct)
        if wrong and not after_right:
            mended[name].append(Revision(name, wrong[-most:], solution.texts[-1]))
    revisions = []
    for name in sorted(found):
        random = np.random.default_rng(mix(seed, question_key(name)))
        any_kind = int(random.binomial(per_question, any_attempts))
        for members, count in ((found[name], any_kind), (mended[name], per_question - any_kind)):
            revisions += [members[place] for place in sorted(random.permutation(len(members))[:count].tolist())]
    return revisions


def revision_example(one: Revision, shown: Shown) -> Example:
    """The tokens of the prompt, as a sampler reads it, and of the right attempt with its end, the only targets."""
    prompt = shown.prompts.full(shown.questions[one.question_id], one.attempts)
    ids: list[int] = shown.tokenizer(prompt)["input_ids"]
    target: list[int] = [*shown.tokenizer(one.right, add_special_tokens=False)["input_ids"], shown.end]
    return Example(ids + target, [IGNORE] * len(ids) + [float(token) for token in target])


def _before(solution: Sampled, attempts: dict[tuple[int, ...], Sampled]) -> Sequence[Sampled]:
    """The attempts of its chain before this one."""
    return [attempts[solution.node_ids[:length]] for length in range(1, len(solution.node_ids))]
