"""Claims about revision models (Snell et al. §6 and its appendices)."""

from __future__ import annotations

from collections.abc import Iterator

from tts_sim.budgets import powers_of_two
from tts_sim.claims.finding import Claim, Finding, Verdict, all_of, points, sign, tried
from tts_sim.claims.material import NUM_BINS, Material
from tts_sim.claims.search import better, gain, said, saving
from tts_sim.forest import Forest
from tts_sim.policy import fit_policy
from tts_sim.revision_steps import revision_steps
from tts_sim.strategies.revise import chains_of

PARALLEL = "revise(sequential=1)+weighted"
TURNED_WRONG = 0.38  # share in the paper, §6.1
TRIED = 16  # parallel × sequential at which ratios are compared: small enough for many replays of a staircase


def findings(material: Material) -> Iterator[Finding]:
    """Those that the cache can speak to."""
    forest = material.revisions
    if forest is None or not forest.scores:
        return
    longest = int((chains_of(forest).attempt[1:] - chains_of(forest).attempt[:-1]).max(initial=0))
    if longest < TRIED:
        return
    yield from tried(rising, material, forest)
    yield from tried(turned_wrong, material, forest)
    yield from tried(sequential, material, forest, longest)
    yield from tried(hierarchical, material, forest)
    if material.steps is not None:
        yield from tried(ratios, material, forest)
        yield from tried(compute_optimal, material, forest, longest)


def rising(material: Material, forest: Forest) -> Finding:
    table = revision_steps(forest, seed=material.seed)
    rows = {row["attempt"]: row for row in table.to_dicts() if row["attempt"] in (1, 2, 4, 8)}
    first, last = rows[1], rows[4]
    if any(row["ci_low"] is None for row in rows.values()):
        raise ValueError("attempts: one of the first eight stands on a single question, which leaves no interval.")
    verdict: Verdict = "holds" if last["ci_low"] > first["ci_high"] else "cannot tell"
    if last["ci_high"] < first["ci_low"]:
        verdict = "does not hold"
    return Finding(
        Claim("revision pass@1", "The revision model's pass@1 rises from one attempt to the next.", "§6.1, Fig. 6"),
        verdict,
        tuple(
            f"attempt {attempt}: {100 * row['pass_at_1']:.1f} % "
            f"({100 * row['ci_low']:.1f} to {100 * row['ci_high']:.1f})"
            for attempt, row in rows.items()
        ),
        "tts-sim report CACHE (section on revisions); tts_sim.revision_steps",
    )


def turned_wrong(material: Material, forest: Forest) -> Finding:
    row = revision_steps(forest, seed=material.seed).to_dicts()[-1]
    low, high, share = row["right_turned_wrong_low"], row["right_turned_wrong_high"], row["right_turned_wrong"]
    if low is None or row["wrong_turned_right_low"] is None:
        raise ValueError("attempts: no question has a right and a wrong one that is followed by another.")
    return Finding(
        Claim("right turned wrong", "About 38 % of right answers are made wrong by the next revision.", "§6.1"),
        "holds" if low <= TURNED_WRONG <= high else "does not hold",
        (
            f"right turned wrong: {100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f})",
            f"wrong turned right: {100 * row['wrong_turned_right']:.1f} % "
            f"({100 * row['wrong_turned_right_low']:.1f} to {100 * row['wrong_turned_right_high']:.1f})",
        ),
        "tts-sim report CACHE (section on revisions); tts_sim.revision_steps",
    )


def sequential(material: Material, forest: Forest, longest: int) -> Finding:
    figures, signs = [], []
    for budget in (budget for budget in (4, 16, 64) if budget <= longest):
        for selection in ("weighted", "majority"):
            first, second = f"revise(sequential={budget})+{selection}", f"revise(sequential=1)+{selection}"
            row = material.difference(forest, first, second, [budget])[budget]
            figures.append(points(row, f"{selection}, N = {budget}"))
            signs.append(sign(row))
    return Finding(
        Claim(
            "sequential",
            "Revising one after the other beats sampling as many in parallel, with verifier and with majority.",
            "§6.2, Fig. 6",
        ),
        all_of(signs),
        tuple(figures),
        f"tts-sim compare CACHE 'revise(sequential={TRIED})+weighted' '{PARALLEL}' --budget {TRIED}",
    )


def hierarchical(material: Material, forest: Forest) -> Finding:
    first = "revise(sequential=4,across=pooled)+majority"
    second = "revise(sequential=4,across=hierarchical)+majority"
    rows = material.difference(forest, first, second, [16, 32])
    return Finding(
        Claim(
            "pooled majority", "Majority over the answers of all chains beats majority within, then across.", "App. I"
        ),
        all_of([sign(row) for row in rows.values()]),
        tuple(points(row, f"pooled − hierarchical, N = {budget}") for budget, row in rows.items()),
        f"tts-sim compare CACHE '{first}' '{second}' --budget 16,32",
    )


def ratios(material: Material, forest: Forest) -> Finding:
    specs = {1: PARALLEL} | {s: f"revise(sequential={s})+weighted" for s in powers_of_two(2, TRIED)}
    outcomes = material.outcomes(forest, list(specs.values()), [TRIED])
    fitted = fit_policy(
        outcomes, material.apart.oracle, [TRIED], num_bins=NUM_BINS, seed=material.seed, sizes="largest"
    )
    chosen = {row["level"]: row["strategy"] for row in fitted.choices.sort("level").to_dicts()}
    shares = {row["level"]: row["agreed"] for row in fitted.choices.to_dicts()}
    lengths = {level: _sequential(strategy) for level, strategy in chosen.items()}
    easy, rest = lengths[1], [length for level, length in lengths.items() if level > 2]
    verdict: Verdict = "in part"
    if easy == TRIED and any(1 < length < TRIED for length in rest):
        verdict = "holds"
    elif easy < TRIED and not any(1 < length < TRIED for length in rest):
        verdict = "does not hold"
    return Finding(
        Claim(
            "ratio",
            "Easy questions do best with revisions alone; harder ones at some ratio of sequential to parallel.",
            "§6.2, Fig. 7",
        ),
        verdict,
        tuple(
            f"level {level}: {lengths[level]} sequential × {TRIED // lengths[level]} parallel "
            f"(chosen in {100 * shares[level]:.0f} % of training sets)"
            for level in sorted(lengths)
        ),
        f"tts-sim policy fit CACHE {' '.join(repr(spec) for spec in specs.values())} --budget {TRIED}",
    )


def compute_optimal(material: Material, forest: Forest, longest: int) -> Finding:
    budgets = powers_of_two(4, longest)
    specs = [PARALLEL, *(f"revise(sequential={s})+weighted" for s in (2, 4))]
    outcomes = material.outcomes(forest, specs, budgets)
    fitted = fit_policy(outcomes, material.apart.oracle, budgets, num_bins=NUM_BINS, seed=material.seed)
    found = gain(fitted, outcomes, PARALLEL)
    return Finding(
        Claim(
            "compute-optimal revisions",
            "Choosing the ratio by difficulty reaches parallel best-of-N with up to 4 times less compute.",
            "§6.2, Fig. 8",
        ),
        saving(found),
        (said(found), *better(fitted, PARALLEL)),
        f"tts-sim policy fit CACHE {' '.join(repr(spec) for spec in specs)} --budget {','.join(map(str, budgets))}",
    )


def _sequential(strategy: str) -> int:
    return int(strategy.partition("sequential=")[2].partition(")")[0].partition(",")[0])
