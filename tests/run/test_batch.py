"""Many scans: one outcome each, resume, exit codes."""

import gzip
import json
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image

from medzsad.config import make_config
from medzsad.errors import ConfigError, ExitCode
from medzsad.output.facts import CaseFacts
from medzsad.output.schema import CaseRecord
from medzsad.run import case as cases
from medzsad.run.batch import RunOrder, plan_run, run_cases
from medzsad.run.executor import ReadAhead
from medzsad.scan.records import Candidate, ReadLimits, Scan
from medzsad.volume.records import CaseResult, Outcome
from tests.detectors import BrightnessDetector
from tests.phantoms import one_slice_dataset, phantom_scan, write_dicom_series, write_nifti


@pytest.fixture
def detector() -> BrightnessDetector:
    return BrightnessDetector()


def _order(scans: Path, out: Path, overwrite: bool = False, **options: object) -> RunOrder:
    return RunOrder((scans,), out, make_config({"threshold": 0.75, "window": "0,1000", **options}), overwrite)


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
    summary = run_cases(_order(scans, tmp_path / "out"), detector=detector)
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
    summary = run_cases(_order(scans, tmp_path / "out"), detector=detector)
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
    summary = run_cases(_order(scans, tmp_path / "out"), detector=detector)
    by_name = {record.name: record for record in summary.records}
    assert by_name["one"].outcome == Outcome.FAILED
    assert "ZeroDivisionError" in by_name["one"].message
    assert "Secret" not in (tmp_path / "out" / "report.json").read_text(encoding="utf-8")
    assert summary.exit_code == ExitCode.FAILED
    monkeypatch.undo()
    assert run_cases(_order(scans, tmp_path / "out"), detector=detector).exit_code == ExitCode.OK


@pytest.mark.parametrize("large", [False, True])
def test_a_small_scan_is_read_while_the_one_before_it_is_scored_a_large_one_is_not(
    scans: Path, tmp_path: Path, detector: BrightnessDetector, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    write_nifti(scans / "three.nii.gz", phantom_scan(name="three", seed=2))
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
    summary = run_cases(
        _order(scans, tmp_path / "out"), detector=detector, executor=ReadAhead(large_voxels=10 if large else 2**26)
    )
    assert seen_by == [not large]
    assert [record.name for record in summary.records] == read
    assert [record.outcome for record in summary.records] == [Outcome.LESION] * 3


def test_what_is_wrong_for_every_case_ends_the_run_and_leaves_nothing_half_written(
    scans: Path, tmp_path: Path, detector: BrightnessDetector
) -> None:
    with pytest.raises(ConfigError, match="window"):
        run_cases(_order(scans, tmp_path / "out", window="no such window"), detector=detector)
    assert {p.name for p in (tmp_path / "out").iterdir()} <= {".medzsad", ".medzsad-locks", "manifest.json"}


def test_a_second_run_scores_nothing_and_leaves_every_byte(
    scans: Path, tmp_path: Path, detector: BrightnessDetector
) -> None:
    run_cases(_order(scans, tmp_path / "out"), detector=detector)
    before, seen = _bytes(tmp_path / "out"), detector.seen
    summary = run_cases(_order(scans, tmp_path / "out"), detector=detector)
    assert summary.skipped == 2
    assert detector.seen == seen
    assert _bytes(tmp_path / "out") == before


def test_results_below_the_scans_are_not_taken_for_scans(
    scans: Path, tmp_path: Path, detector: BrightnessDetector
) -> None:
    run_cases(_order(scans, tmp_path / "out"), detector=detector)
    (tmp_path / "out").rename(scans / "out")
    assert len(run_cases(_order(scans, tmp_path / "elsewhere"), detector=detector).records) == 2


@pytest.mark.parametrize(
    ("scanned", "out"), [(".", "."), (".", "results"), ("deep/er", "deep"), ("../data", "deep/../results")]
)
def test_results_are_never_written_among_the_scans(
    tmp_path: Path, detector: BrightnessDetector, scanned: str, out: str
) -> None:
    data = tmp_path / "data"
    (data / "deep" / "er").mkdir(parents=True)
    write_nifti(data / "deep" / "er" / "one.nii.gz", phantom_scan(name="one"))
    order = _order(data / scanned, data / out)
    with pytest.raises(ConfigError, match="Choose"):
        run_cases(order, detector=detector)
    with pytest.raises(ConfigError, match="Choose"):
        list(plan_run(order, detector))
    assert {p.name for p in data.rglob("*")} == {"deep", "er", "one.nii.gz"}
    beside = run_cases(_order(data, tmp_path / "results"), detector=detector)
    assert beside.exit_code == ExitCode.OK


def test_overwrite_scores_again_with_the_same_bytes(scans: Path, tmp_path: Path, detector: BrightnessDetector) -> None:
    run_cases(_order(scans, tmp_path / "out"), detector=detector)
    before, seen = _bytes(tmp_path / "out"), detector.seen
    assert run_cases(_order(scans, tmp_path / "out", overwrite=True), detector=detector).skipped == 0
    assert detector.seen == 2 * seen
    assert _bytes(tmp_path / "out") == before


def test_a_changed_option_or_input_is_scored_again(scans: Path, tmp_path: Path, detector: BrightnessDetector) -> None:
    run_cases(_order(scans, tmp_path / "out"), detector=detector)
    assert run_cases(_order(scans, tmp_path / "out", batch_size=2), detector=detector).skipped == 2
    assert run_cases(_order(scans, tmp_path / "out", smooth_mm=1.0), detector=detector).skipped == 0
    assert run_cases(_order(scans, tmp_path / "out", smooth_mm=1.0), detector=detector).skipped == 2


def test_the_result_of_another_scan_of_the_same_name_is_kept_unless_it_is_to_be_replaced(
    scans: Path, tmp_path: Path, detector: BrightnessDetector
) -> None:
    run_cases(_order(scans, tmp_path / "out"), detector=detector)
    before = (tmp_path / "out" / "one" / "mask.nii.gz").read_bytes()
    write_nifti(scans / "one.nii.gz", phantom_scan(name="one", seed=5, lesion_radius_mm=(5.0, 6.0, 8.0)))
    summary = run_cases(_order(scans, tmp_path / "out"), detector=detector)
    by_name = {record.name: record for record in summary.records}
    assert by_name["one"].outcome == Outcome.FAILED
    assert "--overwrite" in by_name["one"].message
    assert (tmp_path / "out" / "one" / "mask.nii.gz").read_bytes() == before
    assert run_cases(_order(scans, tmp_path / "out", overwrite=True), detector=detector).exit_code == ExitCode.OK
    assert (tmp_path / "out" / "one" / "mask.nii.gz").read_bytes() != before


def test_a_refusal_is_looked_at_anew(scans: Path, tmp_path: Path, detector: BrightnessDetector) -> None:
    assert run_cases(_order(scans, tmp_path / "out", max_voxels=10), detector=detector).exit_code == ExitCode.REFUSED
    assert run_cases(_order(scans, tmp_path / "out"), detector=detector).exit_code == ExitCode.OK


def test_an_error_while_writing_costs_no_other_case_anything(
    scans: Path, tmp_path: Path, detector: BrightnessDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cases.write_case

    def write_or_break(result: CaseResult, out: Path, facts: CaseFacts) -> CaseRecord:
        if result.name == "one":
            raise ValueError("Phantom^Secret")
        return real(result, out, facts)

    monkeypatch.setattr(cases, "write_case", write_or_break)
    summary = run_cases(_order(scans, tmp_path / "out"), detector=detector)
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
        run_cases(_order(scans, tmp_path / "out"), detector=detector)
    assert "ValueError at" in caplog.text
    assert "Secret" not in caplog.text


@pytest.mark.parametrize("module", ["medzsad.slices.stack.plan_slices", "medzsad.volume.lesions.lps_from_ras"])
def test_a_bug_of_ours_ends_as_failed_with_its_places_in_the_log_and_in_a_file_to_send(
    scans: Path,
    tmp_path: Path,
    detector: BrightnessDetector,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    module: str,
) -> None:
    def broken(*_: object) -> None:
        raise AttributeError("'Scan' object of Phantom^Secret has no attribute 'voxel'")

    monkeypatch.setattr(module, broken)
    summary = run_cases(_order(scans, tmp_path / "out"), detector=detector)
    assert summary.exit_code == ExitCode.FAILED
    record = summary.records[0]
    assert (record.outcome, record.code) == (Outcome.FAILED, None)
    assert "mistake in medzsad, not in the scan. Please report it" in record.message
    trace = (tmp_path / "out" / record.name / "error.txt").read_text(encoding="utf-8")
    errors = [entry.getMessage() for entry in caplog.records if entry.levelname == "ERROR"]
    assert len(errors) == 2
    for text in (trace, errors[0]):
        assert "AttributeError at" in text
        assert "medzsad/run/pipeline.py:" in text
        assert "in broken" in text
        assert "Secret" not in text
        assert str(tmp_path) not in text
    assert "medzsad 0." in trace
    assert "torch 2" in trace
    assert "error.txt" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    monkeypatch.undo()
    assert run_cases(_order(scans, tmp_path / "out"), detector=detector).exit_code == ExitCode.OK
    assert not (tmp_path / "out" / record.name / "error.txt").exists()


def test_threads_are_told_by_the_manifest_and_no_part_of_the_key(
    scans: Path, tmp_path: Path, detector: BrightnessDetector
) -> None:
    for threads in (1, 2):
        summary = run_cases(_order(scans, tmp_path / "out", threads=threads), detector=detector)
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
        assert (manifest["threads"], manifest["config"]["threads"]) == (threads, threads)
    assert summary.skipped == 2


def test_a_run_on_dicom_writes_no_uid_unless_it_is_asked_to(
    scans: Path, tmp_path: Path, detector: BrightnessDetector
) -> None:
    uids = [pydicom.dcmread(path).SOPInstanceUID.encode() for path in sorted((scans / "series").iterdir())]
    run_cases(_order(scans, tmp_path / "out"), detector=detector)
    assert not [name for name, content in _bytes(tmp_path / "out").items() if any(uid in content for uid in uids)]
    run_cases(_order(scans, tmp_path / "asked", with_uids=True), detector=detector)
    told = [name for name, content in _bytes(tmp_path / "asked").items() if any(uid in content for uid in uids)]
    assert sorted(Path(name).name for name in told) == ["case.json", "report.csv", "report.json"]


def test_warnings_are_told_at_the_end_of_a_run(scans: Path, tmp_path: Path, detector: BrightnessDetector) -> None:
    summary = run_cases(_order(scans, tmp_path / "out", window="lung", modality="MR"), detector=detector)
    assert summary.text().count(": warning: The CT window lung was applied to modality 'MR'") == 2


def test_a_damaged_result_is_made_anew(scans: Path, tmp_path: Path, detector: BrightnessDetector) -> None:
    run_cases(_order(scans, tmp_path / "out"), detector=detector)
    before = _bytes(tmp_path / "out")
    (tmp_path / "out" / "one" / "mask.nii.gz").write_bytes(b"half")
    assert run_cases(_order(scans, tmp_path / "out"), detector=detector).skipped == 1
    assert _bytes(tmp_path / "out") == before


def test_a_dry_run_writes_nothing_and_tells_what_is_done(
    scans: Path, tmp_path: Path, detector: BrightnessDetector
) -> None:
    order = _order(scans, tmp_path / "out")
    assert [line.split()[0] for line in plan_run(order, detector)] == ["score", "score"]
    assert not (tmp_path / "out").exists()
    run_cases(order, detector=detector)
    assert [line.split()[0] for line in plan_run(order, detector)] == ["skip", "skip"]


def test_an_empty_folder_is_a_usage_error(tmp_path: Path, detector: BrightnessDetector) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ConfigError, match="No DICOM"):
        run_cases(_order(tmp_path / "nothing", tmp_path / "out"), detector=detector)


def test_the_report_holds_the_resolved_configuration(scans: Path, tmp_path: Path, detector: BrightnessDetector) -> None:
    run_cases(_order(scans, tmp_path / "out", axis="axial"), detector=detector)
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    found = report["manifest"]["config"]
    # Nothing is left to the device: the last digits depend on it.
    assert found.pop("precision") == report["manifest"]["precision"] in {"float32", "bfloat16"}
    expected = make_config({"threshold": 0.75, "window": "0,1000", "axis": "axial"}).model_dump(mode="json")
    # Nor to the weights, whose context decides them, too.
    expected |= {"planes": "acquisition", "smooth_axis_mm": 0.0, "air": "score"}
    assert found == {key: value for key, value in expected.items() if key != "precision"}


def test_no_patient_data_reaches_any_file(scans: Path, tmp_path: Path, detector: BrightnessDetector) -> None:
    run_cases(_order(scans, tmp_path / "out"), detector=detector)
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
    records = {
        record.input.label: record for record in run_cases(_order(scans, tmp_path / "out"), detector=detector).records
    }
    assert records["picture.png"].outcome in (Outcome.LESION, Outcome.NO_LESION)
    faulty = [record for label, record in records.items() if ".nii" in label]
    assert faulty
    for record in faulty:
        assert record.outcome == Outcome.FAILED
        assert "Unexpected AttributeError" in record.message
        assert "Please report it" in record.message


def test_an_ultrasound_picture_without_spacing_has_lesions_but_no_millimeters(
    tmp_path: Path, detector: BrightnessDetector
) -> None:
    pixels = np.random.default_rng(0).integers(20, 60, (40, 50), dtype=np.uint8)
    pixels[10:20, 15:30] = 255
    (tmp_path / "scans").mkdir()
    one_slice_dataset(pixels).save_as(tmp_path / "scans" / "us.dcm", enforce_file_format=True)
    (record,) = run_cases(_order(tmp_path / "scans", tmp_path / "out", window="0,255"), detector=detector).records
    (lesion,) = record.lesions
    assert lesion.voxel_count > 100
    assert (lesion.volume_mm3, lesion.centroid_lps_mm, lesion.centroid_ras_mm) == (None, None, None)
    assert (record.input.spacing_mm, record.input.affine_ras, record.input.plane) == (None, None, None)
    assert nib.load(tmp_path / "out" / record.name / "mask.nii.gz").header.get_xyzt_units()[0] == "unknown"
