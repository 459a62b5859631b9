"""One scan to one result, with a detector whose score is brightness: geometry and bookkeeping without a network."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import medzsad
from medzsad.config import make_config
from medzsad.errors import ConfigError, RefusedError
from medzsad.run.pipeline import detect_scan
from medzsad.scan.records import Scan, Source
from medzsad.volume.records import Outcome
from tests.detectors import BrightnessDetector
from tests.phantoms import Phantom, all_axcodes, phantom_scan, write_dicom_series, write_nifti

OBLIQUE = [(0.0, 0.0, 17.0), (12.0, -9.0, 0.0), (-21.0, 14.0, 33.0)]


def _largest_is_on_the_lesion(result: medzsad.CaseResult, phantom: Phantom) -> None:
    assert result.outcome == Outcome.LESION
    lesion = result.lesions[0]
    distance_mm = np.abs(np.asarray(lesion.centroid_ras_mm) - phantom.lesion_centroid_ras_mm)
    assert distance_mm.max() <= max(phantom.scan.spacing_mm)
    voxels = np.linalg.solve(
        phantom.scan.affine_ras[:3, :3], np.asarray(lesion.centroid_ras_mm) - phantom.scan.affine_ras[:3, 3]
    )
    truth = np.argwhere(phantom.lesion_mask).mean(axis=0)
    assert np.abs(voxels - truth).max() <= 1.0


@pytest.mark.parametrize("axcodes", all_axcodes())
def test_a_planted_lesion_comes_back_in_every_orientation(tmp_path: Path, axcodes: str) -> None:
    phantom = write_nifti(tmp_path / "scan.nii.gz", phantom_scan(axcodes=axcodes))
    for axis in ("acquisition", "axial", "coronal", "sagittal"):
        for resize in ("fit", "stretch"):
            result = medzsad.detect(
                tmp_path / "scan.nii.gz",
                detector=BrightnessDetector(),
                axis=axis,
                resize=resize,
                threshold=0.75,
                window="0,1000",
            )
            _largest_is_on_the_lesion(result, phantom)
            assert result.mask is not None
            assert result.mask.shape == phantom.scan.shape


@pytest.mark.parametrize("degrees", OBLIQUE, ids=str)
@pytest.mark.parametrize("axcodes", ["LPS", "SAR", "PIR"])
def test_a_planted_lesion_comes_back_from_oblique_scans(
    tmp_path: Path, axcodes: str, degrees: tuple[float, float, float]
) -> None:
    phantom = phantom_scan(axcodes=axcodes, oblique_degrees=degrees)
    write_nifti(tmp_path / "scan.nii.gz", phantom)
    write_dicom_series(tmp_path / "series", phantom)
    for path in (tmp_path / "scan.nii.gz", tmp_path / "series"):
        result = medzsad.detect(path, detector=BrightnessDetector(), threshold=0.75, window="0,1000")
        _largest_is_on_the_lesion_in_world(result, phantom)


def _largest_is_on_the_lesion_in_world(result: medzsad.CaseResult, phantom: Phantom) -> None:
    distance_mm = np.linalg.norm(np.asarray(result.lesions[0].centroid_ras_mm) - phantom.lesion_centroid_ras_mm)
    assert distance_mm <= min(phantom.scan.spacing_mm)


@pytest.mark.parametrize("axis", ["acquisition", "axial", "coronal", "sagittal"])
@pytest.mark.parametrize("resize", ["fit", "stretch"])
def test_a_planted_lesion_comes_back_from_dicom(tmp_path: Path, axis: str, resize: str) -> None:
    phantom = write_dicom_series(tmp_path / "series", phantom_scan())
    result = medzsad.detect(
        tmp_path / "series", detector=BrightnessDetector(), axis=axis, resize=resize, threshold=0.75, window="0,1000"
    )
    _largest_is_on_the_lesion_in_world(result, phantom)


def test_a_healthy_phantom_ends_as_no_lesion_with_an_empty_mask() -> None:
    phantom = phantom_scan(lesion=False)
    result = detect_scan(phantom.scan, BrightnessDetector(), make_config({"threshold": 1.0, "window": "0,100000"}))
    assert result.outcome == Outcome.NO_LESION
    assert result.mask is not None
    assert result.mask.sum() == 0
    assert result.lesions == ()


def test_scores_do_not_depend_on_the_batch_size() -> None:
    phantom = phantom_scan()
    results = [detect_scan(phantom.scan, BrightnessDetector(), make_config({"batch_size": n})) for n in (1, 3, 64)]
    for other in results[1:]:
        assert np.array_equal(results[0].score, other.score)


def test_a_long_stack_can_be_scored_in_steps_and_says_so() -> None:
    phantom = phantom_scan()
    options = {"threshold": 0.75, "window": "0,1000"}
    whole, thin = (
        medzsad.detect(phantom.scan, detector=BrightnessDetector(), slice_step=step, **options) for step in (1, 2)
    )
    _largest_is_on_the_lesion(thin, phantom)
    scored = [entry.index for entry in thin.slices if entry.scored]
    assert 0 < len(scored) < sum(entry.scored for entry in whole.slices)
    assert whole.score is not None
    assert thin.score is not None
    at = np.take(thin.score, scored, axis=thin.slice_axis) == np.take(whole.score, scored, axis=whole.slice_axis)
    assert at.all()
    assert any("interpolated" in note for note in thin.notes)
    assert not any("interpolated" in note for note in whole.notes)


def test_only_slices_with_tissue_are_scored_and_the_others_are_zero() -> None:
    phantom = phantom_scan()
    voxels = phantom.scan.voxels.copy()
    voxels[:, :, :2] = 0.0
    scan = Scan("case", voxels, phantom.scan.affine_ras, "MR", 2, Source("array"))
    detector = BrightnessDetector()
    result = detect_scan(scan, detector, make_config({}))
    assert result.score is not None
    assert result.score[:, :, :2].max() == 0.0
    assert not result.slices[0].scored
    assert detector.seen == sum(entry.scored for entry in result.slices)


def test_smoothing_spreads_a_score_by_millimeters_along_all_axes() -> None:
    phantom = phantom_scan()
    sharp = detect_scan(phantom.scan, BrightnessDetector(), make_config({}))
    smooth = detect_scan(phantom.scan, BrightnessDetector(), make_config({"smooth_mm": 4.0}))
    assert sharp.score is not None
    assert smooth.score is not None
    assert smooth.score.std() < sharp.score.std()
    assert abs(float(smooth.score.mean() / sharp.score.mean()) - 1.0) < 0.1


def test_small_components_are_dropped_by_volume() -> None:
    phantom = phantom_scan()
    options = {"threshold": 0.75, "window": "0,1000"}
    kept = detect_scan(phantom.scan, BrightnessDetector(), make_config(options))
    dropped = detect_scan(phantom.scan, BrightnessDetector(), make_config({**options, "min_volume_mm3": 1e6}))
    assert kept.outcome == Outcome.LESION
    assert dropped.outcome == Outcome.NO_LESION


def test_without_any_threshold_the_user_is_told_to_give_one() -> None:
    with pytest.raises(ConfigError, match="threshold"):
        detect_scan(phantom_scan().scan, BrightnessDetector(threshold=None), make_config({}))


def test_a_folder_with_two_series_is_no_single_scan(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz")
    write_nifti(tmp_path / "b.nii.gz")
    with pytest.raises(ConfigError, match="2 series or files"):
        medzsad.detect(tmp_path, detector=BrightnessDetector())


def test_a_refused_scan_raises_its_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.nii.gz").touch()
    with pytest.raises(RefusedError) as caught:
        medzsad.detect(tmp_path / "empty.nii.gz", detector=BrightnessDetector())
    assert caught.value.code == "FILE_EMPTY"


def test_a_mask_of_every_axis_order_is_the_same_in_the_world(tmp_path: Path) -> None:
    reference = phantom_scan(axcodes="RAS")
    expected = detect_scan(reference.scan, BrightnessDetector(), make_config({"axis": "axial"}))
    for axcodes in ("LPS", "SRP", "AIL"):
        phantom = phantom_scan(axcodes=axcodes)
        result = detect_scan(phantom.scan, BrightnessDetector(), make_config({"axis": "axial"}))
        turned = nib.as_closest_canonical(nib.Nifti1Image(result.mask, phantom.scan.affine_ras))
        assert np.array_equal(np.asarray(turned.dataobj), expected.mask)


def test_options_that_would_do_nothing_are_refused() -> None:
    scan = phantom_scan().scan
    with pytest.raises(ConfigError, match="samples"):
        medzsad.detect(scan, detector=BrightnessDetector(), samples=3)
    with pytest.raises(ConfigError, match="workers would do nothing"):
        medzsad.detect(scan, detector=BrightnessDetector(), workers=2)
    with pytest.raises(ConfigError, match="all-frames"):
        medzsad.detect(scan, detector=BrightnessDetector(), all_frames=True)


def test_a_scan_in_memory_is_checked_like_one_from_a_file() -> None:
    phantom = phantom_scan()
    voxels = np.full_like(phantom.scan.voxels, np.nan)
    scan = Scan("case", voxels, phantom.scan.affine_ras, "MR", 2, Source("array"))
    with pytest.raises(RefusedError) as caught:
        medzsad.detect(scan, detector=BrightnessDetector())
    assert caught.value.code == "VALUES_NOT_FINITE"


def test_a_modality_given_by_the_user_counts_everywhere_and_is_noted() -> None:
    phantom = phantom_scan(modality="")
    result = medzsad.detect(phantom.scan, detector=BrightnessDetector(), modality="ct")
    assert result.window["name"] == "soft-tissue"
    assert result.scan is not None
    assert result.scan.modality == "CT"
    assert any("given by the user" in note for note in result.notes)


def test_a_ct_window_on_another_modality_is_a_warning() -> None:
    result = medzsad.detect(phantom_scan().scan, detector=BrightnessDetector(), window="lung")
    assert ["not Hounsfield units" in warning for warning in result.warnings] == [True]


def test_a_ct_without_air_is_a_warning_and_one_with_air_is_not() -> None:
    scan = phantom_scan(modality="CT").scan
    without_air = replace(scan, voxels=np.maximum(scan.voxels, -100.0))
    with_air = replace(scan, voxels=np.where(scan.voxels > scan.voxels.min(), scan.voxels, np.float32(-1000.0)))
    warned = medzsad.detect(without_air, detector=BrightnessDetector()).warnings
    assert ["rescale intercept" in one for one in warned] == [True]
    assert medzsad.detect(with_air, detector=BrightnessDetector()).warnings == ()


def test_a_scan_of_which_nothing_was_scored_is_refused_and_never_healthy() -> None:
    scan = phantom_scan(modality="CT").scan
    # Stored values of an anonymized CT, 0 to 254, after an intercept that was not theirs: all of it is "air".
    low = scan.voxels.min()
    shifted = (scan.voxels - low) / (scan.voxels.max() - low) * np.float32(254.0) - np.float32(1024.0)
    wrong = replace(scan, voxels=shifted)
    with pytest.raises(RefusedError, match="between -1024 and -770 HU") as caught:
        medzsad.detect(wrong, detector=BrightnessDetector())
    assert caught.value.code == "NOTHING_SCORED"
    assert "--window percentiles" in str(caught.value)
    for window in ("percentiles", "-1024,-770"):
        # What the message advises works.
        result = medzsad.detect(wrong, detector=BrightnessDetector(), window=window)
        assert sum(one.scored for one in result.slices) > 0


def test_a_picture_has_pixels_and_nothing_in_millimeters() -> None:
    scan = replace(phantom_scan().scan, has_physical_space=False)
    result = medzsad.detect(scan, detector=BrightnessDetector(), window="0,1000", threshold=0.75, min_volume_mm3=2)
    lesion = result.lesions[0]
    assert (lesion.volume_mm3, lesion.centroid_lps_mm, lesion.centroid_ras_mm) == (None, None, None)
    assert lesion.voxel_count >= 2
    assert any("counted its pixels" in warning for warning in result.warnings)
