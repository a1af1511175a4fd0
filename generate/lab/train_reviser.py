"""The reviser: fine-tuned from the base on up to four wrong solutions followed by a right one; and its own chains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from generate.lab.problems import MAX_CONTEXT_ATTEMPTS, Problem, extract_answer, revision_prompt
from generate.lab.rollouts import is_correct, sample_texts
from generate.lab.train_base import completion_example
from generate.training.edit_distance import edit_distance
from generate.training.loop import Example


def revision_examples(
    base: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    *,
    samples: int,
    examples_each: int,
    temperature: float,
    max_new_tokens: int,
    seed: int,
) -> list[Example]:
    """`examples_each` wrong-to-right sequences of each problem, from `samples` solutions of the base.

    0 to 4 (uniform) wrong solutions, the last one the closest to the right one by edit distance, then the right one: a
    correct sample where there is one, else the reference. Only the right one is a target.
    Source: Snell et al. 2024 §6.1.
    """
    random = np.random.default_rng(seed)
    sampled = sample_texts(
        base,
        tokenizer,
        [problem.prompt for problem in problems],
        copies=samples,
        temperature=temperature,
        max_new_tokens=[max_new_tokens] * len(problems),
        seed=seed,
    )
    examples: list[Example] = []
    for problem, texts in zip(problems, sampled, strict=True):
        right = [text for text in texts if text is not None and is_correct(problem, text)] or [problem.solution]
        wrong = sorted(
            {text for text in texts if text is not None and extract_answer(text) not in (None, problem.gold)}
        )
        for _ in range(examples_each):
            target = right[random.integers(len(right))]
            count = min(int(random.integers(MAX_CONTEXT_ATTEMPTS + 1)), len(wrong))
            attempts: list[str] = []
            if count:
                nearest = min(wrong, key=lambda text: edit_distance(text, target))
                others = [text for text in wrong if text != nearest]
                picked = random.permutation(len(others))[: count - 1]
                attempts = [*(others[index] for index in picked), nearest]
            examples.append(completion_example(revision_prompt(problem.prompt, attempts), target, tokenizer))
    return examples


def sample_chains(
    reviser: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    *,
    chains: int,
    attempts: int,
    temperature: float,
    max_new_tokens: int,
    seed: int,
) -> list[list[str]]:
    """`chains` chains of up to `attempts` attempts for each problem, in order; an unfinished attempt ends its chain."""
    prompts = [problem.prompt for problem in problems for _ in range(chains)]
    written: list[list[str]] = [[] for _ in prompts]
    open_chains = list(range(len(prompts)))
    for attempt in range(attempts):
        texts = sample_texts(
            reviser,
            tokenizer,
            [revision_prompt(prompts[chain], written[chain]) for chain in open_chains],
            copies=1,
            temperature=temperature,
            max_new_tokens=[max_new_tokens] * len(open_chains),
            seed=seed + attempt,
        )
        finished = [(chain, text[0]) for chain, text in zip(open_chains, texts, strict=True) if text[0] is not None]
        for chain, text in finished:
            written[chain].append(text)
        open_chains = [chain for chain, _ in finished]
    return written
