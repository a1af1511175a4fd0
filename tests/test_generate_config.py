"""The configuration: TOML and flags are one, what is unknown is named with its neighbour, the documentation is true."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from generate.config import KEYS, KINDS, Config, VerifierTable, config_toml, keys_markdown, read_config
from generate.config_values import Kind
from generate.flags import flag_names
from generate.recordings import recordings
from generate.toml_text import toml_value
from tts_sim.cli.main import command_line

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
MINIMAL = {"cache": "c.duckdb", "model": "m", "questions": "q.jsonl"}


@given(TEXT, st.lists(TEXT), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1))
def test_toml_gives_values_back(text: str, texts: list[str], number: float, whole: int) -> None:
    values = {"text": text, "texts": texts, "number": number, "whole": whole, "yes": True, "no": False}
    written = "\n".join(f"{name} = {toml_value(value)}" for name, value in values.items())
    assert tomllib.loads(written) == values


def test_the_printed_configuration_gives_itself_back(tmp_path: Path) -> None:
    config = read_config(
        None,
        MINIMAL
        | {
            "delimiter": '\n\x7f\u2028"\\',
            "temperature": 1,
            "chat": True,
            "strategies": ["beam(width=4)+weighted", "sample+majority"],
            "budgets": "4,8…32",
            "verifiers": ["id=prm,model=a", {"id": "orm", "model": "b", "kind": "orm"}],
        },
    )
    assert config.budgets == (4, 8, 16, 32) and config.temperature == 1.0
    assert config.verifiers == (VerifierTable("prm", "a"), VerifierTable("orm", "b", "orm"))
    path = tmp_path / "run.toml"
    path.write_text(config_toml(config), encoding="utf-8")
    assert read_config(str(path)) == config
    assert read_config(str(path), {"seed": 3, "run": None}).seed == 3


def test_every_key_is_a_flag(tmp_path: Path) -> None:
    """Each flag, given alone, changes its key and no other."""
    values = {
        Kind.TEXT: ("a\\nb", "a\\nb"),
        Kind.WHOLE: ("17", 17),
        Kind.NUMBER: ("0.25", 0.25),
        Kind.TEXTS: (
            "sample+majority, beam(width=2,finished=pool)+best",
            ("sample+majority", "beam(width=2,finished=pool)+best"),
        ),
        Kind.BUDGETS: ("1,2…8", (1, 2, 4, 8)),
        Kind.TABLES: ("dir", (VerifierTable("prm", "dir"),)),
    }
    for key, field in KEYS.items():
        name = flag_names(key)[0].split("/")[0]
        words, expected = (
            ([name], True) if KINDS[key] is Kind.SWITCH else ([name, values[KINDS[key]][0]], values[KINDS[key]][1])
        )
        done = CliRunner().invoke(command_line(), ["generate", "run", *words, "--print-config"], catch_exceptions=False)
        path = tmp_path / "printed.toml"
        path.write_text(done.stdout, encoding="utf-8")
        given_back = read_config(str(path))
        if key in ("delimiter", "prompt_template", "system_prompt", "separator", "revision_request"):
            expected = "a\nb"  # such texts have line breaks, which a shell makes hard to write
        assert getattr(given_back, key) == expected != field.default
        assert [one for one in KEYS if getattr(given_back, one) != KEYS[one].default] == [key]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("temprature = 1", r"run\.toml: unknown key 'temprature'; the nearest is 'temperature'"),
        ("zzz = 1", "unknown key 'zzz'; there are cache, run"),
        ("temperature = 'hot'", "key 'temperature' is 'hot', expected a number"),
        ("temperature = true", "key 'temperature' is True, expected a number"),
        ("temperature = nan", "key 'temperature' is nan"),
        ("flat = 1.5", "key 'flat' is 1.5, expected a whole number"),
        ("chat = 1", "key 'chat' is 1, expected true or false"),
        ("model = 1", "key 'model' is 1, expected text"),
        ("strategies = 'beam'", "key 'strategies' is 'beam', expected a list of texts"),
        ("budgets = [0]", "key 'budgets': budget '0'"),
        ("budgets = 4", "key 'budgets' is 4, expected a list of whole numbers"),
        ("verifiers = 1", "key 'verifiers' is 1, expected tables"),
        ("verifiers = [1]", "verifier 1: expected a table"),
        ("verifiers = [{id = 'a'}]", "a verifier has no 'model'"),
        ("verifiers = [{id = 'a', modell = 'b'}]", "unknown key 'modell' of a verifier; the nearest is 'model'"),
        ("verifiers = [{id = 'a', model = 1}]", "key 'model' of a verifier is 1, expected text"),
        ("verifiers = ['a=b,c']", "verifier 'a=b,c': expected id=prm,model=DIR"),
        ("verifiers = [{id = 'a', model = 'b'}, {id = 'a', model = 'c'}]", "two verifiers are called 'a'"),
        ("a = ", "is not TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_config(str(tmp_path / "run.toml"))


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"no config file nowhere\.toml"):
        read_config("nowhere.toml")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": None}, "no model"),
        ({}, "nothing to record"),
        ({"strategies": ["beam+weighted"]}, "need each other"),
        ({"budgets": [4]}, "need each other"),
        ({"strategies": ["bean+weighted"], "budgets": [4]}, "bean"),
        ({"strategies": ["revise(sequential=3)+oracle"], "budgets": [4]}, "needs a multiple of 3"),
        ({"strategies": ["beam+oracle"], "budgets": [4], "trials": 0}, "trials 0"),
        ({"flat": -1}, "flat -1"),
        ({"flat": 1, "system_prompt": "x"}, "needs the chat template"),
        ({"flat": 1, "prompt_template": "x"}, "exactly once"),
        ({"flat": 1, "root_pool": 0}, "root_pool 0"),
        ({"flat": 1, "verifiers": ["id=a,model=b,format=guess"]}, "verifier format 'guess'"),
    ],
)
def test_what_cannot_be_recorded(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        recordings(read_config(None, MINIMAL | changes))


@pytest.mark.parametrize(
    ("changes", "pools"),
    [
        ({"flat": 64}, (64, 8)),
        ({"flat": 64, "strategies": ["beam(width=sqrt)+best"], "budgets": [16, 64]}, (64, 8)),
        ({"flat": 16, "strategies": ["beam(width=16)+best"], "budgets": [64]}, (128, 16)),
        ({"strategies": ["rebase+best"], "budgets": [32]}, (64, 32)),
        ({"strategies": ["beam(finished=pool)+best"], "budgets": [32]}, (64, 32)),
        ({"strategies": ["sample+best"], "budgets": [32], "step_pool": 3, "root_pool": 40}, (40, 3)),
    ],
)
def test_pools(changes: dict[str, object], pools: tuple[int, int]) -> None:
    """They are chosen once: a run that is there keeps its own."""
    config = read_config(None, MINIMAL | changes)
    [(settings, _)] = recordings(config)
    assert (settings.root_pool, settings.step_pool) == pools
    if "root_pool" not in changes:
        [(settings, _)] = recordings(config, {"base": (7, 2)})
        assert (settings.root_pool, settings.step_pool) == (7, 2)


def test_runs_by_kind() -> None:
    """Revise strategies and chains make a run of their own, with a model of its own if there is one."""
    config = read_config(
        None,
        MINIMAL
        | {"revision": "v1", "greedy": True, "chains": 4, "strategies": ["revise(sequential=2)+oracle", "beam+oracle"]}
        | {"budgets": [4], "revisions_model": "r", "separator": "|"},
    )
    steps, chains = recordings(config)
    assert [plan.name for plan in steps.plans] == ["greedy", "demand"]
    assert [plan.name for plan in chains.plans] == ["chains", "demand"]
    assert (steps.settings.model, steps.settings.revision, steps.settings.separator) == ("m", "v1", "")
    assert (chains.settings.model, chains.settings.revision, chains.settings.separator) == ("r", None, "|")
    assert (chains.settings.run_id, chains.settings.root_pool, chains.settings.step_pool) == ("revise", 8, 1)


def test_the_documentation_lists_the_keys() -> None:
    page = Path(__file__).parents[1] / "docs" / "generation.md"
    assert keys_markdown() in page.read_text(encoding="utf-8")


def test_defaults_are_of_their_kind() -> None:
    values = {name: getattr(Config(), name) for name in KEYS}
    assert read_config(None, values) == Config()
