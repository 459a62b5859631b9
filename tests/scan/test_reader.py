import pickle
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import LoadImage
from PIL import Image

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.discover import discover
from medzsad.scan.monai_reader import ScanReader
from medzsad.scan.reader import checked_scan, read_scan
from medzsad.scan.records import ReadLimits, Scan
from tests.phantoms import phantom_scan, write_dicom_series, write_nifti

LIMITS = ReadLimits(min_slices=1)  # the grids here are small
ignore_nvidia = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader:UserWarning")


def read_values(folder: Path, values: np.ndarray) -> Scan:
    nib.save(nib.Nifti1Image(values.astype(np.float32), np.eye(4)), folder / "a.nii")
    (candidate,) = discover([folder], limits=LIMITS)
    return read_scan(candidate, LIMITS)


def test_few_values_that_are_no_numbers_count_as_the_smallest(tmp_path: Path) -> None:
    values = np.arange(-5.0, 55.0).reshape(3, 4, 5)
    values[0, 0, :3] = [np.nan, np.inf, -np.inf]
    scan = read_values(tmp_path, values)
    np.testing.assert_array_equal(scan.voxels[0, 0, :3], -2.0)
    np.testing.assert_array_equal(scan.voxels[1:], values[1:])
    assert scan.notes[-1].startswith("3 voxels were NaN or infinite")


def test_many_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    values = np.arange(60.0).reshape(3, 4, 5)
    values[0] = np.nan
    with pytest.raises(RefusedError, match="20 of 60 voxels") as refused:
        read_values(tmp_path, values)
    assert refused.value.code == ReasonCode.VALUES_NOT_FINITE


def test_a_constant_volume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="the value 7") as refused:
        read_values(tmp_path, np.full((3, 4, 5), 7.0))
    assert refused.value.code == ReasonCode.VALUES_CONSTANT


def test_a_picture_of_one_color_is_refused_as_constant(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), (9, 200, 3)).save(tmp_path / "green.png")
    (candidate,) = discover([tmp_path], limits=LIMITS)
    with pytest.raises(RefusedError, match="the same color in every voxel") as refused:
        read_scan(candidate, LIMITS)
    assert refused.value.code == ReasonCode.VALUES_CONSTANT


def test_one_value_that_is_no_number_is_told_of_one(tmp_path: Path) -> None:
    scan = phantom_scan().scan
    scan.voxels[3, 3, 3] = np.nan
    assert checked_scan(scan, "scan").notes[-1].startswith("1 voxel was NaN or infinite and counts as")


def test_scans_from_memory_are_checked_by_the_same_rule() -> None:
    scan = phantom_scan((12, 15, 9)).scan
    scan.voxels[3, 4, 5] = np.nan
    checked = checked_scan(scan, "memory")
    assert checked.voxels[3, 4, 5] == checked.voxels.min()
    with pytest.raises(RefusedError, match="memory has the value 0"):
        checked_scan(replace(scan, voxels=np.zeros_like(scan.voxels)), "memory")


def test_a_refused_candidate_is_not_read(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii")
    (candidate,) = discover([tmp_path], limits=LIMITS)
    with pytest.raises(RefusedError, match="because"):
        read_scan(replace(candidate, code=ReasonCode.SERIES_4D, reason="because"), LIMITS)


def test_a_refusal_survives_a_process_border() -> None:
    error = pickle.loads(pickle.dumps(RefusedError(ReasonCode.SIZE_LIMIT, "too large")))
    assert (error.code, str(error)) == (ReasonCode.SIZE_LIMIT, "too large")


@ignore_nvidia
def test_monai_loads_a_series_with_the_affine_of_the_scan(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "series", phantom_scan((20, 24, 6), oblique_degrees=(9.0, 4.0, 0.0)))
    (candidate,) = discover([tmp_path], limits=LIMITS)
    scan = read_scan(candidate, LIMITS)
    tensor = LoadImage(reader=ScanReader(), image_only=True, ensure_channel_first=True)(str(tmp_path / "series"))
    assert tuple(tensor.shape) == (1, 20, 24, 6)
    np.testing.assert_allclose(tensor.affine, scan.affine_ras, atol=1e-6)
    np.testing.assert_array_equal(tensor[0], scan.voxels)


@ignore_nvidia
def test_monai_puts_color_first(tmp_path: Path) -> None:
    color = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    Image.fromarray(color).save(tmp_path / "a.png")
    tensor = LoadImage(reader=ScanReader(), image_only=True, ensure_channel_first=True)(tmp_path / "a.png")
    assert tuple(tensor.shape) == (3, 7, 5, 1)
    np.testing.assert_array_equal(np.asarray(tensor)[:, :, :, 0].T, color)


def test_monai_reader_wants_exactly_one_scan(tmp_path: Path) -> None:
    for name in ("a.nii", "b.nii"):
        write_nifti(tmp_path / name)
    with pytest.raises(RefusedError, match="holds 2 scans"):
        ScanReader().read(tmp_path)
