"""The configuration of `tts-sim generate run`: every key once, for TOML, flags and the documentation.

Nothing heavy is imported: `tts-sim generate run --help` reads this file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from generate.config_values import Kind, kind_of, typed_value
from generate.toml_text import toml_value

REVISE = "That answer may be wrong. Find what is wrong in it, if anything, and solve the problem again."


def _key(group: str, help: str, default: Any) -> Any:
    return field(default=default, metadata={"group": group, "help": help})


@dataclass(frozen=True)
class VerifierTable:
    """A `[[verifiers]]` table: name in the cache, directory or Hugging Face id, kind, and format of its input."""

    id: str
    model: str
    kind: str = "auto"
    format: str = "auto"


@dataclass(frozen=True)
class Config:
    """What one call of `tts-sim generate run` does. A key without a default of its own is None: not set."""

    cache: str | None = _key("Cache", "The .duckdb file to fill; made if it is not there.", None)
    run: str = _key("Cache", "Name of the run of solutions.", "base")
    commit_draws: int = _key("Cache", "Draws that are committed together: what a kill can lose.", 4096)

    model: str | None = _key(
        "Model", "Causal language model: a directory, a Hugging Face id, or its name at server.", None
    )
    revision: str | None = _key("Model", "Branch, tag or commit of the model at the Hub.", None)
    dtype: str = _key("Model", "auto (as saved), float32, bfloat16 or float16.", "auto")
    attention: str = _key("Model", "auto, or transformers' name: eager, sdpa, flash_attention_2, …", "auto")
    device: str = _key(
        "Model", "auto, cpu, cuda or cuda:1; several, with a process each: cuda:0,cuda:1, or cuda:all.", "auto"
    )
    batch_rows: int = _key("Model", "Sequences that are generated side by side; halved when memory runs out.", 512)
    sampler: str = _key("Model", "plain, continuous (batching), or auto: continuous on CUDA; same draws.", "auto")
    server: str | None = _key("Model", "Address of an OpenAI-compatible completions server that has the model.", None)
    connections: int = _key("Model", "Requests that a server works on side by side.", 64)
    timeout: float = _key("Model", "Seconds that a server may take for one completion.", 600.0)
    retries: int = _key("Model", "Further tries of a request that a server failed.", 5)
    num_params: int | None = _key("Model", "Parameters of a server's model, for FLOPs.", None)
    trust_remote_code: bool = _key("Model", "Run the code that comes with a verifier's model (qwen-prm only).", False)

    chat: bool = _key("Prompt", "Put the prompt into the chat template of the model's tokenizer.", False)
    system_prompt: str | None = _key("Prompt", "System message of the chat.", None)
    prompt_template: str = _key(
        "Prompt", "Text that holds {prompt} once; inside the chat, if there is one.", "{prompt}"
    )

    delimiter: str = _key("Sampling", "What ends a step.", "\n\n")
    temperature: float = _key("Sampling", "Temperature of every draw that is not greedy.", 0.8)
    top_p: float = _key("Sampling", "Nucleus that tokens are drawn from.", 1.0)
    max_tokens: int = _key("Sampling", "Longest solution, in tokens.", 2048)
    seed: int = _key("Sampling", "Seed of every draw of the run.", 0)
    root_pool: int | None = _key(
        "Sampling",
        "First steps of a question that replays may ask for; not set: flat, or twice a budget above it.",
        None,
    )
    step_pool: int | None = _key(
        "Sampling",
        "Draws below a step that replays may ask for; not set: 8, or what the strategies can send there.",
        None,
    )

    questions: str | None = _key("Questions", "A file: .jsonl, .csv or .parquet.", None)
    dataset: str | None = _key("Questions", "Or a data set of the Hugging Face Hub (needs the package datasets).", None)
    dataset_config: str | None = _key("Questions", "Its config.", None)
    split: str = _key("Questions", "Its split.", "test")
    dataset_revision: str | None = _key("Questions", "Its branch, tag or commit.", None)
    id_column: str | None = _key("Questions", "Not set: question_id, or the row where there is no such column.", None)
    prompt_column: str | None = _key("Questions", "Not set: prompt.", None)
    gold_column: str | None = _key("Questions", "The reference answer; not set: gold.", None)
    level_column: str | None = _key(
        "Questions", "Difficulty, a number or a text with one; not set: level, if there.", None
    )
    subject_column: str | None = _key("Questions", "Not set: subject, if there.", None)
    choices_column: str | None = _key(
        "Questions", "Options of multiple choice: listed below the prompt by letter.", None
    )
    gold_extract: str | None = _key(
        "Questions", "Extractor that finds the answer in the gold column, as `answer`.", None
    )
    limit: int | None = _key("Questions", "Take so many questions.", None)
    shuffle_seed: int | None = _key("Questions", "Shuffle the questions first; a larger limit holds the smaller.", None)

    answer: str = _key(
        "Answers", "Where it is: boxed, after-equals, final-number, letter, whole, or package.module:function.", "boxed"
    )
    grader: str = _key("Answers", "math-verify, exact, letter, or package.module:function.", "math-verify")
    grade_seconds: float = _key("Answers", "An answer that takes longer (math-verify, functions) is unparsed.", 10.0)

    verifiers: tuple[VerifierTable, ...] = _key(
        "Verifiers",
        "Tables: id, model, maybe kind and format; as a flag DIR (called prm) or id=prm,model=DIR,format=trl.",
        (),
    )

    flat: int = _key("Plans", "Independent solutions of each question.", 0)
    greedy: bool = _key("Plans", "The greedy solution of each question.", False)
    chains: int = _key("Plans", "Revision chains: the staircase that holds every parallel × sequential up to it.", 0)
    strategies: tuple[str, ...] = _key(
        "Plans", "What shall be replayable: only the draws that this takes are made.", ()
    )
    budgets: tuple[int, ...] = _key("Plans", "Their budgets: a list, or text such as 4,8…32.", ())
    trials: int = _key("Plans", "Replays of each strategy and budget per question that shall be supported.", 4)
    replay_seed: int = _key("Plans", "Seed of those replays.", 0)
    replay_verifier: str | None = _key("Plans", "Verifier that guides them; not set: the first.", None)

    revisions_run: str = _key(
        "Revisions", "Name of the run of chains (and of what revise strategies ask for).", "revise"
    )
    revisions_model: str | None = _key("Revisions", "Its model; not set: model.", None)
    revision_request: str = _key("Revisions", "With chat: what the user says after an attempt.", REVISE)
    separator: str = _key(
        "Revisions", "Without chat: what closes an attempt; the question follows the last one.", "\n\n"
    )
    context_attempts: int = _key("Revisions", "Latest attempts that the next one sees.", 4)


KEYS: dict[str, Field[Any]] = {one.name: one for one in fields(Config)}
KINDS: dict[str, Kind] = {name: kind_of(str(one.type)) for name, one in KEYS.items()}


def read_config(path: str | None, given: Mapping[str, Any] | None = None) -> Config:
    """The file's keys, where `given` (None: not given) does not say otherwise, else the defaults.

    Raises ValueError for a file that cannot be read, an unknown key (with the nearest one) or a value of another type.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values = _file(path)
    values |= {name: value for name, value in (given or {}).items() if value is not None}
    return _config(values, path)


def config_toml(config: Config) -> str:
    """The configuration as TOML that gives it back; keys that are not set are named in comments."""
    lines: list[str] = []
    group = ""
    for name, one in KEYS.items():
        if KINDS[name] is Kind.TABLES:
            continue  # tables come last in TOML
        if one.metadata["group"] != group:
            group = one.metadata["group"]
            lines += ["", f"# {group}"] if lines else [f"# {group}"]
        value = getattr(config, name)
        lines.append(f"# {name}: not set" if value is None else f"{name} = {toml_value(value)}")
    for table in config.verifiers:
        lines += ["", "[[verifiers]]"]
        lines += [f"{name} = {toml_value(value)}" for name, value in asdict(table).items()]
    return "\n".join(lines) + "\n"


def keys_markdown() -> str:
    """The table of keys for the documentation."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for name, one in KEYS.items():
        value = "" if one.default is None or one.default == () else toml_value(one.default)
        lines.append(f"| `{name}` | {f'`{value}`' if value else ''} | {one.metadata['help']} |")
    return "\n".join(lines) + "\n"


def nearest(name: str, names: list[str]) -> str:
    """How to say that a name is unknown: with the nearest known one, or all of them."""
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"the nearest is '{close[0]}'" if close else f"there are {', '.join(names)}"


def _file(path: str) -> dict[str, Any]:
    if not Path(path).is_file():
        raise ValueError(f"there is no config file {path}. Write one with `tts-sim generate run … --print-config`.")
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}.") from None


def _config(values: Mapping[str, Any], path: str | None) -> Config:
    where = f"{path}: " if path is not None else ""
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in KEYS:
            raise ValueError(f"{where}unknown key '{name}'; {nearest(name, list(KEYS))}.")
        if KINDS[name] is Kind.TABLES:
            checked[name] = tuple(_table(where, table) for table in _tables(where, name, value))
        else:
            checked[name] = typed_value(f"{where}key '{name}'", KINDS[name], value)
    config = Config(**checked)
    names = [verifier.id for verifier in config.verifiers]
    if repeated := [name for place, name in enumerate(names) if name in names[:place]]:
        raise ValueError(f"{where}two verifiers are called '{repeated[0]}'. Give each an id of its own.")
    return config


def _tables(where: str, name: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where}key '{name}' is {value!r}, expected tables: [[{name}]].")
    return list(value)


def _table(where: str, value: Any) -> VerifierTable:
    """A verifier from its table, or from the text of a flag."""
    if isinstance(value, VerifierTable):
        return value
    if isinstance(value, str) and "=" not in value:
        value = {"id": "prm", "model": value}
    elif isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",")]
        if not all(sign for _, sign, _ in pairs):
            raise ValueError(f"verifier '{value}': expected id=prm,model=DIR, and maybe kind=…,format=….")
        value = {name.strip(): content.strip() for name, _, content in pairs}
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}verifier {value!r}: expected a table with id and model.")
    names = [one.name for one in fields(VerifierTable)]
    for name, content in value.items():
        if name not in names:
            raise ValueError(f"{where}unknown key '{name}' of a verifier; {nearest(name, names)}.")
        if not isinstance(content, str):
            raise ValueError(f"{where}key '{name}' of a verifier is {content!r}, expected text.")
    for name in ("id", "model"):
        if name not in value:
            raise ValueError(f"{where}a verifier has no '{name}': {dict(value)}.")
    return VerifierTable(**value)
