"""Real scans, where they are at hand: a tumor found from both formats, and series that must not be stacked blindly."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to
from scipy import ndimage

import medzsad
from medzsad.config import make_config
from medzsad.methods.detector import Detector
from medzsad.run.batch import RunOrder, run_cases
from medzsad.volume.records import Outcome

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the development data is not here")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return medzsad.load_detector(device="cpu")


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * np.logical_and(a, b).sum() / (a.sum() + b.sum()))


def test_brainix_is_found_from_dicom_and_nifti_with_the_same_mask(detector: Detector) -> None:
    masks = []
    for path in (DATA / "dicom" / "brainix" / "FLAIR", DATA / "volumes" / "brainix" / "FLAIR.nii.gz"):
        result = medzsad.detect(path, detector=detector)
        assert result.outcome == Outcome.LESION
        assert result.scan is not None
        assert result.mask is not None
        masks.append(nib.Nifti1Image(result.mask, result.scan.affine_ras))
    # "nearest": rounding puts the outermost slice a hair outside the other grid.
    moved = resample_from_to(masks[0], masks[1], order=0, mode="nearest")
    assert _dice(np.asarray(moved.dataobj) > 0, np.asarray(masks[1].dataobj) > 0) >= 0.98


def test_one_of_the_lesions_of_brainix_is_the_drawn_region(detector: Detector) -> None:
    result = medzsad.detect(DATA / "volumes" / "brainix" / "FLAIR.nii.gz", detector=detector)
    region = np.asarray(nib.load(DATA / "volumes" / "brainix" / "ROI.nii.gz").dataobj) > 0
    assert result.mask is not None
    numbers, found = ndimage.label(result.mask)
    # The embedded model marks eyes and the top of the head as well (docs/embedded-model.md).
    assert max(_dice(numbers == number, region) for number in range(1, found + 1)) >= 0.7


def test_bfloat16_finds_the_lesions_of_brainix_too(detector: Detector) -> None:
    scan = DATA / "volumes" / "brainix" / "FLAIR.nii.gz"
    exact, fast = (medzsad.detect(scan, detector=detector, precision=p) for p in ("float32", "bfloat16"))
    assert exact.score is not None
    assert fast.score is not None
    assert exact.mask is not None
    assert fast.mask is not None
    assert 0 < np.abs(exact.score - fast.score).max() < 0.1
    assert _dice(exact.mask > 0, fast.mask > 0) > 0.98
    for one, other in ((exact.mask, fast.mask), (fast.mask, exact.mask)):
        numbers, found = ndimage.label(one)
        # Each is met; where two touch in a single voxel (here the eyes), rounding may join or part them.
        assert all(np.any(other[numbers == number]) for number in range(1, found + 1))


IRREGULAR = {
    "gantrytilting": "GEOMETRY_TILTED",
    "notavolume": "GEOMETRY_DUPLICATE_POSITION",
    "slicecount": "SERIES_TOO_FEW_SLICES",
    "sliceincrement": "GEOMETRY_GAP",
    "sliceorientation": "GEOMETRY_MIXED_ORIENTATION",
}


# Their stored values, 0 to 254, are made -1024 to -770 "HU" by a rescale intercept that is not theirs.
NOT_HOUNSFIELD = {"gantrytilting", "notavolume", "sliceincrement"}


@pytest.mark.parametrize("folder", sorted(IRREGULAR))
def test_irregular_series_are_refused_and_scored_when_that_is_allowed(
    folder: str, tmp_path: Path, detector: Detector
) -> None:
    place = DATA / "dicom" / "irregular" / folder
    refused = run_cases(RunOrder((place,), tmp_path / "refused", make_config({})), detector=detector).records
    series = [record for record in refused if record.input.kind == "dicom"]
    assert series
    assert {record.code for record in series} == {IRREGULAR[folder]}
    scored = run_cases(
        RunOrder((place,), tmp_path / "scored", make_config({"allow_irregular": True})), detector=detector
    ).records
    for record in (record for record in scored if record.input.kind == "dicom"):
        if folder in NOT_HOUNSFIELD:
            assert (record.outcome, record.code) == (Outcome.REFUSED, "NOTHING_SCORED")
            continue
        assert record.outcome in (Outcome.LESION, Outcome.NO_LESION)
        assert record.notes
    order = RunOrder((place,), tmp_path / "asked", make_config({"allow_irregular": True, "window": "percentiles"}))
    asked = run_cases(order, detector=detector).records
    for record in (record for record in asked if record.input.kind == "dicom"):
        assert any(one.scored for one in record.slices)
