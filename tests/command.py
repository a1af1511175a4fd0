"""Runs `tts-sim` through its entry point, in this process."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from tests.forests import Question
from tts_sim.cli.main import main

COMPILING = "compiling kernels, once for this machine …\n"  # said by whichever test comes first


class Ended(NamedTuple):
    """Exit status and what was printed."""

    status: int
    out: str
    err: str


def tts_sim(*arguments: object) -> Ended:
    """What `tts-sim ARGUMENTS` does; anything but a proper end (a traceback) is raised."""
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with patch("sys.argv", ["tts-sim", *map(str, arguments)]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Ended(status, out.getvalue(), err.getvalue().replace(COMPILING, ""))


def printed_json(*arguments: object) -> Any:
    """The JSON that a successful `tts-sim ARGUMENTS --json` prints, read strictly: NaN is no JSON."""
    ended = tts_sim(*arguments, "--json")
    assert ended.status == 0, ended.err

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in JSON")

    return json.loads(ended.out, parse_constant=refuse)


def write_jsonl(file: Path, questions: Sequence[Question]) -> Path:
    """The questions as native JSONL."""
    lines = [json.dumps({key: value for key, value in question.items() if value is not None}) for question in questions]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file
