"""The report is one file that needs no network, and texts in it stay texts."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from tts_sim.charts.accuracy import accuracy_by_budget
from tts_sim.report import Section, write_report

HOSTILE = "</script><script>alert(1)</script><b>bold</b>"


def curve() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "strategy": ["sample+majority", "sample+majority", HOSTILE, HOSTILE],
            "difficulty": [1, 2, 1, 2],
            "budget": [1, 2, 1, 2],
            "accuracy": [0.5, 0.6, None, 0.7],
            "se": [0.1, 0.1, None, None],
            "ci_low": [0.3, 0.4, None, None],
            "ci_high": [0.7, 0.8, None, None],
            "supported": [1.0, 1.0, 0.2, 1.0],
            "method": ["exact", "exact", "bounds", "monte-carlo"],
            "tokens": [10.0, 20.0, None, 20.0],
            "num_questions": [5, 5, 5, 5],
        }
    )


def test_a_report_is_self_contained_and_escaped(tmp_path: Path) -> None:
    sections = [
        Section("Curves", f"read from {HOSTILE}", accuracy_by_budget(curve())),
        Section("By difficulty", "split", accuracy_by_budget(curve(), by="difficulty")),
        Section("Figures", "all", table=curve()),
    ]
    path = write_report(tmp_path / "report.html", "A report", ["a & b"], sections)
    page = path.read_text()
    assert HOSTILE not in page
    assert "<b>bold</b>" not in page
    assert page.count("<script>") == page.count("</script>") == 2
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?https?:", page)
    assert "vegaEmbed" in page and 'id="chart0"' in page and 'id="chart1"' in page
    assert "a &amp; b" in page


def test_charts_leave_out_what_has_no_point_estimate_and_name_everything() -> None:
    spec = accuracy_by_budget(curve()).to_dict()
    (values,) = spec["datasets"].values()
    assert len(values) == 3
    names = {value["strategy"] for value in values}
    assert names == {"majority", HOSTILE.replace("+", " + ")}
    marks = [layer["mark"]["type"] for layer in spec["layer"]]
    assert marks == ["area", "line", "point"]


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        write_report(tmp_path / "no" / "report.html", "A report", [], [])
