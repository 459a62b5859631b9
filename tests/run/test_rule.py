"""Runs that decide per lesion: what is dropped, what a lesion carries, and which options fit together."""

import csv
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import medzsad
from medzsad.config import make_config
from medzsad.errors import ConfigError
from medzsad.run.batch import RunOrder, run_cases
from medzsad.volume.records import Outcome
from tests.decisions import deciding_detector, decision_card, labeled_volume
from tests.detectors import BrightnessDetector
from tests.phantoms import Phantom, write_nifti

WINDOW = {"window": "0,1000"}


def _detect(lesion: bool, detector: BrightnessDetector | None = None, **options: Any) -> medzsad.CaseResult:
    return medzsad.detect(labeled_volume(1, lesion).scan, detector=detector or deciding_detector(), **WINDOW, **options)


def test_a_healthy_scan_with_weak_candidates_is_no_lesion_and_says_how_many_were_dropped() -> None:
    by_threshold = _detect(lesion=False, threshold=0.75)
    assert by_threshold.outcome == Outcome.LESION
    decided = _detect(lesion=False)
    assert decided.outcome == Outcome.NO_LESION
    assert decided.mask is not None
    assert not decided.mask.any()
    assert decided.decision is not None
    assert decided.decision.dropped == len(by_threshold.lesions) > 0
    assert any("weaker candidate" in note and "balanced" in note for note in decided.notes)


def test_a_lesion_stays_with_its_probability_and_the_share_of_healthy_scans() -> None:
    result = _detect(lesion=True)
    assert result.outcome == Outcome.LESION
    lesion = result.lesions[0]
    assert lesion.volume_mm3 is not None
    evidence = np.log10(lesion.volume_mm3)
    assert lesion.probability == pytest.approx(1 / (1 + np.exp(6 - 2 * evidence)), abs=1e-3)
    assert lesion.healthy_share == (0.05 if evidence < 3.5 else 0.01)
    assert result.threshold == 0.75
    assert result.mask is not None
    assert int(result.mask.sum()) == sum(one.voxel_count for one in result.lesions)


def test_a_higher_sensitivity_never_marks_less() -> None:
    masks = [_detect(lesion=True, sensitivity=level).mask for level in ("low", "balanced", "high")]
    for less, more in pairwise(masks):
        assert less is not None
        assert more is not None
        assert not (less & ~more.astype(bool)).any()
    spots = [_detect(lesion=False, sensitivity=level, detector=_lenient()).outcome for level in ("low", "high")]
    assert spots == [Outcome.NO_LESION, Outcome.LESION]


def _lenient() -> BrightnessDetector:
    levels = {level: found.model_copy() for level, found in decision_card().levels.items()}
    levels["high"] = levels["high"].model_copy(update={"evidence": None})
    return deciding_detector(decision_card(levels=levels))


def test_lesions_and_evidence_stay_paired_when_small_ones_are_dropped_by_volume() -> None:
    lenient = _lenient()
    every = _detect(lesion=True, detector=lenient, sensitivity="high").lesions
    large = _detect(lesion=True, detector=lenient, sensitivity="high", min_volume_mm3=200.0).lesions
    assert len(every) > len(large) == 1
    assert every[0].probability == large[0].probability
    assert [one.probability for one in every] == sorted((one.probability or 0 for one in every), reverse=True)


def test_weights_without_a_decision_mark_every_component_as_before() -> None:
    result = _detect(lesion=False, detector=BrightnessDetector(size=48, threshold=0.75))
    assert result.outcome == Outcome.LESION
    assert result.decision is None
    assert {(one.probability, one.healthy_share) for one in result.lesions} == {(None, None)}


def test_a_kind_of_scan_without_a_part_is_decided_by_the_threshold_and_says_so() -> None:
    scan = replace(labeled_volume(1, lesion=True).scan, has_physical_space=False)
    result = medzsad.detect(scan, detector=deciding_detector(), **WINDOW)
    assert result.decision is None
    assert result.threshold == 0.8
    assert any("no decision for pictures" in note for note in result.notes)
    both = deciding_detector(pictures=decision_card(voxel_threshold=0.6))
    assert medzsad.detect(scan, detector=both, **WINDOW).threshold == 0.6


def test_a_sensitivity_without_anything_that_decides_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match="medzsad calibrate"):
        _detect(lesion=True, detector=BrightnessDetector(), sensitivity="low")


@pytest.mark.parametrize("other", [{"sensitivity": "low"}, {"calibration": "site.json"}])
def test_a_threshold_excludes_what_decides_per_lesion(other: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        make_config({"threshold": 0.5, **other})


def _run(tmp_path: Path, out: str, **options: Any) -> list[dict[str, Any]]:
    scans = tmp_path / "scans"
    if not scans.exists():
        scans.mkdir()
        for name, lesion in (("sick", True), ("sound", False)):
            labeled = labeled_volume(1, lesion, name)
            write_nifti(scans / f"{name}.nii.gz", Phantom(labeled.scan, labeled.mask))
    order = RunOrder((scans,), tmp_path / out, make_config({**WINDOW, **options}))
    run_cases(order, detector=deciding_detector())
    return [json.loads((tmp_path / out / name / "case.json").read_text()) for name in ("sick", "sound")]


def test_the_files_of_a_run_tell_the_decision(tmp_path: Path) -> None:
    sick, sound = _run(tmp_path, "out")
    assert (sick["outcome"], sound["outcome"]) == ("lesion", "no_lesion")
    assert sick["schema_version"] == "2.1"
    assert sick["decision"]["sensitivity"] == "balanced"
    assert sound["decision"]["dropped"] > 0
    assert 0.5 < sick["lesions"][0]["probability"] <= 1.0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for words in ("sensitivity balanced: 5.0% of 100 healthy volumes", ">1 in 20<", "Probability", "weaker candidate"):
        assert words in page
    rows = list(csv.DictReader((tmp_path / "out" / "report.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[0]["sensitivity"] == "balanced"
    assert float(rows[0]["probability"]) == sick["lesions"][0]["probability"]
    assert int(rows[1]["weaker_candidates"]) == sound["decision"]["dropped"]


def test_the_level_is_part_of_the_key_of_a_case(tmp_path: Path) -> None:
    keys = {_run(tmp_path, level, sensitivity=level)[0]["key"] for level in ("low", "high")}
    assert len(keys) == 2
