"""Makes docs/reproduction.md from the shipped sample: `python docs/make_reproduction.py`."""

from __future__ import annotations

from pathlib import Path

from cache import open_cache, sample_path
from tts_sim.claims.material import Material
from tts_sim.claims.page import findings, markdown

PAGE = Path(__file__).parent / "reproduction.md"
HEAD = """# The paper's claims on the shipped sample

Snell et al. 2024 (arXiv:2408.03314) studied a language model of billions of parameters on competition mathematics.
The sample comes from models of .16 and 2.3 million parameters on chains of arithmetic, so a claim that fails here is
not refuted; it shows how far the claim depends on generator, verifier and questions. Each row says what the paper
claims, what the sample shows with 95 % intervals over its 500 questions, and our reading of why the two may
differ, which is not measured unless it gives a figure.

*holds*, *in part*, *cannot tell* and *does not hold* are computed from the intervals: a difference counts where its
interval lies on one side of 0. Two rows have no interval to go by and are computed from the figures alone: which ratio
is chosen, and the verifier's accuracy by level. Differences are paired by question. Levels go from 1 (easiest) to 5:
fifths of pass@1, estimated on samples that evaluate nothing. Policies are cross-fitted over questions.

Made by `python docs/make_reproduction.py`; `tts-sim claims CACHE` prints the table for any cache. In the commands,
CACHE is `sample`."""

WHY = {
    "weighted": (
        "The gain is there at small budgets. At 64 a few confident mistakes of the verifier may weigh as much"
        " as its help."
    ),
    "last-step": (
        "An early mistake that the verifier saw may be gone from its last score, so that the minimum does no worse."
    ),
    "beam": (
        "The verifier was fitted to whole solutions of the base; a beam pushes further into what it gets "
        "wrong. It breaks even at 4 and loses from 16 on."
    ),
    "over-optimisation": "As in the paper.",
    "medium": (
        "AUC within questions falls with difficulty (see the last section), so that search has more mistakes "
        "to exploit on medium questions."
    ),
    "hardest": "As in the paper.",
    "compute-optimal search": "Beam search wins at no level beyond noise, so there is little to adapt to.",
    "predicted": "This verifier's bins agree with oracle bins more often than the paper's did.",
    "revision pass@1": (
        "The revision model was trained for minutes on a CPU and samples at temperature 1.5: it loses what an"
        " earlier attempt had right more often than it mends what was wrong."
    ),
    "right turned wrong": "As above; pooled over up to 64 attempts.",
    "sequential": "Follows from attempts that get worse along the chain.",
    "pooled majority": "As in the paper.",
    "ratio": "Follows from attempts that get worse: parallel samples are best at every level.",
    "compute-optimal revisions": "One ratio is best at every level, so there is nothing to adapt to.",
    "exchange, easy": (
        "On levels 1 and 2 both models are near their ceiling; on level 3 votes of the small model stop below"
        " the larger one."
    ),
    "exchange, hard": "As in the paper on hard questions. On easy ones the small model keeps up even at R = 22.",
    "verifier by level": (
        "Accuracy counts right and wrong solutions together: at level 5 nearly all are wrong and easily "
        "called so. AUC within questions, which selection depends on, falls on the hard levels."
    ),
    "random verifier": "The gap shrinks from 16 to 64, as it should, and is not closed there.",
    "noisy verifier": "At 64 the gain was small without noise, too.",
}

if __name__ == "__main__":
    with open_cache(sample_path()) as cache:
        found = findings(Material(cache))
    keys = {finding.claim.key for members in found.values() for finding in members}
    if keys != set(WHY):
        raise SystemExit(f"reasons and claims differ: {sorted(keys ^ set(WHY))}")
    PAGE.write_text("\n".join([HEAD, *markdown(found, WHY)]) + "\n", encoding="utf-8")
