"""The shipped sample: sound, small, supporting what its README says, and worth analysing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cache import Cache, open_cache, sample_path
from cache.check import violations
from tts_sim.cli.main import main
from tts_sim.full_report import SECTIONS, full_report
from tts_sim.load import load_forest
from tts_sim.replay import replay

BUDGETS = [4, 8, 16, 32]


@pytest.fixture(scope="module")
def sample() -> Iterator[Cache]:
    with open_cache(sample_path()) as cache:
        yield cache


def test_it_is_sound_and_at_most_30_megabytes(sample: Cache) -> None:
    assert violations(sample) == []
    assert sum(file.stat().st_size for file in sample_path().iterdir()) <= 30_000_000


def test_trees_are_supported_for_the_default_seed_and_trials(sample: Cache) -> None:
    specs = ["beam(width=4)+weighted", "beam(width=sqrt)+weighted"]
    curve = replay(load_forest(sample, "base"), specs, BUDGETS, seed=0).curve()
    assert (curve["supported"] >= 0.99).all()
    assert (curve["trials"] >= 4).all()
    assert curve["num_questions"].unique().to_list() == [500]


def test_chains_allow_every_power_of_two_ratio_at_64(sample: Cache) -> None:
    forest = load_forest(sample, "revise", kind="revisions")
    specs = [f"revise(sequential={2**power})+weighted" for power in range(7)]
    assert (replay(forest, specs, [64], seed=0).curve()["supported"] == 1).all()


def test_both_models_have_their_samples(sample: Cache) -> None:
    assert load_forest(sample, "base").root_pools().min() >= 128
    large = load_forest(sample, "large")
    assert large.num_questions == 500 and large.root_pools().min() >= 16
    greedy = "SELECT count(DISTINCT question_id) FROM nodes WHERE run_id = 'large' AND greedy AND stop <> 'step'"
    assert sample.frame(greedy).item() == 500
    unscored = sample.frame("SELECT count(*) FROM nodes ANTI JOIN scores USING (run_id, node_id)")
    assert unscored.item() == 0


def test_it_is_worth_analysing(sample: Cache) -> None:
    from generate.lab.worth import worth

    figures = worth(sample)
    assert figures["AUC of prm within questions of mixed outcome"] >= 0.8
    assert min(figures["questions in each fifth of pass@1"]) >= 50
    assert figures["coverage minus majority at 128"] >= 0.15
    gain = next(value for name, value in figures.items() if name.startswith("weighted best-of-n minus majority"))
    assert gain > 2 * figures["its paired standard error"]
    assert figures["pass@1"] < figures["large model: pass@1"] < figures["coverage at 128"]


def test_demo_prints_the_headline_and_writes_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.html"
    monkeypatch.setattr(sys, "argv", ["tts-sim", "demo", "--output", str(path)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code in (0, None)
    said = capsys.readouterr().out
    for name in ("majority", "best-of-N", "weighted best-of-N", "beam(width=4) + weighted", "revise(sequential=4)"):
        assert name in said
    assert "±" in said and "difficulty" in said
    assert "the policy chooses by level" in said and "times the compute for the same accuracy (95 %" in said
    assert "the better buy" in said and all(f"at level {level}" in said for level in range(1, 6))
    page = path.read_text()
    assert page.count("class=chart") == 14 and "https://" not in page.split("<body>")[1].split("<script>")[0]


def test_the_full_report_has_every_section(sample: Cache) -> None:
    made = full_report(sample, name="the shipped sample")
    assert [section.title for section in made.sections] == list(SECTIONS)
    for section in made.sections:
        assert any(figure.chart is not None for figure in section.figures), section.title
        assert "Read from run" in section.read_from and "seed 0" in section.read_from, section.title
    policy = next(section for section in made.sections if section.title == "Compute-optimal search")
    assert {"policy-by-budget", "policy-charged", "policy-choices-oracle", "policy-choices-predicted"} <= {
        figure.name for figure in policy.figures
    }


def test_replay_in_python_is_the_commands(sample: Cache) -> None:
    frame = replay(load_forest(sample, "base"), ["sample+oracle"], [1], seed=0).frame
    stats = sample.frame("SELECT DISTINCT question_id, pass_at_1 FROM question_stats WHERE run_id = 'base'")
    joined = frame.select("question_id", "accuracy").join(stats, on="question_id")
    assert len(joined) == 500
    assert (joined["accuracy"] - joined["pass_at_1"]).abs().max() < 1e-12  # type: ignore[operator]
