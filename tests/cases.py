"""Exact cases, each small enough to be counted out: inputs, and every expected figure as a fraction.

Ties share; an answer that is None abstains; the right answer is A. All scores are dyadic, so that sums of floats are
exact. The names are those of the collection that the cases were brute-forced for.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any


def fractions(text: str) -> list[Fraction]:
    """The fractions that a text lists."""
    return [Fraction(piece) for piece in text.split()]


def curve(text: str) -> dict[int, Fraction]:
    """The figures at n = 1, 2, …"""
    return dict(enumerate(fractions(text), start=1))


Solutions = list[tuple[str | None, float | None]]

# C01: coverage of 10 samples of which 3 are right.
C01_SOLUTIONS: Solutions = [("A", None)] * 3 + [("B", None)] * 7
C01 = curve("3/10 8/15 17/24 5/6 11/12 29/30 119/120 1 1 1")

# C03: best of n with ties.
C03_SOLUTIONS: Solutions = [("A", 0.875), ("B", 0.875), ("A", 0.75), ("B", 0.75), ("C", 0.75), ("A", 0.125)]
C03 = curve("1/2 13/30 7/15 22/45 1/2 1/2")

# C05: majority.
C05_SOLUTIONS: Solutions = [(answer, None) for answer in "AAABBBBCD"]
C05 = curve("1/3 1/3 1/3 5/14 5/14 9/28 5/18 2/9 0")

# C08: every vote on the same seven samples.
C08_SOLUTIONS: Solutions = list(zip("ABBACBA", [0.875, 0.5, 0.375, 0.25, 0.75, 0.25, 0.125], strict=True))
C08 = {
    "weighted": curve("3/7 5/14 16/35 37/70 25/42 9/14 1"),
    "best": curve("3/7 5/14 31/70 4/7 5/7 6/7 1"),
    "majority": curve("3/7 3/7 16/35 1/2 1/2 1/2 1/2"),
    "oracle": curve("3/7 5/7 31/35 34/35 1 1 1"),
}

# C11: beam search of width 2 on a tree of two steps; width 4 would need four children of one node.
Shape = list[tuple[float, Any]]
C11_TREE: Shape = [
    (0.75, [("A", 0.875), ("B", 0.5), ("A", 0.25)]),
    (0.625, [("B", 0.75), ("A", 0.625), ("C", 0.125)]),
    (0.625, [("C", 0.25), ("B", 0.875), ("B", 0.375)]),
    (0.5, [("A", 1.0), ("A", 0.75), ("B", 0.125)]),
    (0.25, [("C", 0.5), ("A", 0.25), ("A", 0.125)]),
]
C11_GREEDY = [0.5, 0.75, 0.875, 1.0, 0.125]  # the score of the greedy step below each first step
_C11 = {"weighted": "9/20 2/5", "best": "9/20 23/45", "majority": "5/12 17/45", "oracle": "2/3 14/15"}
C11 = {selection: dict(zip((2, 4), fractions(text), strict=True)) for selection, text in _C11.items()}

# C13: the same tree with holes, beam search of width 2 with four candidates, weighted.
C13_TREE: Shape = [C11_TREE[0], (0.625, []), C11_TREE[2], (0.5, [("A", 1.0)]), C11_TREE[4]]
C13 = {"supported": Fraction(2, 5), "lower": Fraction(1, 9), "upper": Fraction(32, 45)}
C13_SUPPORTED_TRIALS = Fraction(5, 18)  # the mean over them alone, which is biased

# C14: four readings of a first step that ends, beam search of width 2 with four candidates: weighted, best.
C14_TREE: Shape = [(0.625, "A"), C11_TREE[0], C11_TREE[2], C11_TREE[3]]
_C14 = {"freeze": "5/6 7/9", "absorb": "23/36 13/18", "shrink": "13/18 13/18", "pool": "11/18 5/9"}
C14 = {reading: dict(zip(("weighted", "best"), fractions(text), strict=True)) for reading, text in _C14.items()}

# C16: beam search (n = width = 2) over all caches of three first steps (good with probability 2/5) with three leaves
# each (right with probability 4/5 below a good one, else 1/5): truth, and what draws with replacement give instead.
C16_FIRST = ((Fraction(2, 5), 0.75, Fraction(4, 5)), (Fraction(3, 5), 0.25, Fraction(1, 5)))  # chance, score, right
C16 = {"majority": fractions("73/125 67/125"), "oracle": fractions("93/125 241/375")}

# C18: revision chains; P chains of S attempts.
C18_CHAINS: list[list[tuple[str | None, float | None]]] = [
    [("B", 0.5), ("A", 0.625), ("A", 0.75), ("B", 0.875)],
    [("A", 0.375), ("C", 0.25), ("B", 0.5), ("A", 0.5)],
    [("C", 0.625), ("C", 0.5), ("A", 0.25), ("A", 0.75)],
    [("A", 0.75), ("B", 0.75), ("B", 0.125), ("C", 0.25)],
]
C18_FIGURES = {  # what the selection sees, and the selection
    "hierarchical weighted": ("", "weighted"),
    "hierarchical best": ("", "best"),
    "pooled majority": ("", "majority"),
    "pooled weighted": (",across=pooled", "weighted"),
    "majority of last": (",across=last", "majority"),
    "any": ("", "oracle"),
}
_C18 = {
    (1, 1): "1/2 1/2 1/2 1/2 1/2 1/2",
    (1, 4): "3/8 3/8 1/2 3/8 1/2 1",
    (2, 1): "1/2 1/2 1/2 1/2 1/2 5/6",
    (2, 2): "1/2 1/2 5/12 1/2 1/4 1",
    (2, 4): "5/24 5/24 2/3 5/6 1/2 1",
    (4, 1): "1 1 1 1 1 1",
    (4, 4): "1/2 1/4 1 1 1 1",
}
C18 = {shape: dict(zip(C18_FIGURES, fractions(text), strict=True)) for shape, text in _C18.items()}
C18_PASS_AT_1 = fractions("1/2 1/4 1/2 1/2")  # by attempt
C18_RIGHT_TURNED_WRONG = Fraction(3, 5)

# C20: fifths by difficulty where questions tie.
C20_CORRECT_OF_16 = [0, 0, 0, 0, 1, 2, 2, 3, 5, 5, 6, 8, 8, 9, 11, 12, 13, 15, 16, 16]
C20_EDGES = fractions("1/20 21/80 1/2 61/80")
C20_LEVELS = [5, 5, 5, 5, 4, 4, 4, 4, 3, 3, 3, 2, 2, 2, 2, 2, 1, 1, 1, 1]
C20_SIZES = [4, 5, 3, 4, 4]

# C26: a paired difference of six questions in three clusters.
C26_TENTHS = ([10, 8, 5, 0, 3, 9], [9, 8, 2, 1, 1, 7])
C26_CLUSTERS = [0, 0, 1, 1, 2, 2]
C26 = {"difference": Fraction(7, 60), "variance": Fraction(13, 3600), "p_value": Fraction(3, 16)}
C26_SE_UNPAIRED, C26_T = 0.21921577396609843, 1.9414506867883021
C26_CLUSTERED_VARIANCE = Fraction(7, 3600)
