"""What the lab's models reached on validation problems: the figures of each stage's report.json."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from transformers import LlamaForTokenClassification, PreTrainedTokenizerFast

from generate.lab.problems import Problem, revision_prompt
from generate.lab.rollouts import is_correct
from generate.lab.train_verifier import Judged, example_of, last_scores
from generate.training.loop import Example

Figures = dict[str, float | list[float] | dict[str, float]]


def area_under_curve(scores: Sequence[float], correct: Sequence[bool]) -> float:
    """Chance that a correct solution outscores a wrong one, ties half; NaN without both kinds."""
    values, labels = np.asarray(scores), np.asarray(correct, dtype=bool)
    right, wrong = values[labels], values[~labels]
    if len(right) == 0 or len(wrong) == 0:
        return float("nan")
    return float(np.mean((right[:, None] > wrong) + 0.5 * (right[:, None] == wrong)))


def mean_by(keys: Iterable[int], values: Iterable[float]) -> dict[str, float]:
    """The mean of the values of each key, NaN left out, keys ascending."""
    groups: dict[int, list[float]] = defaultdict(list)
    for key, value in zip(keys, values, strict=True):
        if not np.isnan(value):
            groups[key].append(value)
    return {str(key): float(np.mean(groups[key])) for key in sorted(groups)}


def sampling_figures(problems: Sequence[Problem], texts: Sequence[Sequence[str | None]]) -> Figures:
    """pass@1 and coverage of the given samples, overall and by level; the number of questions by fifth of pass@1."""
    correct = [[is_correct(problem, text) for text in row] for problem, row in zip(problems, texts, strict=True)]
    rates = [float(np.mean(row)) for row in correct]
    levels = [problem.level for problem in problems]
    return {
        "pass_at_1": float(np.mean(rates)),
        "coverage": float(np.mean([any(row) for row in correct])),
        "unfinished": float(np.mean([text is None for row in texts for text in row])),
        "pass_at_1_by_level": mean_by(levels, rates),
        "coverage_by_level": mean_by(levels, [float(any(row)) for row in correct]),
        "share_by_fifth": (np.histogram(rates, bins=5, range=(0, 1))[0] / len(rates)).tolist(),
    }


def scoring_figures(
    questions: Sequence[int], levels: Sequence[int], scores: Sequence[float], correct: Sequence[bool]
) -> Figures:
    """How well scores tell right from wrong.

    Accuracy at .5, calibration by tenth, and the AUC within questions of mixed outcome.
    """
    question, score, label = np.asarray(questions), np.asarray(scores), np.asarray(correct, dtype=bool)
    areas, pairs, area_levels = [], [], []
    for key in np.unique(question):
        rows = question == key
        areas.append(area_under_curve(score[rows].tolist(), label[rows].tolist()))
        pairs.append(label[rows].sum() * (~label[rows]).sum())
        area_levels.append(int(np.asarray(levels)[rows][0]))
    mixed = ~np.isnan(areas)
    tenths = np.minimum((score * 10).astype(int), 9)
    gaps = [
        abs(label[tenths == tenth].mean() - score[tenths == tenth].mean()) * np.mean(tenths == tenth)
        for tenth in np.unique(tenths)
    ]
    return {
        "accuracy": float(np.mean((score > 0.5) == label)),
        "calibration_error": float(np.sum(gaps)),
        "auc_within_questions": float(np.mean(np.asarray(areas)[mixed])) if mixed.any() else float("nan"),
        "auc_within_questions_by_pairs": float(np.average(np.asarray(areas)[mixed], weights=np.asarray(pairs)[mixed]))
        if mixed.any()
        else float("nan"),
        "auc_overall": area_under_curve(score.tolist(), label.tolist()),
        "num_mixed_questions": float(mixed.sum()),
        "auc_within_questions_by_level": mean_by(area_levels, areas),
    }


def score_flat(
    verifier: LlamaForTokenClassification,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    texts: Sequence[Sequence[str | None]],
) -> Figures:
    """`scoring_figures` of a process verifier's last-step scores on independent samples."""
    rows = [(index, text) for index, row in enumerate(texts) for text in row if text is not None]
    examples = [
        Example(tokenizer(problems[index].prompt + text + str(tokenizer.eos_token))["input_ids"], [])
        for index, text in rows
    ]
    return scoring_figures(
        [index for index, _ in rows],
        [problems[index].level for index, _ in rows],
        last_scores(verifier, examples),
        [is_correct(problems[index], text) for index, text in rows],
    )


def chain_figures(problems: Sequence[Problem], chains: Sequence[Sequence[str]], attempts: int) -> Figures:
    """pass@1 by attempt (a missing one is wrong); how often a revision breaks a right answer or mends a wrong one."""
    each = len(chains) // len(problems)
    correct = np.zeros((len(chains), attempts), dtype=bool)
    for row, chain in enumerate(chains):
        correct[row, : len(chain)] = [is_correct(problems[row // each], text) for text in chain]
    before, after = correct[:, :-1], correct[:, 1:]
    return {
        "pass_at_1_by_attempt": correct.mean(axis=0).tolist(),
        "right_turned_wrong": float((before & ~after).sum() / max(1, before.sum())),
        "wrong_turned_right": float((~before & after).sum() / max(1, (~before).sum())),
    }


def chain_judgements(problems: Sequence[Problem], chains: Sequence[Sequence[str]]) -> list[tuple[int, Judged]]:
    """(question, attempt in its context, judged right or wrong) for every attempt.

    Steps before the last have the value `IGNORE`.
    """
    each = len(chains) // len(problems)
    judged = []
    for row, chain in enumerate(chains):
        problem = problems[row // each]
        for place, text in enumerate(chain):
            values = (float(is_correct(problem, text)),) * (text.count("\n") + 1)
            judged.append((row // each, Judged(revision_prompt(problem.prompt, chain[:place]), text, values)))
    return judged


def score_chains(
    verifier: LlamaForTokenClassification,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    chains: Sequence[Sequence[str]],
) -> Figures:
    """`scoring_figures` of an outcome verifier on every attempt of the given chains."""
    judged = chain_judgements(problems, chains)
    return scoring_figures(
        [question for question, _ in judged],
        [problems[question].level for question, _ in judged],
        last_scores(verifier, [example_of(item, tokenizer) for _, item in judged]),
        [bool(item.values[-1]) for _, item in judged],
    )
