"""`tts-sim generate train`: prm, orm and reviser. Torch is imported inside the commands only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from generate.config import REVISE
from generate.flags import flag_value

if TYPE_CHECKING:
    from generate.training.fit import Fit

app = typer.Typer(help="Train verifiers and a revision model from what a cache holds.", no_args_is_help=True)

From = Annotated[str, typer.Argument(metavar="CACHE", help="A .duckdb file, or a directory of Parquet tables.")]
Base = Annotated[str, typer.Option("--model", metavar="BASE", help="Model to start from: directory or id.")]
Out = Annotated[str, typer.Option("--out", metavar="DIR", help="New directory for the model and its report.json.")]
Run = Annotated[str | None, typer.Option("--run", metavar="ID", help="Run to learn from (default: the only one).")]
Format = Annotated[
    str, typer.Option("--format", help="How steps are read: token-classifier, trl, or auto: as BASE, else the former.")
]
Epochs = Annotated[float, typer.Option("--epochs", help="Passes over the examples.")]
Rate = Annotated[float, typer.Option("--rate", help="Peak learning rate (AdamW).")]
BatchTokens = Annotated[int, typer.Option("--batch-tokens", help="Tokens of an update, padding included.")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", help="Longer examples are left out and counted.")]
HeldOut = Annotated[float, typer.Option("--held-out", help="Share of questions to judge on, not learned from.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the split and of training.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Dtype = Annotated[str, typer.Option("--dtype", help="float32 (on CUDA with bfloat16 arithmetic) or bfloat16.")]
Checkpointing = Annotated[bool, typer.Option("--checkpointing", help="Gradient checkpointing: less memory, slower.")]
Frozen = Annotated[
    int, typer.Option("--frozen-layers", help="Embeddings and so many of the lowest layers stay as they are; 0: none.")
]


@app.command()
def prm(
    cache: From,
    model: Base,
    out: Out,
    run: Run = None,
    min_solutions: Annotated[
        int, typer.Option("--min-solutions", help="Solutions that a step's value must rest on.")
    ] = 1,
    verifier_format: Format = "auto",
    epochs: Epochs = 1.0,
    rate: Rate = 1e-5,
    batch_tokens: BatchTokens = 16_384,
    max_tokens: MaxTokens = 4096,
    held_out: HeldOut = 0.1,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = "float32",
    checkpointing: Checkpointing = False,
    frozen_layers: Frozen = 0,
) -> None:
    """Process verifier: predicts the Monte Carlo value of each step."""
    from generate.reporting import generating

    with generating() as progress:
        from generate.training.process_verifier import train_process_verifier
        from tts_sim.cli.options import open_for_reading

        fit = _fit(epochs, rate, batch_tokens, max_tokens, held_out, seed, device, dtype, checkpointing, frozen_layers)
        with open_for_reading(cache) as opened:
            report = train_process_verifier(
                opened,
                model,
                out,
                run_id=run,
                min_solutions=min_solutions,
                format=verifier_format,
                fit=fit,
                progress=progress,
            )
    _say(report)


@app.command()
def orm(
    cache: From,
    model: Base,
    out: Out,
    run: Run = None,
    verifier_format: Format = "auto",
    epochs: Epochs = 1.0,
    rate: Rate = 1e-5,
    batch_tokens: BatchTokens = 16_384,
    max_tokens: MaxTokens = 4096,
    held_out: HeldOut = 0.1,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = "float32",
    checkpointing: Checkpointing = False,
    frozen_layers: Frozen = 0,
) -> None:
    """Outcome verifier: predicts whether a solution (of a revision run: an attempt) is right."""
    from generate.reporting import generating

    with generating() as progress:
        from generate.training.outcome_verifier import train_outcome_verifier
        from tts_sim.cli.options import open_for_reading

        fit = _fit(epochs, rate, batch_tokens, max_tokens, held_out, seed, device, dtype, checkpointing, frozen_layers)
        with open_for_reading(cache) as opened:
            report = train_outcome_verifier(
                opened, model, out, run_id=run, format=verifier_format, fit=fit, progress=progress
            )
    _say(report)


@app.command()
def reviser(
    cache: From,
    model: Base,
    out: Out,
    run: Run = None,
    separator: Annotated[
        str, typer.Option("--separator", help="Without a chat: what closes an attempt; \\n is a line break.")
    ] = "\\n\\n",
    revision_request: Annotated[
        str, typer.Option("--revision-request", help="In a chat: what the user says after an attempt.")
    ] = REVISE,
    context_attempts: Annotated[int, typer.Option("--context-attempts", help="Most attempts in context.")] = 4,
    any_attempts: Annotated[
        float,
        typer.Option("--any-attempts", metavar="SHARE", help="Examples after any attempts; the others: wrong ones."),
    ] = 0.0,
    per_question: Annotated[int, typer.Option("--per-question", help="Examples of each question.")] = 16,
    epochs: Epochs = 1.0,
    rate: Rate = 1e-5,
    batch_tokens: BatchTokens = 16_384,
    max_tokens: MaxTokens = 4096,
    held_out: HeldOut = 0.1,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = "float32",
    checkpointing: Checkpointing = False,
    frozen_layers: Frozen = 0,
) -> None:
    """Revision model: writes a right attempt after others."""
    from generate.reporting import generating

    with generating() as progress:
        from generate.training.reviser import train_reviser
        from tts_sim.cli.options import open_for_reading

        fit = _fit(epochs, rate, batch_tokens, max_tokens, held_out, seed, device, dtype, checkpointing, frozen_layers)
        with open_for_reading(cache) as opened:
            report = train_reviser(
                opened,
                model,
                out,
                run_id=run,
                separator=flag_value("separator", separator),
                revision_request=flag_value("revision_request", revision_request),
                context_attempts=context_attempts,
                any_attempts=any_attempts,
                per_question=per_question,
                fit=fit,
                progress=progress,
            )
    _say(report)


def _fit(*settings: Any) -> Fit:
    """The settings of `Fit`, in its order. Raises ValueError for an unknown precision."""
    from generate.training.fit import Fit

    fit = Fit(*settings)
    if fit.dtype not in ("float32", "bfloat16"):
        raise ValueError(f"--dtype {fit.dtype}: expected float32 or bfloat16.")
    return fit


def _say(report: dict[str, Any]) -> None:
    """Prints the report as JSON, without the names of the held-out questions, which report.json has as well."""
    shown = {key: value for key, value in report.items() if key != "held_out_questions"}
    typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))
