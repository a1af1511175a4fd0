"""Reads native JSONL (docs/data-model.md): one question a line, every fault named with its line."""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.errors import ImportFailed

_QUESTION_KEYS = ("question_id", "nodes", "dataset", "split", "prompt", "gold", "level", "subject")
_NODE_KEYS = (
    "id",
    "parent",
    "tokens",
    "draw",
    "greedy",
    "text",
    "logprob",
    "min_logprob",
    "stop",
    "answer",
    "correct",
    "scores",
)
_STOPS = ("step", "eos", "length")
_LARGEST = 2**31 - 1


class Fault(Exception):
    """What is wrong with a line; becomes ImportFailed with the file and the line."""


@dataclass
class Node:
    """A node as its line has it, with its draw filled in. `finished`: it has an answer (or null), or stop eos or
    length.
    """

    id: int
    parent: int | None
    tokens: int
    draw: int | None
    greedy: bool
    text: str | None
    logprob: float | None
    min_logprob: float | None
    stop: str | None
    has_answer: bool
    answer: str | None
    correct: bool | None
    scores: dict[str, float]

    @property
    def finished(self) -> bool:
        """Whether a solution ends here."""
        return self.has_answer or self.stop in ("eos", "length")


@dataclass
class Question:
    """A line of the file: the question's columns and its nodes, parents before children, siblings in draw order."""

    line: int
    columns: dict[str, Any]
    nodes: list[Node]

    @property
    def id(self) -> str:
        """The question's id."""
        return str(self.columns["question_id"])


def read_questions(path: Path) -> list[Question]:
    """The questions of the file, in order; raises ImportFailed at the first line that breaks the format."""
    questions: list[Question] = []
    lines: dict[str, int] = {}
    line = 0
    try:
        with path.open("rb") as file:
            for line, raw in enumerate(file, start=1):
                text = raw.decode("utf-8-sig" if line == 1 else "utf-8").strip()
                if not text:
                    continue
                question = _question(line, _parsed(text))
                if question.id in lines:
                    raise Fault(f"question '{question.id}' stands in line {lines[question.id]} already.")
                lines[question.id] = line
                questions.append(question)
    except Fault as fault:
        raise ImportFailed(path.name, line, str(fault)) from None
    except UnicodeDecodeError:
        raise ImportFailed(path.name, line, "not UTF-8 text.") from None
    except json.JSONDecodeError as error:
        raise ImportFailed(path.name, line, f"not JSON ({error.msg} at column {error.colno}).") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, or brackets without end
        raise ImportFailed(path.name, line, "JSON that is too deep or too long to read.") from None
    except OSError as error:
        raise ImportFailed(path.name, None, f"the file cannot be read ({error.strerror}).") from None
    if not questions:
        raise ImportFailed(path.name, None, "the file holds no question.")
    return questions


def _parsed(text: str) -> Any:
    value = json.loads(text)
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise Fault("half of a surrogate pair stands in the text; no other program could read it.") from None
    return value


def _question(line: int, value: Any) -> Question:
    if not isinstance(value, dict):
        raise Fault("a line is one JSON object with question_id and nodes.")
    identity = value.get("question_id")
    if not isinstance(identity, str) or not identity:
        raise Fault(
            "the key 'question_id' is missing." if identity is None else f"question_id {identity!r} is not text."
        )
    try:
        if not isinstance(value.get("nodes"), list):
            raise Fault("the key 'nodes' is missing." if "nodes" not in value else "'nodes' is not a list.")
        columns: dict[str, Any] = {key: _text(value, key) for key in _QUESTION_KEYS if key not in ("nodes", "level")}
        columns["level"] = (
            _whole(value["level"], "level", minimum=-_LARGEST) if value.get("level") is not None else None
        )
        extra = {key: item for key, item in value.items() if key not in _QUESTION_KEYS}
        columns["extra"] = _json(extra) if extra else None
        return Question(line, columns, _ordered([_node(item) for item in value["nodes"]]))
    except Fault as fault:
        raise Fault(f"question '{identity}'{'' if str(fault).startswith(',') else ': '}{fault}") from None


def _json(extra: dict[str, Any]) -> str:
    try:
        return json.dumps(extra, ensure_ascii=False, sort_keys=True, allow_nan=False)
    except ValueError:  # Python reads NaN and Infinity, which are not JSON
        raise Fault(f"a number among {', '.join(extra)} is not finite.") from None


def _node(value: Any) -> Node:
    if not isinstance(value, dict):
        raise Fault("a node is a JSON object with id, parent and tokens.")
    name = value.get("id", "without id")
    try:
        for key in ("id", "parent", "tokens"):
            if key not in value:
                raise Fault(f"the key '{key}' is missing.")
        for key in value:
            if key not in _NODE_KEYS:
                raise Fault(f"unknown key '{key}'. A node's keys are {', '.join(_NODE_KEYS)}.")
        node = Node(
            id=_whole(value["id"], "id", minimum=-(2**62), maximum=2**62),
            parent=None
            if value["parent"] is None
            else _whole(value["parent"], "parent", minimum=-(2**62), maximum=2**62),
            tokens=_whole(value["tokens"], "tokens"),
            draw=None if value.get("draw") is None else _whole(value["draw"], "draw"),
            greedy=bool(_truth(value, "greedy")),
            text=_text(value, "text"),
            logprob=_finite(value, "logprob"),
            min_logprob=_finite(value, "min_logprob"),
            stop=_text(value, "stop"),
            has_answer="answer" in value,
            answer=_text(value, "answer"),
            correct=_truth(value, "correct"),
            scores=_scores(value.get("scores")),
        )
        _require_ending(node)
    except Fault as fault:
        raise Fault(f", node {name}: {fault}") from None
    return node


def _require_ending(node: Node) -> None:
    if node.stop is not None and node.stop not in _STOPS:
        raise Fault(f"stop '{node.stop}'; it is one of {', '.join(_STOPS)}.")
    if node.has_answer and node.stop == "step":
        raise Fault("an answer ends here, yet stop is 'step'. Leave stop out, or write 'eos' or 'length'.")
    if node.answer is not None and not node.answer.strip():
        raise Fault("the answer is empty; write null for an answer that cannot be parsed.")
    if node.correct is not None and not node.has_answer:
        raise Fault("'correct' stands without 'answer'.")
    if node.correct and node.answer is None:
        raise Fault("answer null (cannot be parsed) is marked correct.")


def _ordered(nodes: list[Node]) -> list[Node]:
    """The nodes level by level, siblings by draw with greedy ones last; draws that were left out are filled in by
    order of appearance.
    """
    by_id: dict[int, Node] = {}
    children: dict[int | None, list[Node]] = {None: []}
    for node in nodes:
        if node.id in by_id:
            raise Fault(f", node {node.id}: the id occurs twice.")
        by_id[node.id] = node
        children.setdefault(node.parent, []).append(node)
    for node in nodes:
        if node.parent is not None and node.parent not in by_id:
            raise Fault(f", node {node.id}: parent {node.parent} is missing.")
    for parent, siblings in children.items():
        _number_draws(siblings, "the prompt" if parent is None else f"node {parent}")
    ordered: list[Node] = []
    waiting = deque(children[None])
    while waiting:
        node = waiting.popleft()
        ordered.append(node)
        waiting.extend(children.get(node.id, ()))
    if len(ordered) < len(nodes):
        reached = {node.id for node in ordered}
        cycle = _cycle(next(node for node in nodes if node.id not in reached), by_id)
        raise Fault(f", node {cycle[0]}: the parents form a cycle ({' → '.join(map(str, cycle))}).")
    return ordered


def _number_draws(siblings: list[Node], parent: str) -> None:
    for greedy in (False, True):
        seen: dict[int, int] = {}
        for place, node in enumerate(node for node in siblings if node.greedy == greedy):
            node.draw = place if node.draw is None else node.draw
            if greedy and seen:
                raise Fault(f", node {node.id}: {parent} has another greedy child, node {next(iter(seen.values()))}.")
            if node.draw in seen:
                raise Fault(f", node {node.id}: draw {node.draw} under {parent} is node {seen[node.draw]} already.")
            seen[node.draw] = node.id
    siblings.sort(key=lambda node: (node.greedy, node.draw))


def _cycle(start: Node, by_id: dict[int, Node]) -> list[int]:
    path: list[int] = []
    node = start
    while node.id not in path:
        path.append(node.id)
        assert node.parent is not None  # a node that the roots do not reach has an ancestor in a cycle
        node = by_id[node.parent]
    return [*path[path.index(node.id) :], node.id]


def _whole(value: Any, name: str, *, minimum: int = 0, maximum: int = _LARGEST) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Fault(f"{name} {value!r} is not a whole number.")
    if not minimum <= value <= maximum:
        raise Fault(f"{name} {value} is {'negative' if value < 0 <= minimum else 'out of range'}.")
    return value


def _finite(value: dict[str, Any], name: str) -> float | None:
    number = value.get(name)
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise Fault(f"{name} {number!r} is not a number.")
    if not math.isfinite(number) or abs(number) > 3.4e38:
        raise Fault(f"{name} {number} is not finite; leave out what is not known.")
    return float(number)


def _text(value: dict[str, Any], name: str) -> str | None:
    text = value.get(name)
    if text is not None and not isinstance(text, str):
        raise Fault(f"{name} {text!r} is not text; write it in quotes.")
    return text


def _truth(value: dict[str, Any], name: str) -> bool | None:
    truth = value.get(name)
    if truth is not None and not isinstance(truth, bool):
        raise Fault(f"{name} {truth!r} is neither true nor false.")
    return truth


def _scores(value: Any) -> dict[str, float]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Fault("'scores' is an object of verifier: number.")
    scores = {}
    for verifier in value:
        try:
            number = _finite(value, verifier)
        except Fault as fault:
            raise Fault(f"score of {fault}") from None
        if number is not None:
            scores[verifier] = number
    return scores
