"""Verifiers that are made out of cached ones, so that they can be studied without a new score.

    prm                          a verifier that scored the run
    random                       uniform in [0, 1] at every node
    flip(prm,probability=0.2)    p → 1 − p at each node with this probability
    temper(prm,temperature=2)    the logit of p divided by the temperature
    power(prm,exponent=2)        p to this power
    sigmoid(reward)              scores of any size into [0, 1]

They nest: flip(temper(prm,temperature=2),probability=0.1). An id that is in the cache wins over this syntax.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import ClassVar

import numpy as np

from tts_sim.arrays import Float32s, Float64s
from tts_sim.draws import checked_seed, mix, mixed
from tts_sim.forest import Forest
from tts_sim.spec import Strategy

NOISE = 1 << 34  # counters of the verifiers' chances; replays use those below
DEEPEST = 32


@dataclass(frozen=True)
class Cached:
    """A verifier as the cache has it."""

    id: str

    def __str__(self) -> str:
        return self.id

    @property
    def source(self) -> str | None:
        """The cached verifier that is at the bottom; None if there is none."""
        return self.id

    @property
    def chances(self) -> int:
        """How many steps from the cached scores to these leave something to chance."""
        return 0

    def values(self, forest: Forest, seed: int) -> Float64s:
        """The score of every row before it is rounded to float32; NaN where not scored."""
        return forest.path_score(self.id, "last").astype(np.float64)


@dataclass(frozen=True)
class Random:
    """A verifier that knows nothing: uniform scores in [0, 1]. Source: Snell et al. 2024 (arXiv:2408.03314) App. K."""

    name: ClassVar[str] = "random"

    def __str__(self) -> str:
        return self.name

    @property
    def source(self) -> None:
        return None

    @property
    def chances(self) -> int:
        return 1

    def values(self, forest: Forest, seed: int) -> Float64s:
        return np.where(forest.node_id < 0, np.nan, _chance(forest, seed, 0))


@dataclass(frozen=True)
class Map:
    """What maps another verifier's scores, one by one."""

    of: Verifier
    name: ClassVar[str]

    def __str__(self) -> str:
        """The shortest text: a parameter that has its default is left out."""
        given = {field.name: getattr(self, field.name) for field in fields(self)[1:]}
        shown = [
            f"{parameter}={_short(value)}"
            for parameter, value in given.items()
            if value != getattr(type(self), parameter, None)
        ]
        return f"{self.name}({','.join([str(self.of), *shown])})"

    @property
    def source(self) -> str | None:
        return self.of.source

    @property
    def chances(self) -> int:
        return self.of.chances

    def values(self, forest: Forest, seed: int) -> Float64s:
        raise NotImplementedError

    def _probabilities(self, forest: Forest, seed: int) -> Float64s:
        """The scores that are to be mapped. Raises ValueError unless they lie in [0, 1]."""
        given = self.of.values(forest, seed)
        if ((given < 0) | (given > 1)).any():
            low, high = float(np.nanmin(given)), float(np.nanmax(given))
            raise ValueError(
                f"verifier {str(self)!r}: {self.name} maps scores in [0, 1]; those of {str(self.of)!r} go from "
                f"{low:g} to {high:g}. If they are logits, use sigmoid({self.of}) in its place."
            )
        return given

    def _require(self, parameter: str, fits: bool, expected: str) -> None:
        """Raise ValueError unless the parameter is a number that fits; keep it as a float."""
        value = getattr(self, parameter)
        if not fits:
            raise ValueError(f"{parameter}={_short(value)}: expected {expected}.")
        object.__setattr__(self, parameter, float(value))


@dataclass(frozen=True)
class Flip(Map):
    """p → 1 − p with this probability, decided at each node by itself.

    Source: Snell et al. 2024 (arXiv:2408.03314) App. K, which flips the label of a whole solution with probability 0.2.
    With agg=last a solution has the score of its last node, so that this is the same; a step-wise search meets
    flipped steps as well. A larger probability flips the same nodes and more.
    """

    probability: float = 0.2
    name: ClassVar[str] = "flip"

    def __post_init__(self) -> None:
        self._require(
            "probability", _is_number(self.probability) and 0 <= self.probability <= 1, "a number from 0 to 1"
        )

    @property
    def chances(self) -> int:
        return self.of.chances + 1

    def values(self, forest: Forest, seed: int) -> Float64s:
        given = self._probabilities(forest, seed)
        return np.where(_chance(forest, seed, self.chances) < self.probability, 1 - given, given)


@dataclass(frozen=True)
class Temper(Map):
    """The logit divided by the temperature: above 1 timid, below 1 sure of itself; the order of scores stays.

    Scores that differ by less than float32 can tell once they are mapped come to tie.
    """

    temperature: float
    name: ClassVar[str] = "temper"

    def __post_init__(self) -> None:
        self._require(
            "temperature", _is_number(self.temperature) and 0 < self.temperature < math.inf, "a number above 0"
        )

    def values(self, forest: Forest, seed: int) -> Float64s:
        given = self._probabilities(forest, seed)
        with np.errstate(divide="ignore", over="ignore"):
            return _sigmoid((np.log(given) - np.log1p(-given)) / self.temperature)


@dataclass(frozen=True)
class Power(Map):
    """p to a power above 0: the order of scores stays, sums and votes change. Ties as in `Temper`."""

    exponent: float
    name: ClassVar[str] = "power"

    def __post_init__(self) -> None:
        self._require("exponent", _is_number(self.exponent) and 0 < self.exponent < math.inf, "a number above 0")

    def values(self, forest: Forest, seed: int) -> Float64s:
        mapped: Float64s = self._probabilities(forest, seed) ** self.exponent
        return mapped


@dataclass(frozen=True)
class Sigmoid(Map):
    """1 / (1 + exp(−score)): what makes probabilities out of logits, for votes and for the other maps."""

    name: ClassVar[str] = "sigmoid"

    def values(self, forest: Forest, seed: int) -> Float64s:
        return _sigmoid(self.of.values(forest, seed))


Verifier = Cached | Random | Map
MAPS: tuple[type[Map], ...] = (Flip, Temper, Power, Sigmoid)
FORMS = "random, flip(ID,probability=0.2), temper(ID,temperature=2), power(ID,exponent=2), sigmoid(ID)"


def parse_verifier(text: str, known: Collection[str]) -> Verifier:
    """The verifier that a text describes; `known` are the ids that the cache holds.

    Raises ValueError for an unknown id or function (the known ones are listed) and for parameters that do not fit.
    """
    return _parse(text, text, known, 0)


def derived_scores(forest: Forest, spec: Verifier | str, *, seed: int) -> Float32s:
    """One score per row of the forest, read-only; NaN where the verifier below has not scored, and at prompts.

    What chance decides at a node is a hash of the seed, the question and the node's number in the cache: it does not
    depend on the order of rows, on shards or on other questions. Maps are computed in float64 and rounded once.
    Raises ValueError for a verifier that has not scored the run, and for a map of scores outside [0, 1] that needs
    probabilities.
    """
    verifier = parse_verifier(spec, forest.scores) if isinstance(spec, str) else spec
    checked_seed(seed)
    if isinstance(verifier, Cached):
        return forest.path_score(verifier.id, "last")
    column = verifier.values(forest, seed).astype(np.float32)
    column.flags.writeable = False
    return column


def with_verifiers(forest: Forest, specs: Sequence[Verifier | str], *, seed: int) -> Forest:
    """The forest with a score column for each verifier, named by its `str()`; cached ones are there already.

    A derived verifier is of the kind of the one it is made of. Give it the forest as it was loaded: a text that names
    a column which is there already means that column. Raises ValueError as `derived_scores` does, and for a verifier
    to be made under a name that is taken.
    """
    scores, kinds = dict(forest.scores), dict(forest.verifier_kinds)
    for spec in specs:
        verifier = parse_verifier(spec, forest.scores) if isinstance(spec, str) else spec
        name = str(verifier)
        if not isinstance(verifier, Cached) and name in forest.scores:
            raise ValueError(
                f"verifier {name!r}: run {forest.run_id!r} has scores under this very name; it cannot be made."
            )
        scores[name] = derived_scores(forest, verifier, seed=seed)
        if verifier.source is None:
            kinds.setdefault(name, name)
        elif verifier.source in kinds:
            kinds[name] = kinds[verifier.source]
    return replace(forest, scores=scores, verifier_kinds=kinds, _kept={})


def side_by_side(
    forests: Sequence[Forest], texts: Sequence[str], *, seed: int
) -> list[tuple[Forest, list[str | None]]]:
    """Each run with the score columns that `texts` describe, and the names to replay it with, one after the other.

    A verifier goes to the runs that it, or the one it is made of, has scored. A run that none of them scored is left
    to its default: [None]. Raises ValueError for a text that fits no run, unless nothing is cached yet.
    """
    if not any(forest.num_nodes for forest in forests):
        return [(forest, [None]) for forest in forests]
    known = list(dict.fromkeys(name for forest in forests for name in forest.scores))
    verifiers = list(dict.fromkeys(parse_verifier(text, known) for text in texts))
    found: list[tuple[Forest, list[str | None]]] = []
    for forest in forests:
        suited = [one for one in verifiers if one.source is None or one.source in forest.scores]
        found.append((with_verifiers(forest, suited, seed=seed), [str(one) for one in suited] or [None]))
    return found


def rounds(strategies: Sequence[Strategy], names: Sequence[str | None]) -> list[tuple[str | None, list[Strategy]]]:
    """The replays that judge `strategies` by each verifier; a strategy that uses no score is replayed but once."""
    scored = [strategy for strategy in strategies if strategy.uses_scores]
    plans = [(name, scored if place else list(strategies)) for place, name in enumerate(names)]
    return [(name, members) for name, members in plans if members]


def _parse(text: str, whole: str, known: Collection[str], depth: int) -> Verifier:
    name = text if text in known else text.strip()
    if name in known:
        return Cached(name)
    if name == Random.name:
        return Random()
    where = f"verifier {whole!r}"
    match = re.fullmatch(r"([\w-]+)\s*\((.*)\)", name, re.DOTALL)
    kind = next((entry for entry in MAPS if match is not None and entry.name == match[1]), None)
    if match is None or kind is None:
        what = "unknown" if name == whole.strip() else f"unknown {name!r}"
        raise ValueError(f"{where}: {what}; known: {', '.join(known) or 'none'}; or made of them: {FORMS}.")
    if depth == DEEPEST:
        raise ValueError(f"{where}: more than {DEEPEST} functions inside each other.")
    inner, parameters, values = match[2], [field.name for field in fields(kind)][1:], dict[str, float]()
    while inner.strip() not in known:
        piece = re.fullmatch(r"(?:(.*),)?\s*(\w+)\s*=([^(),=]*)", inner, re.DOTALL)
        if piece is None:
            break
        inner, key, value = piece[1] or "", piece[2], piece[3].strip()
        if key not in parameters or key in values:
            problem = "given twice" if key in values else "unknown"
            listed = ", ".join(parameters) or "none"
            raise ValueError(f"{where}: parameter {key!r} of {kind.name} is {problem}; known: {listed}.")
        try:
            values[key] = float(value)
        except ValueError:
            raise ValueError(f"{where}: {key}={value}: expected a number.") from None
    for parameter in parameters:
        if parameter not in values and not hasattr(kind, parameter):  # a default is an attribute of its class
            raise ValueError(f"{where}: {kind.name} needs {parameter}, for example {_example(kind)}.")
    if not inner.strip():
        raise ValueError(f"{where}: {kind.name} needs the verifier that it changes, for example {_example(kind)}.")
    of = _parse(inner, whole, known, depth + 1)
    try:
        return kind(of, **values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _example(kind: type[Map]) -> str:
    return next(form for form in FORMS.split(", ") if form.startswith(kind.name))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _short(value: object) -> str:
    return str(value).removesuffix(".0")


def _sigmoid(logits: Float64s) -> Float64s:
    with np.errstate(over="ignore"):
        shares: Float64s = 1 / (1 + np.exp(-logits))
    return shares


def _chance(forest: Forest, seed: int, stream: int) -> Float64s:
    """A number in [0, 1) for every row: mix(mix(mix(seed, NOISE + stream), question key), number of the node)."""
    trees = forest.trees
    keys = mixed(np.uint64(mix(seed, NOISE + stream)), trees.question_key)
    rows = np.repeat(keys, np.diff(trees.question_start))
    bits = mixed(rows, forest.node_id.astype(np.uint64))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
