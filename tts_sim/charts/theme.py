"""What all charts share: colours that the colour-blind tell apart, dashes for print, sizes, names of strategies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

WIDTH, HEIGHT = 720, 340
PANEL = 136  # width of a small panel

# Okabe and Ito 2008, "Color Universal Design"; its yellow is left out (too faint on white), black comes last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F3C8D", "#000000")
DASHES: tuple[list[int], ...] = ([1, 0], [6, 2], [2, 2], [8, 2, 2, 2], [1, 0], [6, 2], [2, 2], [8, 2, 2, 2])
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
# dark to light with falling lightness, so that order survives in grey; the light end still stands out on white
RAMP = ((34, 13, 92), (126, 3, 168), (204, 71, 120), (232, 120, 50), (196, 158, 0))
ALL, GREY = "all", "#57606a"

_PLAIN = {
    "sample+majority": "majority",
    "sample+best": "best-of-N",
    "sample+weighted": "weighted best-of-N",
    "sample+oracle": "coverage (pass@N)",
}


class Look(NamedTuple):
    """Encodings of one column that share a legend; `scale` is that of the colours, `shapes` that of the shapes."""

    domain: list[Any]
    scale: alt.Scale
    shapes: alt.Scale
    color: alt.Color
    dash: alt.StrokeDash
    shape: alt.Shape


def strategy_name(spec: str) -> str:
    """What people call a strategy: 'sample+weighted' is weighted best-of-N; others keep their spec, spaced out."""
    return _PLAIN.get(spec) or re.sub(r"\+", " + ", spec)


def series(names: Sequence[str], field: str = "strategy", columns: int = 3) -> Look:
    """The look of each name, one legend: a series is told apart without its colour.

    Of strategies the four plain ones over samples look the same in every chart; the others take what is left, in order.
    """
    domain = list(names)
    fixed = {name: place for place, name in enumerate(_PLAIN.values())} if field in ("strategy", "line") else {}
    others = [name for name in domain if name not in fixed]
    if field == "strategy":
        others.sort()  # so that a strategy mostly looks the same, wherever it comes in the legend
    taken = [place for name, place in fixed.items() if name in domain or len(others) <= len(COLOURS) - len(fixed)]
    free = [place for place in range(len(COLOURS)) if place not in taken]
    if field == "line":
        free.reverse()  # the policy first, in black
    places = fixed | {name: free[count % len(free)] for count, name in enumerate(others)}
    styles = [(COLOURS[place], DASHES[place], SHAPES[place]) for place in (places[name] for name in domain)]
    return _look(domain, f"{field}:N", styles, _legend(columns, None, 18))


def ordered(values: Sequence[Any], field: str, title: str, *, offset: float = 18) -> Look:
    """The same for values that have an order (levels of difficulty, budgets): dark first, light last; `all` is grey."""
    domain = list(values)
    colours = iter(ramp(sum(value != ALL for value in domain)))
    styles = [
        (GREY if value == ALL else next(colours), DASHES[place % len(DASHES)], SHAPES[place % len(SHAPES)])
        for place, value in enumerate(domain)
    ]
    return _look(domain, f"{field}:N", styles, _legend(8, title, offset))


def ramp(count: int) -> list[str]:
    """`count` colours from dark to light."""
    colours = []
    for step in range(count):
        place = step * (len(RAMP) - 1) / max(1, count - 1)
        low = min(int(place), len(RAMP) - 2)
        mixed = (a + (b - a) * (place - low) for a, b in zip(RAMP[low], RAMP[low + 1], strict=True))
        colours.append("#" + "".join(f"{round(part):02x}" for part in mixed))
    return colours


def _legend(columns: int, title: str | None, offset: float) -> alt.Legend:
    return alt.Legend(
        title=title,
        orient="top",
        offset=offset,
        columns=columns,
        labelLimit=320,
        titleLimit=400,
        symbolStrokeWidth=0,
        symbolOpacity=1,
        symbolSize=90,
    )


def _look(domain: list[Any], name: str, styles: Sequence[tuple[str, list[int], str]], legend: alt.Legend) -> Look:
    colours, dashes, shapes = ([style[kind] for style in styles] for kind in range(3))
    scale, signs = alt.Scale(domain=domain, range=colours), alt.Scale(domain=domain, range=shapes)
    return Look(
        domain=domain,
        scale=scale,
        shapes=signs,
        color=alt.Color(name, scale=scale, legend=legend),
        dash=alt.StrokeDash(name, scale=alt.Scale(domain=domain, range=dashes), legend=legend),
        shape=alt.Shape(name, scale=signs, legend=legend),
    )
