"""The tiny preset end to end: every stage saved, resumable, deterministic, loadable with the Auto classes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification, AutoTokenizer

from generate.lab.evaluation import area_under_curve
from generate.lab.pipeline import LabReport, train_lab
from generate.training.edit_distance import edit_distance


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> LabReport:
    return train_lab(tmp_path_factory.mktemp("lab"), preset="tiny", progress=lambda _: None)


def test_every_stage_loads_with_the_auto_classes(lab: LabReport) -> None:
    ids = AutoTokenizer.from_pretrained(lab.out / "base")("960+75\n", return_tensors="pt")["input_ids"]
    for name in ("base", "large", "reviser"):
        model = AutoModelForCausalLM.from_pretrained(lab.out / name)
        assert model(input_ids=ids).logits.shape == (1, 7, model.config.vocab_size)
    for name in ("prm", "orm"):
        verifier = AutoModelForTokenClassification.from_pretrained(lab.out / name)
        assert verifier(input_ids=ids).logits.shape == (1, 7, 1)
    assert set(lab.stages) == {"base", "prm-draft", "prm", "large", "reviser", "orm"}
    assert all(figures["parameters"] > 0 for figures in lab.stages.values())


def test_a_later_run_keeps_finished_stages_and_repeats_a_lost_one(lab: LabReport) -> None:
    before = AutoModelForTokenClassification.from_pretrained(lab.out / "prm").state_dict()
    kept = (lab.out / "base" / "model.safetensors").stat().st_mtime_ns
    shutil.rmtree(lab.out / "prm")
    train_lab(lab.out, preset="tiny", progress=lambda _: None)
    after = AutoModelForTokenClassification.from_pretrained(lab.out / "prm").state_dict()
    assert (lab.out / "base" / "model.safetensors").stat().st_mtime_ns == kept
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not list(Path(lab.out).glob(".*.partial"))


def test_reports_are_plain_json(lab: LabReport) -> None:
    report = json.loads((lab.out / "base" / "report.json").read_text())
    assert 0 <= report["pass_at_1"] <= report["coverage"] <= 1


def test_unknown_preset_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tiny, small, large"):
        train_lab(tmp_path, preset="huge", progress=lambda _: None)


@pytest.mark.parametrize(
    "first, second, distance",
    [("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("a", "a", 0), ("é«", "e«", 1)],
)
def test_edit_distance(first: str, second: str, distance: int) -> None:
    assert edit_distance(first, second) == distance


def test_area_under_curve_counts_ties_half() -> None:
    assert area_under_curve([0.9, 0.5, 0.5, 0.1], [True, True, False, False]) == 0.875
