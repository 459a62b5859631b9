"""Many scans: one outcome each, resume, exit codes."""

import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzsad import batch, cases
from medzsad.batch import RunOrder, RunSummary, plan_run, run_cases
from medzsad.config import make_config
from medzsad.errors import ConfigError, ExitCode
from medzsad.output.case import CaseFacts
from medzsad.output.schema import CaseRecord
from medzsad.scan.records import Candidate, ReadLimits, Scan
from medzsad.volume.records import CaseResult, Outcome
from tests.detectors import BrightnessDetector
from tests.phantoms import phantom_scan, write_dicom_series, write_nifti


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Iterator[BrightnessDetector]:
    shared = BrightnessDetector()
    monkeypatch.setattr(batch, "_load", lambda config: shared)
    return shared


def _run(scans: Path, out: Path, overwrite: bool = False, **options: object) -> RunSummary:
    return run_cases(
        RunOrder((scans,), out, make_config({"threshold": 0.75, "window": "0,1000", **options}), overwrite)
    )


def _bytes(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans with spaces é"
    folder.mkdir()
    write_nifti(folder / "one.nii.gz", phantom_scan(name="one"))
    write_dicom_series(folder / "series", phantom_scan(name="two", seed=1))
    return folder


def test_every_case_has_its_files_and_the_run_its_reports(
    scans: Path, tmp_path: Path, detector: BrightnessDetector
) -> None:
    summary = _run(scans, tmp_path / "out")
    assert summary.exit_code == ExitCode.OK
    assert [record.outcome for record in summary.records] == [Outcome.LESION] * 2
    for record in summary.records:
        files = {p.name for p in (tmp_path / "out" / record.name).iterdir()}
        assert files == {"mask.nii.gz", "score.nii.gz", "case.json", "montage.png"}
    assert {"report.json", "report.csv", "report.html"} <= {p.name for p in (tmp_path / "out").iterdir()}


def test_a_broken_file_costs_no_other_case_anything(scans: Path, tmp_path: Path, detector: BrightnessDetector) -> None:
    whole = (scans / "one.nii.gz").read_bytes()
    (scans / "broken.nii.gz").write_bytes(whole[: len(whole) // 2])
    (scans / "empty.nii").touch()
    summary = _run(scans, tmp_path / "out")
    outcomes = {record.name: record.outcome for record in summary.records}
    assert outcomes["broken"] == Outcome.REFUSED
    assert outcomes["empty"] == Outcome.REFUSED
    assert list(outcomes.values()).count(Outcome.LESION) == 2
    assert summary.exit_code == ExitCode.REFUSED


def test_an_unforeseen_error_is_recorded_and_the_run_goes_on(
    scans: Path, tmp_path: Path, detector: BrightnessDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cases.read_scan

    def read_or_break(candidate: object, limits: object) -> object:
        if candidate.name == "one":  # type: ignore[attr-defined]
            raise ZeroDivisionError("Phantom^Secret")
        return real(candidate, limits)  # type: ignore[arg-type]

    monkeypatch.setattr(cases, "read_scan", read_or_break)
    summary = _run(scans, tmp_path / "out")
    by_name = {record.name: record for record in summary.records}
    assert by_name["one"].outcome == Outcome.FAILED
    assert "ZeroDivisionError" in by_name["one"].message
    assert "Secret" not in (tmp_path / "out" / "report.json").read_text(encoding="utf-8")
    assert summary.exit_code == ExitCode.FAILED
    monkeypatch.undo()
    monkeypatch.setattr(batch, "_load", lambda config: detector)
    assert _run(scans, tmp_path / "out").exit_code == ExitCode.OK


@pytest.mark.parametrize("large", [False, True])
def test_a_small_scan_is_read_while_the_one_before_it_is_scored_a_large_one_is_not(
    scans: Path, tmp_path: Path, detector: BrightnessDetector, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    write_nifti(scans / "three.nii.gz", phantom_scan(name="three", seed=2))
    if large:
        monkeypatch.setattr(batch, "_LARGE", 10)
    real_read, real_score = cases.read_scan, cases.detect_scan
    read: list[str] = []
    seen_by: list[bool] = []
    begun = threading.Event()

    def reading(candidate: Candidate, limits: ReadLimits) -> Scan:
        read.append(candidate.name)
        if len(read) > 1:
            begun.set()
        return real_read(candidate, limits)

    def scoring(*args: object) -> CaseResult:
        if len(seen_by) == 0:
            seen_by.append(begun.wait(0.3 if large else 10))
        return real_score(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(cases, "read_scan", reading)
    monkeypatch.setattr(cases, "detect_scan", scoring)
    summary = _run(scans, tmp_path / "out")
    assert seen_by == [not large]
    assert [record.name for record in summary.records] == read
    assert [record.outcome for record in summary.records] == [Outcome.LESION] * 3


def test_what_is_wrong_for_every_case_ends_the_run_and_leaves_nothing_half_written(
    scans: Path, tmp_path: Path, detector: BrightnessDetector
) -> None:
    with pytest.raises(ConfigError, match="window"):
        _run(scans, tmp_path / "out", window="no such window")
    assert {p.name for p in (tmp_path / "out").iterdir()} <= {".medzsad"}


def test_a_second_run_scores_nothing_and_leaves_every_byte(
    scans: Path, tmp_path: Path, detector: BrightnessDetector
) -> None:
    _run(scans, tmp_path / "out")
    before, seen = _bytes(tmp_path / "out"), detector.seen
    summary = _run(scans, tmp_path / "out")
    assert summary.skipped == 2
    assert detector.seen == seen
    assert _bytes(tmp_path / "out") == before


def test_results_below_the_scans_are_not_taken_for_scans(
    scans: Path, tmp_path: Path, detector: BrightnessDetector
) -> None:
    _run(scans, scans / "out")
    summary = _run(scans, scans / "out")
    assert (len(summary.records), summary.skipped) == (2, 2)
    assert len(_run(scans, tmp_path / "elsewhere").records) == 2


def test_overwrite_scores_again_with_the_same_bytes(scans: Path, tmp_path: Path, detector: BrightnessDetector) -> None:
    _run(scans, tmp_path / "out")
    before, seen = _bytes(tmp_path / "out"), detector.seen
    assert _run(scans, tmp_path / "out", overwrite=True).skipped == 0
    assert detector.seen == 2 * seen
    assert _bytes(tmp_path / "out") == before


def test_a_changed_option_or_input_is_scored_again(scans: Path, tmp_path: Path, detector: BrightnessDetector) -> None:
    _run(scans, tmp_path / "out")
    assert _run(scans, tmp_path / "out", batch_size=2).skipped == 2
    assert _run(scans, tmp_path / "out", smooth_mm=1.0).skipped == 0
    assert _run(scans, tmp_path / "out", smooth_mm=1.0).skipped == 2


def test_the_result_of_another_scan_of_the_same_name_is_kept_unless_it_is_to_be_replaced(
    scans: Path, tmp_path: Path, detector: BrightnessDetector
) -> None:
    _run(scans, tmp_path / "out")
    before = (tmp_path / "out" / "one" / "mask.nii.gz").read_bytes()
    write_nifti(scans / "one.nii.gz", phantom_scan(name="one", seed=5, lesion_radius_mm=(5.0, 6.0, 8.0)))
    summary = _run(scans, tmp_path / "out")
    by_name = {record.name: record for record in summary.records}
    assert by_name["one"].outcome == Outcome.FAILED
    assert "--overwrite" in by_name["one"].message
    assert (tmp_path / "out" / "one" / "mask.nii.gz").read_bytes() == before
    assert _run(scans, tmp_path / "out", overwrite=True).exit_code == ExitCode.OK
    assert (tmp_path / "out" / "one" / "mask.nii.gz").read_bytes() != before


def test_a_refusal_is_looked_at_anew(scans: Path, tmp_path: Path, detector: BrightnessDetector) -> None:
    assert _run(scans, tmp_path / "out", max_voxels=10).exit_code == ExitCode.REFUSED
    assert _run(scans, tmp_path / "out").exit_code == ExitCode.OK


def test_an_error_while_writing_costs_no_other_case_anything(
    scans: Path, tmp_path: Path, detector: BrightnessDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cases.write_case

    def write_or_break(result: CaseResult, out: Path, facts: CaseFacts) -> CaseRecord:
        if result.name == "one":
            raise ValueError("Phantom^Secret")
        return real(result, out, facts)

    monkeypatch.setattr(cases, "write_case", write_or_break)
    summary = _run(scans, tmp_path / "out")
    outcomes = {record.name: record.outcome for record in summary.records}
    assert outcomes.pop("one") == Outcome.FAILED
    assert set(outcomes.values()) == {Outcome.LESION}
    assert "Secret" not in (tmp_path / "out" / "report.json").read_text(encoding="utf-8")


def test_verbose_tells_places_but_not_the_text_of_foreign_errors(
    scans: Path,
    tmp_path: Path,
    detector: BrightnessDetector,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(candidate: object, limits: object) -> object:
        raise ValueError("Phantom^Secret")

    monkeypatch.setattr(cases, "read_scan", broken)
    with caplog.at_level("DEBUG", logger="medzsad"):
        _run(scans, tmp_path / "out")
    assert "ValueError at" in caplog.text
    assert "Secret" not in caplog.text


def test_a_damaged_result_is_made_anew(scans: Path, tmp_path: Path, detector: BrightnessDetector) -> None:
    _run(scans, tmp_path / "out")
    before = _bytes(tmp_path / "out")
    (tmp_path / "out" / "one" / "mask.nii.gz").write_bytes(b"half")
    assert _run(scans, tmp_path / "out").skipped == 1
    assert _bytes(tmp_path / "out") == before


def test_a_dry_run_writes_nothing_and_tells_what_is_done(
    scans: Path, tmp_path: Path, detector: BrightnessDetector
) -> None:
    order = RunOrder((scans,), tmp_path / "out", make_config({"threshold": 0.75, "window": "0,1000"}))
    assert [line.split()[0] for line in plan_run(order)] == ["score", "score"]
    assert not (tmp_path / "out").exists()
    run_cases(order)
    assert [line.split()[0] for line in plan_run(order)] == ["skip", "skip"]


def test_an_empty_folder_is_a_usage_error(tmp_path: Path, detector: BrightnessDetector) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ConfigError, match="No DICOM"):
        _run(tmp_path / "nothing", tmp_path / "out")


def test_the_report_holds_the_resolved_configuration(scans: Path, tmp_path: Path, detector: BrightnessDetector) -> None:
    _run(scans, tmp_path / "out", axis="axial")
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    found = report["manifest"]["config"]
    # Nothing is left to the device: the last digits depend on it.
    assert found.pop("precision") == report["manifest"]["precision"] in {"float32", "bfloat16"}
    expected = make_config({"threshold": 0.75, "window": "0,1000", "axis": "axial"}).model_dump(mode="json")
    assert found == {key: value for key, value in expected.items() if key != "precision"}


def test_no_patient_data_reaches_any_file(scans: Path, tmp_path: Path, detector: BrightnessDetector) -> None:
    _run(scans, tmp_path / "out")
    for name, stored in _bytes(tmp_path / "out").items():
        content = gzip.decompress(stored) if name.endswith(".gz") else stored
        assert b"Secret" not in content, name
        assert b"SECRET-4711" not in content, name


def test_a_fault_of_our_reading_code_fails_its_case_and_no_other(
    scans: Path, tmp_path: Path, detector: BrightnessDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.arange(32 * 40, dtype=np.uint16).reshape(32, 40)).save(scans / "picture.png")

    def broken(*_: object) -> None:
        raise AttributeError("planted")

    monkeypatch.setattr("medzsad.scan.nifti._affine_ras", broken)
    records = {record.input.label: record for record in _run(scans, tmp_path / "out").records}
    assert records["picture.png"].outcome in (Outcome.LESION, Outcome.NO_LESION)
    faulty = [record for label, record in records.items() if ".nii" in label]
    assert faulty
    for record in faulty:
        assert record.outcome == Outcome.FAILED
        assert "Unexpected AttributeError" in record.message
        assert "please report it" in record.message
