"""What process and outcome verifiers share: the token format, the loss, and how a verifier is judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForTokenClassification

from generate.lab.evaluation import scoring_figures
from generate.lab.training import IGNORE, Example
from generate.protocols import Solution
from generate.recorder import Progress
from generate.training.fit import Fit, fresh_directory, load_base, run_fit, save_stage, short_enough
from generate.training.material import Material, Sampled, split_questions
from generate.verifiers.token_classifier import TokenClassifierVerifier


class Labelled(NamedTuple):
    """A solution as a verifier reads it, with a target for each step (None: not to be learned)."""

    question_id: str
    solution: Solution
    targets: tuple[float | None, ...]


def as_read(material: Material, solution: Sampled) -> Solution:
    """What a verifier is shown: all steps; of a revision run the one attempt, after those before it."""
    prompt = material.prompts[solution.question_id]
    if material.revisions is None:
        return Solution(prompt, solution.texts, solution.stop)
    return Solution(material.revisions.prompt(prompt, solution.texts[:-1]), (solution.texts[-1],), solution.stop)


def token_example(labelled: Labelled, tokenizer: Any) -> Example:
    """The tokens that `TokenClassifierVerifier` reads, and targets where it takes its scores: at the steps' ends."""
    solution, targets = labelled.solution, labelled.targets
    prompt, *steps = tokenizer([solution.prompt, *solution.steps], add_special_tokens=False)["input_ids"]
    ids, values = list(prompt), [IGNORE] * len(prompt)
    for place, (step, target) in enumerate(zip(steps, targets, strict=True)):
        ending = [tokenizer.eos_token_id] if solution.stop == "eos" and place + 1 == len(steps) else []
        ids += [*step, *ending]
        values += [IGNORE] * (len(step) + len(ending))
        if target is not None and len(values) > len(prompt):
            values[-1] = target
    return Example(ids, values)


def odds_of(model: Any, ids: Tensor) -> Tensor:
    """Log-odds of "good" at every token, as the verifier reads them: one label's logit, or the difference of two."""
    logits = model(input_ids=ids, use_cache=False).logits.float()
    odds: Tensor = logits[..., 0] if logits.shape[-1] == 1 else logits[..., 1] - logits[..., 0]
    return odds


def soft_label_loss(model: Any, ids: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy with soft targets, over the tokens that have one."""
    known = targets != IGNORE
    return functional.binary_cross_entropy_with_logits(odds_of(model, ids)[known], targets[known])


def held_out_figures(
    model: Any, tokenizer: Any, labelled: Sequence[Labelled], correct: Sequence[bool]
) -> dict[str, Any]:
    """How the verifier judges these solutions, read as `tts-sim generate score` reads them.

    auc_within_questions   chance that a right solution outscores a wrong one of its question, ties half: mean over the
                           questions that have both (num_mixed_questions); None without such a question
    auc_overall, accuracy, brier, calibration_error (ten bins), all of the last step's score against correctness
    step_mse               mean (score − target)² over all steps with a target; step_mse_of_mean: of their mean
    """
    training = model.training
    verifier = TokenClassifierVerifier(model, tokenizer, verifier_id="held-out")
    scores = verifier.score([item.solution for item in labelled])
    model.train(training)
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
    fit: Fit,
    progress: Progress | None,
) -> dict[str, Any]:
    """Trains on the labelled solutions of one part of the questions, judges on the rest, saves; the report.

    `correct` says which solutions are right. Raises ValueError if the part to learn from holds one label only.
    """
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
        model, tokenizer = load_base(AutoModelForTokenClassification, base, fit)
        examples = [token_example(item, tokenizer) for item in learned]
        examples = [example for example in examples if any(target != IGNORE for target in example.targets)]
        examples, too_long = short_enough(examples, model, fit)
        before = held_out_figures(model, tokenizer, [item for item, _ in judged], [right for _, right in judged])
        done = run_fit(
            model, examples, lambda ids, known: soft_label_loss(model, ids, known), fit, label=stage, progress=progress
        )
        after = held_out_figures(model, tokenizer, [item for item, _ in judged], [right for _, right in judged])
        facts = {
            "stage": stage,
            "base": base,
            "run": material.run_id,
            "num_questions": len(train),
            "num_examples": len(examples),
            "num_targets": sum(target != IGNORE for example in examples for target in example.targets),
            "num_too_long": too_long,
            **done,
            "held_out_before": before,
            "held_out": after,
            "held_out_questions": held_out,
        }
        return save_stage(directory, model, tokenizer, fit, facts)
