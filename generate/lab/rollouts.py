"""Fast sampling of training data: plain batched decoding, one prompt length at a time, so that no mask is needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from generate.lab.problems import DELIMITER, Problem, extract_answer
from generate.samplers.buffer_cache import buffer_cache


@torch.inference_mode()
def continue_batch(
    model: LlamaForCausalLM,
    prompt_ids: Tensor,
    *,
    copies: int,
    temperature: float,
    max_new_tokens: int,
    generator: torch.Generator,
) -> list[list[int]]:
    """`copies` sampled continuations of each row of `prompt_ids` (rows, length), in row order, with eos if reached."""
    eos = int(model.config.eos_token_id)  # type: ignore[arg-type]
    rows = len(prompt_ids)
    cache = buffer_cache(model.config.num_hidden_layers)
    logits = model(input_ids=prompt_ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
    cache.batch_repeat_interleave(copies)
    logits = logits.repeat_interleave(copies, dim=0)
    written = torch.full((rows * copies, max_new_tokens), eos, dtype=torch.long)
    alive = torch.arange(rows * copies)
    for position in range(max_new_tokens):
        chosen = torch.multinomial(torch.softmax(logits.float() / temperature, dim=-1), 1, generator=generator)[:, 0]
        written[alive, position] = chosen.cpu()
        going = torch.ne(chosen, eos).nonzero()[:, 0]
        if len(going) == 0 or position + 1 == max_new_tokens:
            break
        if len(going) < 0.8 * len(alive):
            cache.batch_select_indices(going)
            alive, chosen = alive[going.cpu()], chosen[going]
        logits = model(input_ids=chosen[:, None], past_key_values=cache, use_cache=True).logits[:, -1]
    return [ids[: ids.index(eos) + 1] if eos in ids else ids for ids in written.tolist()]


def sample_texts(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    *,
    copies: int,
    temperature: float,
    max_new_tokens: Sequence[int],
    seed: int,
    batch_rows: int = 768,
) -> list[list[str | None]]:
    """`copies` continuations of each prompt, without the eos; None where a continuation was cut off unfinished.

    `max_new_tokens` has one entry a prompt; prompts of equal length share a batch and the largest of their limits.
    """
    device = model.device
    generator = torch.Generator(device=device).manual_seed(seed)
    eos = tokenizer.eos_token_id
    encoded: list[list[int]] = tokenizer(list(prompts))["input_ids"]
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, ids in enumerate(encoded):
        by_length[len(ids)].append(index)
    results: list[list[str | None]] = [[] for _ in prompts]
    for _, members in sorted(by_length.items()):
        members.sort(key=lambda index: max_new_tokens[index])
        stride = max(1, batch_rows // copies)
        for first in range(0, len(members), stride):
            batch = members[first : first + stride]
            continuations = continue_batch(
                model,
                torch.tensor([encoded[index] for index in batch], device=device),
                copies=copies,
                temperature=temperature,
                max_new_tokens=max(max_new_tokens[index] for index in batch),
                generator=generator,
            )
            finished = [ids[-1] == eos for ids in continuations]
            texts = tokenizer.batch_decode(
                [ids[:-1] if done else ids for ids, done in zip(continuations, finished, strict=True)]
            )
            for place, index in enumerate(batch):
                span = range(place * copies, (place + 1) * copies)
                results[index] = [texts[row] if finished[row] else None for row in span]
    return results


def is_correct(problem: Problem, solution: str | None) -> bool:
    """Whether a finished solution ends in the right answer; unfinished ones do not."""
    return solution is not None and extract_answer(solution) == problem.gold


def step_prefixes(solution: str) -> list[str]:
    """The text after each step but the last, each ending in the delimiter."""
    steps = solution.split(DELIMITER)
    return [DELIMITER.join(steps[:count]) + DELIMITER for count in range(1, len(steps))]
