"""The formats of verifiers by name: which one a model has, and how it is loaded. Imports nothing heavy by itself."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from generate.settings import VerifierSettings
    from generate.verifiers.outcome import OutcomeVerifier
    from generate.verifiers.step_verifier import StepVerifier

AUTO = "auto"


class Format(NamedTuple):
    """Where a family's verifier and the class of its model are ("module:name"), and the kind that it is."""

    verifier: str
    model: str
    kind: str = "prm"


FORMATS = {
    "token-classifier": Format(
        "generate.verifiers.token_classifier:TokenClassifierVerifier", "transformers:AutoModelForTokenClassification"
    ),
    "trl": Format("generate.verifiers.token_classifier:TrlVerifier", "transformers:AutoModelForTokenClassification"),
    "math-shepherd": Format(
        "generate.verifiers.math_shepherd:MathShepherdVerifier", "transformers:AutoModelForCausalLM"
    ),
    "rlhflow": Format("generate.verifiers.rlhflow:RlhflowVerifier", "transformers:AutoModelForCausalLM"),
    "qwen-prm": Format(
        "generate.verifiers.qwen_prm:QwenPrmVerifier", "generate.verifiers.qwen2_heads:Qwen2ForProcessRewardModel"
    ),
    "skywork": Format("generate.verifiers.skywork:SkyworkVerifier", "generate.verifiers.qwen2_heads:Qwen2ForPrmModel"),
    "outcome": Format(
        "generate.verifiers.outcome:OutcomeVerifier", "transformers:AutoModelForSequenceClassification", "orm"
    ),
}
_BY_ARCHITECTURE = {  # the end of the name of a config's architecture
    "Qwen2ForProcessRewardModel": "qwen-prm",
    "Qwen2ForPrmModel": "skywork",
    "ForTokenClassification": "token-classifier",
    "ForSequenceClassification": "outcome",
}
_BY_NAME = {  # published language models whose config says nothing of what they are for
    r"math-shepherd": "math-shepherd",
    r"rlhflow.*prm|prm-(mistral|deepseek)-data": "rlhflow",
    r"skywork-o1-open-prm": "skywork",
}


def require_format(name: str) -> None:
    """Raises ValueError for a name that is neither a format nor auto."""
    if name != AUTO and name not in FORMATS:
        raise ValueError(f"verifier format '{name}': expected auto, {', '.join(FORMATS)}.")


def _config(path: str, *, revision: str | None = None) -> dict[str, Any]:
    """The config.json of the model at `path`, a directory or a Hugging Face id. Raises ValueError if there is none."""
    from transformers import PreTrainedConfig

    try:
        config: dict[str, Any] = PreTrainedConfig.get_config_dict(path, revision=revision)[0]
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"model '{path}' has no config: {reason} Give a directory or a Hugging Face id.") from error
    if not config:
        raise ValueError(f"model '{path}' has no config.json. Give a directory or a Hugging Face id.")
    return config


def detect_format(path: str, *, revision: str | None = None) -> str:
    """The format of the model at `path`, a directory or a Hugging Face id, by its config alone; no code of it is run.

    First `verifier_format` in the config, then its architecture, then the names of published models. An unmarked token
    classifier counts as this project's own. Raises ValueError where that does not settle it.
    """
    config = _config(path, revision=revision)
    if marked := config.get("verifier_format"):
        if marked not in FORMATS:
            raise ValueError(
                f"model '{path}': verifier_format '{marked}' in its config: expected {', '.join(FORMATS)}."
            )
        return str(marked)
    architecture = str((config.get("architectures") or ["?"])[0])
    for end, name in _BY_ARCHITECTURE.items():
        if architecture.endswith(end):
            return name
    for pattern, name in _BY_NAME.items():
        if re.search(pattern, path, re.IGNORECASE):
            return name
    raise ValueError(
        f"model '{path}' ({architecture}): its config does not say which format of verifier it has. Give one with "
        f"--format: {', '.join(FORMATS)}."
    )


def detect_kind(path: str, format: str, *, revision: str | None = None) -> str:
    """The kind of the verifier at `path`: `verifier_kind` in its config (training writes it), else the format's.

    Raises ValueError for a mark that is not prm or orm.
    """
    natural = FORMATS[format].kind
    marked = natural if natural == "orm" else _config(path, revision=revision).get("verifier_kind", natural)
    if marked not in ("prm", "orm"):
        raise ValueError(f"model '{path}': verifier_kind '{marked}' in its config: expected prm or orm.")
    return str(marked)


def settled(settings: VerifierSettings, path: str) -> VerifierSettings:
    """The settings with format and kind in place of auto; `path` is where the model is.

    Raises ValueError if the format cannot be told, or is one of outcomes for a verifier that is said to be a prm.
    """
    name = detect_format(path) if settings.format == AUTO else settings.format
    natural = FORMATS[name].kind
    if natural == "orm" and settings.kind == "prm":
        raise ValueError(
            f"verifier '{settings.verifier_id}': the format {name} scores whole solutions; its kind is orm."
        )
    kind = detect_kind(path, name) if settings.kind == AUTO else settings.kind
    return replace(settings, format=name, kind=kind)


def load_verifier(
    path: str,
    *,
    verifier_id: str,
    format: str = AUTO,
    kind: str = AUTO,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
    **options: Any,
) -> StepVerifier | OutcomeVerifier:
    """The verifier with the model at `path`, a directory or a Hugging Face id; `options` are those of its class.

    `trust_remote_code` loads the model through AutoModel with the code that comes with it (format qwen-prm only: the
    others need none). Raises ValueError if the model cannot be loaded, lacks weights, or does not fit the format.
    """
    from generate.loading import load_pretrained

    require_format(format)
    name = detect_format(path, revision=revision) if format == AUTO else format
    chosen = FORMATS[name]
    remote = trust_remote_code and name == "qwen-prm"
    model, tokenizer = load_pretrained(
        _named("transformers:AutoModel" if remote else chosen.model),
        path,
        revision=revision,
        dtype=dtype,
        device=device,
        trust_remote_code=remote,
    )
    verifier: StepVerifier | OutcomeVerifier = _named(chosen.verifier)(
        model,
        tokenizer,
        verifier_id=verifier_id,
        kind=detect_kind(path, name, revision=revision) if kind == AUTO else kind,
        **options,
    )
    return verifier


def _named(where: str) -> Any:
    module, name = where.split(":")
    return getattr(import_module(module), name)
