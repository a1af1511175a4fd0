"""The flags of `tts-sim generate run`: one for each key of the configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from generate.config import KEYS, KINDS
from generate.config_values import Kind

_TYPES: dict[Kind, Any] = {
    Kind.TEXT: str | None,
    Kind.WHOLE: int | None,
    Kind.NUMBER: float | None,
    Kind.SWITCH: bool | None,
    Kind.TEXTS: list[str] | None,
    Kind.BUDGETS: str | None,
    Kind.TABLES: list[str] | None,
}
_NAMES = {
    "strategies": ("--strategy", "-s"),
    "budgets": ("--budget", "-b"),
    "verifiers": ("--verifier",),
}
_ESCAPED = ("delimiter", "prompt_template", "system_prompt", "separator", "revision_request")


def flag_names(key: str) -> tuple[str, ...]:
    """The names of a key's flag."""
    if key in _NAMES:
        return _NAMES[key]
    name = key.replace("_", "-")
    return (f"--{name}/--no-{name}",) if KINDS[key] is Kind.SWITCH else (f"--{name}",)


def with_key_flags(command: Callable[..., None]) -> Callable[..., None]:
    """The command, called with `given`: the keys whose flags were given, in the place of its `**given`."""
    own = [one for one in inspect.signature(command, eval_str=True).parameters.values() if one.kind != one.VAR_KEYWORD]
    flags = [
        inspect.Parameter(
            key,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                _TYPES[KINDS[key]],
                typer.Option(*flag_names(key), help=field.metadata["help"], rich_help_panel=field.metadata["group"]),
            ],
        )
        for key, field in KEYS.items()
    ]

    def run(**values: Any) -> None:
        given = {key: flag_value(key, values.pop(key)) for key in KEYS}
        command(**values, **given)

    parameters = [*own, *flags]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def flag_value(key: str, value: Any) -> Any:
    """The value of a key from that of its flag: \\\\n in a text is a line break, a flag not given is None."""
    if value is None or value == []:
        return None
    if key == "strategies":
        from tts_sim.cli.options import split_specs

        return split_specs(value)
    return value.replace("\\n", "\n").replace("\\t", "\t") if key in _ESCAPED else value
