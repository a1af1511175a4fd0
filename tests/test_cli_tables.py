"""Tables for people: whole when piped, fitted to a terminal's width, figures in one form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import forests
from tests.command import Ended, tts_sim, write_jsonl


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    questions = [
        forests.comb("comb", 3, 4),
        {**forests.star("a question with a long name", [("A", 0.5), ("B", 0.25), ("A", 0.75), ("C", 0.5)]), "level": 2},
    ]
    chains = [forests.chains("chains", [[("B", 0.25), ("A", 0.5)], [("A", 0.25), ("A", 0.5)]])]
    for name, content in (("a-run-with-a-rather-long-name", questions), ("chains", chains)):
        file = write_jsonl(folder / f"{name}.jsonl", content)
        assert tts_sim("import", "native", file, "--into", folder / "small.duckdb").status == 0
    return folder / "small.duckdb"


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int, *arguments: object) -> Ended:
    """What the command prints to a terminal of this width, colours left out."""
    for name, value in (("TTY_COMPATIBLE", "1"), ("TERM", "xterm"), ("COLUMNS", str(width))):
        monkeypatch.setenv(name, value)
    ended = tts_sim(*arguments)
    return ended._replace(out=re.sub(r"\x1b\[[0-9;]*m", "", ended.out))


REPLAY = ["sample+majority,beam+weighted", "-s", "revise(sequential=2)+weighted", "--budget", "2,4"]


@pytest.mark.parametrize(("width", "left_out"), [(80, "ci_low, ci_high"), (130, "se_fixed")])
def test_replay_fits(monkeypatch: pytest.MonkeyPatch, cache: Path, width: int, left_out: str) -> None:
    ended = on_a_terminal(monkeypatch, width, "replay", cache, *REPLAY)
    assert ended.status == 0 and max(map(len, ended.out.splitlines())) <= width
    assert len(re.findall(r"^  (?:sample|beam|revise)\S+ +[24] ", ended.out, re.MULTILINE)) == 6  # nothing is folded
    assert left_out in ended.err and bool(left_out) == ("left out on this narrow terminal" in ended.err)


def test_sql_on_a_narrow_terminal_prints_records(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    ended = on_a_terminal(monkeypatch, 80, "sql", cache, "FROM question_stats ORDER BY question_id LIMIT 1")
    assert "question_id       a question with a long name\n" in ended.out and ended.out.endswith("\n\n")
    assert "question_id" in on_a_terminal(monkeypatch, 80, "sql", cache, "SELECT question_id FROM questions").out


def test_info_fits(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    ended = on_a_terminal(monkeypatch, 80, "info", cache)
    assert max(len(line) for line in ended.out.splitlines()[1:]) <= 80 and "a-run-with-a-rather-long-name" in ended.out


def test_piped_tables_are_whole(cache: Path) -> None:
    ended = tts_sim("replay", cache, *REPLAY)
    assert ended.err == "" and all(word in ended.out for word in ("critical", "verifier", "method", "low", "high"))
    assert "run 'a-run-with-a-rather-long-name', 'chains', verifier 'prm', 3 questions" in ended.out
    assert "supported" not in ended.out  # all of it is
    per_question = tts_sim("replay", cache, *REPLAY, "--per-question").out
    assert per_question.count("a question with a long name") == 4
    by_level = tts_sim("replay", cache, *REPLAY, "--by", "level").out
    assert by_level.count("sample+majority") == 4


def test_texts_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    query = "SELECT '[/b] [red]x[1] :smile:' AS \"[bold]\", chr(27) || '[31m' || chr(7) AS control"
    for ended in (tts_sim("sql", cache, query), on_a_terminal(monkeypatch, 80, "sql", cache, query)):
        assert ended.status == 0 and all(text in ended.out for text in ("[bold]", "[/b] [red]x[1] :smile:"))
        assert r"\x1b[31m\x07" in ended.out
