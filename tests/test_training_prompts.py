"""What a trained model is shown is what a recorder shows it: chats, system prompts, templates, earlier attempts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from transformers import AutoTokenizer

from cache import create_cache, open_cache
from generate.plans import Chains, Plan, flat
from generate.prompts import RevisionContext
from generate.protocols import Request, Solution
from generate.questions import read_questions
from generate.runs import build_recorder, fulfil
from generate.settings import RunSettings, VerifierSettings
from generate.training.material import Material, read_material
from generate.training.reviser import reviser_prompts
from generate.training.revisions import Revision, Shown, revision_example
from generate.training.verifier_fit import as_read
from tests.command import tts_sim
from tests.families import FAMILIES, save_family
from tests.tiny import write_questions

QUICK = ("--device", "cpu", "--rate", "1e-3", "--batch-tokens", "512", "--held-out", "0.25", "--per-question", 4)
ALTERNATING = """
INSERT INTO answers BY NAME SELECT question_id, 100 + good AS answer_id, good::VARCHAR AS text, good = 1 AS correct
FROM questions, (SELECT unnest([0, 1]) AS good);
UPDATE nodes SET answer_id = 100 + place % 2 FROM (
    SELECT node_id AS ended, row_number() OVER (PARTITION BY question_id ORDER BY node_id) AS place
    FROM nodes WHERE stop <> 'step'
) WHERE node_id = ended
"""
ATTEMPTS = RevisionContext("", 2, "again")


class Seen(NamedTuple):
    """What sampler and verifier were given, in the order of the draws."""

    prompts: list[list[int]]
    solutions: list[Solution]


def settings_of(family: str, models: tuple[str, str], kind: str) -> RunSettings:
    """A run in a chat, with all that can stand around a question."""
    system = None if family == "mistral" else "good"  # Mistral's template knows none
    told = {"separator": "", "context_attempts": ATTEMPTS.most, "revision_request": ATTEMPTS.request}
    return RunSettings(
        "run", kind, models[0], "\n", 1.0, 0, 8, 3, max_tokens=12, extract="whole", grader="exact",
        chat=True, system_prompt=system, prompt_template="So {prompt}user",
        verifiers=(VerifierSettings("prm", "auto", models[1]),),
        **(told if kind == "revisions" else {}),  # type: ignore[arg-type]
    )  # fmt: skip


def record(path: Path, settings: RunSettings, plans: Sequence[Plan], monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Records, keeps what the models were given, and calls every second solution of a question right."""
    seen = Seen([], [])
    with create_cache(path) as cache:
        asked = read_questions(write_questions(path.with_suffix(".jsonl")))
        recorder = build_recorder(cache, settings, questions=asked, device="cpu")
        maker: Any = recorder.maker
        sample, score, tokenizer = maker.sampler.sample, maker.verifiers[0].score, maker.sampler.tokenizer

        def sampled(requests: Sequence[Request]) -> Any:
            seen.prompts.extend(tokenizer([request.prompt + request.prefix for request in requests])["input_ids"])
            return sample(requests)

        def scored(solutions: Sequence[Solution]) -> Any:
            seen.solutions.extend(replace(solution, fresh=0) for solution in solutions)
            return score(solutions)

        monkeypatch.setattr(maker.sampler, "sample", sampled)
        monkeypatch.setattr(maker.verifiers[0], "score", scored)
        fulfil(cache, recorder, plans)
        cache.connection.execute(ALTERNATING)
    return seen


def prompt_ids(material: Material, context: RevisionContext, base: str) -> list[list[int]]:
    """What stands before the right attempt if each attempt of a run of revisions is one, in the order of the draws."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    shown = Shown(material.questions, reviser_prompts(material, context, tokenizer, base), tokenizer, 2)
    found = []
    for one in sorted(material.solutions, key=lambda solution: solution.node_ids[-1]):
        example = revision_example(Revision(one.question_id, one.texts[:-1], one.texts[-1]), shown)
        found.append([token for token, target in zip(example.ids, example.targets, strict=True) if target < 0])
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_a_chat_is_learned_as_it_is_recorded(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    models = save_family(family, tmp_path)
    steps, chains = tmp_path / "steps.duckdb", tmp_path / "chains.duckdb"
    flat_seen = record(steps, settings_of(family, models, "steps"), [flat(4)], monkeypatch)
    seen = record(chains, settings_of(family, models, "revisions"), [Chains((4, 4))], monkeypatch)
    with open_cache(steps) as cache:
        sampled = read_material(cache, None)
    with open_cache(chains) as cache:
        revised = read_material(cache, None)

    assert revised.revisions == ATTEMPTS and len(seen.prompts) == len(revised.solutions) == 32
    assert prompt_ids(revised, ATTEMPTS, models[0]) == seen.prompts
    said = replace(sampled, solutions=revised.solutions)  # the steps' run says how it put questions, no more
    assert prompt_ids(said, ATTEMPTS, models[0]) == seen.prompts
    ordered = sorted(revised.solutions, key=lambda solution: solution.node_ids[-1])
    assert [as_read(revised, solution) for solution in ordered] == seen.solutions
    ordered = sorted(sampled.solutions, key=lambda solution: solution.node_ids[-1])
    assert [as_read(sampled, solution) for solution in ordered] == flat_seen.solutions

    out = tmp_path / "reviser"
    train = ("generate", "train", "reviser", steps, "--model", models[0], "--out", out, *QUICK)
    ended = tts_sim(*train, "--revision-request", "again", "--context-attempts", 2)
    assert ended.status == 0, ended.err
    report = json.loads(ended.out)
    told = {key: report[key] for key in ("chat", "system_prompt", "prompt_template", "revision_request")}
    system = None if family == "mistral" else "good"
    assert told == {
        "chat": True, "system_prompt": system, "prompt_template": "So {prompt}user", "revision_request": "again"
    }  # fmt: skip
    assert "separator" not in report and report["context_attempts"] == 2
    again = settings_of(family, (str(out), models[1]), "revisions")
    seen = record(tmp_path / "again.duckdb", again, [Chains((2,))], monkeypatch)
    with open_cache(tmp_path / "again.duckdb") as cache:
        revised = read_material(cache, None)
    assert prompt_ids(replace(sampled, solutions=revised.solutions), ATTEMPTS, models[0]) == seen.prompts


def test_a_chat_needs_a_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    models = save_family("qwen2", tmp_path)
    record(tmp_path / "run.duckdb", settings_of("qwen2", models, "steps"), [flat(4)], monkeypatch)
    tokenizer = AutoTokenizer.from_pretrained(models[0])
    tokenizer.chat_template = None
    (Path(models[0]) / "chat_template.jinja").unlink()
    tokenizer.save_pretrained(models[0])
    where = ("--model", models[0], "--out", tmp_path / "new", *QUICK)
    ended = tts_sim("generate", "train", "reviser", tmp_path / "run.duckdb", *where)
    assert ended.status == 1 and ended.err.endswith(
        f"run 'run' is a chat, and the tokenizer of '{models[0]}' has no chat template: start from a model that has "
        "one.\n"
    )
    assert not (tmp_path / "new").exists()
    ended = tts_sim("generate", "train", "orm", tmp_path / "run.duckdb", *where[:-2])  # a verifier reads no chat
    assert ended.status == 0, ended.err
