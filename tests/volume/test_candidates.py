"""Features of candidates: right on shapes whose values are known, and the same however the arrays lie."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from medzsad.volume.candidates import FEATURES, Candidates, Gray, candidates_of, is_picture, measure_candidates
from medzsad.volume.records import CaseResult, Outcome
from tests.phantoms import phantom_scan

SPACING_MM = (1.0, 2.0, 3.0)


def _feature(found: Candidates, name: str) -> NDArray[np.float64]:
    return found.features[:, FEATURES.index(name)]


def _volume() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A body of 100 with a texture of known spread, and a block of 130 whose score is 0.9, once 0.95."""
    gray = np.zeros((30, 24, 12), np.float32)
    gray[2:28, 2:22, 1:11] = 90.0
    gray[2:28:2, 2:22, 1:11] = 110.0
    score = np.full(gray.shape, 0.1, np.float32)
    gray[10:14, 8:12, 4:7] = 130.0
    score[10:14, 8:12, 4:7] = 0.9
    score[10, 8, 4] = 0.95
    return gray, score


def _measured(gray: NDArray[np.float32], score: NDArray[np.float32], axis: int = 2) -> Candidates:
    return measure_candidates(score >= 0.5, score, Gray(gray, 0.0, 200.0, 20.0), spacing_mm=SPACING_MM, slice_axis=axis)


def test_a_block_has_the_features_that_can_be_worked_out_by_hand() -> None:
    found = _measured(*_volume())
    assert found.voxel_count.tolist() == [48]
    assert _feature(found, "max_logit")[0] == pytest.approx(math.log(0.95 / 0.05), abs=1e-4)
    mean = (47 * 0.9 + 0.95) / 48
    assert _feature(found, "mean_logit")[0] == pytest.approx(math.log(mean / (1 - mean)), abs=1e-4)
    assert _feature(found, "log_size")[0] == pytest.approx(math.log10(48 * 6.0), abs=1e-4)
    assert _feature(found, "log_extent_mm")[0] == pytest.approx(math.log10(9.0), abs=1e-4)
    # The shell is half of 90 and half of 110; the middle two thirds of the foreground span 20.
    assert _feature(found, "contrast")[0] == pytest.approx(3.0, abs=0.1)
    assert _feature(found, "agreement")[0] == 1.0
    assert 0.3 < _feature(found, "depth")[0] <= 1.0


def test_a_spot_that_flickers_from_slice_to_slice_agrees_less_than_one_that_goes_through() -> None:
    gray, score = _volume()
    lonely = score.copy()
    lonely[:, :, 4] = lonely[:, :, 6] = 0.1
    assert _feature(_measured(gray, lonely), "agreement").tolist() == [0.0]
    half = score.copy()
    half[10:12, :, 5] = 0.1
    # Slices of 16, 8 and 16 pixels, of which 8, 8 and 8 go on.
    assert _feature(_measured(gray, half), "agreement")[0] == pytest.approx((0.5 + 1.0 + 0.5) / 3, abs=1e-4)


def test_air_beside_a_spot_is_no_contrast() -> None:
    gray, score = _volume()
    gray[:10] = 0.0
    outside = np.full_like(score, 0.1)
    outside[2, 12, 5] = 0.9  # air in air: no tissue within 3 mm
    assert _feature(_measured(gray, outside), "contrast").tolist() == [0.0]


def test_depth_grows_from_the_surface_to_the_middle() -> None:
    gray, _ = _volume()
    score = np.full(gray.shape, 0.1, np.float32)
    score[2:4, 11, 5] = 0.9
    score[14:17, 11, 5] = 0.9
    depth = _feature(_measured(gray, score), "depth")  # the larger one, in the middle, comes first
    assert depth[0] > 2 * depth[1]


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 0, 1), (0, 2, 1)])
def test_features_do_not_depend_on_the_order_of_the_axes(order: tuple[int, int, int]) -> None:
    gray, score = _volume()
    score[20:22, 15:18, 8] = 0.8
    expected = _measured(gray, score)
    spacing = tuple(SPACING_MM[axis] for axis in order)
    turned = measure_candidates(
        score.transpose(order) >= 0.5,
        score.transpose(order),
        Gray(gray.transpose(order), 0.0, 200.0, 20.0),
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        slice_axis=order.index(2),
    )
    assert turned.voxel_count.tolist() == expected.voxel_count.tolist()
    np.testing.assert_allclose(turned.features, expected.features, atol=1e-5)


def test_a_volume_of_many_planes_is_measured_as_a_whole() -> None:
    gray, score = _volume()
    long_gray, long_score = (np.concatenate([part, part[::-1], part], axis=0) for part in (gray, score))
    found = _measured(long_gray, long_score)
    assert len(found) == 3
    # The middle block lies across the planes that are measured together.
    assert np.ptp(_feature(found, "contrast")) < 0.05


def test_a_picture_counts_its_size_as_a_share_of_the_foreground_and_has_no_extent() -> None:
    gray, score = np.zeros((20, 20, 1), np.float32), np.zeros((20, 20, 1), np.float32)
    gray[2:18, 2:18] = 100.0
    score[5:9, 5:9] = 0.9
    found = measure_candidates(score >= 0.5, score, Gray(gray, 0.0, 255.0, 20.0), spacing_mm=None, slice_axis=2)
    assert _feature(found, "log_size")[0] == pytest.approx(math.log10(16 / 256), abs=1e-4)
    assert _feature(found, "log_extent_mm")[0] == 0.0
    assert _feature(found, "agreement")[0] == 1.0
    color = np.repeat(gray[..., None], 3, axis=3)
    same = measure_candidates(score >= 0.5, score, Gray(color, 0.0, 255.0, 20.0), spacing_mm=None, slice_axis=2)
    np.testing.assert_allclose(same.features, found.features, atol=1e-5)


def test_no_candidate_is_no_row() -> None:
    gray, score = _volume()
    found = measure_candidates(score > 2, score, Gray(gray, 0.0, 200.0, 20.0), spacing_mm=SPACING_MM, slice_axis=2)
    assert found.features.shape == (0, len(FEATURES))
    assert len(found) == 0


def test_a_saturated_score_has_a_finite_logit() -> None:
    gray, score = _volume()
    score[score > 0.5] = 1.0
    assert np.isfinite(_measured(gray, score).features).all()


def test_a_scan_without_millimeters_or_of_one_slice_is_a_picture() -> None:
    scan = phantom_scan().scan
    assert not is_picture(scan)
    assert is_picture(replace(scan, has_physical_space=False))
    assert is_picture(replace(scan, voxels=scan.voxels[:, :, :1]))


def test_a_result_is_measured_at_a_threshold_of_ones_own() -> None:
    phantom = phantom_scan()
    score = np.where(phantom.lesion_mask, np.float32(0.6), np.float32(0.1))
    result = CaseResult(
        "case", Outcome.NO_LESION, scan=phantom.scan, score=score, threshold=0.9,
        window={"low": 0.0, "high": 1000.0, "tissue_level": 100.0},
    )  # fmt: skip
    assert candidates_of(result, 0.5).voxel_count.tolist() == [int(phantom.lesion_mask.sum())]
    assert len(candidates_of(result, 0.7)) == 0
