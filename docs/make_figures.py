"""Makes the README's figure from the shipped sample: `python docs/make_figures.py`."""

from __future__ import annotations

from pathlib import Path

from cache import open_cache, sample_path
from tts_sim.charts.accuracy import accuracy_by_budget
from tts_sim.headline import headline_outcomes

if __name__ == "__main__":
    with open_cache(sample_path()) as cache:
        curve = headline_outcomes(cache).curve()
    accuracy_by_budget(curve).save(Path(__file__).parent / "headline.svg")
