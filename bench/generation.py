"""`python -m bench.generation`: tokens a second of recording, beside plain `generate` and beside the machine's bound.

Flat: `--questions` × `--samples` solutions to the end. Tree: layers of single steps, four below each kept node, as a
beam search records them. Plain `generate` makes the same requests in batches of as many rows, padded on the left,
each with its whole prefix, and stops a batch when all its rows have ended.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.random_models import SHAPES, LetterTokenizer, Shape, random_model
from generate.keys import node_key
from generate.protocols import Request
from generate.samplers.transformers import SAMPLERS, TransformersSampler

POOL = 4  # steps drawn below a kept node
Draw = Callable[[Sequence[Request]], list[tuple[str, int]]]  # text and tokens that continue each request


@dataclass(frozen=True)
class Work:
    """What is recorded; lengths in tokens."""

    questions: int = 16
    samples: int = 32
    prompt: int = 256
    solution: int = 512
    step: int = 32
    layers: int = 8
    rows: int = 512


TOY = Work(questions=2, samples=4, prompt=12, solution=16, step=4, layers=3, rows=8)


class Machine(NamedTuple):
    """What the device does at best, measured: bytes and floating-point operations a second."""

    bandwidth: float
    matmul: float


class Recorded(NamedTuple):
    """Tokens written, the sum over them of the tokens before them, and the tokens of distinct prompts."""

    tokens: int
    read: int
    prompts: int


class Measured(NamedTuple):
    """One contender's recording, fastest of the repetitions."""

    recording: str
    contender: str
    recorded: Recorded
    seconds: float
    bound: float  # seconds that the machine would take for the same tokens

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.recorded.tokens / self.seconds


def machine(device: str, dtype: torch.dtype, *, size: int, side: int) -> Machine:
    """Bandwidth of a copy of `size` bytes (read and written), rate of a product of matrices of that side."""
    source = torch.ones(size // dtype.itemsize, dtype=dtype, device=device)
    target = torch.empty_like(source)
    left, right = (torch.ones((side, side), dtype=dtype, device=device) for _ in range(2))
    copied = fastest(lambda: target.copy_(source), device, 5)
    multiplied = fastest(lambda: left @ right, device, 5)
    return Machine(2 * size / copied, 2 * side**3 / multiplied)


def fastest(run: Callable[[], object], device: str, repeats: int) -> float:
    """Seconds of the fastest of the runs, the first (warming) left out."""
    times = []
    for _ in range(repeats + 1):
        wait(device)
        begun = time.perf_counter()
        run()
        wait(device)
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def prompts(work: Work, vocabulary: int) -> list[str]:
    """Random prompts, one a question, that no step closes."""
    letters = LetterTokenizer(vocabulary, work.step)
    tokens = torch.randint(2, vocabulary, (work.questions, work.prompt), generator=torch.Generator().manual_seed(0))
    return [text.replace("\n", "") for text in letters.batch_decode(tokens.tolist())]


def flat(draw: Draw, work: Work, asked: Sequence[str], seed: int) -> Recorded:
    """Solutions to the end."""
    requests = [
        Request(prompt, "", node_key(seed, str(place), (number,)))
        for place, prompt in enumerate(asked)
        for number in range(work.samples)
    ]
    return _recorded(requests, [tokens for _, tokens in draw(requests)])


def tree(draw: Draw, work: Work, asked: Sequence[str], seed: int) -> Recorded:
    """Layers of steps; of the steps below the nodes of a layer, the first of each POOL is kept."""
    kept: list[tuple[int, tuple[int, ...], str, int]] = [(place, (), "", 0) for place in range(len(asked))]
    pool, done, lengths = work.samples, list[Request](), list[int]()
    for _ in range(work.layers):
        children = [
            (place, (*path, number), prefix, tokens) for place, path, prefix, tokens in kept for number in range(pool)
        ]
        requests = [
            Request(asked[place], prefix, node_key(seed, str(place), path), prefix_tokens=tokens, to_end=False)
            for place, path, prefix, tokens in children
        ]
        drawn = draw(requests)
        done += requests
        lengths += [tokens for _, tokens in drawn]
        kept = [
            (place, path, prefix + text, tokens + more)
            for (place, path, prefix, tokens), (text, more) in zip(children[::POOL], drawn[::POOL], strict=True)
            if tokens + more < work.solution
        ]
        pool = POOL
    return _recorded(done, lengths)


RECORDINGS = {"flat": flat, "tree": tree}


def _recorded(requests: Sequence[Request], lengths: Sequence[int]) -> Recorded:
    before = [len(request.prompt) + request.prefix_tokens for request in requests]
    read = sum(length * start + length * (length - 1) // 2 for start, length in zip(before, lengths, strict=True))
    return Recorded(sum(lengths), read, sum(map(len, {request.prompt for request in requests})))


def ours(sampler: TransformersSampler) -> Draw:
    """Our sampler."""

    def draw(requests: Sequence[Request]) -> list[tuple[str, int]]:
        return [
            ("".join(step.text for step in steps), sum(step.tokens for step in steps))
            for steps in sampler.sample(requests)
        ]

    return draw


@torch.inference_mode()
def plain_generate(
    model: Any, letters: LetterTokenizer, work: Work, requests: Sequence[Request]
) -> list[tuple[str, int]]:
    """What a search script does: `generate` on padded batches, in the order given."""
    from transformers import StoppingCriteria, StoppingCriteriaList

    class AtStep(StoppingCriteria):
        def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
            return input_ids[:, -1] % letters.step_tokens == 0

    drawn: list[tuple[str, int]] = []
    for start in range(0, len(requests), work.rows):
        batch = requests[start : start + work.rows]
        contexts = letters([request.prompt + request.prefix for request in batch])["input_ids"]
        longest = max(map(len, contexts))
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in contexts], device=model.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in contexts], device=model.device)
        single = not batch[0].to_end
        written = model.generate(
            ids,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            max_new_tokens=max(work.solution - request.prefix_tokens for request in batch),
            stopping_criteria=StoppingCriteriaList([AtStep()]) if single else None,
        )[:, longest:].tolist()
        for request, row in zip(batch, written, strict=True):
            row = row[: work.solution - request.prefix_tokens]
            closing = next((place for place, token in enumerate(row) if single and letters.closes(token)), len(row) - 1)
            drawn.append((letters.batch_decode([row[: closing + 1]])[0], closing + 1))
    return drawn


def bound(model: Any, shape: Shape, recorded: Recorded, rows: int, best: Machine) -> float:
    """Seconds that the machine needs at least, at the measured rates, to write the tokens `rows` at a time.

    A forward pass reads every weight once (of the input embeddings, where they are not tied, next to nothing), and
    each row the keys and values of its own text; its products are those of the weights with the rows. Prompts are read
    once each at the matrix rate, steps never again. Drawing, attention's products and Python cost nothing.
    """
    weights: int = sum(parameter.numel() for parameter in model.parameters())
    if not shape.tied:
        weights -= model.get_input_embeddings().weight.numel()
    size = model.dtype.itemsize
    cached = 2 * shape.layers * shape.key_value_heads * (shape.hidden // shape.heads) * size
    memory = (recorded.tokens / rows * weights * size + recorded.read * cached) / best.bandwidth
    product = 2 * weights / best.matmul
    return float(max(memory, recorded.tokens * product) + recorded.prompts * product)


def measure(
    shape: Shape, work: Work, device: str, *, dtype: torch.dtype, samplers: Sequence[str], best: Machine, repeats: int
) -> list[Measured]:
    """Every recording by every contender."""
    model = random_model(shape, device=device, dtype=dtype, places=work.prompt + work.solution + 8, seed=0)
    letters = LetterTokenizer(shape.vocabulary, work.step)
    asked, rows = prompts(work, shape.vocabulary), list[Measured]()
    for name in samplers:
        sampler = made(name, model, letters, work)
        contender = f"sampler, {'continuous' if type(sampler) is not TransformersSampler else 'plain'}"
        rows += _timed(contender, ours(sampler), model, shape, work, asked, best, repeats)
        if hasattr(sampler, "close"):
            sampler.close()
    draw = partial(plain_generate, model, letters, work)
    return rows + _timed("plain generate", draw, model, shape, work, asked, best, repeats)


def made(name: str, model: Any, letters: LetterTokenizer, work: Work) -> TransformersSampler:
    """The sampler of that name on the model; 'auto' as in recording."""
    chosen: Any = TransformersSampler
    if name == "continuous" or (name == "auto" and model.device.type == "cuda"):
        from generate.samplers.continuous import ContinuousSampler

        chosen = ContinuousSampler
    sampler: TransformersSampler = chosen(
        model, letters, delimiter="\n", temperature=1.0, max_tokens=work.solution, batch_rows=work.rows
    )
    return sampler


def _timed(
    contender: str,
    draw: Draw,
    model: Any,
    shape: Shape,
    work: Work,
    asked: Sequence[str],
    best: Machine,
    repeats: int,
) -> list[Measured]:
    device = str(model.device)
    rows = []
    for name, record in RECORDINGS.items():
        record(draw, replace(work, samples=POOL, layers=2), asked[:1], 0)  # graphs, kernels
        times: list[tuple[float, Recorded]] = []
        for repeat in range(repeats):  # other seeds: pages of an earlier repetition hold its prompts at most
            wait(device)
            begun = time.perf_counter()
            recorded = record(draw, work, asked, repeat + 1)
            wait(device)
            times.append((time.perf_counter() - begun, recorded))
        seconds, recorded = min(times, key=lambda pair: pair[0] / pair[1].tokens)
        at_once = min(work.rows, work.questions * work.samples)
        rows.append(Measured(name, contender, recorded, seconds, bound(model, shape, recorded, at_once, best)))
    return rows


def table(rows: Sequence[Measured]) -> str:
    """The rows in Markdown, each beside plain generate and beside the bound of its own tokens."""
    lines = [
        "| recording | by | tokens | seconds | tokens/s | × plain generate | bound, tokens/s | share of the bound |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        plain = next(
            other.rate for other in rows if other.contender == "plain generate" and other.recording == row.recording
        )
        lines.append(
            f"| {row.recording} | {row.contender} | {row.recorded.tokens} | {row.seconds:.3g} | {row.rate:.0f} "
            f"| {row.rate / plain:.2f} | {row.recorded.tokens / row.bound:.0f} | {row.bound / row.seconds:.1%} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> list[Measured]:
    """Measure the machine and the contenders, print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.generation", description="Tokens a second of recording.")
    parser.add_argument("--shape", choices=list(SHAPES), default="toy")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16", "float16"], help="default: bfloat16, float32 on a CPU"
    )
    parser.add_argument("--sampler", action="append", choices=SAMPLERS, help="repeatable; default: auto")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest is kept")
    for name in Work.__dataclass_fields__:
        parser.add_argument(f"--{name}", type=int, help=f"default {getattr(Work(), name)}; toy {getattr(TOY, name)}")
    given = parser.parse_args(arguments)
    toy, gpu = given.shape == "toy", given.device.startswith("cuda")
    chosen = {name: getattr(given, name) for name in Work.__dataclass_fields__ if getattr(given, name) is not None}
    work = replace(TOY if toy else Work(), **chosen)
    dtype: torch.dtype = getattr(torch, given.dtype or ("bfloat16" if gpu else "float32"))
    best = machine(given.device, dtype, size=1 << (30 if gpu else 26), side=8192 if gpu else 512)
    where = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    print(f"{where}: copies {best.bandwidth / 1e9:.1f} GB/s, multiplies {best.matmul / 1e12:.3f} TFLOP/s ({dtype})")
    print(f"shape {given.shape}; {work}\n")
    samplers = given.sampler or ["auto"]
    rows = measure(
        SHAPES[given.shape], work, given.device, dtype=dtype, samplers=samplers, best=best, repeats=given.repeats
    )
    print(table(rows))
    return rows


if __name__ == "__main__":
    main()
