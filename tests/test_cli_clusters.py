"""`tts-sim compare --clusters`: the exact case of three clusters, where clusters come from, and names that are none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests import cases, forests
from tests.command import printed_json, tts_sim, write_jsonl
from tests.test_cli_errors import refused

KEY = 'a/b ~"c'
PAIR = ["sample+oracle", "revise(sequential=1)+oracle"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Case C26: two runs in which a question's share of right solutions is its figure."""
    folder = tmp_path_factory.mktemp("clusters")
    for name, tenths in zip(("steps", "chains"), cases.C26_TENTHS, strict=True):
        questions = []
        for place, (right, cluster) in enumerate(zip(tenths, cases.C26_CLUSTERS, strict=True)):
            answers: list[Any] = [("A", None)] * right + [("B", None)] * (10 - right)
            grown = forests.star(f"q{place}", answers) if name == "steps" else forests.chains(
                f"q{place}", [[answer] for answer in answers]
            )  # fmt: skip
            more = {"level": cluster, "subject": "only one", "template": f"t{cluster}"}
            questions.append({**grown, **more, **({KEY: 7} if place < 2 else {})})
        file = write_jsonl(folder / f"{name}.jsonl", questions)
        kind = "revisions" if name == "chains" else "steps"
        ended = tts_sim("import", "native", file, "--into", folder / "c26.duckdb", "--kind", kind)
        assert ended.status == 0, ended.err
    return folder / "c26.duckdb"


def test_c26(cache: Path) -> None:
    [row] = printed_json("compare", cache, *PAIR, "-b", 1)
    assert row["method"] == "exact"
    assert row["difference"] == pytest.approx(float(cases.C26["difference"]), abs=1e-9)
    assert row["se"] ** 2 == pytest.approx(float(cases.C26["variance"]), abs=1e-9)
    assert row["difference"] / row["se"] == pytest.approx(cases.C26_T, abs=1e-9)
    assert (row["p_value"], row["test"]) == (float(cases.C26["p_value"]), "sign-flip exact")
    assert (row["num_questions"], row["num_clusters"], row["exchangeable"]) == (6, 6, True)
    apart = printed_json("replay", cache, *PAIR, "-b", 1)
    assert math.hypot(*(one["se"] for one in apart)) == pytest.approx(cases.C26_SE_UNPAIRED, abs=1e-9)


@pytest.mark.parametrize("name", ["level", "template"])
def test_c26_clustered(cache: Path, name: str) -> None:
    [row] = printed_json("compare", cache, *PAIR, "-b", 1, "--clusters", name)
    assert row["difference"] == pytest.approx(float(cases.C26["difference"]), abs=1e-9)
    assert row["se"] ** 2 == pytest.approx(float(cases.C26_CLUSTERED_VARIANCE), abs=1e-9)
    assert (row["p_value"], row["num_questions"], row["num_clusters"]) == (0.25, 6, 3)
    printed = tts_sim("compare", cache, *PAIR, "-b", 1, "--clusters", name)
    assert printed.status == 0 and f"clusters: 3 by {name}; errors and tests count these" in printed.out


def test_questions_without_a_value_stand_alone(cache: Path) -> None:
    [row] = printed_json("compare", cache, *PAIR, "-b", 1, "--clusters", KEY)
    assert row["num_clusters"] == 5
    ended = tts_sim("compare", cache, *PAIR, "-b", 1, "--clusters", KEY, "--json")
    assert ended.err == "4 of 6 questions have no 'a/b ~\"c': each is a cluster of its own.\n"


def test_a_single_cluster_leaves_no_error(cache: Path) -> None:
    [row] = printed_json("compare", cache, *PAIR, "-b", 1, "--clusters", "subject")
    assert (row["num_clusters"], row["se"], row["p_value"], row["ci_low"]) == (1, None, None, None)
    assert row["difference"] == pytest.approx(float(cases.C26["difference"]), abs=1e-9)


@pytest.mark.parametrize("name", ["dataset", "gold", "topic", "", "$", 'it\'s "so"'])
def test_names_that_are_none(cache: Path, name: str) -> None:
    listed = 'this cache knows of them: level, subject, a/b ~"c, template.'
    refused(
        tts_sim("compare", cache, *PAIR, "-b", 1, "--clusters", name), f"--clusters {name}: questions have no", listed
    )


def test_a_cache_that_groups_nothing(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "r.jsonl", [forests.star("q", [("A", 0.5), ("B", 0.25)])])
    assert tts_sim("import", "native", file, "--into", tmp_path / "r.duckdb").status == 0
    ended = tts_sim("compare", tmp_path / "r.duckdb", "sample+best", "sample+oracle", "-b", 1, "--clusters", "level")
    refused(ended, "--clusters level: questions have no 'level'; this cache knows of them: nothing to group by.")
