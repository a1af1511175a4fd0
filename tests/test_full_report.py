"""The full report: what a cache gets, from what, and why the rest is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import duckdb
import pytest

from cache import create_cache, open_cache
from tests.command import tts_sim, write_jsonl
from tests.frames import HOSTILE
from tests.report_cache import NAMES, QUESTIONS, made, revisions
from tests.test_start_up import loaded_by
from tts_sim.full_report import SECTIONS, FullReport, full_report
from tts_sim.report_sections.material import Material, NotShown, Settings, shapes
from tts_sim.report_sections.reading import points

REVISING = [
    "Revisions, attempt by attempt",
    "Sequential against parallel",
    "Accuracy by ratio of sequential to parallel",
    "Compute-optimal revisions",
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def report(cache: Path) -> FullReport:
    with open_cache(cache) as opened:
        return full_report(opened, name="small")


def missing(report: FullReport) -> dict[str, str]:
    """Analyses that are not shown, with the reason."""
    last = report.sections[-1]
    if last.title != "Not shown":
        return {}
    (figure,) = last.figures
    assert figure.table is not None
    return dict(figure.table.rows())


def test_every_analysis_of_the_paper_is_there_and_says_what_it_is_read_from(report: FullReport) -> None:
    assert [section.title for section in report.sections] == list(SECTIONS)
    names = [figure.name for section in report.sections for figure in section.figures]
    assert len(names) == len(set(names))
    for section in report.sections:
        read = section.read_from
        assert "run 'base'" in read or "run 'chains'" in read, section.title
        assert "seed 0" in read and "95 %" in read and ("erifier" in read), section.title
        assert f"{QUESTIONS} questions" in read or section.title in ("FLOPs exchange with a larger model",
                                                                     "Verifiers: calibration and noise")  # fmt: skip
        assert all(figure.caption for figure in section.figures)
    assert f"{QUESTIONS} questions of {HOSTILE}" in report.summary[0]


def test_tables_stand_beside_charts(report: FullReport) -> None:
    figures = {figure.name: figure for section in report.sections for figure in section.figures}
    table = figures["accuracy-by-budget"].table
    assert table is not None
    assert {"strategy", "budget", "accuracy", "95 % from", "95 % to", "supported", "questions"} <= set(table.columns)
    gains = figures["policy-gains"].table
    assert gains is not None and set(gains["difficulty"]) == {"oracle", "predicted"}
    charged = figures["policy-charged"].table
    assert charged is not None and (charged["cost"] >= 4).all() and set(charged["line"]) == {"policy, charged"}


@pytest.mark.parametrize(
    ("runs", "gone"),
    [
        (("base",), {*REVISING, "FLOPs exchange with a larger model"}),
        (("chains",), {"Compute-optimal search", "Compute-optimal revisions", "FLOPs exchange with a larger model"}),
        (("base", "chains"), {"FLOPs exchange with a larger model"}),
    ],
)
def test_sections_that_a_cache_cannot_speak_to_are_named(tmp_path: Path, runs: tuple[str, ...], gone: set[str]) -> None:
    with open_cache(made(tmp_path, runs)) as opened:
        report = full_report(opened)
    said = missing(report)
    assert set(said) == gone
    assert {section.title for section in report.sections} == {*SECTIONS, "Not shown"} - gone
    for title in gone:
        assert "needs a run of kind" in said[title] or "no second model" in said[title], said[title]


def test_without_a_verifier_what_needs_none_is_left(tmp_path: Path) -> None:
    with open_cache(made(tmp_path, ("base",), NAMES + "DELETE FROM scores; DELETE FROM verifiers;")) as opened:
        report = full_report(opened)
    said = missing(report)
    assert "score" in said["Compute-optimal search"] and "score" in said["Verifiers: calibration and noise"]
    first = report.sections[0]
    assert first.title == "Accuracy by budget" and "Verifier: none" in first.read_from


def test_without_parameter_counts_there_is_no_exchange(tmp_path: Path) -> None:
    with open_cache(made(tmp_path, ("base", "large"), "")) as opened:
        said = missing(full_report(opened))
    assert "no second model" in said["FLOPs exchange with a larger model"]


def test_a_verifier_can_be_chosen(cache: Path, tmp_path: Path) -> None:
    with open_cache(cache) as opened:
        with pytest.raises(ValueError, match=r"verifier 'prn': has scored no run that is read; known: prm\."):
            full_report(opened, verifier="prn")
        material = Material(opened, Settings("prm"))
        assert material.judge("steps") == "prm"


def test_an_empty_cache_has_nothing_to_show(tmp_path: Path) -> None:
    create_cache(tmp_path / "empty.duckdb").close()
    with open_cache(tmp_path / "empty.duckdb") as opened, pytest.raises(NotShown, match="nothing to show"):
        full_report(opened)
    ended = tts_sim("report", tmp_path / "empty.duckdb", "-o", tmp_path / "report.html")
    assert ended.status == 1 and ended.err.count("\n") == 1 and not (tmp_path / "report.html").exists()


def test_shapes_are_those_that_every_question_supports(cache: Path) -> None:
    with open_cache(cache) as opened:
        forest = Material(opened, Settings()).run("revisions")
    assert shapes(forest, ["majority"]) == {
        "revise(sequential=1)+majority": [1, 2, 4, 8],
        "revise(sequential=2)+majority": [2, 4, 8],
        "revise(sequential=4)+majority": [4, 8],
        "revise(sequential=8)+majority": [8],
    }


@pytest.mark.parametrize(
    ("difference", "text"), [(0.0123, "+1.2 points"), (-0.0001, "0.0 points"), (-0.1, "-10.0 points")]
)
def test_points(difference: float, text: str) -> None:
    assert points(difference) == text


def test_the_command_writes_the_page_and_the_charts(cache: Path, tmp_path: Path, report: FullReport) -> None:
    charts = sum(figure.chart is not None for section in report.sections for figure in section.figures)
    ended = tts_sim("report", cache, "-o", tmp_path / "r.html", "--png", tmp_path / "png", "--svg", tmp_path / "svg")
    assert ended.status == 0 and ended.out == ""
    assert (tmp_path / "r.html").read_text().count("<div class=chart ") == charts
    assert len(list((tmp_path / "png").glob("*.png"))) == len(list((tmp_path / "svg").glob("*.svg"))) == charts
    assert f"{charts} charts" in ended.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--verifier", "none"], "verifier 'none'"),
        (["--trials", "0"], "trials 0"),
        (["--seed", "-1"], "seed"),
        (["-o", "/dev/null/report.html"], "cannot be written"),
    ],
)
def test_bad_options_are_one_line(cache: Path, tmp_path: Path, options: list[str], message: str) -> None:
    ended = tts_sim("report", cache, "-o", tmp_path / "report.html", *options)
    assert ended.status == 1 and message in ended.err and ended.err.count("\n") == 1
    assert not (tmp_path / "report.html").exists() and not os.listdir(tmp_path)


def test_help_is_light() -> None:
    asked = "sys.argv = ['tts-sim', 'report', '--help']"
    assert loaded_by(f"{asked}\nfrom tts_sim.cli.main import main\ntry: main()\nexcept SystemExit: pass") == []


def test_a_run_that_is_not_of_independent_draws_is_named(cache: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.duckdb"
    shutil.copy(cache, changed)
    with duckdb.connect(changed) as connection:
        connection.execute("UPDATE runs SET exchangeable = false WHERE run_id = 'chains'")
    with open_cache(changed) as opened:
        summary = full_report(opened).summary
    assert [line for line in summary if "not i.i.d." in line] == [
        "Siblings of run 'chains' are not i.i.d. (exchangeable is false): no figure of it is unbiased."
    ]


def test_a_single_question_has_no_share_of_attempts(tmp_path: Path) -> None:
    cache = tmp_path / "one.duckdb"
    file = write_jsonl(tmp_path / "chains.jsonl", revisions()[20:21])
    assert tts_sim("import", "native", file, "--into", cache).status == 0
    with open_cache(cache) as opened:
        assert missing(full_report(opened))["Revisions, attempt by attempt"] == "needs two questions and more."


def test_break_even_ratios_are_said_with_their_intervals(report: FullReport) -> None:
    (section,) = (one for one in report.sections if one.title == "FLOPs exchange with a larger model")
    (text,) = section.text
    assert "in brackets R, 95 %" in text
    assert text.count(")") - 1 == text.count("at level") + 1 == 6, "all questions, then each level"
