"""`tts-sim generate`: fill a cache with a model, and the lab. Torch is imported inside the commands only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tts_sim.cli.options import AsCsv, AsJson

if TYPE_CHECKING:
    from generate.recorder import Progress

app = typer.Typer(help="Fill a cache with a model (needs the extra 'generate').", no_args_is_help=True)

Into = Annotated[str, typer.Argument(metavar="CACHE", help="The .duckdb file to fill.")]
RunName = Annotated[str | None, typer.Option("--run", metavar="ID", help="The run (default: the only recorded one).")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto (as saved), float32, bfloat16 or float16.")]
BatchRows = Annotated[int, typer.Option("--batch-rows", help="Sequences that are generated side by side.")]

SamplerName = Annotated[
    str, typer.Option("--sampler", help="plain, continuous (batching), or auto: continuous on CUDA; same draws.")
]


@app.command()
def sample(
    cache: Into,
    model: Annotated[str, typer.Option("--model", help="Causal language model: a directory or a Hugging Face id.")],
    questions: Annotated[str, typer.Option("--questions", help="JSONL with question_id, prompt, gold.")],
    n: Annotated[int, typer.Option("-n", "--samples", help="Independent solutions of each question.")] = 64,
    run: Annotated[str, typer.Option("--run", metavar="ID", help="Name of the run.")] = "base",
    verifier: Annotated[
        str | None, typer.Option("--verifier", help="Process reward model (token classifier): directory or id.")
    ] = None,
    verifier_id: Annotated[str, typer.Option("--verifier-id", help="Its name in the cache.")] = "prm",
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
    device: Device = "auto",
    dtype: Dtype = "auto",
    batch_rows: BatchRows = 512,
    sampler: SamplerName = "auto",
) -> None:
    """Record independent solutions of each question, with step scores; goes on where an earlier call ended."""
    with _generating() as progress:
        from cache import create_cache
        from generate.plans import flat
        from generate.questions import read_questions
        from generate.runs import build_recorder, fulfil
        from generate.settings import RunSettings, VerifierSettings

        settings = RunSettings(
            run_id=run,
            kind="steps",
            model=model,
            delimiter=delimiter.replace("\\n", "\n"),
            temperature=temperature,
            seed=seed,
            root_pool=n,
            step_pool=step_pool,
            top_p=top_p,
            max_tokens=max_tokens,
            prompt_template=prompt_template,
            extract=answer,
            grader=grader,
            verifiers=(VerifierSettings(verifier_id, "prm", verifier),) if verifier else (),
        )
        wanted = read_questions(questions)
        with create_cache(cache) as opened:
            recorder = build_recorder(
                opened,
                settings,
                questions=wanted,
                device=device,
                dtype=dtype,
                batch_rows=batch_rows,
                sampler=sampler,
                progress=progress,
            )
            made = fulfil(opened, recorder, [flat(n)])
    typer.echo(f"run '{run}': {made} draws made, plan flat({n}) fulfilled → {cache}")


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
    device: Device = "auto",
    dtype: Dtype = "auto",
    batch_rows: BatchRows = 512,
    sampler: SamplerName = "auto",
) -> None:
    """Generate what replays of the strategies lack, layer by layer, until nothing is missing."""
    if bool(strategy) == bool(demand):
        raise ValueError("give either --strategy with --budget, or --demand FILE.")
    if strategy and not budget:
        raise ValueError("--strategy needs --budget: for instance --budget 4,8…32.")
    with _generating() as progress:
        from cache import create_cache
        from generate.demand_file import read_demand
        from generate.plans import Demand
        from generate.runs import build_recorder, fulfil
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
                sampler=sampler,
                progress=progress,
            )
            if demand:
                draws = read_demand(demand, opened, settings)
                recorder.record(draws, f"{settings.run_id}: {demand}")
                made = len(draws)
            else:
                plan = Demand(tuple(split_specs(strategy or [])), tuple(parse_budgets(budget)), trials, seed)
                made = fulfil(opened, recorder, [plan])
    typer.echo(f"run '{settings.run_id}': {made} draws made → {cache}")


@app.command()
def score(
    cache: Into,
    verifier: Annotated[str, typer.Option("--verifier", help="Token classifier: a directory or a Hugging Face id.")],
    verifier_id: Annotated[str, typer.Option("--verifier-id", help="Its name in the cache.")] = "prm",
    kind: Annotated[str, typer.Option("--kind", help="prm, orm, judge or confidence.")] = "prm",
    run: RunName = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Score every node of a run that the verifier has not scored yet."""
    with _generating() as progress:
        from cache import create_cache
        from generate.runs import revision_context
        from generate.scoring import score_run
        from generate.settings import model_path, stored_settings
        from generate.verifiers.token_classifier import load_token_classifier
        from tts_sim.cli.options import require_cache

        require_cache(cache)
        with create_cache(cache) as opened:
            settings, _ = stored_settings(opened, run)
            judge = load_token_classifier(
                model_path(verifier, opened.path.parent), verifier_id=verifier_id, kind=kind, device=device, dtype=dtype
            )
            made = score_run(
                opened,
                settings.run_id,
                judge,
                prompt_template=settings.prompt_template,
                revisions=revision_context(settings),
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
    with _generating() as progress:
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
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Run strategies afresh on the cache's questions and hold their accuracy against the replayed one.

    Without --strategy: beam(width=4)+weighted.
    """
    with _generating() as progress:
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
                progress=progress,
            )
            about = runs_said(opened)
    from tts_sim.cli.options import print_rows

    if page is not None:
        import shlex
        import sys

        write_live_page(page, frame, ["tts-sim", *(shlex.quote(word) for word in sys.argv[1:])], about)
    print_rows(frame, as_json=as_json, as_csv=as_csv)


@contextmanager
def _generating() -> Iterator[Progress]:
    """A progress bar on stderr; says what to install if torch is not there, and keeps transformers quiet."""
    import os
    import sys
    from importlib.util import find_spec

    if find_spec("torch") is None or find_spec("transformers") is None:
        raise ValueError("this command needs torch and transformers: pip install 'tts-sim[generate]'.")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:

        def progress(what: str, done: int, total: int) -> None:
            if console.is_terminal:
                if what not in tasks:
                    tasks[what] = bar.add_task(what, total=total)
                bar.update(tasks[what], completed=done, total=total)
            elif done == total:
                print(f"{what}: {total}", file=sys.stderr, flush=True)

        yield progress
