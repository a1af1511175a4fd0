"""The report is one file that needs no network, and texts in it stay texts."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import polars as pl
import pytest

from tests.frames import HOSTILE, curve
from tts_sim.charts import accuracy_by_budget
from tts_sim.report import Figure, Section, write_charts, write_report


def sections() -> list[Section]:
    return [
        Section("Curves", f"read from {HOSTILE}", [Figure("curves", HOSTILE, accuracy_by_budget(curve()), curve())]),
        Section(
            HOSTILE, "split", [Figure("split", "cap", accuracy_by_budget(curve(True), by="difficulty"))], [HOSTILE]
        ),
        Section("Figures", "all", [Figure("table", "all", table=curve())]),
    ]


def test_a_report_is_self_contained_and_escaped(tmp_path: Path) -> None:
    page = write_report(tmp_path / "report.html", f"A report {HOSTILE}", ["a & b", HOSTILE], sections()).read_text()
    assert HOSTILE not in page and "<b>bold</b>" not in page
    assert len(re.findall(r"<script[ >]", page)) == page.count("</script>") == 3
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?https?:", page)
    assert page.count("<div class=chart ") == 2 and page.partition("<script")[0].count("<table>") == 2
    assert "a &amp; b" in page and page.count("<section id=") == 3
    for number in (1, 2, 3):
        assert f'href="#section{number}"' in page and f'id="section{number}"' in page


def test_only_the_scripts_of_the_page_may_run_and_nothing_is_loaded(tmp_path: Path) -> None:
    page = write_report(tmp_path / "report.html", "A report", [], sections()).read_text()
    found = re.search(r'http-equiv=Content-Security-Policy content="([^"]*)"', page)
    assert found is not None
    rules = dict(rule.split(" ", 1) for rule in found[1].split("; "))
    assert rules["default-src"] == "'none'" and "unsafe-inline" not in rules["script-src"]
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    }
    assert len(hashes) == 2 and hashes < set(rules["script-src"].split())
    bare = write_report(tmp_path / "bare.html", "A report", [], [Section("None", "nothing")]).read_text()
    assert "script-src 'none'" in bare and "<script" not in bare


def test_tables_are_for_people(tmp_path: Path) -> None:
    table = pl.DataFrame({"name": [None, "a"], "value": [1e-17, 0.123456], "count": [1, 2]})
    long = pl.DataFrame({"row": range(40)})
    figures = [Figure("short", "s", table=table), Figure("long", "l", table=long)]
    page = write_report(tmp_path / "report.html", "A report", [], [Section("Tables", "", figures)]).read_text()
    assert "<td>–</td><td>0</td><td>1</td>" in page and "<td>0.1235</td>" in page
    assert "<details open><summary>Figures (2 rows)" in page and "<details><summary>Figures (40 rows)" in page


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_charts_are_written_as_files(tmp_path: Path, kind: str) -> None:
    written = write_charts(tmp_path / "new" / "folder", sections(), kind)  # type: ignore[arg-type]
    assert [path.name for path in written] == [f"01-curves.{kind}", f"02-split.{kind}"]
    for path in written:
        content = path.read_bytes()
        if kind == "png":
            assert content.startswith(b"\x89PNG")
            assert int.from_bytes(content[16:20], "big") > 1000  # pixels across: twice the size on the page
        else:
            assert content.startswith(b"<svg") and b"<script" not in content and b"majority" in content


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        write_report(tmp_path / "no" / "report.html", "A report", [], [])
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="cannot be written"):
        write_charts(tmp_path / "file", sections(), "svg")
