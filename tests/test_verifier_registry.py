"""Formats by name or by a model's config, from loading to the cache; what cannot be scored names its node."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from cache import create_cache, open_cache
from cache.check import violations
from generate.plans import Chains, flat
from generate.protocols import Solution
from generate.runs import build_recorder, fulfil, revision_context
from generate.scoring import score_run
from generate.settings import RunSettings, VerifierSettings, stored_settings
from generate.verifiers.checked import checked_scores
from generate.verifiers.registry import FORMATS, detect_format, load_verifier, settled
from tests.tiny import save_models, write_questions
from tests.tiny_verifiers import save_verifier
from tts_sim.cli.main import command_line
from tts_sim.load import load_forest
from tts_sim.replay import replay
from tts_sim.verifiers import with_verifiers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def paths(folder: Path) -> dict[str, str]:
    return {family: save_verifier(folder, family) for family in FORMATS}


@pytest.fixture(scope="module")
def base(folder: Path) -> str:
    return save_models(folder)[0]


def changed_config(path: str, target: Path, **changes: Any) -> str:
    """A copy of the model with other settings."""
    target.mkdir()
    for file in Path(path).iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | changes))
    return str(target)


def test_the_config_tells_the_format(paths: dict[str, str], tmp_path: Path) -> None:
    assert {
        family: detect_format(paths[family]) for family in ("token-classifier", "qwen-prm", "skywork", "outcome")
    } == {family: family for family in ("token-classifier", "qwen-prm", "skywork", "outcome")}
    assert detect_format(paths["trl"]) == "token-classifier"  # the architecture does not tell TRL's from ours
    assert detect_format(changed_config(paths["trl"], tmp_path / "marked", verifier_format="trl")) == "trl"
    for name, family in (
        ("math-shepherd-mistral-7b-prm", "math-shepherd"),
        ("Llama3.1-8B-PRM-Deepseek-Data", "rlhflow"),
        ("Skywork-o1-Open-PRM-Qwen-2.5-7B", "skywork"),
    ):
        assert detect_format(changed_config(paths["rlhflow"], tmp_path / name)) == family
    with pytest.raises(
        ValueError, match=r"\(LlamaForCausalLM\): its config does not say .* --format: token-classifier"
    ):
        detect_format(paths["rlhflow"])
    with pytest.raises(ValueError, match="'other' in its config: expected token-classifier, trl"):
        detect_format(changed_config(paths["trl"], tmp_path / "wrong", verifier_format="other"))
    with pytest.raises(ValueError, match="has no config"):
        detect_format(str(tmp_path))


def test_format_and_kind_are_settled_before_they_are_stored(paths: dict[str, str]) -> None:
    given = VerifierSettings("v", "auto", "somewhere")
    assert settled(given, paths["qwen-prm"]) == VerifierSettings("v", "prm", "somewhere", "qwen-prm")
    assert settled(given, paths["outcome"]) == VerifierSettings("v", "orm", "somewhere", "outcome")
    judge = VerifierSettings("v", "judge", "somewhere", "rlhflow")
    assert settled(judge, paths["outcome"]) == judge
    with pytest.raises(ValueError, match="format outcome scores whole solutions; its kind is orm"):
        settled(VerifierSettings("v", "prm", "somewhere"), paths["outcome"])
    with pytest.raises(ValueError, match="verifier format 'prm': expected auto, token-classifier"):
        VerifierSettings("v", "prm", "somewhere", "prm")


def test_a_model_of_another_kind_is_refused(paths: dict[str, str]) -> None:
    """Its head would be random weights."""
    for family, absent in (
        ("token-classifier", "score.bias and others, which LlamaForTokenClassification needs"),
        ("outcome", "score.weight, which LlamaForSequenceClassification needs"),
        ("qwen-prm", "model.layers.0.self_attn.k_proj.bias and others"),
    ):
        with pytest.raises(ValueError, match=f"has no fitting weights for {absent}"):
            load_verifier(paths["rlhflow"], verifier_id="v", format=family, device="cpu")
    with pytest.raises(ValueError, match=r"has no fitting weights for lm_head\.weight"):
        load_verifier(paths["token-classifier"], verifier_id="v", format="rlhflow", device="cpu")
    with pytest.raises(ValueError, match=r"v_head\.summary\.bias and others"):
        load_verifier(paths["qwen-prm"], verifier_id="v", format="skywork", device="cpu")
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_verifier("no/such model", verifier_id="v", format="trl", device="cpu")


PRM_CODE = """
import torch
from transformers import Qwen2Config, Qwen2Model, Qwen2PreTrainedModel

class Judge(Qwen2PreTrainedModel):
    config_class = Qwen2Config
    def __init__(self, config):
        super().__init__(config)
        self.model = Qwen2Model(config)
        self.score = torch.nn.Sequential(
            torch.nn.Linear(config.hidden_size, config.hidden_size), torch.nn.ReLU(),
            torch.nn.Linear(config.hidden_size, 2))
        self.post_init()
    def forward(self, input_ids, attention_mask=None, **more):
        assert not more.get("past_key_values")
        return (-self.score(self.model(input_ids, attention_mask=attention_mask).last_hidden_state),)
"""


def test_the_heads_of_qwen_and_skywork_load_from_the_names_of_their_weights(
    paths: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the hubs have them, with code that comes along: it is run only when asked for, and here turns the signs."""
    from transformers import Qwen2Model

    solutions = [Solution("7+1", ("7+1=8", "so 8"), "eos"), Solution("9", ("9",), "eos")]
    for family, head in (
        ("qwen-prm", {"score.0.weight", "score.0.bias", "score.2.weight", "score.2.bias"}),
        ("skywork", {"v_head.summary.weight", "v_head.summary.bias"}),
    ):
        path = Path(
            changed_config(
                paths[family], tmp_path / family, auto_map={"AutoModel": "modeling_judge.Judge"}, num_labels=3
            )
        )
        weights = load_file(path / "model.safetensors")
        assert {name for name in weights if not name.startswith("model.")} == head
        save_file(
            weights | {"lm_head.weight": torch.zeros(106, 16)}, path / "model.safetensors", metadata={"format": "pt"}
        )
        (path / "modeling_judge.py").write_text(PRM_CODE)
        judge = load_verifier(str(path), verifier_id="v", device="cpu")
        body = Qwen2Model.from_pretrained(path).eval()
        for solution, [*_, score] in zip(solutions, judge.score(solutions), strict=True):
            [reading] = judge.read([solution])  # type: ignore[list-item, arg-type]
            with torch.inference_mode():
                state = body(torch.tensor([reading.ids])).last_hidden_state[0, reading.places[-1]]
            if family == "qwen-prm":
                hidden = (weights["score.0.weight"] @ state + weights["score.0.bias"]).clamp(min=0)
                expected = (weights["score.2.weight"] @ hidden + weights["score.2.bias"]).softmax(0)[1]
            else:
                expected = (weights["v_head.summary.weight"] @ state + weights["v_head.summary.bias"]).sigmoid()[0]
            assert score == pytest.approx(float(expected), abs=1e-4)

    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    own = load_verifier(str(tmp_path / "qwen-prm"), verifier_id="v", device="cpu")
    theirs = load_verifier(str(tmp_path / "qwen-prm"), verifier_id="v", device="cpu", trust_remote_code=True)
    assert type(own.model).__name__ == "Qwen2ForProcessRewardModel" and type(theirs.model).__name__ == "Judge"
    for left, right in zip(own.score(solutions), theirs.score(solutions), strict=True):
        assert right == pytest.approx([1 - value for value in left if value is not None], abs=1e-4)
    skywork = load_verifier(str(tmp_path / "skywork"), verifier_id="v", device="cpu", trust_remote_code=True)
    assert type(skywork.model).__name__ == "Qwen2ForPrmModel"


def run_settings(base: str, *verifiers: VerifierSettings, **changes: Any) -> RunSettings:
    values: dict[str, Any] = {
        "run_id": "base",
        "kind": "steps",
        "model": base,
        "delimiter": "3",
        "temperature": 1.0,
        "seed": 0,
        "root_pool": 4,
        "step_pool": 2,
        "max_tokens": 12,
        "prompt_template": "Q: {prompt}A: ",
        "extract": "final-number",
        "grader": "exact",
        "verifiers": verifiers,
    }
    return RunSettings(**(values | changes))


def questions(tmp_path: Path) -> pl.DataFrame:
    from generate.questions import read_questions

    return read_questions(write_questions(tmp_path / "questions.jsonl"))


def solutions_of(cache: Any) -> dict[int, tuple[list[int], Solution]]:
    """Each node's ancestors from the top, and the solution so far."""
    prompts = dict(cache.table("questions").select("question_id", "prompt").iter_rows())
    found: dict[int, tuple[list[int], Solution]] = {}
    for node in cache.table("nodes").sort("node_id").iter_rows(named=True):
        above, before = found.get(node["parent_id"], ([], None))
        question = prompts[node["question_id"]]
        steps = (*(before.steps if before else ()), node["text"])
        found[node["node_id"]] = (
            [*above, node["node_id"]],
            Solution(f"Q: {question}A: ", steps, node["stop"], fresh=1, question=question),
        )
    return found


def test_every_format_records_and_scores(tmp_path: Path, base: str, paths: dict[str, str]) -> None:
    """With the run and afterwards: the same scores, one a node (outcomes: one an end), each its own solution's."""
    verifiers = [VerifierSettings(f"with {family}", "auto", path, family) for family, path in paths.items()]
    path = tmp_path / "run.duckdb"
    with create_cache(path) as cache:
        recorder = build_recorder(cache, run_settings(base, *verifiers), questions=questions(tmp_path), device="cpu")
        assert fulfil(cache, recorder, [flat(4)]) == 16
        judges = {}
        for family, model in paths.items():
            judges[family] = load_verifier(model, verifier_id=family, format=family, device="cpu")
            template = "Q: {prompt}A: "
            made = score_run(cache, "base", judges[family], prompt_template=template)
            assert made > 0
            assert score_run(cache, "base", judges[family], prompt_template=template) == 0
        assert violations(cache) == []
        nodes = cache.table("nodes")
        kinds = dict(cache.table("verifiers").select("verifier_id", "kind").iter_rows())
        assert kinds["outcome"] == kinds["with outcome"] == "orm" and kinds["trl"] == kinds["with trl"] == "prm"
        assert len(nodes) > 16 and nodes["stop"].n_unique() == 3
        solutions = solutions_of(cache)
        for family, judge in judges.items():
            wanted = nodes if family != "outcome" else nodes.filter(pl.col("stop") != "step")
            later, at_once = (
                dict(
                    cache.frame(
                        "SELECT node_id, score FROM scores WHERE verifier_id = $name", {"name": name}
                    ).iter_rows()
                )
                for name in (family, f"with {family}")
            )
            assert set(later) == set(at_once) == set(wanted["node_id"])
            for node_id, value in later.items():
                _, solution = solutions[node_id]
                assert value == pytest.approx(judge.score([solution])[0][-1], abs=1e-4)
                assert value == pytest.approx(at_once[node_id], abs=1e-4)
        rows = replay(load_forest(cache, "base"), ["sample+best(agg=last)"], [4], verifier="outcome", seed=0).frame
        assert len(rows) == 4 and rows["accuracy"].is_between(0, 1).all()
        mapped = with_verifiers(load_forest(cache, "base"), ["sigmoid(outcome)"], seed=0)
        assert len(replay(mapped, ["sample+weighted(agg=last)"], [4], verifier="sigmoid(outcome)", seed=0).frame) == 4


def test_revisions_by_a_verifier_that_sees_the_history(tmp_path: Path, base: str, paths: dict[str, str]) -> None:
    run = run_settings(
        base,
        VerifierSettings("orm", "auto", paths["outcome"]),
        VerifierSettings("seen", "orm", paths["token-classifier"]),
        kind="revisions",
        separator="<next>",
        max_tokens=6,
    )
    with create_cache(tmp_path / "run.duckdb") as cache:
        recorder = build_recorder(cache, run, questions=questions(tmp_path), device="cpu")
        fulfil(cache, recorder, [Chains((3, 1))])
        judge = load_verifier(paths["token-classifier"], verifier_id="later", kind="orm", device="cpu")
        context = revision_context(run)
        assert context is not None
        score_run(cache, "base", judge, prompt_template=run.prompt_template, revisions=context)
        scores = cache.table("scores").pivot("verifier_id", index="node_id", values="score")
        assert len(scores) == len(cache.table("nodes")) and scores["orm"].null_count() == 0
        assert (scores["seen"] - scores["later"]).abs().max() < 1e-4  # type: ignore[operator]
        third = cache.table("nodes").filter(pl.col("stop") == "eos").sort("node_id")
        chains = solutions_of(cache)
        for node_id in third["node_id"]:
            _, solution = chains[node_id]
            history = "".join(f"{attempt}<next>" for attempt in solution.steps[:-1])
            alone = Solution(f"{history}{solution.prompt}", solution.steps[-1:], "eos")
            stored = scores.row(by_predicate=pl.col("node_id") == node_id, named=True)["seen"]
            assert stored == pytest.approx(judge.score([alone])[0][0], abs=1e-4)


def test_what_cannot_be_scored_is_named(tmp_path: Path, base: str, paths: dict[str, str]) -> None:
    path = tmp_path / "run.duckdb"
    rows = questions(tmp_path)
    with create_cache(path) as cache:
        fulfil(cache, build_recorder(cache, run_settings(base), questions=rows, device="cpu"), [flat(4)])
        first = cache.table("nodes").filter(pl.col("parent_id").is_not_null()).sort("node_id").row(0, named=True)
        cache.connection.execute("UPDATE nodes SET text = 'so ки' WHERE node_id = ?", [first["node_id"]])
        judge = load_verifier(paths["math-shepherd"], verifier_id="ms", format="math-shepherd", device="cpu")
        named = re.escape(
            f"run 'base', question '{first['question_id']}', node {first['node_id']}: verifier 'ms' cannot"
        )
        with pytest.raises(ValueError, match=named + r" score it: its step \d+ holds 'ки'"):
            score_run(cache, "base", judge, prompt_template="{prompt}")
        assert len(cache.table("scores")) == 0
    short = changed_config(paths["trl"], tmp_path / "short", max_position_embeddings=6)
    with create_cache(tmp_path / "other.duckdb") as cache:
        run = run_settings(base, VerifierSettings("trl", "prm", short, "trl"))
        recorder = build_recorder(cache, run, questions=rows, device="cpu")
        message = r"run 'base', question 'q\d', draw \d below the prompt, step \d of it: verifier 'trl' cannot score"
        with pytest.raises(ValueError, match=message + r" it: its input has \d+ tokens, the verifier's model reads 6"):
            recorder.fulfil(flat(4))
        assert len(cache.table("nodes")) == 0


def test_scores_that_do_not_match_the_steps_are_refused() -> None:
    class Odd:
        verifier_id, kind, ends_only = "odd", "prm", False

        def __init__(self, *rows: list[float | None]) -> None:
            self.rows = rows

        def score(self, solutions: Sequence[Solution]) -> Sequence[Sequence[float | None]]:
            return self.rows

    def name(place: int, step: int) -> str:
        return f"solution {place}, step {step}"

    pair = [Solution("", ("a", "b"), "eos"), Solution("", ("a", "b", "c"), "eos", fresh=2)]
    rows: list[list[float | None]] = [[0.5, None], [0.25, 1.0]]
    assert list(checked_scores(Odd(*rows), pair, name)) == rows
    with pytest.raises(ValueError, match=r"solution 1, step 1: verifier 'odd' gave 3 scores for 2 steps"):
        checked_scores(Odd([0.5, 0.5], [0.5, 0.5, 0.5]), pair, name)
    with pytest.raises(ValueError, match=r"solution 1, step 0: the score of verifier 'odd' is nan"):
        checked_scores(Odd([0.5, 0.5], [float("nan"), 0.5]), pair, name)


def test_runs_from_before_there_were_formats_go_on(tmp_path: Path, base: str, paths: dict[str, str]) -> None:
    model = paths["token-classifier"]
    run = run_settings(base, VerifierSettings("prm", "prm", model))
    with create_cache(tmp_path / "run.duckdb") as cache:
        build_recorder(cache, run, questions=questions(tmp_path), device="cpu")
        details = json.loads(cache.table("verifiers")["details"][0])
        assert details == {"model": model}
        stored, everything = stored_settings(cache, "base")
        assert stored.verifiers[0].format == "token-classifier"
        del everything["settings"]["verifiers"][0]["format"]
        cache.update_run("base", provenance=json.dumps(everything))
        assert stored_settings(cache, "base")[0] == stored
        build_recorder(cache, run, device="cpu")
        other = run_settings(base, VerifierSettings("prm", "prm", model, "trl"))
        with pytest.raises(ValueError, match="was begun with other settings"):
            build_recorder(cache, other, device="cpu")


def test_formats_by_command(tmp_path: Path, base: str, paths: dict[str, str]) -> None:
    path = tmp_path / "run.duckdb"
    sample = [
        "generate", "sample", str(path), "--model", base, "--questions", write_questions(tmp_path / "q.jsonl"),
        "-n", "2", "--verifier", paths["qwen-prm"], "--delimiter", "3", "--max-tokens", "10",
        "--answer", "final-number", "--grader", "exact", "--device", "cpu",
    ]  # fmt: skip
    runner = CliRunner()
    for _ in range(2):
        done = runner.invoke(command_line(), sample, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    score = ["generate", "score", str(path), "--device", "cpu", "--verifier"]
    done = runner.invoke(command_line(), [*score, paths["outcome"], "--verifier-id", "rm"], catch_exceptions=False)
    assert "8 scores of 'rm'" in done.stdout
    done = runner.invoke(
        command_line(),
        [*score, paths["rlhflow"], "--verifier-id", "chat", "--format", "rlhflow"],
        catch_exceptions=False,
    )
    assert "scores of 'chat'" in done.stdout
    with pytest.raises(ValueError, match="verifier format 'nothing': expected auto, token-classifier, trl"):
        runner.invoke(command_line(), [*score, paths["rlhflow"], "--format", "nothing"], catch_exceptions=False)
    with open_cache(path) as cache:
        rows = {row["verifier_id"]: row for row in cache.table("verifiers").iter_rows(named=True)}
        assert violations(cache) == []
    assert {name: (row["kind"], json.loads(row["details"])["format"]) for name, row in rows.items()} == {
        "prm": ("prm", "qwen-prm"),
        "rm": ("orm", "outcome"),
        "chat": ("prm", "rlhflow"),
    }
