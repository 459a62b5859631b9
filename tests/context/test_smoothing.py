"""Smoothing along the slicing axis: in millimeters, without pull from empty slices."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from medzsad.context.smoothing import smooth_along_axis
from medzsad.slices.stack import SliceStack, stack_slices
from tests.phantoms import phantom_scan

SIZE = 32


def _stack(empty: slice | None = None, slice_mm: float = 4.0) -> SliceStack:
    scan = phantom_scan(shape=(40, 44, 21), spacing_mm=(1.5, 1.25, slice_mm)).scan
    voxels = scan.voxels.copy()
    voxels[:, :, 10] = np.maximum(voxels[:, :, 10], 1.0)
    if empty is not None:
        voxels[:, :, empty] = 0.0
    return stack_slices(replace(scan, voxels=voxels), size=SIZE)


def _scores(stack: SliceStack, value: float = 0.5) -> NDArray[np.float32]:
    scores = np.full((len(stack), SIZE, SIZE), value, np.float32)
    scores[~stack.tissue] = 0.0
    return scores


@pytest.mark.parametrize("sigma_mm", [2.0, 8.0, 30.0])
def test_even_scores_stay_what_they_are_up_to_both_ends_and_beside_empty_slices(sigma_mm: float) -> None:
    stack = _stack(empty=slice(7, 9))
    assert 0 < stack.tissue.sum() < len(stack)
    scores = _scores(stack)
    assert np.allclose(smooth_along_axis(stack, scores, sigma_mm), scores, atol=1e-6)


def test_smoothing_does_not_move_a_lesion_and_evens_out_flicker() -> None:
    stack = _stack()
    scores = _scores(stack, 0.1)
    scores[7:14, 10:14, 20:24] = np.array([0.9, 0.4, 0.9, 0.9, 0.9, 0.4, 0.9])[:, None, None]
    smoothed = smooth_along_axis(stack, scores, 6.0)
    weights = [np.maximum(volume[:, 12, 22] - 0.1, 0) for volume in (scores, smoothed)]
    centers = [float(np.arange(len(stack)) @ weight / weight.sum()) for weight in weights]
    assert centers[1] == pytest.approx(centers[0], abs=1e-4)
    assert smoothed[8:13, 12, 22].std() < 0.5 * scores[8:13, 12, 22].std()
    # Nothing is moved within a slice.
    assert np.allclose(smoothed[:, 0, 0], scores[:, 0, 0])


def test_the_width_is_in_millimeters() -> None:
    spread = []
    for slice_mm in (2.0, 4.0):
        stack = _stack(slice_mm=slice_mm)
        scores = _scores(stack, 0.0)
        scores[10] = 1.0
        profile = smooth_along_axis(stack, scores, 5.0)[:, 5, 5].astype(np.float64)
        away_mm = (np.arange(len(stack)) - 10) * slice_mm
        spread.append(float(np.sqrt(profile @ away_mm**2 / profile.sum())))
    assert spread == pytest.approx([5.0, 5.0], rel=0.05)


def test_slices_whose_distance_was_not_measured_are_not_smoothed() -> None:
    scan = replace(phantom_scan().scan, has_physical_space=False)
    stack = stack_slices(scan, size=SIZE)
    scores = np.random.default_rng(0).random((len(stack), SIZE, SIZE)).astype(np.float32)
    assert smooth_along_axis(stack, scores, 5.0) is scores
