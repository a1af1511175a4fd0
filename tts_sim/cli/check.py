"""`tts-sim check`: is a cache sound."""

from __future__ import annotations

from tts_sim.cli.options import AsJson, CachePath, open_for_reading, print_json


def check(cache: CachePath, as_json: AsJson = False) -> None:
    """Check every requirement of the data model; exit status 1 if one is broken."""
    from dataclasses import asdict

    import typer

    from cache.check import violations

    with open_for_reading(cache) as opened:
        found = violations(opened)
    if as_json:
        print_json([asdict(violation) for violation in found])
    elif found:
        for violation in found:
            print(violation)
    else:
        print(f"{cache}: sound.")
    if found:
        raise typer.Exit(1)
