"""What process and outcome verifiers share: the tokens that are read, the loss, and how a verifier is judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForTokenClassification

from generate.lab.evaluation import scoring_figures
from generate.protocols import Solution
from generate.recorder import Progress
from generate.training.fit import Fit, fresh_directory, length_limit, load_base, run_fit, save_stage, short_enough
from generate.training.loop import IGNORE, Example
from generate.training.material import Material, Sampled, split_questions
from generate.verifiers.odds import label_odds
from generate.verifiers.registry import AUTO
from generate.verifiers.step_verifier import Reading
from generate.verifiers.token_classifier import TokenClassifierVerifier, TrlVerifier

READERS = {"token-classifier": TokenClassifierVerifier, "trl": TrlVerifier}


class Labelled(NamedTuple):
    """A solution as a verifier reads it, with a target for each step (None: not to be learned)."""

    question_id: str
    solution: Solution
    targets: tuple[float | None, ...]


def as_read(material: Material, solution: Sampled) -> Solution:
    """What a verifier is shown: all steps; of a revision run the one attempt, after those before it."""
    question, texts = material.questions[solution.question_id], solution.texts
    before, steps = ((), texts) if material.revisions is None else (texts[:-1], texts[-1:])
    return Solution(material.prompts.plain(question, before), steps, solution.stop, question=question)


def require_trainable(format: str) -> None:
    """Raises ValueError for a format that training does not write."""
    if format != AUTO and format not in READERS:
        raise ValueError(f"--format {format}: expected auto, {', '.join(READERS)}.")


def reader_of(format: str, model: Any, tokenizer: Any, name: str) -> TokenClassifierVerifier:
    """The verifier around the model, which says what is read; auto: the format that the model is marked with, or ours.

    Raises ValueError for a model that has more than two labels.
    """
    if format == AUTO:
        marked = getattr(model.config, "verifier_format", None)
        format = marked if marked in READERS else "token-classifier"
    return READERS[format](model, tokenizer, verifier_id=name)


def token_example(reading: Reading, targets: Sequence[float | None]) -> Example:
    """The tokens that a verifier reads, and the targets where it takes its scores."""
    values = [IGNORE] * len(reading.ids)
    for place, target in zip(reading.places, targets, strict=True):
        if target is not None and place >= 0:
            values[place] = target
    return Example(list(reading.ids), values)


def soft_label_loss(model: Any, ids: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy with soft targets of the log-odds that a verifier reads, over the tokens that have one."""
    known = targets != IGNORE
    odds = label_odds(model(input_ids=ids, use_cache=False).logits.float())
    return functional.binary_cross_entropy_with_logits(odds[known], targets[known])


def held_out_figures(
    verifier: TokenClassifierVerifier, labelled: Sequence[Labelled], correct: Sequence[bool]
) -> dict[str, Any]:
    """How the verifier judges these solutions, scored as `tts-sim generate score` does it.

    auc_within_questions   chance that a right solution outscores a wrong one of its question, ties half: mean over the
                           questions that have both (num_mixed_questions); None without such a question
    auc_overall, accuracy, brier, calibration_error (ten bins), all of the last step's score against correctness
    step_mse               mean (score − target)² over all steps with a target; step_mse_of_mean: of their mean
    """
    verifier.model.eval()
    scores = verifier.score([item.solution for item in labelled])
    ends = np.array([values[-1] for values in scores])
    number = {name: place for place, name in enumerate(dict.fromkeys(item.question_id for item in labelled))}
    figures = scoring_figures([number[item.question_id] for item in labelled], [0] * len(ends), ends.tolist(), correct)
    steps = np.array(
        [
            (score, target)
            for item, values in zip(labelled, scores, strict=True)
            for score, target in zip(values, item.targets, strict=True)
            if target is not None
        ]
    ).reshape(-1, 2)
    return {
        "num_questions": len(number),
        "num_solutions": len(ends),
        **{name: value for name, value in figures.items() if not name.endswith("_by_level")},
        "mean_correct": float(np.mean(correct)),
        "mean_score": float(ends.mean()),
        "brier": float(np.mean((ends - np.asarray(correct)) ** 2)),
        "num_steps": len(steps),
        "step_mse": float(np.mean((steps[:, 0] - steps[:, 1]) ** 2)) if len(steps) else float("nan"),
        "step_mse_of_mean": float(np.var(steps[:, 1])) if len(steps) else float("nan"),
    }


def fit_verifier(
    material: Material,
    labelled: Sequence[Labelled],
    correct: Sequence[bool],
    base: str,
    out: str | Path,
    *,
    stage: str,
    format: str,
    fit: Fit,
    progress: Progress | None,
) -> dict[str, Any]:
    """Trains on the labelled solutions of one part of the questions, judges on the rest, saves; the report.

    `correct` says which solutions are right. Format and kind (`stage`) are saved in the model's config.
    Raises ValueError if the part to learn from holds one label only, or all held-out solutions are too long.
    """
    require_trainable(format)
    train, held_out = split_questions([item.question_id for item in labelled], held_out=fit.held_out, seed=fit.seed)
    learned = [item for item in labelled if item.question_id in set(train)]
    judged = [(item, right) for item, right in zip(labelled, correct, strict=True) if item.question_id in set(held_out)]
    targets = [target for item in learned for target in item.targets if target is not None]
    if len(set(targets)) < 2:
        raise ValueError(
            f"the {len(train)} questions to learn from hold one label only ({targets[0] if targets else 'none'}): "
            "nothing to tell apart. Record more questions, or change --seed."
        )
    with fresh_directory(out) as directory:
        model, tokenizer = load_base(AutoModelForTokenClassification, base, fit, fresh_head=True)
        verifier = reader_of(format, model, tokenizer, base)
        readings = verifier.read([item.solution for item in learned])
        examples = [token_example(reading, item.targets) for reading, item in zip(readings, learned, strict=True)]
        examples = [example for example in examples if any(target != IGNORE for target in example.targets)]
        examples, too_long = short_enough(examples, model, fit)
        lengths = [len(reading.ids) for reading in verifier.read([item.solution for item, _ in judged])]
        fitting = [pair for pair, length in zip(judged, lengths, strict=True) if length <= length_limit(model, fit)]
        if not fitting:
            raise ValueError(f"all {len(judged)} held-out solutions are longer than {length_limit(model, fit)} tokens.")
        unseen, rights = [item for item, _ in fitting], [right for _, right in fitting]
        before = held_out_figures(verifier, unseen, rights)
        done = run_fit(
            model, examples, lambda ids, known: soft_label_loss(model, ids, known), fit, label=stage, progress=progress
        )
        after = held_out_figures(verifier, unseen, rights)
        name = next(name for name, reader in READERS.items() if type(verifier) is reader)
        model.config.verifier_format, model.config.verifier_kind = name, stage
        if name == "trl":
            model.config.step_separator = getattr(model.config, "step_separator", "\n")
        facts = {
            "stage": stage,
            "format": name,
            "base": base,
            "run": material.run_id,
            "num_questions": len(train),
            "num_examples": len(examples),
            "num_targets": sum(target != IGNORE for example in examples for target in example.targets),
            "num_too_long": too_long + len(judged) - len(fitting),
            **done,
            "held_out_before": before,
            "held_out": after,
            "held_out_questions": held_out,
        }
        return save_stage(directory, model, tokenizer, fit, facts)
