"""A site's own normal scans: what its file holds, what it changes, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import medzsad
from medzsad.cli import calibrate as calibrate_command
from medzsad.cli import main
from medzsad.config import RunConfig, make_config
from medzsad.errors import ConfigError, ExitCode
from medzsad.run.batch import RunOrder, run_cases
from medzsad.run.site_calibration import NOT_FOR_CALIBRATION
from medzsad.run.site_file import few_scans_warning, read_site
from medzsad.volume.records import Outcome
from tests.decisions import deciding_detector, labeled_volume
from tests.detectors import BrightnessDetector
from tests.phantoms import Phantom, write_nifti

WINDOW = {"window": "0,1000"}
MakeDetector = Callable[[], BrightnessDetector]


def _weights_without_a_decision() -> BrightnessDetector:
    return BrightnessDetector(size=48, threshold=0.75)


def _write(folder: Path, seeds: range, lesion: bool = False) -> Path:
    folder.mkdir()
    for seed in seeds:
        labeled = labeled_volume(seed, lesion, f"scan-{seed}")
        write_nifti(folder / f"scan-{seed}.nii.gz", Phantom(labeled.scan, labeled.mask))
    return folder


@pytest.fixture
def normal(tmp_path: Path) -> Path:
    return _write(tmp_path / "Miller^Anne 20010203", range(5))


def _calibrate(scans: Path, out: Path, detector: BrightnessDetector, **options: Any) -> Any:
    return medzsad.calibrate_site(scans, out, detector=detector, **WINDOW, **options)


@pytest.mark.parametrize("make", [deciding_detector, _weights_without_a_decision])
def test_the_scans_of_a_calibration_stay_within_its_aim_and_a_lesion_is_found(
    normal: Path, tmp_path: Path, make: MakeDetector
) -> None:
    detector, out = make(), tmp_path / "site.json"
    site = _calibrate(normal, out, detector).site
    assert site.count == 5
    for level, allowed in (("high", 1), ("balanced", 0), ("low", 0)):
        options = {**WINDOW, "calibration": str(out), "sensitivity": level}
        outcomes = [medzsad.detect(path, detector=detector, **options).outcome for path in sorted(normal.iterdir())]
        # Two scans may be equally strong: then both stay below.
        assert outcomes.count(Outcome.LESION) == round(site.levels[level].share * 5) <= allowed
    # Brightness alone cannot tell this lesion from the spots of normal scans, size can.
    sick = medzsad.detect(labeled_volume(1, lesion=True).scan, detector=detector, **WINDOW, calibration=str(out))
    assert sick.decision is not None
    assert (sick.decision.source, sick.decision.healthy_scans) == ("site", 5)
    assert any("rests on 5 normal scans" in warning for warning in sick.warnings)
    if site.unit == "evidence":
        assert sick.outcome == Outcome.LESION
        assert sick.lesions[0].healthy_share == 0.0
        assert sick.lesions[0].probability is not None


def test_weights_without_a_decision_get_a_voxel_threshold_just_above_the_normal_scans(
    normal: Path, tmp_path: Path
) -> None:
    detector = _weights_without_a_decision()
    site = _calibrate(normal, tmp_path / "site.json", detector).site
    highest = [medzsad.detect(path, detector=detector, **WINDOW).score for path in sorted(normal.iterdir())]
    assert site.unit == "score"
    assert list(site.highest) == sorted(float(score.max()) for score in highest if score is not None)
    assert site.levels["low"].cutoff == float(np.nextafter(np.float32(site.highest[-1]), np.float32(2)))
    result = medzsad.detect(
        labeled_volume(9, lesion=True).scan, detector=detector, **WINDOW, calibration=str(tmp_path / "site.json")
    )
    assert result.threshold == site.levels["balanced"].cutoff
    assert "5 normal scans" in result.threshold_provenance


def test_the_file_holds_no_name_no_path_and_no_date_and_repeats_to_the_byte(normal: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    for out in (first, second):
        _calibrate(normal, out, deciding_detector())
    text = first.read_text(encoding="utf-8")
    assert first.read_bytes() == second.read_bytes()
    assert not [word for word in ("Miller", "20010203", "scan-", str(tmp_path), ".nii") if word in text]
    values = json.loads(text)
    assert (values["format_version"], values["count"], values["kind"]) == (1, 5, "volumes")
    assert values["options"]["window"] == "0,1000"
    assert values["highest"] == sorted(values["highest"])


def test_the_order_and_the_names_of_the_scans_do_not_matter(normal: Path, tmp_path: Path) -> None:
    _calibrate(normal, tmp_path / "a.json", deciding_detector())
    for number, path in enumerate(sorted(normal.iterdir(), reverse=True)):
        path.rename(normal / f"renamed-{number}.nii.gz")
    _calibrate(normal, tmp_path / "b.json", deciding_detector())
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_damaged_scans_and_copies_are_passed_over_and_told(normal: Path, tmp_path: Path) -> None:
    (normal / "empty.nii.gz").touch()
    (normal / "copy.nii.gz").write_bytes((normal / "scan-0.nii.gz").read_bytes())
    summary = _calibrate(normal, tmp_path / "site.json", deciding_detector())
    assert summary.site.count == 5
    assert summary.exit_code == ExitCode.REFUSED
    told = summary.text()
    assert "empty: refused" in told
    assert "the same scan was counted before" in told
    assert "Warning: The calibration rests on 5 normal scans" in told


def test_volumes_and_pictures_are_not_mixed(normal: Path, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)
    Image.fromarray(picture).save(normal / "picture.png")
    with pytest.raises(ConfigError, match="1 pictures and 5 volumes"):
        _calibrate(normal, tmp_path / "site.json", deciding_detector())


def test_a_scan_of_another_kind_is_decided_by_the_weights_with_a_warning(normal: Path, tmp_path: Path) -> None:
    _calibrate(normal, tmp_path / "site.json", deciding_detector())
    flat = labeled_volume(1, lesion=True).scan
    flat = medzsad.Scan("flat", flat.voxels[:, :, 5:6].copy(), flat.affine_ras, "MR", 2, flat.source)
    result = medzsad.detect(flat, detector=deciding_detector(), **WINDOW, calibration=str(tmp_path / "site.json"))
    assert result.decision is None
    assert any("says nothing about pictures" in warning for warning in result.warnings)


def test_a_calibration_of_other_weights_or_options_is_refused_with_what_differs(normal: Path, tmp_path: Path) -> None:
    out = tmp_path / "site.json"
    _calibrate(normal, out, deciding_detector())
    scan = labeled_volume(1, lesion=True).scan
    with pytest.raises(ConfigError, match="axis was acquisition and is coronal"):
        medzsad.detect(scan, detector=deciding_detector(), **WINDOW, axis="coronal", calibration=str(out))
    other = deciding_detector()
    other.card = other.card.model_copy(update={"sha256": "1" * 64})
    with pytest.raises(ConfigError, match="other weights"):
        medzsad.detect(scan, detector=other, **WINDOW, calibration=str(out))


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format_version": 2}', '{"format_version": 1}'])
def test_what_is_no_calibration_is_refused_by_name(content: str, tmp_path: Path) -> None:
    path = tmp_path / "site.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"site\.json"):
        read_site(path)
    with pytest.raises(ConfigError, match="medzsad calibrate"):
        read_site(tmp_path / "missing.json")


def test_the_manifest_and_the_key_of_a_run_tell_the_calibration(normal: Path, tmp_path: Path) -> None:
    keys = []
    for number, seeds in enumerate((range(5), range(5, 9))):
        scans = normal if number == 0 else _write(tmp_path / "more", seeds)
        site_path, out = tmp_path / "site.json", tmp_path / f"out-{number}"
        site = _calibrate(scans, site_path, deciding_detector()).site
        options = {**WINDOW, "calibration": str(site_path)}
        order = RunOrder((normal / "scan-0.nii.gz",), out, make_config(options))
        keys.append(run_cases(order, detector=deciding_detector()).records[0].key)
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["calibration"]
        assert (manifest["count"], manifest["scans_sha256"]) == (site.count, site.scans_sha256)
        page = (out / "report.html").read_text(encoding="utf-8")
        assert f"cut-off of {site.count} normal scans" in page
        assert "fewer than the 20" in page
    assert keys[0] != keys[1]


def test_options_that_change_no_score_are_refused_in_python_and_have_no_flag(normal: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sensitivity would do nothing"):
        _calibrate(normal, tmp_path / "site.json", deciding_detector(), sensitivity="low")
    context = calibrate_command.make_context("calibrate", ["scans", "-o", "site.json"])
    flags = {parameter.name for parameter in calibrate_command.get_params(context)}
    assert flags & set(RunConfig.model_fields) == set(RunConfig.model_fields) - set(NOT_FOR_CALIBRATION)


def test_the_command_writes_the_file_that_the_next_run_takes(
    normal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medzsad.run.pipeline.load_detector", lambda *_, **__: deciding_detector())
    runner, out = CliRunner(), tmp_path / "site.json"
    done = runner.invoke(main, ["calibrate", str(normal), "-o", str(out), "--window", "0,1000"])
    assert done.exit_code == 0, done.output
    assert "5 normal volumes" in done.output
    words = ["run", str(normal), "-o", str(tmp_path / "out"), "--window", "0,1000", "--calibration", str(out)]
    done = runner.invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "5 no_lesion" in done.output
    done = runner.invoke(main, [*words, "--sensitivity", "low", "--threshold", "0.5"])
    assert done.exit_code == 2
    assert "exclude each other" in done.output


def test_twenty_scans_are_enough_to_be_silent() -> None:
    assert few_scans_warning(20) == ""
    assert "below 5% cannot be told" in few_scans_warning(19)
