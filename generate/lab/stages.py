"""The five stages: draw problems, make training data with the models at hand, fit, measure on validation problems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM, LlamaForTokenClassification, PreTrainedTokenizerFast

from generate.lab.comparator import verifier_from_base
from generate.lab.evaluation import (
    Figures,
    chain_figures,
    chain_judgements,
    sampling_figures,
    score_chains,
    score_flat,
)
from generate.lab.models import Fit, Preset, Shape, build_base
from generate.lab.problems import MAX_NEW_TOKENS, REVISER_TEMPERATURE, TEMPERATURE, TEST_LEVELS, Problem, draw_problems
from generate.lab.rollouts import sample_texts
from generate.lab.train_base import fit_language_model, reference_stream
from generate.lab.train_reviser import revision_examples, sample_chains
from generate.lab.train_verifier import example_of, fit_verifier, judge_solutions
from generate.training.loop import Example, alternating, batches, endless


@dataclass(frozen=True)
class Workshop:
    """What every stage needs; each method is one stage and returns (model, figures)."""

    preset: Preset
    tokenizer: PreTrainedTokenizerFast
    device: torch.device
    seed: int
    progress: Callable[[str], None]

    def base(
        self, shape: Shape, fit: Fit, label: str, temperature: float = TEMPERATURE
    ) -> tuple[LlamaForCausalLM, Figures]:
        """A language model from scratch on reference solutions; its figures are those of samples at `temperature`."""
        model = build_base(shape, self.tokenizer, seed=self.seed)
        model.to(self.device)  # type: ignore[arg-type]
        stream = reference_stream(self.tokenizer, tokens=fit.tokens, seed=self.seed, device=self.device)
        loss = fit_language_model(model, stream, fit=fit, progress=self.progress, label=label)
        problems, texts = self.validation_samples(model, temperature)
        return model, {"loss": loss, **sampling_figures(problems, texts)}

    def process_verifier(self, base: LlamaForCausalLM) -> tuple[LlamaForTokenClassification, Figures]:
        """The base's layers with a comparator on top, fitted to Monte Carlo values of the base's own solutions."""
        preset = self.preset
        judged = []
        for count, solutions, rollouts, offset in (
            (preset.judged_problems, preset.judged_solutions, preset.judged_rollouts, 1),
            (preset.graded_problems, preset.graded_solutions, 0, 2),
        ):
            judged += judge_solutions(
                base,
                self.tokenizer,
                draw_problems(count, seed=self.seed + offset, levels=TEST_LEVELS),
                solutions=solutions,
                rollouts=rollouts,
                temperature=TEMPERATURE,
                max_new_tokens=MAX_NEW_TOKENS,
                seed=self.seed,
            )
            self.progress(f"prm: {len(judged)} solutions judged")
        examples = [example_of(item, self.tokenizer) for item in judged]
        model, loss = self.fit_classifier(base, examples, preset.process_fit, "prm")
        loss = self.refine(model, base, examples)
        problems, texts = self.validation_samples(base)
        return model, {
            "loss": loss,
            "num_examples": float(len(judged)),
            **score_flat(model, self.tokenizer, problems, texts),
        }

    def refine(self, model: LlamaForTokenClassification, base: LlamaForCausalLM, examples: list[Example]) -> float:
        """The loss after a second fit, with fresh graded solutions beside the first ones, at a lower rate.

        Six epochs over the first ones alone left the verifier at a within-question AUC of .797. With the base's layers
        thawed, the loss rose from .31 to .64 within 200 updates and did not come back soon.
        """
        preset = self.preset
        graded = judge_solutions(
            base,
            self.tokenizer,
            draw_problems(preset.refined_problems, seed=self.seed + 6, levels=TEST_LEVELS),
            solutions=preset.refined_solutions,
            rollouts=0,
            temperature=TEMPERATURE,
            max_new_tokens=MAX_NEW_TOKENS,
            seed=self.seed + 6,
        )
        self.progress(f"prm: {len(graded)} more solutions graded")
        return fit_verifier(
            model,
            examples + [example_of(item, self.tokenizer) for item in graded],
            frozen_layers=base.config.num_hidden_layers + 1,
            fit=preset.refined_fit,
            seed=self.seed + 6,
            progress=self.progress,
            label="prm, refined",
        )

    def polish(
        self, model: LlamaForTokenClassification, base: LlamaForCausalLM
    ) -> tuple[LlamaForTokenClassification, Figures]:
        """The drafted verifier after a last fit, on solutions that it has not seen, some with Monte Carlo step values.

        Its loss was still falling: after the draft alone the AUC within questions was .800.
        """
        preset = self.preset
        judged = []
        for count, rollouts, seed in (
            (preset.polished_problems, preset.judged_rollouts, self.seed + 7),
            (preset.refined_problems, 0, self.seed + 8),
        ):
            judged += judge_solutions(
                base,
                self.tokenizer,
                draw_problems(count, seed=seed, levels=TEST_LEVELS),
                solutions=preset.refined_solutions,
                rollouts=rollouts,
                temperature=TEMPERATURE,
                max_new_tokens=MAX_NEW_TOKENS,
                seed=seed,
            )
        self.progress(f"prm: {len(judged)} more solutions judged")
        loss = fit_verifier(
            model,
            [example_of(item, self.tokenizer) for item in judged],
            frozen_layers=base.config.num_hidden_layers + 1,
            fit=preset.polished_fit,
            seed=self.seed + 7,
            progress=self.progress,
            label="prm, polished",
        )
        problems, texts = self.validation_samples(base)
        figures = score_flat(model, self.tokenizer, problems, texts)
        return model, {"loss": loss, "num_examples": float(len(judged)), **figures}

    def reviser(self, base: LlamaForCausalLM) -> tuple[LlamaForCausalLM, Figures]:
        """The base, fine-tuned on wrong solutions followed by a right one.

        Every other batch holds plain problems: without them it forgot its arithmetic (pass@1 .12 instead of .39).
        """
        preset = self.preset
        examples = revision_examples(
            base,
            self.tokenizer,
            draw_problems(preset.reviser_problems, seed=self.seed + 3, levels=TEST_LEVELS),
            samples=preset.reviser_samples,
            examples_each=preset.reviser_examples,
            temperature=TEMPERATURE,
            max_new_tokens=MAX_NEW_TOKENS,
            seed=self.seed,
        )
        self.progress(f"reviser: {len(examples)} examples")
        fit = preset.reviser_fit
        stream = alternating(
            endless(examples, tokens=fit.tokens, seed=self.seed, device=self.device),
            reference_stream(self.tokenizer, tokens=fit.tokens, seed=self.seed + 5, device=self.device),
        )
        loss = fit_language_model(base, stream, fit=fit, progress=self.progress, label="reviser")
        problems = self.validation_problems()
        return base, {"loss": loss, **chain_figures(problems, self.chains(base, problems), preset.chain_attempts)}

    def outcome_verifier(self, reviser: LlamaForCausalLM) -> tuple[LlamaForTokenClassification, Figures]:
        """The reviser's layers with a comparator on top, fitted to whether its attempts, seen in context, are right."""
        preset = self.preset
        problems = draw_problems(preset.chain_problems, seed=self.seed + 4, levels=TEST_LEVELS)
        judged = chain_judgements(problems, self.chains(reviser, problems))
        self.progress(f"orm: {len(judged)} attempts")
        model, loss = self.fit_classifier(
            reviser, [example_of(item, self.tokenizer) for _, item in judged], preset.outcome_fit, "orm"
        )
        held_out = self.validation_problems()
        figures = score_chains(model, self.tokenizer, held_out, self.chains(reviser, held_out))
        return model, {"loss": loss, "num_examples": float(len(judged)), **figures}

    def fit_classifier(
        self, base: LlamaForCausalLM, examples: list[Example], fit: Fit, label: str
    ) -> tuple[LlamaForTokenClassification, float]:
        """A verifier on top of `base`, and the loss that it reached on the examples."""
        typical_ids, _ = next(batches(examples[:500], tokens=fit.tokens, seed=self.seed, device=self.device))
        model = verifier_from_base(base, typical_ids, fresh_layers=self.preset.fresh_layers, seed=self.seed)
        loss = fit_verifier(
            model,
            examples,
            frozen_layers=base.config.num_hidden_layers + 1,
            fit=fit,
            seed=self.seed,
            progress=self.progress,
            label=label,
        )
        return model, loss

    def validation_problems(self) -> list[Problem]:
        """The same held-out problems for every stage, with the test set's mix of levels."""
        return draw_problems(self.preset.validation_problems, seed=self.seed, levels=TEST_LEVELS, split="validation")

    def validation_samples(
        self, model: LlamaForCausalLM, temperature: float = TEMPERATURE
    ) -> tuple[list[Problem], list[list[str | None]]]:
        """The validation problems and independent samples of each."""
        problems = self.validation_problems()
        texts = sample_texts(
            model,
            self.tokenizer,
            [problem.prompt for problem in problems],
            copies=self.preset.validation_samples,
            temperature=temperature,
            max_new_tokens=[MAX_NEW_TOKENS] * len(problems),
            seed=self.seed,
        )
        return problems, texts

    def chains(self, reviser: LlamaForCausalLM, problems: list[Problem]) -> list[list[str]]:
        """Revision chains of the given problems, in problem order."""
        return sample_chains(
            reviser,
            self.tokenizer,
            problems,
            chains=self.preset.chain_count,
            attempts=self.preset.chain_attempts,
            temperature=REVISER_TEMPERATURE,
            max_new_tokens=MAX_NEW_TOKENS,
            seed=self.seed,
        )
