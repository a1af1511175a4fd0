"""What all charts share: colours that the colour-blind tell apart, dashes for print, sizes, names of strategies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import altair as alt

# Okabe and Ito 2008, "Color Universal Design"; its yellow is left out (too faint on white), black comes last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F3C8D", "#000000")
DASHES: tuple[list[int], ...] = ([1, 0], [6, 2], [2, 2], [8, 2, 2, 2], [1, 0], [6, 2], [2, 2], [8, 2, 2, 2])
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")

_PLAIN = {
    "sample+majority": "majority",
    "sample+best": "best-of-N",
    "sample+weighted": "weighted best-of-N",
    "sample+oracle": "coverage (pass@N)",
}


def strategy_name(spec: str) -> str:
    """What people call a strategy: 'sample+weighted' is weighted best-of-N; others keep their spec, spaced out."""
    return _PLAIN.get(spec) or re.sub(r"\+", " + ", spec)


def series(names: Sequence[str], title: str = "strategy") -> dict[str, Any]:
    """Colour, dash and shape encodings of the names, one legend: a series is told apart without its colour."""
    domain = list(names)
    count = len(domain)
    legend = alt.Legend(title=None, orient="top", columns=3, labelLimit=320, symbolStrokeWidth=2, symbolOpacity=1)
    return {
        "color": alt.Color(f"{title}:N", scale=alt.Scale(domain=domain, range=_cycled(COLOURS, count)), legend=legend),
        "strokeDash": alt.StrokeDash(
            f"{title}:N", scale=alt.Scale(domain=domain, range=_cycled(DASHES, count)), legend=legend
        ),
        "shape": alt.Shape(f"{title}:N", scale=alt.Scale(domain=domain, range=_cycled(SHAPES, count)), legend=legend),
    }


def _cycled(items: Sequence[Any], count: int) -> list[Any]:
    return [items[place % len(items)] for place in range(count)]
