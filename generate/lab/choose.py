"""The test questions: spread over the whole range of difficulty by a pilot whose samples are thrown away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from generate.keys import node_key
from generate.lab.problems import TEST_MIX, Problem, draw_mix, extract_answer
from generate.protocols import Request, Sampler
from tts_sim.arrays import Float64s

CANDIDATES_EACH = 3  # candidates per question of TEST_MIX
PILOT_SAMPLES = 32
PILOT_SEED = 1_000_003  # apart from every recording's: the pilot's luck is not in the cache
SHARES = (0.36, 0.17, 0.16, 0.16, 0.15)  # of the questions, by fifth of the pilot's pass@1, hardest first


def choose_questions(sampler: Sampler, count: int, *, seed: int) -> list[Problem]:
    """`count` held-out problems whose pilot pass@1 falls into the fifths of [0, 1] in the proportions SHARES.

    The pilot draws PILOT_SAMPLES solutions of each candidate with keys of its own; they are not recorded, so the
    choice does not lean on the samples that are analysed later. Where a fifth has too few candidates its neighbours
    (the harder first) fill up. The same arguments give the same problems.
    """
    candidates = draw_mix(
        {
            level: max(1, round(CANDIDATES_EACH * each * count / sum(TEST_MIX.values())))
            for level, each in TEST_MIX.items()
        },
        seed=seed,
        split="test",
    )
    rates = pilot_pass_at_1(sampler, candidates, seed=seed)
    fifths = np.minimum((rates * 5).astype(int), 4)
    order = np.random.default_rng([seed, PILOT_SEED]).permutation(len(candidates))
    chosen: list[int] = []
    for fifth, share in enumerate(SHARES):
        chosen += [int(place) for place in order if fifths[place] == fifth][: round(share * count)]
    for fifth in range(5):
        taken = set(chosen)
        spare = [int(place) for place in order if fifths[place] == fifth and int(place) not in taken]
        chosen += spare[: count - len(chosen)]
    return [candidates[place] for place in sorted(chosen[:count])]


def pilot_pass_at_1(sampler: Sampler, problems: Sequence[Problem], *, seed: int) -> Float64s:
    """Share of right solutions of each problem among PILOT_SAMPLES, shape (len(problems),)."""
    requests = [
        Request(problem.prompt, "", node_key(seed ^ PILOT_SEED, problem.question_id, (draw,)))
        for problem in problems
        for draw in range(PILOT_SAMPLES)
    ]
    right = [
        steps[-1].stop == "eos" and extract_answer("".join(step.text for step in steps)) == problem.gold
        for steps, problem in zip(
            sampler.sample(requests), (problem for problem in problems for _ in range(PILOT_SAMPLES)), strict=True
        )
    ]
    rates: Float64s = np.array(right, np.float64).reshape(len(problems), PILOT_SAMPLES).mean(axis=1)
    return rates
