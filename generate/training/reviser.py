"""A revision model: fine-tuned on up to a few wrong attempts in context, followed by a right one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM

from cache import Cache
from generate.lab.train_reviser import edit_distance
from generate.lab.training import IGNORE, Example, batches
from generate.prompts import RevisionContext
from generate.recorder import Progress
from generate.training.fit import Fit, fresh_directory, load_base, run_fit, save_stage, short_enough
from generate.training.material import Material, read_material, split_questions
from tts_sim.draws import mix, question_key


class Revision(NamedTuple):
    """Wrong attempts, the closest one last, and the right one that follows."""

    question_id: str
    wrong: tuple[str, ...]
    right: str


def train_reviser(
    cache: Cache,
    base: str,
    out: str | Path,
    *,
    run_id: str | None = None,
    separator: str = "\n\n",
    context_attempts: int = 4,
    per_question: int = 16,
    fit: Fit,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Trains a language model to write a right attempt after wrong ones, saves it in `out`, and returns its report.

    From a run of steps: pairs of wrong and right samples of one question (`sampled_revisions`); from a run of
    revisions: what its chains hold (`chain_revisions`), shown as that run showed it. The loss is on the right attempt
    only. The context is the one that a recorder shows: attempts, each closed by `separator`, then the question.
    Record chains with the same separator and `context_attempts`; the report names them.
    Raises ValueError if no question has both a wrong and a right attempt, or fewer than 3 have.
    Source: Snell et al. 2024 (arXiv:2408.03314) §6.1; ours puts the question last, where the base expects it.
    """
    for name, value in (("context_attempts", context_attempts), ("per_question", per_question)):
        if value < 1:
            raise ValueError(f"{name} {value}: expected a whole number from 1.")
    material = read_material(cache, run_id)
    if material.revisions is None:
        context = RevisionContext(separator, context_attempts)
        revisions = sampled_revisions(material, most=context_attempts, per_question=per_question, seed=fit.seed)
    else:
        context = material.revisions
        revisions = chain_revisions(material, per_question=per_question, seed=fit.seed)
    if not revisions:
        raise ValueError(
            f"run '{material.run_id}' holds no pair of a wrong and a right attempt at one question: "
            "nothing to revise. Record more samples of each question."
        )
    train, held_out = split_questions([one.question_id for one in revisions], held_out=fit.held_out, seed=fit.seed)
    with fresh_directory(out) as directory:
        model, tokenizer = load_base(AutoModelForCausalLM, base, fit)
        learned = [one for one in revisions if one.question_id in set(train)]
        judged = [one for one in revisions if one.question_id in set(held_out)]
        examples, too_long = short_enough(
            [revision_example(one, material, context, tokenizer) for one in learned], model, fit
        )
        before = held_out_losses(model, tokenizer, judged, material, context, fit)
        done = run_fit(
            model, examples, lambda ids, targets: target_loss(model, ids, targets), fit, label="reviser",
            progress=progress,
        )  # fmt: skip
        after = held_out_losses(model, tokenizer, judged, material, context, fit)
        facts = {
            "stage": "reviser",
            "base": base,
            "run": material.run_id,
            "separator": context.separator,
            "context_attempts": context.most,
            "num_questions": len(train),
            "num_examples": len(examples),
            "num_too_long": too_long,
            **done,
            "held_out_before": before,
            "held_out": after,
            "held_out_questions": held_out,
        }
        return save_stage(directory, model, tokenizer, fit, facts)


def sampled_revisions(material: Material, *, most: int, per_question: int, seed: int) -> list[Revision]:
    """`per_question` revisions of each question that has a right and a wrong answered sample.

    The right one is a draw; 0 to `most` wrong ones stand before it (a uniform number, no text twice), the last one the
    closest to it by edit distance, the others drawn. Questions draw independently of each other.
    """
    right, wrong = defaultdict[str, list[str]](list), defaultdict[str, set[str]](set)
    for solution in material.solutions:
        if solution.correct:
            right[solution.question_id].append("".join(solution.texts))
        elif solution.answered:
            wrong[solution.question_id].add("".join(solution.texts))
    revisions = []
    for question_id in sorted(right.keys() & wrong.keys()):
        random = np.random.default_rng(mix(seed, question_key(question_id)))
        faults = sorted(wrong[question_id])
        closest: dict[str, str] = {}
        for _ in range(per_question):
            target = right[question_id][random.integers(len(right[question_id]))]
            count = min(int(random.integers(most + 1)), len(faults))
            attempts: list[str] = []
            if count:
                if target not in closest:
                    closest[target] = min((edit_distance(text, target), text) for text in faults)[1]
                nearest = closest[target]
                others = [text for text in faults if text != nearest]
                attempts = [*(others[place] for place in random.permutation(len(others))[: count - 1]), nearest]
            revisions.append(Revision(question_id, tuple(attempts), target))
    return revisions


def chain_revisions(material: Material, *, per_question: int, seed: int) -> list[Revision]:
    """Right attempts that follow a wrong one in their chain, with the wrong ones before them, in order.

    At most `per_question` of a question, drawn. Right attempts in between are left out of the context.
    """
    assert material.revisions is not None
    attempts = {solution.node_ids: solution for solution in material.solutions}
    found = defaultdict[str, list[Revision]](list)
    for solution in material.solutions:
        before = [attempts.get(solution.node_ids[:length]) for length in range(1, len(solution.node_ids))]
        if solution.correct and before and before[-1] is not None and not before[-1].correct:
            wrong = [one.texts[-1] for one in before if one is not None and one.answered and not one.correct]
            if wrong:
                kept = tuple(wrong[-material.revisions.most :])
                found[solution.question_id].append(Revision(solution.question_id, kept, solution.texts[-1]))
    revisions = []
    for question_id in sorted(found):
        random = np.random.default_rng(mix(seed, question_key(question_id)))
        members = found[question_id]
        revisions += [members[place] for place in sorted(random.permutation(len(members))[:per_question].tolist())]
    return revisions


def revision_example(one: Revision, material: Material, context: RevisionContext, tokenizer: Any) -> Example:
    """The tokens of the context, as a sampler reads it, and of the right attempt with its end, the only targets."""
    prompt: list[int] = tokenizer(context.prompt(material.prompts[one.question_id], one.wrong))["input_ids"]
    target: list[int] = [*tokenizer(one.right, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return Example(prompt + target, [IGNORE] * len(prompt) + [float(token) for token in target])


def target_loss(model: Any, ids: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the next token, over those that are targets."""
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    return functional.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten().long(), ignore_index=int(IGNORE))


@torch.inference_mode()
def held_out_losses(
    model: Any, tokenizer: Any, revisions: Sequence[Revision], material: Material, context: RevisionContext, fit: Fit
) -> dict[str, Any]:
    """Nats per token of right attempts (their end included): after their wrong ones, and after the question alone.

    `loss_with` are those with at least one wrong attempt before them, `loss_without` the same ones with none: a reviser
    that uses what it sees has a smaller `loss_with`.
    """
    training = model.training
    model.eval()
    shown = [one for one in revisions if one.wrong]
    parts = {
        "loss": revisions,
        "loss_with": shown,
        "loss_without": [one._replace(wrong=()) for one in shown],
    }
    figures: dict[str, Any] = {"num_questions": len({one.question_id for one in revisions})}
    figures |= {"num_revisions": len(revisions), "num_with": len(shown)}
    for name, part in parts.items():
        examples = [revision_example(one, material, context, tokenizer) for one in part]
        total, tokens = 0.0, 0
        for ids, targets in batches(examples, tokens=fit.batch_tokens, seed=0, device=model.device) if examples else ():
            known = int((targets[:, 1:] != IGNORE).sum())
            total += float(target_loss(model, ids, targets)) * known
            tokens += known
        figures[name] = total / tokens if tokens else float("nan")
    model.train(training)
    return figures
