"""Training from a cache: what is learned, what is held out; and the saved models score, sample and are replayed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForTokenClassification

from cache import create_cache, open_cache
from cache.check import violations
from generate.plans import Chains, staircase
from generate.prompts import Prompts, RevisionContext
from generate.questions import read_questions
from generate.runs import build_recorder, fulfil
from generate.settings import RunSettings, VerifierSettings
from generate.training.fit import Fit
from generate.training.material import Material, Sampled, read_material, split_questions, step_values
from generate.training.outcome_verifier import train_outcome_verifier
from generate.training.process_verifier import label_steps
from generate.training.revisions import Revision, Shown, chain_revisions, revision_example, sampled_revisions
from generate.training.verifier_fit import as_read, token_example
from generate.verifiers.registry import detect_format, load_verifier, settled
from generate.verifiers.token_classifier import TrlVerifier, load_token_classifier
from tests.command import printed_json, tts_sim, write_jsonl
from tests.tiny import save_models, write_questions

QUICK = ("--device", "cpu", "--rate", "3e-3", "--batch-tokens", "512", "--held-out", "0.25")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    torch.set_num_threads(1)
    return save_models(tmp_path_factory.mktemp("models"))


def tree(number: int, chance: random.Random) -> dict[str, Any]:
    """Four first steps with three endings each; a * anywhere makes a solution wrong."""
    nodes: list[dict[str, Any]] = []
    for _ in range(4):
        sign = chance.choice("+*")
        first = len(nodes)
        digits = f"{chance.randrange(100):02}"
        nodes.append({"id": first, "parent": None, "tokens": 5, "text": f"{sign}{digits}=\n"})
        for _ in range(3):
            other = chance.choice("+*")
            right = "*" not in sign + other
            text = f"{other}{chance.randrange(100):02}={'1' if right else '2'}"
            end = {"answer": text[-1], "text": text}
            nodes.append({"id": len(nodes), "parent": first, "tokens": 5, **end})
    return {"question_id": f"q{number}", "prompt": f"{number}+1\n", "gold": "1", "nodes": nodes}


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of 24 questions whose right solutions can be told by their text."""
    folder = tmp_path_factory.mktemp("trees")
    chance = random.Random(0)
    lines = write_jsonl(folder / "trees.jsonl", [tree(number, chance) for number in range(24)])
    assert tts_sim("import", "native", lines, "--into", folder / "trees.duckdb").status == 0
    return folder / "trees.duckdb"


def trained(*arguments: object) -> dict[str, Any]:
    """The report that `generate train …` keeps, and prints but for the names of questions."""
    ended = tts_sim("generate", "train", *arguments, *QUICK)
    assert ended.status == 0, ended.err
    out = Path(str(arguments[arguments.index("--out") + 1]))
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    assert json.loads(ended.out) | {"held_out_questions": report["held_out_questions"]} == report
    assert not list(out.parent.glob(f".{out.name}.*"))
    return report


def sampled(cache: Path, models: tuple[str, str], folder: Path, *more: object) -> None:
    """A run of four questions by the base."""
    asked = write_questions(folder / "questions.jsonl")
    ended = tts_sim(
        "generate", "sample", cache, "--model", models[0], "--questions", asked, "-n", 8, "--delimiter", "\\n",
        "--temperature", 1, "--max-tokens", 20, "--answer", "final-number", "--grader", "exact", "--device", "cpu",
        *more,
    )  # fmt: skip
    assert ended.status == 0, ended.err


def test_process_verifier(trees: Path, models: tuple[str, str], tmp_path: Path) -> None:
    """Learned, held out, saved; then it guides a recording, scores a run, and is what another stage starts from."""
    report = trained("prm", trees, "--model", models[0], "--out", tmp_path / "prm", "--epochs", 30)
    after, before = report["held_out"], report["held_out_before"]
    assert after["auc_within_questions"] > 0.85 and after["num_questions"] == 6 == len(report["held_out_questions"])
    assert after["step_mse"] < 0.7 * after["step_mse_of_mean"]
    assert after["brier"] < before["brier"]
    assert report["num_targets"] == 18 * 16  # each node of the trees once

    cache = tmp_path / "run.duckdb"
    sampled(cache, models, tmp_path, "--verifier", tmp_path / "prm")
    score = ("generate", "score", cache, "--verifier", tmp_path / "prm", "--verifier-id", "again", "--device", "cpu")
    assert tts_sim(*score).status == 0
    rows = printed_json("replay", cache, "-s", "sample+weighted", "-b", "1,2,4", "--verifier", "prm")
    assert [row["budget"] for row in rows] == [1, 2, 4] and all(row["supported"] == 1 for row in rows)
    with open_cache(cache) as opened:
        differing = opened.frame(
            "SELECT count(*) AS n, max(abs(one.score - two.score)) AS most FROM scores AS one JOIN scores AS two "
            "USING (run_id, node_id) WHERE one.verifier_id = 'prm' AND two.verifier_id = 'again'"
        )
        assert differing["n"].item() == len(opened.table("nodes")) and differing["most"].item() < 1e-4
        assert opened.table("verifiers")["kind"].to_list() == ["prm", "prm"]
    next_stage = trained("orm", trees, "--model", tmp_path / "prm", "--out", tmp_path / "orm", "--epochs", 0.1)
    assert abs(next_stage["held_out_before"]["auc_overall"] - after["auc_overall"]) < 0.01  # it starts from there


def test_outcome_verifier(trees: Path, models: tuple[str, str], tmp_path: Path) -> None:
    report = trained("orm", trees, "--model", models[1], "--out", tmp_path / "orm", "--epochs", 30)
    assert report["held_out"]["auc_within_questions"] > 0.85
    assert report["num_targets"] == 18 * 12  # solutions
    given = VerifierSettings("v", "auto", "somewhere")
    assert settled(given, str(tmp_path / "orm")) == VerifierSettings("v", "orm", "somewhere", "token-classifier")
    assert load_verifier(str(tmp_path / "orm"), verifier_id="v", device="cpu").kind == "orm"


def test_the_format_of_trl(trees: Path, models: tuple[str, str], tmp_path: Path) -> None:
    """A model marked with TRL's format goes on in it; transformers loads what is saved."""
    report = trained("prm", trees, "--model", models[0], "--out", tmp_path / "one", "--format", "trl", "--epochs", 30)
    assert report["format"] == "trl" and report["held_out"]["auc_within_questions"] > 0.85
    verifier = load_verifier(str(tmp_path / "one"), verifier_id="v", device="cpu")
    assert type(verifier) is TrlVerifier and verifier.kind == "prm"
    assert verifier.model.config.step_separator == "\n"
    model, loaded = AutoModelForTokenClassification.from_pretrained(tmp_path / "one", output_loading_info=True)
    assert not any(loaded.values()) and model.config.num_labels == 2
    again = trained("orm", trees, "--model", tmp_path / "one", "--out", tmp_path / "two", "--epochs", 0.1)
    assert again["format"] == "trl"
    ours = trained(
        "orm", trees, "--model", tmp_path / "one", "--out", tmp_path / "three", "--epochs", 0.1, "--format",
        "token-classifier",
    )  # fmt: skip
    assert ours["format"] == "token-classifier" == detect_format(str(tmp_path / "three"))
    ended = tts_sim("generate", "train", "orm", trees, "--model", models[1], "--out", tmp_path / "no", "--format", "x")
    assert ended.status == 1 and "--format x: expected auto, token-classifier, trl." in ended.err


def test_solutions_that_are_too_long_are_left_out_and_counted(
    trees: Path, models: tuple[str, str], tmp_path: Path
) -> None:
    node = {"id": 0, "parent": None, "tokens": 5, "answer": "1"}
    questions = [tree(number, random.Random(number)) for number in range(8)]
    for place, question in enumerate(questions):
        question["nodes"].append(node | {"id": 99, "text": "+" * 40 + f"{place}=1"})
    lines = write_jsonl(tmp_path / "long.jsonl", questions)
    assert tts_sim("import", "native", lines, "--into", tmp_path / "long.duckdb").status == 0
    report = trained(
        "prm", tmp_path / "long.duckdb", "--model", models[1], "--out", tmp_path / "prm", "--max-tokens", 30
    )
    assert report["num_too_long"] == 8 and report["held_out"]["num_solutions"] == 2 * 12


def test_reviser_learns_what_follows_wrong_attempts_and_records_chains(
    trees: Path, models: tuple[str, str], tmp_path: Path
) -> None:
    report = trained(
        "reviser", trees, "--model", models[0], "--out", tmp_path / "reviser", "--epochs", 5, "--separator", "<next>",
        "--any-attempts", 0.5,
    )  # fmt: skip
    after, before = report["held_out"], report["held_out_before"]
    assert all(after[name] < 0.9 * before[name] for name in ("loss", "loss_after_wrong", "loss_after_right"))
    assert 0 < after["num_after_right"] < after["num_after_wrong"] < after["num_revisions"]
    assert (report["separator"], report["context_attempts"]) == ("<next>", 4)
    run = RunSettings(
        "revise", "revisions", str(tmp_path / "reviser"), "\n", 1.0, 0, 8, 3, max_tokens=20, extract="final-number",
        grader="exact", separator=report["separator"], context_attempts=report["context_attempts"],
    )  # fmt: skip
    path = tmp_path / "revise.duckdb"
    with create_cache(path) as cache:
        asked = read_questions(write_questions(tmp_path / "questions.jsonl"))
        fulfil(cache, build_recorder(cache, run, questions=asked, device="cpu"), [Chains(staircase(4))])
        assert violations(cache) == []
        cache.connection.execute("UPDATE answers SET correct = answer_id % 2 = 1")  # for something to tell apart
    [row] = printed_json("replay", path, "-s", "revise(sequential=4)+oracle", "-b", 4)
    assert row["supported"] == 1
    again = trained(
        "reviser", path, "--model", tmp_path / "reviser", "--out", tmp_path / "again", "--any-attempts", 0.5
    )
    assert again["separator"] == "<next>" and again["num_examples"] > 0
    assert trained("orm", path, "--model", models[1], "--out", tmp_path / "judge")["held_out"]["num_solutions"] > 0
    ended = tts_sim("generate", "train", "prm", path, "--model", models[1], "--out", tmp_path / "no", *QUICK)
    assert ended.status == 1 and "run 'revise' is of kind revisions" in ended.err


def test_the_same_seed_trains_the_same_model(trees: Path, models: tuple[str, str], tmp_path: Path) -> None:
    for name in ("one", "two"):
        trained("prm", trees, "--model", models[0], "--out", tmp_path / name, "--epochs", 2)
    assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()


def test_frozen_layers_stay_as_they_are(trees: Path, models: tuple[str, str], tmp_path: Path) -> None:
    frozen = ("--epochs", 1, "--frozen-layers", 1)
    trained("orm", trees, "--model", models[1], "--out", tmp_path / "orm", *frozen)
    before, after = (load_file(Path(path) / "model.safetensors") for path in (models[1], tmp_path / "orm"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith("model.layers.1.")} | {"score.weight"} <= changed
    assert not any(name.startswith(("model.layers.0.", "model.embed_tokens")) for name in changed)


def test_targets_stand_where_the_verifier_takes_its_scores(trees: Path, models: tuple[str, str]) -> None:
    judge = load_token_classifier(models[1], verifier_id="prm", device="cpu")
    with open_cache(trees) as cache:
        material = read_material(cache, None)
        labelled = label_steps(material, step_values(cache, "trees"))
    for item, solution in zip(labelled[:12], material.solutions, strict=False):
        [reading] = judge.read([item.solution])
        example = token_example(reading, (1.0,) * len(solution.texts))
        with torch.inference_mode():
            logits = judge.model(torch.tensor([example.ids])).logits[0, :, 0]
        read = [float(torch.sigmoid(logits[place])) for place, target in enumerate(example.targets) if target == 1]
        assert read == pytest.approx(judge.score([as_read(material, solution)])[0], abs=1e-4)


def test_values_are_the_share_of_right_solutions_below_and_each_node_once(trees: Path) -> None:
    with open_cache(trees) as cache:
        material = read_material(cache, "trees")
        values = step_values(cache, "trees")
        labelled = label_steps(material, values)
        finished_only = step_values(cache, "trees", min_solutions=4)
    shown: dict[int, list[bool]] = {}
    for solution in material.solutions:
        shown.setdefault(solution.node_ids[0], []).append(solution.correct)
    for node_id, right in shown.items():
        assert values[node_id] == pytest.approx(sum(right) / 3)
        assert node_id not in finished_only
    assert len(finished_only) == len(material.solutions)
    assert sum(target is not None for item in labelled for target in item.targets) == len(values)


def test_a_cut_solution_is_no_target_but_counts_above_it(tmp_path: Path) -> None:
    nodes = [
        {"id": 1, "parent": None, "tokens": 2, "text": "+1=\n"},
        {"id": 2, "parent": 1, "tokens": 2, "text": "+1=1", "answer": "1"},
        {"id": 3, "parent": 1, "tokens": 2, "text": "+1=", "stop": "length"},
        {"id": 4, "parent": 1, "tokens": 2, "text": "+1=2", "answer": "1", "greedy": True},
    ]
    lines = write_jsonl(tmp_path / "q.jsonl", [{"question_id": "q", "prompt": "1\n", "gold": "1", "nodes": nodes}])
    assert tts_sim("import", "native", lines, "--into", tmp_path / "q.duckdb").status == 0
    with open_cache(tmp_path / "q.duckdb") as cache:
        material = read_material(cache, None)
        labelled = label_steps(material, step_values(cache, "q"))
    assert [item.targets for item in labelled] == [(0.5, 1.0), (None, None)]  # and nothing of the greedy one


def material_of(*solutions: Sampled, revisions: RevisionContext | None = None) -> Material:
    return Material("run", {"q": "Q"}, solutions, Prompts(revisions=revisions))


def flat(*solutions: tuple[str, bool | None]) -> list[Sampled]:
    return [
        Sampled("q", (place,), (text,), "eos", right is not None, bool(right))
        for place, (text, right) in enumerate(solutions)
    ]


def revisions_of(material: Material, per_question: int, any_attempts: float, most: int = 4) -> list[Revision]:
    return sampled_revisions(material, most=most, per_question=per_question, any_attempts=any_attempts, seed=0)


MIXED = (("1+1=2", True), ("1+1=3", False), ("9*9", False), ("9*8", False), ("9*8", False), ("lost", None))


def test_the_last_wrong_sample_is_the_closest_to_the_right_one() -> None:
    material = material_of(*flat(*MIXED))
    revisions = revisions_of(material, 200, 0.0)
    lengths = [len(one.attempts) for one in revisions]
    assert set(lengths) == {0, 1, 2, 3}  # three texts; 3 and 4 fall together
    assert all(abs(lengths.count(length) / 200 - 0.2) < 0.1 for length in (0, 1, 2))
    for one in revisions:
        assert one.right == "1+1=2" and len(set(one.attempts)) == len(one.attempts) and not one.after_right
        assert not one.attempts or one.attempts[-1] == "1+1=3"
    assert revisions == revisions_of(material, 200, 0.0)
    assert revisions_of(material_of(*flat(("a", True), ("lost", None))), 1, 0.0) == []


def test_any_attempts_are_other_draws_of_the_question() -> None:
    material = material_of(*flat(*MIXED, ("2", True)))
    revisions = revisions_of(material, 400, 1.0)
    firsts = [one.attempts[0] for one in revisions if one.attempts and one.right == "2"]
    assert {len(one.attempts) for one in revisions} == {0, 1, 2, 3, 4}
    assert set(firsts) == {"1+1=2", "1+1=3", "9*9", "9*8"}  # neither the unanswered one nor the target's own draw
    assert abs(firsts.count("9*8") / len(firsts) - 0.4) < 0.12  # two of five draws
    for one in revisions:
        assert one.right not in one.attempts and one.attempts.count("9*8") <= 2
        assert one.after_right == (one.attempts[-1:] in [("2",), ("1+1=2",)])
    half = [one for one in revisions_of(material, 400, 0.5) if len(one.attempts) > 1]
    assert {one.right for one in half} == {"1+1=2", "2"}
    kept = sum(bool({"2", "1+1=2"} & set(one.attempts)) for one in half) / len(half)
    both = sum(bool({"2", "1+1=2"} & set(one.attempts)) for one in revisions) / 400
    assert 0.1 < kept < 0.9 * both


def test_chains_give_their_attempts_in_order() -> None:
    grades = [False, None, True, False, True, True]
    attempts = [
        Sampled("q", tuple(range(end + 1)), tuple("abcdef"[: end + 1]), "eos", grade is not None, bool(grade))
        for end, grade in enumerate(grades)
    ]
    material = material_of(*attempts, revisions=RevisionContext("|", 4))

    def found(per_question: int, any_attempts: float) -> list[tuple[str, str, bool]]:
        revisions = chain_revisions(material, per_question=per_question, any_attempts=any_attempts, seed=0)
        return [("".join(one.attempts), one.right, one.after_right) for one in revisions]

    assert found(9, 0.0) == [("a", "c", False), ("ad", "e", False)]
    assert found(9, 1.0) == [("ab", "c", False), ("abcd", "e", False), ("bcde", "f", True)]
    assert len(found(1, 0.5)) == 1
    right_only = material_of(*attempts[2:3], revisions=RevisionContext("|", 4))
    assert chain_revisions(right_only, per_question=1, any_attempts=1.0, seed=0) == []


def test_only_the_right_attempt_is_a_target(models: tuple[str, str]) -> None:
    judge = load_token_classifier(models[1], verifier_id="prm", device="cpu")
    prompts = Prompts("{prompt}\n", revisions=RevisionContext("<next>", 4))
    shown = Shown({"q": "1+1"}, prompts, judge.tokenizer, judge.tokenizer.eos_token_id)
    example = revision_example(Revision("q", ("1+1=3",), "1+1=2"), shown)
    assert judge.tokenizer.decode(example.ids) == "1+1=3<next>1+1\n1+1=2<eos>"
    learned = [token for token, target in zip(example.ids, example.targets, strict=True) if target == token]
    assert judge.tokenizer.decode(learned) == "1+1=2<eos>"


def test_the_split_is_by_question_and_the_same_for_every_stage() -> None:
    names = [f"q{number}" for number in range(50)]
    train, held_out = split_questions(names, held_out=0.2, seed=1)
    assert len(held_out) == 10 and sorted([*train, *held_out]) == sorted(names)
    assert split_questions(names[::-1] * 3, held_out=0.2, seed=1) == (train, held_out)
    assert split_questions(names, held_out=0.2, seed=2)[1] != held_out
    assert [len(part) for part in split_questions(names[:3], held_out=0.9, seed=0)] == [2, 1]
    with pytest.raises(ValueError, match="2 questions to learn from: training needs 3 at least"):
        split_questions(names[:2], held_out=0.2, seed=1)
    with pytest.raises(ValueError, match=r"held-out share 1\.0"):
        split_questions(names, held_out=1.0, seed=1)


@pytest.mark.parametrize("stage", ["prm", "orm", "reviser"])
def test_bad_input(stage: str, trees: Path, models: tuple[str, str], tmp_path: Path) -> None:
    def refused(cache: Path, said: str, *more: object, out: object = None) -> None:
        where = tmp_path / "new" if out is None else out
        ended = tts_sim("generate", "train", stage, cache, "--model", models[0], "--out", where, *QUICK, *more)
        assert ended.status == 1 and ended.out == "", ended
        assert said in ended.err and ended.err.startswith("tts-sim: ") and ended.err.count("\n") == 1
        assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".*"))

    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes").write_text("mine")
    refused(trees, "exists already", out=tmp_path / "taken")
    refused(trees, "does not exist", out=tmp_path / "no" / "where")
    refused(tmp_path / "no.duckdb", "there is no cache")
    refused(trees, "run 'no' is not in", "--run", "no")
    refused(trees, "epochs 0.0", "--epochs", 0)
    refused(trees, "rate nan", "--rate", "nan")
    refused(trees, "held-out share 2.0", "--held-out", 2)
    refused(trees, "--dtype int8", "--dtype", "int8")
    refused(trees, "frozen_layers -1", "--frozen-layers", -1)
    refused(trees, "frozen_layers 3: ", "--frozen-layers", 3)
    refused(trees, "longer than 3 tokens", "--max-tokens", 3)
    refused(trees, "cannot be loaded", "--model", tmp_path / "nothing")
    if stage == "reviser":
        refused(trees, "any_attempts 1.5: expected a share from 0 to 1", "--any-attempts", 1.5)
        refused(trees, "per_question 0", "--per-question", 0)

    question = tree(0, random.Random(0))
    ungraded = question | {
        "nodes": [node | ({"answer": None} if "answer" in node else {}) for node in question["nodes"]]
    }
    for name, questions in (("few", [question]), ("ungraded", [ungraded])):
        lines = write_jsonl(tmp_path / f"{name}.jsonl", questions)
        assert tts_sim("import", "native", lines, "--into", tmp_path / f"{name}.duckdb").status == 0
    refused(tmp_path / "few.duckdb", "1 questions to learn from")
    refused(tmp_path / "ungraded.duckdb", "no right solution")


def test_no_wrong_attempt_beside_a_right_one(models: tuple[str, str], tmp_path: Path) -> None:
    one = {"id": 1, "parent": None, "tokens": 2}
    questions = [
        {
            "question_id": f"q{n}",
            "prompt": "1\n",
            "gold": "1",
            "nodes": [one | {"text": f"={n % 2}", "answer": f"{n % 2}"}],
        }
        for n in range(6)
    ]
    lines = write_jsonl(tmp_path / "apart.jsonl", questions)
    assert tts_sim("import", "native", lines, "--into", tmp_path / "apart.duckdb").status == 0
    where = ("--model", models[0], "--out", tmp_path / "new", *QUICK)
    ended = tts_sim("generate", "train", "reviser", tmp_path / "apart.duckdb", *where)
    assert ended.status == 1 and "no pair of a wrong and a right attempt at one question" in ended.err


def test_a_label_that_is_the_same_everywhere_is_refused(models: tuple[str, str], tmp_path: Path) -> None:
    one = {"id": 1, "parent": None, "tokens": 2}
    questions = [
        {"question_id": f"q{n}", "prompt": "1\n", "gold": "1", "nodes": [one | {"text": "=1", "answer": "1"}]}
        for n in range(4)
    ]
    ids = [question["question_id"] for question in questions]
    [apart] = split_questions(ids, held_out=0.25, seed=0)[1]
    next(q for q in questions if q["question_id"] == apart)["nodes"][0] |= {"answer": "2"}  # type: ignore[index]
    lines = write_jsonl(tmp_path / "same.jsonl", questions)
    assert tts_sim("import", "native", lines, "--into", tmp_path / "same.duckdb").status == 0
    with open_cache(tmp_path / "same.duckdb") as cache, pytest.raises(ValueError, match="one label only"):
        train_outcome_verifier(cache, models[0], tmp_path / "new", fit=Fit(held_out=0.25, device="cpu"))
