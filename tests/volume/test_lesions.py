"""Connected components of a mask and their figures."""

import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from medzsad.scan.records import Scan, Source
from medzsad.volume.lesions import find_lesions, label_lesions
from tests.phantoms import all_axcodes, phantom_scan

OBLIQUE = (12.0, -23.0, 31.0)


def _random_case(
    seed: int, shape: tuple[int, int, int] = (9, 11, 7)
) -> tuple[Scan, NDArray[np.bool_], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    scan = phantom_scan((20, 24, 8), oblique_degrees=OBLIQUE).scan
    scan = replace(scan, voxels=np.zeros(shape, dtype=np.float32))
    score = rng.random(shape, dtype=np.float32)
    return scan, score > 0.85, score


@pytest.mark.parametrize("seed", range(6))
def test_figures_equal_those_of_a_slow_plain_loop(seed: int) -> None:
    scan, candidate, score = _random_case(seed)
    spread = 0.1 * score[::-1]
    mask, lesions = find_lesions(candidate, score, spread, scan, slice_axis=1)
    labels, count = ndimage.label(candidate, structure=np.ones((3, 3, 3)))
    plain = [np.argwhere(labels == number) for number in range(1, count + 1)]
    plain.sort(key=lambda index: (-len(index), index[0].tolist()))
    voxel_mm3 = np.prod(scan.spacing_mm)
    assert np.array_equal(mask, candidate)
    assert len(lesions) == count > 3
    for number, (lesion, index) in enumerate(zip(lesions, plain, strict=True), start=1):
        values = score[tuple(index.T)]
        centroid = index.mean(axis=0)
        ras = scan.affine_ras @ [*centroid, 1]
        assert lesion.index == number
        assert lesion.voxel_count == len(index)
        assert lesion.volume_mm3 == pytest.approx(len(index) * voxel_mm3)
        assert lesion.max_score == values.max()
        assert lesion.mean_score == pytest.approx(values.mean(), abs=1e-6)
        assert lesion.mean_spread == pytest.approx(spread[tuple(index.T)].mean(), abs=1e-6)
        assert lesion.centroid_index == pytest.approx(centroid)
        assert lesion.centroid_ras_mm == pytest.approx(ras[:3])
        assert lesion.centroid_lps_mm == pytest.approx([-ras[0], -ras[1], ras[2]])
        assert lesion.bounding_box == tuple(zip(index.min(axis=0), index.max(axis=0), strict=True))
        assert (lesion.slice_first, lesion.slice_last) == lesion.bounding_box[1]


@pytest.mark.parametrize("axcodes", all_axcodes())
def test_centroid_lies_on_the_lesion_in_every_orientation(axcodes: str) -> None:
    phantom = phantom_scan((20, 26, 8), axcodes=axcodes, oblique_degrees=OBLIQUE)
    score = phantom.lesion_mask.astype(np.float32)
    _, lesions = find_lesions(phantom.lesion_mask, score, None, phantom.scan, slice_axis=2)
    assert lesions[0].centroid_ras_mm == pytest.approx(phantom.lesion_centroid_ras_mm, abs=1e-6)
    assert lesions[0].mean_spread is None


def test_components_that_are_too_small_leave_the_mask_and_equal_size_stays() -> None:
    scan = phantom_scan((20, 24, 8), spacing_mm=(1.5, 1.25, 4.0)).scan  # 7.5 mm3 per voxel
    candidate = np.zeros(scan.shape, dtype=bool)
    candidate[2:5, 3, 1] = True
    candidate[10, 10:12, 6] = True
    candidate[15, 20, 4] = True
    mask, lesions = find_lesions(candidate, candidate.astype(np.float32), None, scan, 2, min_volume_mm3=15.0)
    assert [lesion.voxel_count for lesion in lesions] == [3, 2]
    assert mask.sum() == 5
    assert mask[15, 20, 4] == 0
    assert mask.dtype == np.uint8


def test_voxels_that_touch_by_a_corner_are_one_lesion() -> None:
    scan = phantom_scan((20, 24, 8)).scan
    candidate = np.zeros(scan.shape, dtype=bool)
    candidate[3, 4, 5] = candidate[4, 5, 6] = True
    assert len(find_lesions(candidate, candidate.astype(np.float32), None, scan, 2)[1]) == 1


def test_an_empty_mask_gives_no_lesions() -> None:
    scan = phantom_scan((20, 24, 8)).scan
    nothing = np.zeros(scan.shape, dtype=bool)
    mask, lesions = find_lesions(nothing, np.zeros(scan.shape, dtype=np.float32), None, scan, 0)
    assert lesions == ()
    assert mask.shape == scan.shape
    assert not mask.any()


def test_only_acquired_slices_that_a_lesion_touches_are_named() -> None:
    scan = phantom_scan((20, 24, 8)).scan
    uids = ("1.0", "1.1", "1.2", "", "1.4", "1.4", "1.6", "1.7")
    scan = replace(scan, source=Source(kind="dicom", sop_instance_uids=uids))
    candidate = np.zeros(scan.shape, dtype=bool)
    candidate[3, 4, 2:6] = True
    _, lesions = find_lesions(candidate, candidate.astype(np.float32), None, scan, slice_axis=0)
    assert lesions[0].sop_instance_uids == ("1.2", "1.4")
    assert (lesions[0].slice_first, lesions[0].slice_last) == (3, 3)


def test_labels_count_as_the_lesions_do() -> None:
    scan, candidate, score = _random_case(9)
    _, lesions = find_lesions(candidate, score, None, scan, slice_axis=2)
    labels, box = label_lesions(candidate)
    whole = np.zeros(candidate.shape, dtype=np.int32)
    whole[box] = labels
    for lesion in lesions:
        assert np.count_nonzero(whole == lesion.index) == lesion.voxel_count


def test_thousands_of_lesions_take_seconds_not_minutes() -> None:
    scan = phantom_scan((20, 24, 8)).scan
    scan = replace(scan, voxels=np.zeros((128, 130, 120), dtype=np.float32))
    candidate = np.zeros(scan.shape, dtype=bool)
    candidate[3::7, 2::7, 5::7] = True
    start = time.perf_counter()
    _, lesions = find_lesions(candidate, candidate.astype(np.float32), None, scan, 2)
    assert len(lesions) > 5000
    # One pass over two million voxels per component would take minutes.
    assert time.perf_counter() - start < 10


def test_a_lesion_names_the_instance_numbers_of_the_acquired_slices_that_it_touches() -> None:
    @dataclass(frozen=True)
    class Numbered:
        sop_instance_uids: tuple[str, ...]
        instance_numbers: tuple[int | None, ...]

    phantom = phantom_scan((20, 26, 8))
    k = np.flatnonzero(phantom.lesion_mask.any(axis=(0, 1)))
    numbers: list[int | None] = [40 - n for n in range(8)]  # counted from the other end, as scanners do
    numbers[int(k[0])] = None  # a slice that was not acquired
    scan = replace(phantom.scan, source=Numbered((), tuple(numbers)))  # type: ignore[arg-type]
    score = phantom.lesion_mask.astype(np.float32)
    _, lesions = find_lesions(phantom.lesion_mask, score, None, scan, slice_axis=0)
    assert (lesions[0].instance_first, lesions[0].instance_last) == (40 - k[-1], 40 - k[1])
    _, lesions = find_lesions(phantom.lesion_mask, score, None, phantom.scan, slice_axis=0)
    assert (lesions[0].instance_first, lesions[0].instance_last) == (None, None)


def test_without_physical_space_a_lesion_has_voxels_and_no_millimeters() -> None:
    scan, candidate, score = _random_case(1)
    _, expected = find_lesions(candidate, score, None, scan, slice_axis=2)
    flat = replace(scan, has_physical_space=False)
    _, lesions = find_lesions(candidate, score, None, flat, slice_axis=2)
    assert [lesion.voxel_count for lesion in lesions] == [lesion.voxel_count for lesion in expected]
    for lesion in lesions:
        assert (lesion.volume_mm3, lesion.centroid_lps_mm, lesion.centroid_ras_mm) == (None, None, None)
    _, large = find_lesions(candidate, score, None, flat, slice_axis=2, min_volume_mm3=2.0)
    assert [lesion.voxel_count for lesion in large] == [n.voxel_count for n in expected if n.voxel_count >= 2]
