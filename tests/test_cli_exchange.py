"""`tts-sim exchange`: two models of a cache, what it prints, and one line for whatever is missing."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests import forests
from tests.command import printed_json, tts_sim, write_jsonl
from tests.test_cli_errors import refused
from tests.test_cli_tables import on_a_terminal
from tests.test_start_up import loaded_by
from tts_sim import greedy_outcomes, load_forest, open_cache, replay
from tts_sim.exchange import ExchangeTerms
from tts_sim.exchange_tables import BREAK_EVEN, EXCHANGE, exchange_table

COUNT = 12


def small_questions() -> list[forests.Question]:
    """Question i has i of its twelve samples correct; samples take 3 to 6 tokens."""
    return [
        forests.star(f"q{i:02}", [("A" if k < i else f"B{k % 3}", ((5 * k + i) % 12) / 12) for k in range(COUNT)])
        for i in range(COUNT)
    ]


def large_questions(greedy: bool = True) -> list[forests.Question]:
    """Two samples, and a greedy solution in two steps of 2 and 3 tokens, wrong for the first four questions."""
    questions = []
    for i in range(COUNT):
        grower = forests.Grower()
        for draw, answer in enumerate("AB"):
            grower.add(None, draw, 4, 0.5 + draw / 4, answer=answer)
        if greedy:
            step = grower.add(None, 0, 2, 0.5, greedy=True)
            grower.add(step, 0, 3, 0.5, greedy=True, answer="A" if i >= 4 else None if i else "B0")
        questions.append(grower.question(f"q{i:02}"))
    return questions


MODELS = """
    INSERT INTO models (model_id, num_params, pretraining_tokens, finetuning_tokens) VALUES
        ('tiny', 100, 1000, 50), ('big', 1400, 3000, NULL), ('prm', 200, NULL, 25);
    UPDATE runs SET model_id = 'tiny' WHERE run_id = 'base';
    UPDATE runs SET model_id = 'big' WHERE run_id = 'large';
"""


def made(folder: Path, *, greedy: bool = True, models: str = MODELS) -> Path:
    cache = folder / "two.duckdb"
    for run, questions in (("base", small_questions()), ("large", large_questions(greedy))):
        file = write_jsonl(folder / f"{run}.jsonl", questions)
        assert tts_sim("import", "native", file, "--into", cache).status == 0
    with duckdb.connect(str(cache)) as connection:
        connection.execute(models)
    return cache


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("exchange"))


@pytest.mark.parametrize(
    ("options", "multiples"),
    [
        ("snell-v1 --ratio 0.16,0.79,22", (1031 / 4, 5006 / 79, 347 / 22)),
        ("snell-iclr --ratio 0.08,0.4,11", (1031 / 4, 251 / 4, 347 / 22)),
        ("strict --rho 1 --ratio 0.08,0.4,11", (1003 / 4, 223 / 4, 193 / 22)),
        ("strict --rho 8 --ratio 0.08,0.4,11", (1003 / 18, 223 / 18, 193 / 99)),
    ],
)
def test_c24_multipliers(cache: Path, options: str, multiples: tuple[float, ...]) -> None:
    """The larger model of this cache has 14 times the parameters, as in the case."""
    rows = printed_json("exchange", cache, "sample+weighted", "--table", "exchange", "--convention", *options.split())
    overall = [row["x"] for row in rows if row["bin"] is None]
    assert overall == pytest.approx(multiples, rel=1e-12)


def test_greedy_solutions_are_outcomes(cache: Path) -> None:
    with open_cache(cache) as opened:
        frame = greedy_outcomes(opened, "large").frame
        assert greedy_outcomes(opened, "base").frame.is_empty()
    assert frame["accuracy"].to_list() == [0.0] * 4 + [1.0] * 8
    assert set(frame["tokens"]) == {5.0} and set(frame["strategy"]) == {"greedy"} and set(frame["budget"]) == {1}
    with open_cache(cache) as opened:
        assert frame.schema == replay(load_forest(opened, "base"), ["sample+oracle"], [1], seed=0).frame.schema


COMMON = ["--bins", 2, "--ratio", "0.5,10,inf"]


def test_json_is_the_library_s_tables(cache: Path) -> None:
    found = printed_json("exchange", cache, "sample+weighted", "sample+majority", *COMMON)
    assert list(found) == ["terms", "exchange", "break-even"]
    assert [(t["strategy"], t["M"], t["rho"], t["v_large"], t["phi"]) for t in found["terms"]] == [
        ("sample+weighted", 14, 2, 0, 0), ("sample+majority", 14, 0, 0, 0),
    ]  # fmt: skip
    rows = found["exchange"]
    assert list(rows[0]) == list(EXCHANGE) and len(rows) == 2 * 3 * 3
    assert [row["bin"] for row in rows[:9:3]] == [None, 1, 2]
    assert [row["x"] for row in rows[:3]] == pytest.approx([(14 + 78) / 3, (14 + 3.9) / 3, 14 / 3])
    assert [row["status"] for row in rows[:3]] == ["beyond cache", "inside", "inside"]
    with open_cache(cache) as opened:
        small = replay(load_forest(opened, "base"), ["sample+weighted"], [1, 2, 4, 8], seed=0)
        large = greedy_outcomes(opened, "large")
    terms = ExchangeTerms(14, rho=2)
    expected = exchange_table(small, large, terms, ratios=[0.5, 10, float("inf")])
    assert [row["small"] for row in rows[:3]] == pytest.approx(expected["small"].to_list())
    stars = found["break-even"]
    assert list(stars[0]) == [*BREAK_EVEN, "verdict"] and len(stars) == 6
    csv_rows = list(csv.DictReader(io.StringIO(tts_sim("exchange", cache, *COMMON, "--csv").out)))
    assert [float(row["small"]) for row in csv_rows[:3]] == pytest.approx(expected["small"].to_list())


def first_terms(cache: Path, *options: object) -> dict[str, Any]:
    terms: dict[str, Any] = printed_json("exchange", cache, *COMMON, *options)["terms"][0]
    return terms


def test_terms_come_from_the_cache_or_the_options(cache: Path) -> None:
    assert first_terms(cache)["strategy"] == "sample+weighted"
    assert first_terms(cache, "--phi", "cache")["phi"] == pytest.approx((50 + 2 * 25) / 1000)
    assert first_terms(cache, "--phi", 0.3)["phi"] == 0.3
    assert first_terms(cache, "--own-data")["data_ratio"] == 3
    given = first_terms(cache, "--rho", 0.5, "--size-ratio", 7, "--token-ratio", 2)
    assert (given["rho"], given["M"], given["token_ratio"]) == (0.5, 7, 2)
    assert first_terms(cache, "--convention", "snell-iclr")["v_large"] == 1
    sampling = first_terms(cache, "--large-strategy", "sample+best", "--large-budget", 2)
    assert sampling["large_samples"] == 2 and sampling["v_large"] == pytest.approx(200 / 1400)


@pytest.mark.parametrize(
    ("tokens", "most", "answer"), [("generated", 4 * 4.5, 5), ("once", 10 + 4 * 4.5, 15), ("every", 4 * 14.5, 15)]
)
def test_tokens_set_the_grid(cache: Path, tokens: str, most: float, answer: float) -> None:
    """A sample takes 3 to 6 tokens, the larger model's answer 5; prompts have 10."""
    rows = printed_json(
        "exchange", cache, "sample+majority", "--tokens", tokens, "--prompt-tokens", 10, "--budget", "1,2,4",
        "--table", "break-even", "--bins", 1, "--size-ratio", 1.5,
    )  # fmt: skip
    assert rows[0]["x_star"] is None
    assert rows[0]["r_at_most"] == pytest.approx(1.5 / (most / answer - 1.5))


def test_split(cache: Path) -> None:
    rows = printed_json("exchange", cache, "--table", "split", "-R", "1", "--total", "0.05,0.2,0.5,1", "--bins", 1)
    everything = [row for row in rows if row["bin"] is None]
    assert [(row["total_over_large"], row["model"]) for row in everything] == [
        (0.2, "tiny"), (0.5, "tiny"), (1.0, "tiny"), (1.0, "big"),
    ]  # fmt: skip
    assert all(row["flops"] <= row["total"] * (1 + 1e-9) for row in rows)
    assert [row["best"] for row in everything[:2]] == [True, True]
    assert everything[-1]["strategy"] == "greedy" and everything[-1]["flops"] == pytest.approx(14 + 14 / 3)


def test_no_greedy_solutions(tmp_path: Path) -> None:
    ended = tts_sim("exchange", made(tmp_path, greedy=False), *COMMON, "--json")
    assert ended.status == 0 and "holds no greedy solutions: the mean of its samples (pass@1)" in ended.err
    assert '"large": 0.5' in ended.out


def test_a_verifier_without_a_size(tmp_path: Path) -> None:
    path = made(tmp_path, models=MODELS.replace(", ('prm', 200, NULL, 25)", ""))
    ended = tts_sim("exchange", path, *COMMON)
    assert ended.status == 0 and "sample+majority, for the size of verifier 'prm' is unknown" in ended.err
    refused(without_notes("exchange", path, "sample+best", *COMMON), "verifier 'prm'", "give --rho")
    assert first_terms(path, "sample+best", "--rho", 2)["rho"] == 2
    assert first_terms(path, "sample+best", "--convention", "snell-v1")["rho"] == 0


def without_notes(*arguments: object) -> Any:
    """The command's end, with the last line of stderr only."""
    ended = tts_sim(*arguments)
    return ended._replace(err=ended.err.splitlines(keepends=True)[-1])


def test_what_is_missing(tmp_path: Path, cache: Path) -> None:
    alone = tmp_path / "alone.duckdb"
    assert (
        tts_sim("import", "native", write_jsonl(tmp_path / "base.jsonl", small_questions()), "--into", alone).status
        == 0
    )
    refused(tts_sim("exchange", alone), "no second model", "larger than that of run 'base'")
    sizeless = tmp_path / "sizeless.duckdb"
    shutil.copy(cache, sizeless)
    with duckdb.connect(str(sizeless)) as connection:
        connection.execute("UPDATE models SET num_params = NULL WHERE model_id = 'tiny'")
    refused(
        without_notes("exchange", sizeless, "sample+majority", *COMMON, "--large", "large"),
        "model 'tiny' of run 'base': the cache has no parameter count", "enter models.num_params",
    )  # fmt: skip
    assert first_terms(sizeless, "sample+majority", "--large", "large", "--size-ratio", 14)["M"] == 14


@pytest.mark.parametrize(
    ("arguments", "pieces"),
    [
        (["--ratio", "0"], ["--ratio 0: expected a number above 0"]),
        (["--ratio", "0.1,-2"], ["--ratio -2: expected a number above 0"]),
        (["--ratio", "much"], ["--ratio much"]),
        (["--ratio", ","], ["--ratio ','"]),
        (["--convention", "paper"], ["--convention 'paper'", "strict, snell-v1, snell-iclr"]),
        (["--tokens", "all"], ["--tokens 'all'", "generations, generated, once, every"]),
        (["--tokens", "once"], ["the length of the prompt of question 'q00' is unknown"]),
        (["--table", "all"], ["--table 'all'", "exchange, break-even, split"]),
        (["--by", "size"], ["--by size: expected difficulty or level"]),
        (["--by", "level"], ["--by level: the cache's questions state no level"]),
        (["--bins", "7"], ["--bins 7: expected 1 or more, with at least 2 of 12 questions in each"]),
        (["--bins", "0"], ["--bins 0"]),
        (["--budget", "16"], ["12 of 12 questions hold fewer than 16 samples"]),
        (["--small", "base", "--large", "base"], ["run 'base' is both the small and the larger model"]),
        (["--small", "huge"], ["run 'huge': not in the cache; its runs: base (steps), large (steps)"]),
        (["--small", "large", "--large", "base"], ["M=0.0714"]),
        (["--phi", "some"], ["--phi some: expected a share from 0, or 'cache'"]),
        (["--phi", "-1"], ["phi=-1.0: expected a share from 0"]),
        (["--token-ratio", "2", "--tokens", "generated"], ["--token-ratio 2.0: --tokens generated counts"]),
        (["--token-ratio", "0"], ["token_ratio=0.0: expected a number above 0"]),
        (["--size-ratio", "1"], ["M=1.0: expected the larger model's parameters"]),
        (["--large-budget", "2"], ["--large-budget 2: greedy is one generation"]),
        (["--large-budget", "0"], ["--large-budget 0: expected a whole number"]),
        (["--large-strategy", "sample+mode"], ["unknown selection 'mode'"]),
        (["--large-strategy", "sample+best", "--large-budget", "4"], ["fewer than 4 samples"]),
        (["revise(sequential=2)+majority"], ["the cache holds no run of this kind"]),
    ],
    ids=lambda value: " ".join(map(str, value))[:40],
)
def test_a_bad_exchange(cache: Path, arguments: list[object], pieces: list[str]) -> None:
    refused(without_notes("exchange", cache, "--bins", 2, *arguments), *pieces)


def test_what_people_read(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    ended = on_a_terminal(monkeypatch, 100, "exchange", cache, *COMMON)
    assert ended.status == 0
    table = ended.out[: ended.out.index("x: generations of the small model")]
    assert max(map(len, table.splitlines())) <= 100
    for piece in (
        "break-even",
        "run 'large', greedy) at equal FLOPs",
        "Convention strict: whoever uses",
        "sample+weighted: M = 14, rho = 2, v_large = 0",
        "bin 1 is easiest",
        "r_star: below this R",
    ):
        assert piece in ended.out, piece
    assert "pretrained on 1 000 and 3 000 tokens" in ended.err
    assert "pretrained" not in tts_sim("exchange", cache, *COMMON, "--own-data").err


def test_help_loads_nothing_heavy() -> None:
    run = """
import tts_sim.cli.main as command
sys.argv = ["tts-sim", "exchange", "--help"]
try:
    command.main()
except SystemExit as ended:
    assert ended.code == 0, ended.code
"""
    assert loaded_by(run) == []
