"""Allocation of a total budget: which option each item gets, so that the sum of values is largest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl

ROUNDING = 1e-9  # relative: sums of costs in another order


@dataclass(frozen=True)
class Allocation:
    """One option for each item, `frame`: the options' rows that were chosen, one an item, in the order of the items.

    An item that gets nothing keeps its row, with null for what describes an option and cost and value 0. `value` and
    `cost` are sums over items, times their weight. `bound` is what no allocation can exceed (the linear relaxation,
    which mixes two options of one item); `gap` is bound - value, at most one step up one hull. `slope`: value that one
    more unit of cost would bring, 0 if nothing is left to gain.
    """

    frame: pl.DataFrame
    total: float
    cost: float
    value: float
    bound: float
    gap: float
    slope: float


class _Step(NamedTuple):
    """From one vertex of an item's hull to the next; sorted by what is taken first."""

    falling: float  # the slope, negative
    cost: float
    item: int
    vertex: int
    value: float


def allocate(options: pl.DataFrame, total: float, *, abstain: bool = True) -> Allocation:
    """Chooses an option for each item within `total`: up the items' concave hulls, steepest step first.

    `options`: item, cost, value, and what else describes an option; with `weight` an item stands for as many
    (questions of a bin), and cost and value are those of each. With `abstain` an item may get nothing, at cost and
    value 0; else it gets at least its cheapest option. Options below their item's hull (dearer and no better in
    proportion) are never chosen: majority and beam curves are not concave. Where a step does not fit any more, cheaper
    ones of other items are still taken. Ties go to the cheaper step, then to the earlier item. For pass@n, whose
    curves are concave, this is the plain greedy one sample at a time.

    The values are estimates: what is chosen by them looks better than it is, see `allocate_outcomes`.
    Raises ValueError for a total < 0 or below what the cheapest options cost, no option, and costs or values that are
    negative or missing. Source: statistics §4, allocation; Damani et al. 2024 for the greedy.
    """
    missing = {"item", "cost", "value"} - set(options.columns)
    if missing or options.is_empty():
        what = f"without {', '.join(sorted(missing))}" if missing else "empty"
        raise ValueError(f"options: {what}; expected item, cost and value of at least one option.")
    if not 0 <= total < math.inf:
        raise ValueError(f"total {total}: expected an amount from 0.")
    names = ["cost", "value"] + ["weight"] * ("weight" in options.columns)
    figures = options.select(pl.col(names).cast(pl.Float64))
    for name in names:
        if figures[name].null_count() or not figures[name].is_finite().all() or figures[name].min() < 0:  # type: ignore[operator]
            raise ValueError(f"options: {name} must be a number from 0 for every option.")
    items = options["item"].unique(maintain_order=True).to_list()
    number = {item: place for place, item in enumerate(items)}
    costs, values = figures["cost"].to_list(), figures["value"].to_list()
    members: list[list[int]] = [[] for _ in items]
    for row, item in enumerate(options["item"]):
        members[number[item]].append(row)
    weights = [figures["weight"][rows[0]] if "weight" in figures.columns else 1.0 for rows in members]
    hulls = [_hull(rows, costs, values, abstain) for rows in members]
    chains = [_steps(item, hull, costs, values, weights[item]) for item, hull in enumerate(hulls)]
    starts = [hull[0] for hull in hulls]
    spent = sum(weights[i] * costs[row] for i, row in enumerate(starts) if row is not None)
    gained = sum(weights[i] * values[row] for i, row in enumerate(starts) if row is not None)
    if spent > total * (1 + ROUNDING):
        raise ValueError(f"total {total:g}: the cheapest options of all items cost {spent:g}; raise it, or abstain.")
    at = [0] * len(items)
    bound, slope = None, 0.0
    ready = [chain[0] for chain in chains if chain]
    heapify(ready)
    while ready:
        step = heappop(ready)
        if spent + step.cost <= total * (1 + ROUNDING):
            spent, gained = spent + step.cost, gained + step.value
            at[step.item] = step.vertex
            if step.vertex < len(chains[step.item]):
                heappush(ready, chains[step.item][step.vertex])
        elif bound is None:
            slope = -step.falling
            bound = gained + max(0.0, total - spent) * slope
    bound = gained if bound is None else max(bound, gained)
    chosen = [hull[vertex] for hull, vertex in zip(hulls, at, strict=True)]
    return Allocation(_rows(options, items, weights, chosen), total, spent, gained, bound, bound - gained, slope)


def _hull(rows: Sequence[int], costs: Sequence[float], values: Sequence[float], abstain: bool) -> list[int | None]:
    """The points on the upper concave hull, by rising cost and value; None: nothing at all, at no cost.

    Points on an edge stay: smaller steps leave less over.
    """
    points: list[tuple[float, float, int | None]] = [(costs[row], values[row], row) for row in rows]
    if abstain:
        points.append((0.0, 0.0, None))
    points.sort(key=lambda point: (point[0], -point[1]))
    hull: list[tuple[float, float, int | None]] = []
    for cost, value, row in points:
        if hull and value <= hull[-1][1]:
            continue
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (cost - hull[-2][0]) < (value - hull[-2][1]) * (
            hull[-1][0] - hull[-2][0]
        ) * (1 - 1e-12):
            hull.pop()
        hull.append((cost, value, row))
    return [row for _, _, row in hull]


def _steps(
    item: int, hull: Sequence[int | None], costs: Sequence[float], values: Sequence[float], weight: float
) -> list[_Step]:
    points = [(0.0, 0.0) if row is None else (costs[row], values[row]) for row in hull]
    steps = []
    for vertex, (one, two) in enumerate(pairwise(points), start=1):
        cost, value = two[0] - one[0], two[1] - one[1]
        steps.append(_Step(-value / cost if cost > 0 else -math.inf, weight * cost, item, vertex, weight * value))
    return steps


def _rows(
    options: pl.DataFrame, items: Sequence[Any], weights: Sequence[float], chosen: Sequence[int | None]
) -> pl.DataFrame:
    """The chosen rows; for an item that gets nothing a row of nulls with cost and value 0."""
    columns = {
        name: [options[name][row] if row is not None else None for row in chosen]
        for name in options.columns
        if name not in ("item", "cost", "value", "weight")
    }
    figures = {
        name: [float(options[name][row]) if row is not None else 0.0 for row in chosen] for name in ("cost", "value")
    }
    schema = {name: options.schema[name] for name in columns}
    return pl.DataFrame({"item": items, "weight": weights} | columns | figures, schema_overrides=schema)
