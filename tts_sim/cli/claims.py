"""`tts-sim claims`: the paper's claims, held against a cache."""

from __future__ import annotations

from typing import Annotated

import typer

from tts_sim.cli.options import AsJson, CachePath


def claims(
    cache: CachePath,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all draws.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Hold the claims of Snell et al. 2024 against a cache: what each finds there, with intervals, as Markdown."""
    import json
    from dataclasses import asdict

    from tts_sim.cli.engine import announce_compilation, note_unexchangeable
    from tts_sim.cli.options import note, open_for_reading

    announce_compilation()
    from tts_sim.claims.material import Material
    from tts_sim.claims.page import findings, markdown

    with open_for_reading(cache) as opened:
        material = Material(opened, seed=seed)
        for forest in filter(None, (material.steps, material.revisions)):
            note_unexchangeable(forest)
        found = findings(material)
    for reason in dict.fromkeys(material.left_out):
        note(f"claims left out: {reason}")
    if not any(found.values()):
        raise ValueError(
            f"{cache}: no claim can be judged here; they need a run of steps or revisions with scores, and several "
            "questions."
        )
    if as_json:
        print(json.dumps([{"part": title} | asdict(one) for title, members in found.items() for one in members]))
    else:
        print("\n".join(markdown(found)).strip())
