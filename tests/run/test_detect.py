"""`medzsad.detect` on what is in memory, and results that are saved as a run would write them."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import medzsad
from medzsad.config import make_config
from medzsad.errors import ConfigError, LockedError, OutputError, ReasonCode, RefusedError
from medzsad.output.case import read_case
from medzsad.output.lock import CaseLocks
from medzsad.run.batch import RunOrder, run_cases
from medzsad.run.summary import report_folder
from medzsad.scan.records import Scan, Source
from medzsad.volume.records import CaseResult, Outcome
from tests.detectors import BrightnessDetector
from tests.phantoms import phantom_scan, write_dicom_series, write_nifti

OPTIONS = {"threshold": 0.75, "window": "0,1000"}
FILES = ("mask.nii.gz", "score.nii.gz", "montage.png")


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
def test_a_saved_result_has_the_bytes_of_a_run(tmp_path: Path, kind: str) -> None:
    if kind == "nifti":
        path = tmp_path / "scan.nii.gz"
        write_nifti(path, phantom_scan())
    else:
        path = tmp_path / "series"
        write_dicom_series(path, phantom_scan())
    run_cases(RunOrder((path,), tmp_path / "run", make_config(OPTIONS)), detector=BrightnessDetector())
    result = medzsad.detect(path, detector=BrightnessDetector(), **OPTIONS)
    folder = result.save(tmp_path / "saved")
    assert folder == tmp_path / "saved" / result.name
    assert _bytes(folder) == _bytes(tmp_path / "run" / result.name)
    assert (tmp_path / "saved" / "manifest.json").read_bytes() == (tmp_path / "run" / "manifest.json").read_bytes()
    report_folder(tmp_path / "saved")
    for name in ("report.json", "report.csv", "report.html"):
        assert (tmp_path / "saved" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_a_run_takes_a_saved_result_over(tmp_path: Path) -> None:
    write_nifti(tmp_path / "scan.nii.gz", phantom_scan())
    medzsad.detect(tmp_path / "scan.nii.gz", detector=BrightnessDetector(), **OPTIONS).save(tmp_path / "out")
    order = RunOrder((tmp_path / "scan.nii.gz",), tmp_path / "out", make_config(OPTIONS))
    assert run_cases(order, detector=BrightnessDetector()).skipped == 1


def test_an_array_and_an_image_give_what_their_file_gives(tmp_path: Path) -> None:
    phantom = phantom_scan(oblique_degrees=(5.0, -8.0, 11.0))
    image = nib.Nifti1Image(phantom.scan.voxels, phantom.scan.affine_ras)
    nib.save(image, tmp_path / "scan.nii.gz")
    from_file = medzsad.detect(tmp_path / "scan.nii.gz", detector=BrightnessDetector(), modality="MR", **OPTIONS)
    loaded = nib.load(tmp_path / "scan.nii.gz")
    options = {**OPTIONS, "modality": "MR", "detector": BrightnessDetector()}
    expected = _bytes(from_file.save(tmp_path / "a"))
    assert _bytes(medzsad.detect(loaded, **options).save(tmp_path / "b")) == expected
    in_memory = nib.Nifti1Image(np.asarray(loaded.dataobj), loaded.affine, loaded.header)
    found = _bytes(medzsad.detect(in_memory, name="scan", **options).save(tmp_path / "c"))
    assert {name: found[name] for name in FILES} == {name: expected[name] for name in FILES}
    array = medzsad.detect(np.asarray(loaded.dataobj), affine=loaded.affine, **options)
    assert array.lesions == from_file.lesions
    assert array.score is not None
    assert from_file.score is not None
    assert np.array_equal(array.score, from_file.score)
    record = read_case(tmp_path / "d", array.save(tmp_path / "d").name)
    assert record is not None
    assert (record.input.kind, record.input.modality) == ("array", "MR")


def test_an_array_without_affine_is_told_in_voxels_alone(tmp_path: Path) -> None:
    voxels = phantom_scan().scan.voxels
    result = medzsad.detect(voxels, name="mine", detector=BrightnessDetector(), **OPTIONS)
    assert result.outcome is Outcome.LESION
    assert result.lesions[0].volume_mm3 is None
    result.save(tmp_path)
    record = read_case(tmp_path, "mine")
    assert record is not None
    assert (record.input.spacing_mm, record.input.affine_ras, record.input.plane) == (None, None, None)
    assert record.lesions[0].centroid_lps_mm is None
    mask = nib.load(tmp_path / "mine" / "mask.nii.gz")
    assert mask.header.get_xyzt_units()[0] == "unknown"
    report_folder(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Center, pixel" in page
    assert "LPS mm" not in page


@pytest.mark.parametrize(
    ("scan", "affine", "words"),
    [
        (np.zeros((2, 3, 4, 5), np.float32), None, "for color"),
        (np.zeros((2, 0, 4)), None, "no real numbers"),
        (np.zeros((2, 3, 4), complex), None, "no real numbers"),
        (np.zeros((2, 3, 4)), np.eye(3), r"give \(4, 4\)"),
        (np.zeros((2, 3, 4)), np.diag([1.0, 1.0, 0.0, 1.0]), "spans no volume"),
        (Path("x.nii"), np.eye(4), "goes with an array"),
        ([[1.0]], None, "takes a path, an array"),
    ],
)
def test_what_is_no_scan_is_refused_with_a_sentence(scan: object, affine: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        medzsad.detect(scan, affine=affine, detector=BrightnessDetector())  # type: ignore[arg-type]


def test_a_4d_image_in_memory_asks_for_a_frame() -> None:
    with pytest.raises(RefusedError, match="slicer"):
        medzsad.detect(nib.Nifti1Image(np.ones((4, 5, 6, 2), np.float32), np.eye(4)), detector=BrightnessDetector())


def test_saving_waits_for_nobody_and_replaces_nothing_foreign(tmp_path: Path) -> None:
    phantom = phantom_scan(name="mine")
    scan = Scan("mine", phantom.scan.voxels, phantom.scan.affine_ras, "MR", 2, Source("array"))
    result = medzsad.detect(scan, detector=BrightnessDetector(), **OPTIONS)
    with CaseLocks(tmp_path) as locks:
        assert locks.acquire("mine")
        with pytest.raises(LockedError, match="A run is writing case mine"):
            result.save(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(OutputError, match="not a result of medzsad"):
        result.save(tmp_path)
    assert isinstance(result, CaseResult)


def test_a_mask_in_memory_is_refused_as_its_file_would_be_unless_labels_are_allowed() -> None:
    mask = phantom_scan().lesion_mask
    options = {"detector": BrightnessDetector(), "threshold": 0.75, "window": "0,1"}
    image = nib.Nifti1Image(mask.astype(np.uint8), phantom_scan().scan.affine_ras)
    for scan in (mask, image, Scan("mine", mask.astype(np.float32), np.eye(4), "CT", None, Source("array"))):
        with pytest.raises(RefusedError, match="looks like a mask or label map") as refused:
            medzsad.detect(scan, **options)
        assert refused.value.code == ReasonCode.LOOKS_LIKE_LABELS
        assert medzsad.detect(scan, allow_labels=True, **options).outcome is Outcome.LESION
    series = Scan("series", mask.astype(np.float32), np.eye(4), "CT", 2, Source("dicom"))
    assert medzsad.detect(series, **options).outcome is Outcome.LESION  # DICOM says itself what is a segmentation
