"""`tts-sim export`: a cache in other forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tts_sim.cli.options import AsJson, CachePath, Seed, open_for_reading, print_json

if TYPE_CHECKING:
    from cache import Cache

app = typer.Typer(help="Write a cache, or what a strategy selects from it, in other forms.", no_args_is_help=True)

ToFile = Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The JSONL file to write.")]
Run = Annotated[str | None, typer.Option("--run", metavar="ID", help="Run to export; default: the only one.")]


@app.command()
def sft(
    cache: CachePath,
    output: ToFile,
    strategy: Annotated[
        str, typer.Option("--strategy", "-s", metavar="SPEC", help="sample with best, weighted, majority or oracle.")
    ],
    budget: Annotated[int, typer.Option("--budget", "-b", help="Samples that the strategy chooses from.")],
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="Run; default: the first of steps.")] = None,
    verifier: Annotated[str | None, typer.Option("--verifier", help="Verifier whose scores are used.")] = None,
    drop_wrong: Annotated[
        bool, typer.Option("--drop-wrong", help="Leave out selected solutions that are wrong, by the gold answer.")
    ] = False,
    form: Annotated[str, typer.Option("--form", help="chat, plain or messages: see docs/training.md.")] = "chat",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Write the solution that a strategy selects for each question, as data for supervised fine-tuning (TRL)."""
    from cache.exporters.sft import FORMS, export_sft
    from tts_sim.cli.engine import announce_compilation
    from tts_sim.load import load_forest
    from tts_sim.spec import parse_strategy

    chosen_form = next((known for known in FORMS if known == form), None)
    if chosen_form is None:
        raise ValueError(f"--form '{form}': expected one of {', '.join(FORMS)}.")
    wanted = parse_strategy(strategy)
    with open_for_reading(cache) as opened:
        announce_compilation()
        from tts_sim.selected import selected_solutions

        forest = load_forest(opened, run)
        found = selected_solutions(forest, wanted, budget, verifier=verifier, seed=seed)
        answered = found.drop_nulls("node_id")
        kept = answered.filter("correct") if drop_wrong else answered
        export_sft(opened, forest.run_id, kept["node_id"].to_list(), output, form=chosen_form)
    facts = {
        "run": forest.run_id,
        "strategy": str(wanted),
        "budget": budget,
        "questions": len(found),
        "written": len(kept),
        "right": int(found["correct"].sum()),
        "wrong": len(answered) - int(found["correct"].sum()),
        "nothing_selected": len(found) - len(answered),
    }
    if as_json:
        print_json(facts)
        return
    print(
        f"{facts['strategy']} of {budget}: {facts['right']} right, {facts['wrong']} wrong, "
        f"{facts['nothing_selected']} without a selection; {facts['written']} written → {output}"
    )


@app.command()
def native(cache: CachePath, output: ToFile, run: Run = None, as_json: AsJson = False) -> None:
    """Write a run as native JSONL: questions, nodes and scores, as `tts-sim import native` reads them."""
    from cache.exporters.native import export_native

    with open_for_reading(cache) as opened:
        name = run if run is not None else _only_run(opened)
        questions = export_native(opened, name, output)
        kind = opened.frame("SELECT kind FROM runs WHERE run_id = $run", {"run": name}).item()
    if as_json:
        print_json({"run": name, "kind": kind, "questions": questions})
        return
    print(f"run '{name}' ({kind}): {questions} questions → {output}")


@app.command()
def parquet(
    cache: CachePath,
    directory: Annotated[str, typer.Argument(metavar="DIR", help="Where the tables go; made if need be.")],
    as_json: AsJson = False,
) -> None:
    """Write every table as Parquet; the directory opens as a read-only cache."""
    from cache.exporters.parquet import export_parquet

    with open_for_reading(cache) as opened:
        sizes = export_parquet(opened, directory)
    if as_json:
        print_json(sizes)
        return
    print(f"{len(sizes)} tables, {sum(sizes.values()):,} bytes → {directory}")


def _only_run(cache: Cache) -> str:
    runs = cache.frame("SELECT run_id FROM runs ORDER BY run_id")["run_id"].to_list()
    if len(runs) != 1:
        raise ValueError(f"{cache.path} holds the runs {', '.join(runs) or '(none)'}: choose one with --run.")
    return str(runs[0])
