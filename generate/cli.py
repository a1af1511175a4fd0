"""`tts-sim generate`: fill a cache with a model, and the lab. Torch is imported inside the commands only."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from generate.flags import flag_value
from generate.reporting import generating
from generate.run_command import record_and_say, run, stoppable
from generate.training.command import app as train
from tts_sim.cli.options import AsCsv, AsJson

app = typer.Typer(help="Fill a cache with a model (needs the extra 'generate').", no_args_is_help=True)
app.command("run")(run)
app.add_typer(train, name="train")

Into = Annotated[str, typer.Argument(metavar="CACHE", help="The .duckdb file to fill.")]
RunName = Annotated[str | None, typer.Option("--run", metavar="ID", help="The run (default: the only recorded one).")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Devices = Annotated[
    str,
    typer.Option("--device", help="auto, cpu, cuda, cuda:1; several, with a process each: cuda:0,cuda:1, or cuda:all."),
]
Dtype = Annotated[str, typer.Option("--dtype", help="auto (as saved), float32, bfloat16 or float16.")]
VerifierFormat = Annotated[
    str,
    typer.Option(
        "--format",
        help="How the verifier is read: auto (by its config), token-classifier, trl, math-shepherd, rlhflow, qwen-prm, "
        "skywork, outcome.",
    ),
]
RemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run the code that comes with a verifier's model (qwen-prm only).")
]
Functions = Annotated[
    bool, typer.Option("--trust-functions", help="Call the Python functions that the run names to extract or grade.")
]
BatchRows = Annotated[int, typer.Option("--batch-rows", help="Sequences that are generated side by side.")]
Server = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", help="An OpenAI-compatible completions server that has the model."),
]
Connections = Annotated[int, typer.Option("--connections", help="Requests that a server works on side by side.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds that a server may take for one completion.")]
Retries = Annotated[int, typer.Option("--retries", help="Further tries of a request that a server failed.")]

SamplerName = Annotated[
    str, typer.Option("--sampler", help="plain, continuous (batching), or auto: continuous on CUDA; same draws.")
]


@app.command()
def sample(
    cache: Into,
    model: Annotated[
        str,
        typer.Option("--model", help="Causal language model: directory, Hugging Face id, or name at --server."),
    ],
    questions: Annotated[str, typer.Option("--questions", help="JSONL with question_id, prompt, gold.")],
    n: Annotated[int, typer.Option("-n", "--samples", help="Independent solutions of each question.")] = 64,
    run: Annotated[str, typer.Option("--run", metavar="ID", help="Name of the run.")] = "base",
    verifier: Annotated[
        str | None, typer.Option("--verifier", help="Reward model, of steps or outcomes: directory or id.")
    ] = None,
    verifier_id: Annotated[str, typer.Option("--verifier-id", help="Its name in the cache.")] = "prm",
    verifier_format: VerifierFormat = "auto",
    delimiter: Annotated[str, typer.Option("--delimiter", help="What ends a step; \\n is a line break.")] = "\\n\\n",
    temperature: Annotated[float, typer.Option("--temperature")] = 0.8,
    top_p: Annotated[float, typer.Option("--top-p")] = 1.0,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Longest solution, in tokens.")] = 2048,
    prompt_template: Annotated[str, typer.Option("--prompt-template", help="Text that holds {prompt}.")] = "{prompt}",
    answer: Annotated[
        str, typer.Option("--answer", help="Where the answer is: boxed, after-equals, final-number.")
    ] = "boxed",
    grader: Annotated[str, typer.Option("--grader", help="math-verify or exact.")] = "math-verify",
    step_pool: Annotated[int, typer.Option("--step-pool", help="Draws below a step that replays may ask for.")] = 8,
    seed: Annotated[int, typer.Option("--seed", help="Seed of every draw of the run.")] = 0,
    device: Devices = "auto",
    dtype: Dtype = "auto",
    batch_rows: BatchRows = 512,
    commit_draws: Annotated[
        int, typer.Option("--commit-draws", help="Draws that are committed together: what a kill can lose.")
    ] = 4096,
    trust_remote_code: RemoteCode = False,
    server: Server = None,
    connections: Connections = 64,
    timeout: Timeout = 600.0,
    retries: Retries = 5,
    num_params: Annotated[
        int | None, typer.Option("--num-params", help="Parameters of the model at --server, for FLOPs.")
    ] = None,
    sampler: SamplerName = "auto",
) -> None:
    """Record independent solutions of each question, with step scores: `run` with the plan flat, and few flags."""
    from generate.config import VerifierTable, read_config

    verifiers = [VerifierTable(verifier_id, verifier, format=verifier_format)] if verifier is not None else []
    values = {
        "cache": cache,
        "run": run,
        "model": model,
        "questions": questions,
        "flat": n,
        "root_pool": n,
        "step_pool": step_pool,
        "delimiter": flag_value("delimiter", delimiter),
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "prompt_template": prompt_template,
        "answer": answer,
        "grader": grader,
        "verifiers": verifiers,
        "seed": seed,
        "device": device,
        "dtype": dtype,
        "batch_rows": batch_rows,
        "commit_draws": commit_draws,
        "trust_remote_code": trust_remote_code,
        "server": server,
        "connections": connections,
        "timeout": timeout,
        "retries": retries,
        "num_params": num_params,
        "sampler": sampler,
    }
    if n < 1:
        raise ValueError(f"-n {n}: expected a whole number from 1.")
    record_and_say(read_config(None, values))


@app.command()
def fill(
    cache: Into,
    strategy: Annotated[
        list[str] | None, typer.Option("--strategy", "-s", metavar="SPEC", help="What shall be replayable; repeatable.")
    ] = None,
    budget: Annotated[str, typer.Option("--budget", "-b", help="Generations per question: 4,8…32.")] = "",
    trials: Annotated[int, typer.Option("--trials", help="Replays per question to support.")] = 4,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the replays.")] = 0,
    demand: Annotated[str | None, typer.Option("--demand", help="A file of `tts-sim demand`: one layer only.")] = None,
    run: RunName = None,
    verifier: Annotated[
        str | None, typer.Option("--verifier", help="The verifier that guides the replays; default: the first by name.")
    ] = None,
    device: Devices = "auto",
    dtype: Dtype = "auto",
    batch_rows: BatchRows = 512,
    trust_remote_code: RemoteCode = False,
    trust_functions: Functions = False,
    server: Server = None,
    connections: Connections = 64,
    timeout: Timeout = 600.0,
    retries: Retries = 5,
    sampler: SamplerName = "auto",
) -> None:
    """Generate what replays of the strategies lack, layer by layer, until nothing is missing."""
    if bool(strategy) == bool(demand):
        raise ValueError("give either --strategy with --budget, or --demand FILE.")
    if strategy and not budget:
        raise ValueError("--strategy needs --budget: for instance --budget 4,8…32.")
    with generating() as progress, stoppable() as stopping:
        from cache import create_cache
        from generate.demand_file import read_demand
        from generate.plans import demands
        from generate.runs import build_recorder, fulfil
        from generate.samplers.server import ServerSettings
        from generate.settings import stored_settings
        from tts_sim.cli.options import parse_budgets, require_cache, split_specs

        require_cache(cache)
        with create_cache(cache) as opened:
            settings, _ = stored_settings(opened, run)
            recorder = build_recorder(
                opened,
                settings,
                device=device,
                dtype=dtype,
                batch_rows=batch_rows,
                trust_remote_code=trust_remote_code,
                trust_functions=trust_functions,
                server=ServerSettings(server, connections, timeout, retries),
                progress=progress,
                meter=progress.meter,
                stopping=stopping,
                sampler=sampler,
            )
            with closing(recorder):
                if demand:
                    draws = read_demand(demand, opened, settings)
                    recorder.record(draws, f"{settings.run_id}: {demand}")
                    made = len(draws)
                else:
                    wanted = demands(split_specs(strategy or []), parse_budgets(budget), trials, seed, verifier)
                    made = fulfil(opened, recorder, wanted)
        typer.echo(f"run '{settings.run_id}': {made} draws made → {cache}")


@app.command()
def score(
    cache: Into,
    verifier: Annotated[str, typer.Option("--verifier", help="Reward model: a directory or a Hugging Face id.")],
    verifier_id: Annotated[str, typer.Option("--verifier-id", help="Its name in the cache.")] = "prm",
    verifier_format: VerifierFormat = "auto",
    kind: Annotated[
        str, typer.Option("--kind", help="prm, orm, judge or confidence; auto: what the format is.")
    ] = "auto",
    run: RunName = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    trust_remote_code: RemoteCode = False,
) -> None:
    """Score every node of a run that the verifier has not scored yet; an outcome model, every end of a solution."""
    with generating() as progress:
        from cache import create_cache
        from generate.runs import revision_context, verifier_details
        from generate.scoring import score_run
        from generate.settings import VerifierSettings, model_path, stored_settings
        from generate.verifiers.registry import load_verifier, settled
        from tts_sim.cli.options import require_cache

        require_cache(cache)
        with create_cache(cache) as opened:
            settings, _ = stored_settings(opened, run)
            path = model_path(verifier, opened.path.parent)
            wanted = settled(VerifierSettings(verifier_id, kind, verifier, verifier_format), path)
            judge = load_verifier(
                path,
                verifier_id=verifier_id,
                format=wanted.format,
                kind=wanted.kind,
                device=device,
                dtype=dtype,
                trust_remote_code=trust_remote_code,
            )
            made = score_run(
                opened,
                settings.run_id,
                judge,
                prompt_template=settings.prompt_template,
                revisions=revision_context(settings),
                details=verifier_details(verifier, wanted.format),
                progress=progress,
            )
    typer.echo(f"run '{settings.run_id}': {made} scores of '{verifier_id}' → {cache}")


@app.command()
def lab(
    out: Annotated[
        str, typer.Option("--out", metavar="DIR", help="Where models and caches go; finished stages are kept.")
    ],
    preset: Annotated[str, typer.Option("--preset", help="small (a CPU), large (a GPU) or tiny (a test).")] = "small",
    device: Device = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Seed of training and recording.")] = 0,
) -> None:
    """Train the lab's five models from scratch, record its cache with them, and print what each reached."""
    with generating() as progress:
        from pathlib import Path

        from generate.lab.command import run_lab

        report = run_lab(Path(out), preset=preset, device=device, seed=seed, progress=progress)
    typer.echo(report)


@app.command()
def live(
    cache: Annotated[str, typer.Argument(metavar="CACHE", help="The recorded cache that is replayed.")],
    lab: Annotated[str | None, typer.Option("--models", metavar="DIR", help="Where the run's models are.")] = None,
    strategy: Annotated[
        list[str] | None, typer.Option("--strategy", "-s", metavar="SPEC", help="What is run live; repeatable.")
    ] = None,
    budget: Annotated[str, typer.Option("--budget", "-b", help="Generations per question: 8,16.")] = "16",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the live run; another than the cache's.")] = 1,
    repeats: Annotated[int, typer.Option("--repeats", help="Live runs, with this seed and the next ones.")] = 1,
    run: RunName = None,
    keep: Annotated[
        str | None, typer.Option("--keep", metavar="DIR", help="Keep the live runs' caches in this directory.")
    ] = None,
    page: Annotated[str | None, typer.Option("--output", "-o", help="Also write the table as Markdown.")] = None,
    device: Device = "auto",
    batch_rows: BatchRows = 2048,
    trust_functions: Functions = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Run strategies afresh on the cache's questions and hold their accuracy against the replayed one.

    Without --strategy: beam(width=4)+weighted.
    """
    with generating() as progress:
        from generate.live import compare_live
        from generate.live_page import runs_said, write_live_page
        from tts_sim.cli.options import open_for_reading, parse_budgets, split_specs

        with open_for_reading(cache) as opened:
            frame = compare_live(
                opened,
                split_specs(strategy or ["beam(width=4)+weighted"]),
                parse_budgets(budget),
                seed=seed,
                repeats=repeats,
                run_id=run,
                models=lab,
                keep=keep,
                device=device,
                batch_rows=batch_rows,
                trust_functions=trust_functions,
                progress=progress,
            )
            about = runs_said(opened)
    from tts_sim.cli.options import print_rows

    if page is not None:
        import shlex
        import sys

        write_live_page(page, frame, ["tts-sim", *(shlex.quote(word) for word in sys.argv[1:])], about)
    print_rows(frame, as_json=as_json, as_csv=as_csv)
