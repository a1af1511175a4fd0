"""The settings of a run: what must stay the same for its draws to come from one distribution. Stored with the run."""

from __future__ import annotations

import json
import platform
import subprocess
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cache import Cache
from cache.functions import is_function_path
from generate.verifiers.registry import AUTO, require_format

OLD_FORMAT = "token-classifier"  # what runs without a format were recorded with


@dataclass(frozen=True)
class VerifierSettings:
    """A verifier by its name in the cache, its kind, the model behind it, and its format (`generate.verifiers`).

    Kind and format may be auto; a recorder stores what they stand for.
    """

    verifier_id: str
    kind: str
    model: str
    format: str = AUTO

    def __post_init__(self) -> None:
        require_format(self.format)


@dataclass(frozen=True)
class RunSettings:
    """Everything that a recorder needs to know of a run, beside the questions and the plan.

    `model` and the verifiers' models are directories or Hugging Face ids; a relative directory is looked for in the
    working directory, then beside the cache. `prompt_template` holds `{prompt}` once; with `chat` it stands inside the
    tokenizer's chat template. `separator` (in a chat: `revision_request`) and `context_attempts` say how a run of kind
    revisions shows earlier attempts. `extract` and `grader` are names, or Python functions by import path.
    """

    run_id: str
    kind: str
    model: str
    delimiter: str
    temperature: float
    seed: int
    root_pool: int
    step_pool: int
    top_p: float = 1.0
    max_tokens: int = 2048
    prompt_template: str = "{prompt}"
    extract: str = "boxed"
    grader: str = "math-verify"
    separator: str = ""
    context_attempts: int = 4
    verifiers: tuple[VerifierSettings, ...] = field(default=())
    revision: str | None = None
    chat: bool = False
    system_prompt: str | None = None
    revision_request: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("steps", "revisions"):
            raise ValueError(f"run kind '{self.kind}': expected steps or revisions.")
        if self.prompt_template.count("{prompt}") != 1:
            raise ValueError(f"prompt template {self.prompt_template!r}: it must hold {{prompt}} exactly once.")
        for name in ("root_pool", "step_pool", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: expected a whole number from 1.")
        if self.system_prompt is not None and not self.chat:
            raise ValueError("a system prompt needs the chat template: set chat = true, or leave it out.")

    @property
    def functions(self) -> tuple[str, ...]:
        """The Python functions that the settings name."""
        return tuple(name for name in (self.extract, self.grader) if is_function_path(name))


def provenance(settings: RunSettings, **more: Any) -> str:
    """The JSON that is stored with a run: settings, software, hardware, git revision, and what the caller adds."""
    return json.dumps(
        {
            "settings": asdict(settings),
            "software": {"python": platform.python_version()}
            | {name: version(name) for name in ("tts-sim", "torch", "transformers", "duckdb", "numba")},
            "hardware": hardware(),
            "git": git_revision(),
            **more,
        },
        ensure_ascii=False,
    )


def stored_settings(cache: Cache, run_id: str | None) -> tuple[RunSettings, dict[str, Any]]:
    """Settings and whole provenance of a recorded run; without a name, of the only one. Raises ValueError."""
    runs = cache.frame("SELECT run_id, provenance FROM runs WHERE root_pool IS NOT NULL ORDER BY started, run_id")
    names = runs["run_id"].to_list()
    if run_id is None and len(names) != 1:
        raise ValueError(f"{cache.path} holds the recorded runs {', '.join(names) or '(none)'}: choose one with --run.")
    chosen = names[0] if run_id is None else run_id
    if chosen not in names:
        raise ValueError(
            f"run '{chosen}' is not a recorded run of {cache.path}; there are {', '.join(names) or 'none'}."
        )
    stored: dict[str, Any] = json.loads(runs["provenance"][names.index(chosen)] or "{}")
    if "settings" not in stored:
        raise ValueError(f"run '{chosen}' of {cache.path} was not recorded by tts-sim: its settings are not known.")
    settings = dict(stored["settings"])
    settings["verifiers"] = tuple(
        VerifierSettings(**{"format": OLD_FORMAT, **verifier}) for verifier in settings["verifiers"]
    )
    known = {one.name for one in fields(RunSettings)}
    if later := sorted(set(settings) - known):
        raise ValueError(f"run '{chosen}' of {cache.path} has the setting '{later[0]}' of a later tts-sim. Upgrade it.")
    return RunSettings(**settings), stored


def model_path(model: str, folder: Path) -> str:
    """Where the model is: the directory as given, the same inside `folder`, or else a Hugging Face id."""
    beside = folder / model
    return str(beside) if not Path(model).is_dir() and beside.is_dir() else model


def hardware() -> str:
    """A line that names the processor and the GPU, if any."""
    import torch

    cpu = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    return f"{cpu}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else cpu


def git_revision() -> str | None:
    """The commit of the checkout that this package runs from, or None."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
