"""Masks and atlases are told from scans; scans are not taken for them."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.discover import discover
from medzsad.scan.labels import check_no_labels
from medzsad.scan.reader import read_scan
from medzsad.scan.records import ReadLimits
from tests.phantoms import phantom_scan, write_dicom_series

LIMITS, ALLOWING = ReadLimits(), ReadLimits(allow_labels=True)
SHAPE = (50, 60, 40)
RANDOM = np.random.default_rng(3)


def regions(count: int) -> NDArray[np.float32]:
    """An atlas: each voxel has the number of its nearest seed, in a ball; 0 outside."""
    seeds = RANDOM.uniform(0, SHAPE, (count, 3))
    index = np.stack(np.indices(SHAPE), axis=-1)
    nearest = np.argmin(((index[..., None, :] - seeds) ** 2).sum(-1), axis=-1) + 1
    inside = (((index / np.array(SHAPE)) - 0.5) ** 2).sum(-1) < 0.2
    return np.where(inside, nearest, 0).astype(np.float32)


def smooth_noise(sigma: float) -> NDArray[np.float64]:
    noise = ndimage.gaussian_filter(RANDOM.standard_normal(SHAPE), sigma)
    return noise / noise.std()


def ball(radius: float) -> NDArray[np.bool_]:
    index = np.stack(np.indices(SHAPE), axis=-1)
    return np.asarray(np.linalg.norm(index - np.array(SHAPE) / 2, axis=-1) < radius)


LABELS = {
    "mask": ball(9).astype(float),
    "mask of 255": ball(9) * 255.0,
    "small mask off the middle": np.roll(ball(3).astype(float), 18, axis=0),
    "thin shell": (ball(12) & ~ball(11)).astype(float),
    "mask of -1 and 1": np.where(ball(9), -1.0, 1.0),
    "mask of fractions": ball(9) * 0.25,
    "three tissues": np.digitize(smooth_noise(4.0), [-0.5, 0.5]).astype(float),
    "atlas of 20 regions": regions(20),
    "atlas of 45 regions": regions(45),
    "atlas with large numbers": np.where(regions(60) > 0, regions(60) * 37 + 1000, 0.0),
}
SCANS = {
    "phantom in whole numbers": np.rint(phantom_scan(SHAPE).scan.voxels),
    "CT with air cut off": np.maximum(np.rint(np.where(ball(18), 40 + 12 * smooth_noise(0.6), -1000)), -1024) + 1024,
    "CT phantom without noise": np.where(ball(9), 60.0, np.where(ball(18), 0.0, -1000.0)),
    "MR phantom without noise": np.where(ball(9), 900.0, np.where(ball(18), 350.0, 0.0)),
    "MR of 8 bits": np.clip(np.rint(np.where(ball(18), 120 + 15 * smooth_noise(1.0), 0)), 0, 255),
    "very smooth MR of 8 bits": np.clip(np.rint(np.where(ball(18), 128 + 40 * smooth_noise(3.0), 0)), 0, 255),
    "lung window in 8 bits": np.clip(np.rint(np.where(ball(16), 400 + 90 * smooth_noise(1.0), 0)), 0, 255),
    "few counts": RANDOM.poisson(0.4, SHAPE).astype(float),
    "counts": RANDOM.poisson(np.where(ball(16), 8.0, 0.1)).astype(float),
    "values between whole numbers": ball(9) * 0.5 + ball(5),
}


@pytest.mark.parametrize("name", LABELS)
def test_masks_and_atlases_are_refused(name: str) -> None:
    with pytest.raises(RefusedError, match="--allow-labels") as refused:
        check_no_labels(LABELS[name].astype(np.float32), "a.nii")
    assert refused.value.code == ReasonCode.LOOKS_LIKE_LABELS


@pytest.mark.parametrize("name", SCANS)
def test_scans_are_no_labels(name: str) -> None:
    check_no_labels(SCANS[name].astype(np.float32), "a.nii")


@pytest.mark.parametrize("name", [name for name in SCANS if "without noise" not in name])
def test_a_name_alone_makes_no_labels_of_a_scan(name: str) -> None:
    check_no_labels(SCANS[name].astype(np.float32), "case_seg/lesion-mask.nii")


def test_a_large_mask_is_found_wherever_it_lies() -> None:
    voxels = np.zeros((260, 200, 180), np.float32)
    voxels[3:9, 4:12, 5:14] = 1
    voxels[3:6, 4:12, 5:14] = 2
    with pytest.raises(RefusedError, match="3 different whole numbers"):
        check_no_labels(voxels, "a.nii")


def test_a_label_file_is_refused_and_read_if_allowed(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(ball(9).astype(np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    (candidate,) = discover([tmp_path], limits=LIMITS)
    with pytest.raises(RefusedError, match="looks like a mask") as refused:
        read_scan(candidate, LIMITS)
    assert refused.value.code == ReasonCode.LOOKS_LIKE_LABELS
    np.testing.assert_array_equal(read_scan(candidate, ALLOWING).voxels, ball(9))


@pytest.mark.parametrize("code", [1002, 1003])
def test_the_intent_of_a_nifti_tells_labels_by_the_header(tmp_path: Path, code: int) -> None:
    image = nib.Nifti1Image(phantom_scan(SHAPE).scan.voxels, np.eye(4))
    image.header["intent_code"] = code
    nib.save(image, tmp_path / "a.nii")
    (candidate,) = discover([tmp_path], limits=LIMITS)
    assert candidate.code == ReasonCode.LOOKS_LIKE_LABELS
    assert f"intent code {code}" in candidate.reason
    assert discover([tmp_path], limits=ALLOWING)[0].eligible


def test_a_segmentation_of_3d_slicer_is_told_by_its_header(tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(phantom_scan(SHAPE).scan.voxels)
    image.SetMetaData("Segment0_ID", "Segment_1")
    SimpleITK.WriteImage(image, str(tmp_path / "a.seg.nrrd"))
    assert discover([tmp_path], limits=LIMITS)[0].code == ReasonCode.LOOKS_LIKE_LABELS
    assert discover([tmp_path], limits=ALLOWING)[0].eligible


def test_of_pictures_only_those_of_two_values_are_labels(tmp_path: Path) -> None:
    Image.fromarray((ball(9)[:, :, 20] * 255).astype(np.uint8)).save(tmp_path / "mask.png")
    Image.fromarray((np.digitize(smooth_noise(4.0)[:, :, 0], [-0.5, 0.5]) * 80).astype(np.uint8)).save(
        tmp_path / "shades.png"
    )
    mask, shades = discover([tmp_path], limits=LIMITS)
    with pytest.raises(RefusedError, match="looks like a mask"):
        read_scan(mask, LIMITS)
    assert read_scan(shades, LIMITS).shape == (60, 50, 1)


def test_dicom_says_itself_what_it_is(tmp_path: Path) -> None:
    phantom = phantom_scan((24, 28, 6))
    phantom = replace(phantom, scan=replace(phantom.scan, voxels=phantom.lesion_mask.astype(np.float32)))
    write_dicom_series(tmp_path, phantom)
    (candidate,) = discover([tmp_path], limits=LIMITS)
    assert read_scan(candidate, LIMITS).voxels.max() == 1
