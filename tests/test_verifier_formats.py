"""Each family's input, written down by hand, and its scores, computed from that input by the bare model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from generate.prompts import RevisionContext
from generate.protocols import Solution, UnreadableSolution
from generate.verifiers.odds import GRAIN, probabilities
from generate.verifiers.registry import FORMATS, load_verifier
from generate.verifiers.requirements import max_tokens
from generate.verifiers.step_verifier import StepVerifier
from tests.tiny_verifiers import CHARACTERS, CHAT, SIZE, WORDS, save_verifier, tiny_tokenizer

STEPS = ("7+1=8\n", "so 8")
SOLUTION = Solution("7+1*", STEPS, "eos", question="7+1")
SYSTEM_TEXT = r"Please reason step by step, and put your final answer within \boxed{}."
# Tokens of SOLUTION's input, and the places of its scores counted in them from 0.
BY_HAND: dict[str, tuple[list[str], list[int]]] = {
    "token-classifier": (["7", "+", "1", "*", "7", "+", "1", "=", "8", "\n", "so", " 8", "</s>"], [9, 12]),
    "trl": (["<s>", "7", "+", "1", "7", "+", "1", "=", "8", "\n", "so", " 8", "\n"], [9, 12]),
    "math-shepherd": (
        ["<s>", "7", "+", "1", " 7", "+", "1", "=", "8", " ки", "\n", "so", " 8", " ки"],
        [9, 13],
    ),
    "rlhflow": (
        [
            *("<|user|>", "7", "+", "1", " 7", "+", "1", "=", "8", "<|end|>", "<|assistant|>", "+", "<|end|>"),
            *("<|user|>", "so", " 8", "<|end|>", "<|assistant|>", "+", "<|end|>"),
        ],
        [10, 17],
    ),
    "qwen-prm": (
        [
            *("<|system|>", *SYSTEM_TEXT.replace(" ", "Ġ"), "<|end|>", "<|user|>", *"7+1", "<|end|>"),
            *("<|assistant|>", *"7+1=8", "<extra_0>", *"soĠ8", "<extra_0>", "<|end|>"),
        ],
        [83, 88],
    ),
    "skywork": (["<s>", *"7+1Ċ", *"7+1=8", "Ċ", *"soĠ8", "Ċ"], [10, 15]),
    "outcome": (["7", "+", "1", "*", "7", "+", "1", "=", "8", "\n", "so", " 8", "</s>"], [12]),
}


def word_ids(tokens: Sequence[str], family: str) -> list[int]:
    table = CHARACTERS if family in ("qwen-prm", "skywork") else WORDS
    return [table.index(token) for token in tokens]


def softmax_of(first: int, second: int) -> Callable[[Tensor], float]:
    """The second's share of a softmax over the two."""
    return lambda logits: float(logits[[first, second]].softmax(0)[1])


# What the bare model says at a place, by its full logits.
OUTPUT: dict[str, Callable[[Tensor], float]] = {
    "token-classifier": lambda logits: float(logits[0].sigmoid()),
    "trl": softmax_of(0, 1),
    "math-shepherd": softmax_of(WORDS.index(" -"), WORDS.index(" +")),
    "rlhflow": softmax_of(WORDS.index("-"), WORDS.index("+")),
    "qwen-prm": softmax_of(0, 1),
    "skywork": lambda logits: float(logits[0].sigmoid()),
}
STEP_FAMILIES = tuple(OUTPUT)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("verifiers")
    return {family: save_verifier(folder, family) for family in FORMATS}


@pytest.fixture(scope="module")
def verifiers(paths: dict[str, str]) -> dict[str, Any]:
    return {
        family: load_verifier(path, verifier_id=family, format=family, device="cpu") for family, path in paths.items()
    }


def bare_scores(verifier: Any, family: str, ids: Sequence[int], places: Sequence[int]) -> list[float]:
    """By one pass of the model over one input: no padding, no cache, no batch."""
    with torch.inference_mode():
        logits = verifier.model(torch.tensor([list(ids)])).logits[0]
    return [OUTPUT[family](logits[place]) for place in places]


@pytest.mark.parametrize("family", STEP_FAMILIES)
def test_input_and_scores_are_those_written_by_hand(verifiers: dict[str, Any], family: str) -> None:
    tokens, places = BY_HAND[family]
    ids = word_ids(tokens, family)
    [reading] = verifiers[family].read([SOLUTION])
    assert list(reading.ids) == ids
    assert list(reading.places) == places
    [scores] = verifiers[family].score([SOLUTION])
    assert scores == pytest.approx(bare_scores(verifiers[family], family, ids, places), abs=1e-4)
    wrong = bare_scores(verifiers[family], family, ids, [place - 1 for place in places])
    assert scores != pytest.approx(wrong, abs=1e-3)  # the place matters


def test_an_outcome_is_scored_once_at_the_end(verifiers: dict[str, Any]) -> None:
    tokens, _ = BY_HAND["outcome"]
    judge = verifiers["outcome"]
    ids = word_ids(tokens, "outcome")
    assert judge.read(SOLUTION) == ids
    cut_off = Solution("7+1*", STEPS, "length", question="7+1")
    longer = Solution("7+1*", ("so 8\n", *STEPS), "eos", fresh=2)
    prefix = Solution("7+1*", STEPS[:1], "step", question="7+1")
    scores = judge.score([SOLUTION, prefix, cut_off, longer])
    with torch.inference_mode():
        logit = float(judge.model(torch.tensor([ids])).logits[0, 0])
        cut_logit = float(judge.model(torch.tensor([ids[:-1]])).logits[0, 0])  # it did not write </s>
        more = word_ids(["7", "+", "1", "*", "so", " 8", "\n", *tokens[4:]], "outcome")
        long_logit = float(judge.model(torch.tensor([more])).logits[0, 0])
    assert scores[0] == [None, pytest.approx(logit, abs=1e-4)]
    assert scores[1] == [None]
    assert scores[2] == [None, pytest.approx(cut_logit, abs=1e-4)]
    assert scores[3] == [None, pytest.approx(long_logit, abs=1e-4)]


def test_outcome_labels_and_chat(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

    def saved(name: str, model: Any, **tokenizer: Any) -> Any:
        model.save_pretrained(tmp_path / name)
        tiny_tokenizer(**tokenizer).save_pretrained(tmp_path / name)
        return load_verifier(str(tmp_path / name), verifier_id=name, device="cpu")

    torch.manual_seed(3)
    two = saved("two", LlamaForSequenceClassification(LlamaConfig(**SIZE, num_labels=2)), chat=True)
    said = word_ids(
        ["<|user|>", "7", "+", "1", "<|end|>", "<|assistant|>", "7", "+", "1", "=", "8", "\n", "so", " 8", "<|end|>"],
        "outcome",
    )
    assert two.kind == "orm" and two.read(SOLUTION) == said
    with torch.inference_mode():
        share = float(two.model(torch.tensor([said])).logits[0].softmax(0)[1])
    cut_off = Solution("7+1*", STEPS, "length", question="7+1")
    assert two.score([SOLUTION, cut_off]) == [[None, pytest.approx(share, abs=1e-4)], [None, 0.0]]

    logistic = LlamaConfig(**SIZE, num_labels=1, problem_type="multi_label_classification")
    one = saved("one", LlamaForSequenceClassification(logistic))
    with torch.inference_mode():
        ids = word_ids(BY_HAND["outcome"][0], "outcome")
        chance = float(one.model(torch.tensor([ids])).logits[0, 0].sigmoid())
    assert one.score([SOLUTION]) == [[None, pytest.approx(chance, abs=1e-4)]]

    bert = BertConfig(**SIZE, num_labels=1)  # reads both ways, pools the first token
    both = saved("both", BertForSequenceClassification(bert))
    others = [SOLUTION, Solution("9*", ("9",), "eos"), Solution("3*3*", ("3", "3"), "eos")]
    for solution, [*_, score] in zip(others, both.score(others), strict=True):
        with torch.inference_mode():
            assert score == pytest.approx(float(both.model(torch.tensor([both.read(solution)])).logits[0, 0]), abs=1e-4)

    with pytest.raises(ValueError, match="has 3 labels; expected 1 or 2"):
        saved("three", LlamaForSequenceClassification(LlamaConfig(**SIZE, num_labels=3)))


def test_outcomes_without_a_padding_token_are_read_one_at_a_time(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(4)
    LlamaForSequenceClassification(LlamaConfig(**SIZE | {"pad_token_id": None}, num_labels=1)).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    judge = load_verifier(str(tmp_path), verifier_id="rm", device="cpu")
    solutions = [SOLUTION, Solution("9*", ("9",), "eos")]
    assert [row[-1] for row in judge.score(solutions)] == [judge.score([one])[0][-1] for one in solutions]


def test_a_revision_verifier_sees_the_history(verifiers: dict[str, Any]) -> None:
    history = RevisionContext("<next>", 4).prompt("7+1*", ["so 7", "8"])
    ids = word_ids(["so", " 7", "<next>", "8", "<next>", "7", "+", "1", "*", "so", " 8", "</s>"], "token-classifier")
    attempt = Solution(history, ("so 8",), "eos", question="7+1")
    judge = verifiers["token-classifier"]
    [reading] = judge.read([attempt])
    assert (list(reading.ids), list(reading.places)) == (ids, [11])
    assert judge.score([attempt]) == [pytest.approx(bare_scores(judge, "token-classifier", ids, [11]), abs=1e-4)]
    assert verifiers["outcome"].read(attempt) == ids


def test_signs_in_the_text_are_no_labels(verifiers: dict[str, Any]) -> None:
    """RLHFlow's + and − are found where they are the assistant's, not where the user writes them."""
    steps = ("+\n", "1+1-1\n", "<|end|><|assistant|>+<|end|>", "-")
    [reading] = verifiers["rlhflow"].read([Solution("+-", steps, "eos")])
    said = [reading.ids[place : place + 3] for place in reading.places]
    assert said == [word_ids(["<|assistant|>", "+", "<|end|>"], "rlhflow")] * 4


def test_a_step_of_several_lines_is_one_step(verifiers: dict[str, Any]) -> None:
    [reading] = verifiers["skywork"].read([Solution("9", ("7\n\n8\n\n", "9\n"), "eos")])
    assert list(reading.ids) == word_ids(["<s>", *"9Ċ", *"7Ċ", "Ċ", *"8Ċ", *"9Ċ"], "skywork")
    assert list(reading.places) == [7, 9]


step_texts = st.text(alphabet="0123456789+-*= \n", max_size=12)
solutions = st.builds(
    lambda question, steps, stop, fresh: Solution(
        question, tuple(steps), stop, fresh=min(fresh, len(steps)), question=question
    ),
    st.sampled_from(["7+1", "9*9-2", "3"]),
    st.lists(step_texts, min_size=1, max_size=5),
    st.sampled_from(["step", "eos"]),
    st.integers(0, 3),
)


@pytest.mark.parametrize("family", STEP_FAMILIES)
def test_a_batch_scores_as_single_passes_do(verifiers: dict[str, Any], family: str) -> None:
    """Padding, shared prefixes and split batches change nothing (Mistral's window here is 6 tokens)."""
    judge = verifiers[family]

    @settings(max_examples=30, deadline=None)
    @given(st.lists(solutions, min_size=1, max_size=6), st.sampled_from([1, 200, 4096]))
    def check(batch: list[Solution], tokens: int) -> None:
        judge.batch_tokens = tokens
        for solution, scores in zip(batch, judge.score(batch), strict=True):
            [reading] = judge.read([solution])
            expected = bare_scores(judge, family, reading.ids, reading.places)
            assert scores == pytest.approx(expected[-solution.fresh :], abs=1e-4)

    check()


@pytest.mark.parametrize("family", STEP_FAMILIES)
def test_a_long_solution_is_one_pass(verifiers: dict[str, Any], family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = verifiers[family]
    assert isinstance(judge, StepVerifier)
    judge.batch_tokens = 4096
    calls: list[int] = []
    forward = judge.forward

    def counted(**inputs: Any) -> Tensor:
        calls.append(inputs["input_ids"].shape[1])
        return forward(**inputs)

    monkeypatch.setattr(judge, "forward", counted)
    steps = ("1\n",) * 20
    [scores] = judge.score([Solution("7+1", steps, "eos")])
    [reading] = judge.read([Solution("7+1", steps, "eos")])
    assert len(scores) == 20
    assert len(calls) <= 2 and sum(calls) == len(reading.ids)  # the question, then all steps


def test_another_separator_of_trl_stands_in_the_config(verifiers: dict[str, Any]) -> None:
    from generate.verifiers.token_classifier import TrlVerifier

    model, tokenizer = verifiers["trl"].model, verifiers["trl"].tokenizer
    try:
        model.config.step_separator = "\n\n"
        [reading] = TrlVerifier(model, tokenizer, verifier_id="v").read([Solution("7", ("8", "9\n\n"), "eos")])
        assert list(reading.ids) == word_ids(["<s>", "7", "8", "\n", "\n", "9", "\n", "\n"], "trl")
        assert list(reading.places) == [4, 7]
        model.config.step_separator = ""
        with pytest.raises(ValueError, match="step separator '': the tokenizer of 'v' makes no token of it"):
            TrlVerifier(model, tokenizer, verifier_id="v")
    finally:
        del model.config.step_separator


def test_a_step_without_a_token_is_scored_where_it_stands(verifiers: dict[str, Any]) -> None:
    judge = verifiers["token-classifier"]
    ids = word_ids(["7", "8"], "token-classifier")
    expected = bare_scores(judge, "token-classifier", ids, [0, 1, 1])
    assert judge.score([Solution("7", ("", "8", ""), "step")]) == [pytest.approx(expected, abs=1e-4)]
    with pytest.raises(UnreadableSolution, match="prompt and first step are empty"):
        judge.score([Solution("", ("", "8"), "step")])


def test_a_solution_cut_off_scores_nothing_at_its_last_step(verifiers: dict[str, Any]) -> None:
    for family in STEP_FAMILIES:
        whole, cut = (verifiers[family].score([Solution("7+1", STEPS, stop)])[0] for stop in ("step", "length"))
        assert cut == [whole[0], 0.0]


@pytest.mark.parametrize(
    ("family", "text", "what"),
    [
        ("math-shepherd", "8 ки\n", "'ки'"),
        ("math-shepherd", "ки", "'ки'"),
        ("qwen-prm", "8<extra_0>9", "'<extra_0>'"),
    ],
)
def test_a_tag_in_the_text_is_refused(verifiers: dict[str, Any], family: str, text: str, what: str) -> None:
    good = Solution("7+1", ("7", "8"), "eos")
    with pytest.raises(UnreadableSolution, match=f"its step 2 holds {what}") as refused:
        verifiers[family].score([good, Solution("7+1", ("7", text), "eos")])
    assert (refused.value.place, refused.value.step) == (1, 1)
    with pytest.raises(UnreadableSolution, match=f"its question holds {what}"):
        verifiers[family].score([Solution(text, ("7",), "eos")])


@pytest.mark.parametrize("family", FORMATS)
def test_nothing_is_cut_off(verifiers: dict[str, Any], family: str) -> None:
    judge = verifiers[family]
    assert judge.max_tokens == 256
    with pytest.raises(
        UnreadableSolution, match=r"its input has \d+ tokens, the verifier's model reads 256"
    ) as refused:
        judge.score([SOLUTION, Solution("7+1", ("1" * 256,), "eos")])
    assert refused.value.place == 1


def test_a_tokenizer_bounds_a_model_that_reads_both_ways() -> None:
    from transformers import BertConfig, BertForTokenClassification

    model = BertForTokenClassification(BertConfig(**SIZE))
    tokenizer = tiny_tokenizer()
    assert max_tokens(model, tokenizer) == 256  # a tokenizer without a bound says 10^30
    tokenizer.model_max_length = 64
    assert max_tokens(model, tokenizer) == 64 and max_tokens(model) == 256


def test_equal_log_odds_tie_in_every_batch() -> None:
    odds = torch.arange(-40, 40, dtype=torch.float32) / 7
    noisy = (odds * GRAIN).round() / GRAIN + 2e-5 * torch.randn(80, generator=torch.Generator().manual_seed(0))
    assert (probabilities(noisy) == probabilities((odds * GRAIN).round() / GRAIN)).all()
    assert (probabilities(odds) - odds.sigmoid()).abs().max() < 1e-4


def test_a_tokenizer_or_model_that_does_not_fit_is_refused(tmp_path: Path, paths: dict[str, str]) -> None:
    from transformers import AutoModelForCausalLM, CohereConfig, CohereForCausalLM

    def with_tokenizer(name: str, tokenizer: Any) -> str:
        AutoModelForCausalLM.from_pretrained(paths["rlhflow"]).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        return str(tmp_path / name)

    plain, long_signs = tiny_tokenizer(), tiny_tokenizer()
    long_signs.chat_template = CHAT.replace("turn['content']", "turn['content'] + turn['content']")
    for path, name, what in (
        (with_tokenizer("plain", plain), "rlhflow", "no chat template"),
        (with_tokenizer("double", long_signs), "rlhflow", "no single token"),
        (with_tokenizer("characters", tiny_tokenizer(qwen=True)), "math-shepherd", "no single token for ' ки'"),
    ):
        with pytest.raises(ValueError, match=what):
            load_verifier(path, verifier_id="v", format=name, device="cpu")
    CohereForCausalLM(CohereConfig(**SIZE, logit_scale=0.5)).save_pretrained(tmp_path / "scaled")
    tiny_tokenizer(bos=True).save_pretrained(tmp_path / "scaled")
    with pytest.raises(ValueError, match="logit_scale cannot be read"):
        load_verifier(str(tmp_path / "scaled"), verifier_id="v", format="math-shepherd", device="cpu")
