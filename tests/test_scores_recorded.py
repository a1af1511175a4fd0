"""A run by its command, with a verifier of every format: each score is that of its solution alone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache as remembered
from pathlib import Path
from typing import Any

import pytest
import torch

from cache import open_cache
from generate.verifiers.registry import FORMATS, load_verifier
from tests.command import printed_json, tts_sim
from tests.test_generate_run import CHAINS, TREES
from tests.test_verifier_formats import OUTPUT, SYSTEM_TEXT
from tests.tiny import save_models
from tests.tiny_verifiers import CHARACTERS, EOS, SPECIAL, UNK, WORDS, save_verifier

FLAT, QUESTIONS = 250, ("12+30", "7*8-1", "100-5+2*3", "9")
NEWLINE = "\n"
WHOLE = "token-classifier"  # the format of which every solution is computed again; of the others one in EVERY
EVERY = 8


def token_ids(text: str, family: str) -> list[int]:
    """Special tokens, then words, digits and signs with the blank before them; or letters."""
    found: list[int] = []
    for part in re.split("(" + "|".join(map(re.escape, SPECIAL)) + ")", text):
        if part in SPECIAL:
            found.append(SPECIAL.index(part))
        elif family in ("qwen-prm", "skywork"):
            found += [CHARACTERS.index({"\n": "Ċ", " ": "Ġ"}.get(letter, letter)) for letter in part]
        else:
            pieces = re.findall(r"\n| ?[^\W\d_]+| ?\d| ?[^\s\w]|[\s\S]", part)
            found += [WORDS.index(piece) if piece in WORDS else UNK for piece in pieces]
    return found


def written_out(family: str, question: str, steps: Sequence[str], stop: str) -> tuple[list[int], list[int]]:
    """A solution's input by docs/verifiers.md, in tokens, and the places of its steps' scores."""
    end = [EOS] * (stop == "eos")
    if family == "outcome":
        ids = token_ids(question + NEWLINE + "".join(steps), family) + end
        return ids, [len(ids) - 1]
    opening = {
        "token-classifier": question + NEWLINE,
        "trl": "<s>" + question,
        "math-shepherd": f"<s>{question} ",
        "rlhflow": "",
        "qwen-prm": f"<|system|>{SYSTEM_TEXT}<|end|><|user|>{question}<|end|><|assistant|>",
        "skywork": f"<s>{question}\n",
    }[family]
    text, places = opening, []
    for number, step in enumerate(steps):
        bare = step.strip()
        if family == "rlhflow":
            text += f"<|user|>{bare if number else f'{question} {bare}'}<|end|><|assistant|>"
        else:
            text += {
                "token-classifier": step,
                "trl": bare + NEWLINE,
                "math-shepherd": NEWLINE * (number > 0) + bare + " ки",
                "qwen-prm": bare + "<extra_0>",
                "skywork": step.strip("\n") + NEWLINE,
            }[family]
        places.append(len(token_ids(text, family)) - 1)
        text += "+<|end|>" * (family == "rlhflow")
    ids = token_ids(text + "<|end|>" * (family == "qwen-prm"), family)
    if family == "token-classifier" and end:
        ids, places = ids + end, [*places[:-1], len(ids)]
    return ids, places


def test_every_score_is_that_of_its_solution_alone(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    verifiers = {family: save_verifier(tmp_path, family) for family in FORMATS}
    rows = [
        {"question_id": f"q{number}", "prompt": prompt, "gold": "1", "level": number}
        for number, prompt in enumerate(QUESTIONS)
    ]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    path = tmp_path / "run.duckdb"
    settings = {
        "cache": str(path), "model": save_models(tmp_path)[0], "device": "cpu", "batch_rows": 256,
        "questions": str(tmp_path / "questions.jsonl"), "prompt_template": "{prompt}\n", "delimiter": NEWLINE,
        "temperature": 1.0, "max_tokens": 12, "answer": "final-number", "grader": "exact", "flat": FLAT,
        "greedy": True, "chains": 2, "strategies": [*TREES, *CHAINS, "sample+majority"], "budgets": [4], "trials": 2,
    }  # fmt: skip
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    for family, model in verifiers.items():
        lines += ["[[verifiers]]", f'id = "{family}"', f"model = {json.dumps(model)}", f'format = "{family}"']
    (tmp_path / "run.toml").write_text("\n".join(lines))

    made = tts_sim("generate", "run", "--config", tmp_path / "run.toml")
    assert made.status == 0, made.err
    assert f"flat({FLAT}), greedy, demand fulfilled" in made.out and "chains, demand fulfilled" in made.out
    assert tts_sim("check", path).status == 0
    for run, specs in (("base", [*TREES, "sample+majority"]), ("revise", CHAINS)):
        words = [word for spec in specs for word in ("--strategy", spec)]
        words += ["--run", run, "--verifier", "token-classifier", "--budget", "4", "--trials", "2"]
        found = printed_json("replay", path, *words)
        assert len(found) == len(specs) and {row["supported"] for row in found} == {1}
    for family in FORMATS:
        words = [
            "--strategy",
            "sample+best(agg=last)",
            "--run",
            "base",
            "--verifier",
            family,
            "--budget",
            f"1,2,4,{FLAT}",
        ]
        assert {row["supported"] for row in printed_json("replay", path, *words)} == {1}

    with open_cache(path) as cache:
        nodes = cache.frame("SELECT * FROM nodes WHERE run_id = 'base' ORDER BY node_id").rows(named=True)
        scored = cache.frame("SELECT node_id, verifier_id, score FROM scores WHERE run_id = 'base'").rows()
    compare(scored, nodes, verifiers)


def compare(scored: list[Any], nodes: list[dict[str, Any]], verifiers: dict[str, str]) -> None:
    """Each solution's scores, by one pass over it alone; of the format WHOLE all scores of the cache are reached."""
    score = {(node, verifier): value for node, verifier, value in scored}
    by_id = {node["node_id"]: node for node in nodes}
    leaves = [node for node in nodes if node["stop"] != "step"]
    assert len(leaves) >= FLAT * len(QUESTIONS)
    reached = set()
    for family, path in verifiers.items():
        model = load_verifier(path, verifier_id=family, format=family, device="cpu").model

        @remembered
        def alone(
            ids: tuple[int, ...], places: tuple[int, ...], family: str = family, model: Any = model
        ) -> list[float]:
            with torch.inference_mode():
                logits = model(torch.tensor([ids])).logits[0]
            return [float(logits[0])] if family == "outcome" else [OUTPUT[family](logits[place]) for place in places]

        for leaf in leaves if family == WHOLE else leaves[::EVERY]:
            chain = [leaf]
            while chain[0]["parent_id"] is not None:
                chain.insert(0, by_id[chain[0]["parent_id"]])
            question = QUESTIONS[int(leaf["question_id"][1:])]
            ids, places = written_out(family, question, [node["text"] for node in chain], leaf["stop"])
            expected = alone(tuple(ids), tuple(places))
            if family != "outcome" and leaf["stop"] == "length":
                expected = [*expected[:-1], 0.0]
            judged = chain[-1:] if family == "outcome" else chain
            found = [score[node["node_id"], family] for node in judged]
            assert found == pytest.approx(expected, abs=1e-4), (family, leaf)
            reached |= {(node["node_id"], family) for node in judged}
    assert {pair for pair in reached if pair[1] == WHOLE} == {pair for pair in score if pair[1] == WHOLE}
