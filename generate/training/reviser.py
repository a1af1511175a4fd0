"""A revision model: a language model fine-tuned on a few attempts in context, followed by a right one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM

from cache import Cache
from generate.config import REVISE
from generate.prompts import Prompts, RevisionContext
from generate.recorder import Progress
from generate.runs import run_prompts
from generate.training.fit import (
    Fit,
    end_token,
    fresh_directory,
    length_limit,
    load_base,
    run_fit,
    save_stage,
    short_enough,
)
from generate.training.loop import IGNORE, batches
from generate.training.material import Material, read_material, split_questions
from generate.training.revisions import Revision, Shown, chain_revisions, revision_example, sampled_revisions


def train_reviser(
    cache: Cache,
    base: str,
    out: str | Path,
    *,
    run_id: str | None = None,
    separator: str = "\n\n",
    revision_request: str = REVISE,
    context_attempts: int = 4,
    per_question: int = 16,
    any_attempts: float = 0.0,
    fit: Fit,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Trains a language model to write a right attempt after others, saves it in `out`, and returns its report.

    From a run of steps: right samples after other samples of the question (`sampled_revisions`); from a run of
    revisions: what its chains hold (`chain_revisions`), shown as that run showed it. The loss is on the right attempt
    only. The context is the one that a recorder shows (`generate.prompts`): in a chat, turns by the template of the
    base's tokenizer, with `revision_request` after each attempt; else attempts, each closed by `separator`, then the
    question. Record chains with the settings that the report names.
    In a share `any_attempts` of the examples the attempts are any, right ones too, as a chain has them; in the others
    they are wrong. Wrong ones alone are the paper's way: such a reviser takes a right attempt for a wrong one, too
    (there, §6.1: 38 % of right answers are lost).
    Raises ValueError if no question has both a wrong and a right attempt, or fewer than 3 have, and if the run is a
    chat and the base has no chat template.
    Source: Snell et al. 2024 (arXiv:2408.03314) §6.1; outside a chat ours puts the question last, where the base
    expects it.
    """
    for name, value in (("context_attempts", context_attempts), ("per_question", per_question)):
        if value < 1:
            raise ValueError(f"{name} {value}: expected a whole number from 1.")
    if not 0 <= any_attempts <= 1:
        raise ValueError(f"any_attempts {any_attempts}: expected a share from 0 to 1.")
    material = read_material(cache, run_id)
    context = material.revisions
    if context is not None:
        revisions = chain_revisions(material, per_question=per_question, any_attempts=any_attempts, seed=fit.seed)
    else:
        is_chat = material.settings is not None and material.settings.chat
        context = RevisionContext("", context_attempts, revision_request)
        context = context if is_chat else RevisionContext(separator, context_attempts)
        revisions = sampled_revisions(
            material, most=context.most, per_question=per_question, any_attempts=any_attempts, seed=fit.seed
        )
    if not revisions:
        raise ValueError(
            f"run '{material.run_id}' holds no pair of a wrong and a right attempt at one question: "
            "nothing to revise. Record more samples of each question."
        )
    train, held_out = split_questions([one.question_id for one in revisions], held_out=fit.held_out, seed=fit.seed)
    with fresh_directory(out) as directory:
        model, tokenizer = load_base(AutoModelForCausalLM, base, fit)
        prompts = reviser_prompts(material, context, tokenizer, base)
        shown = Shown(material.questions, prompts, tokenizer, end_token(model, tokenizer))
        learned = [revision_example(one, shown) for one in revisions if one.question_id in set(train)]
        examples, too_long = short_enough(learned, model, fit)
        judged = [one for one in revisions if one.question_id in set(held_out)]
        fitting = [one for one in judged if len(revision_example(one, shown).ids) <= length_limit(model, fit)]
        before = held_out_losses(model, fitting, shown, fit)
        done = run_fit(
            model, examples, lambda ids, targets: target_loss(model, ids, targets), fit, label="reviser",
            progress=progress,
        )  # fmt: skip
        after = held_out_losses(model, fitting, shown, fit)
        facts = {
            "stage": "reviser",
            "base": base,
            "run": material.run_id,
            **prompt_facts(prompts, context),
            "any_attempts": any_attempts,
            "num_questions": len(train),
            "num_examples": len(examples),
            "num_too_long": too_long + len(judged) - len(fitting),
            **done,
            "held_out_before": before,
            "held_out": after,
            "held_out_questions": held_out,
        }
        return save_stage(directory, model, tokenizer, fit, facts)


def reviser_prompts(material: Material, context: RevisionContext, tokenizer: Any, base: str) -> Prompts:
    """The prompts that a recorder with this tokenizer makes of the run's settings, with such a context.

    Raises ValueError for a chat without a template.
    """
    settings = material.settings
    if settings is None:
        return replace(material.prompts, revisions=context)
    if settings.chat and not tokenizer.chat_template:
        raise ValueError(
            f"run '{material.run_id}' is a chat, and the tokenizer of '{base}' has no chat template: start from a "
            "model that has one."
        )
    return replace(run_prompts(replace(settings, model=base), tokenizer), revisions=context)


def prompt_facts(prompts: Prompts, context: RevisionContext) -> dict[str, Any]:
    """The settings to record chains with, by their names in a configuration."""
    facts: dict[str, Any] = {"prompt_template": prompts.template, "chat": prompts.chat is not None}
    if prompts.chat is None:
        facts["separator"] = context.separator
    else:
        facts |= {"system_prompt": prompts.system, "revision_request": context.request}
    return facts | {"context_attempts": context.most}


def target_loss(model: Any, ids: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the next token, over those that are targets."""
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    return functional.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten().long(), ignore_index=int(IGNORE))


@torch.inference_mode()
def held_out_losses(model: Any, revisions: Sequence[Revision], shown: Shown, fit: Fit) -> dict[str, Any]:
    """Nats per token of right attempts, their end included.

    loss              over all
    loss_after_wrong  those whose last attempt before them is wrong (num_after_wrong)
    loss_without      the same ones, after the question alone: what is gained by seeing the attempts
    loss_after_right  those whose last attempt before them is right (num_after_right)
    """
    model.eval()
    after_wrong = [one for one in revisions if one.attempts and not one.after_right]
    after_right = [one for one in revisions if one.after_right]
    parts = {
        "loss": revisions,
        "loss_after_wrong": after_wrong,
        "loss_without": [one._replace(attempts=()) for one in after_wrong],
        "loss_after_right": after_right,
    }
    figures: dict[str, Any] = {
        "num_questions": len({one.question_id for one in revisions}),
        "num_revisions": len(revisions),
        "num_after_wrong": len(after_wrong),
        "num_after_right": len(after_right),
    }
    for name, part in parts.items():
        examples = [revision_example(one, shown) for one in part]
        total, tokens = 0.0, 0
        for ids, targets in batches(examples, tokens=fit.batch_tokens, seed=0, device=model.device) if examples else ():
            known = int((targets[:, 1:] != IGNORE).sum())
            total += float(target_loss(model, ids, targets)) * known
            tokens += known
        figures[name] = total / tokens if tokens else float("nan")
    return figures
