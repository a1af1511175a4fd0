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
claims, what the sample shows with 95 % intervals over its 500 questions, and why the two may differ.

*holds*, *in part*, *cannot tell* and *does not hold* are computed from the intervals: a difference counts where its
interval lies on one side of 0. Differences are paired by question. Levels go from 1 (easiest) to 5: fifths of pass@1,
estimated on samples that evaluate nothing. Policies are cross-fitted over questions.

Made by `python docs/make_reproduction.py`; `tts-sim claims CACHE` prints the table for any cache. In the commands,
CACHE is `sample`."""

WHY = {
    "weighted": (
        "The gain is there at every budget of practical use. At 64 the verifier's confident mistakes weigh as "
        "much as its help: one wrong answer with many high scores wins votes."
    ),
    "last-step": (
        "This verifier's last step is no more than another step: an early mistake that it saw is not always "
        "remembered in the last score, so the minimum does as well or better."
    ),
    "beam": (
        "The verifier was fitted to whole solutions of the base at high temperature; a beam pushes further into "
        "what it gets wrong. Its step scores are good enough to break even at 4, not to win."
    ),
    "over-optimisation": "As in the paper.",
    "medium": (
        "Here the verifier's AUC within questions falls with difficulty, so that search exploits its mistakes on "
        "medium questions too."
    ),
    "hardest": "As in the paper.",
    "compute-optimal search": (
        "Where one strategy is best at nearly every level there is nothing to adapt to: beam search wins at no "
        "level beyond noise."
    ),
    "predicted": (
        "The verifier ranks questions well here (correlation with pass@1 above .9), so bins agree more often than"
        " in the paper."
    ),
    "revision pass@1": (
        "The revision model is weak: it was trained for minutes, at a temperature at which it slips, and it sees "
        "earlier attempts as plain context."
    ),
    "right turned wrong": "Same cause; and the figure is pooled over up to 64 attempts, not the first few.",
    "sequential": "Follows from attempts that get worse along the chain.",
    "pooled majority": "As in the paper.",
    "ratio": "Follows from attempts that get worse: parallel samples are best at every level.",
    "compute-optimal revisions": "Nothing to adapt to: one ratio is best at every level.",
    "exchange, easy": (
        "The larger model is near its ceiling on easy questions, so both are; on medium ones votes of the small "
        "model stop below it."
    ),
    "exchange, hard": "As in the paper on hard questions. On easy ones the small model keeps up even at R = 22.",
    "verifier by level": (
        "Accuracy counts both kinds of solutions: at level 5 nearly all are wrong and easy to call so. Its AUC "
        "within questions, which selection depends on, falls as the paper's accuracy does."
    ),
    "random verifier": (
        "It comes nearer as N grows, but slowly: random weights are noise on a vote that is often close."
    ),
    "noisy verifier": "Flips cost most of the gain at 64, where the gain was small to begin with.",
}

if __name__ == "__main__":
    with open_cache(sample_path()) as cache:
        found = findings(Material(cache))
    keys = {finding.claim.key for members in found.values() for finding in members}
    if keys != set(WHY):
        raise SystemExit(f"reasons and claims differ: {sorted(keys ^ set(WHY))}")
    PAGE.write_text("\n".join([HEAD, *markdown(found, WHY)]) + "\n", encoding="utf-8")
