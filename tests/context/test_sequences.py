"""The scores of several scans in one grid: where they come to lie, and what counts where one has none."""

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from medzsad.context.sequences import SequenceScore, common_share, fuse_sequences, scored_voxels

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


def _sequence(score: NDArray[np.float32], affine: NDArray[np.float64] = AFFINE) -> SequenceScore:
    return SequenceScore(score, np.ones(score.shape, bool), affine)


def _blob(shape: tuple[int, int, int], affine: NDArray[np.float64]) -> NDArray[np.float32]:
    """High within 8 mm around (30, 24, 30)."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    world = nib.affines.apply_affine(affine, index)
    return np.where(np.linalg.norm(world - (30, 24, 30), axis=-1) < 8, 0.9, 0.1).astype(np.float32)


def test_equal_grids_give_the_mean_of_the_logits() -> None:
    first, second = np.full((3, 4, 5), 0.9, np.float32), np.full((3, 4, 5), 0.1, np.float32)
    fused = fuse_sequences([_sequence(first), _sequence(second), _sequence(first)], (3, 4, 5), AFFINE)
    assert fused == pytest.approx(1 / (1 + np.exp(-np.log(9) / 3)), abs=1e-5)


def test_what_a_scan_has_not_scored_does_not_count() -> None:
    first, second = (_sequence(np.full((3, 4, 5), value, np.float32)) for value in (0.8, 0.2))
    second.scored[1:] = False
    first.scored[2] = False
    fused = fuse_sequences([first, second], (3, 4, 5), AFFINE)
    assert fused[0] == pytest.approx(0.5, abs=1e-5)
    assert fused[1] == pytest.approx(0.8, abs=1e-5)
    assert not fused[2].any()


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "SAL"])
def test_another_grid_lands_where_its_affine_says(axcodes: str) -> None:
    shape, wanted = (24, 20, 16), (40, 33, 24)
    fine = np.diag([1.5, 1.5, 2.5, 1.0])
    fine[:3, 3] = (-1.0, -0.5, -2.0)
    fine[:3, :3] = fine[:3, :3] @ np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]])
    change = nib.orientations.axcodes2ornt(tuple(axcodes))
    affine = np.diag([3.0, 3.0, 4.0, 1.0])
    score = nib.orientations.apply_orientation(_blob(shape, affine), change)
    turned = affine @ nib.orientations.inv_ornt_aff(change, shape)
    fused = fuse_sequences([_sequence(np.asarray(score), turned)], wanted, fine)
    truth = _blob(wanted, fine) > 0.5
    found = fused > 0.5
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.8


def test_a_field_of_view_ends_half_a_voxel_beyond_its_outermost_centers() -> None:
    coarse = _sequence(np.full((2, 2, 2), 0.9, np.float32), np.diag([4.0, 4.0, 4.0, 1.0]))
    fine = np.eye(4)
    fine[:3, 3] = -3.0
    covered = fuse_sequences([coarse], (12, 12, 12), fine) > 0
    assert np.flatnonzero(covered.any(axis=(1, 2))).tolist() == list(range(1, 10))  # -2 to 6 mm


def test_fields_of_view_are_compared_by_what_the_smaller_one_has_in_common() -> None:
    shifted = AFFINE.copy()
    shifted[0, 3] = 10.0
    shapes = ((10, 10, 10), (10, 10, 10))
    assert common_share(shapes, (AFFINE, AFFINE)) == 1.0
    assert common_share(shapes, (AFFINE, shifted)) == pytest.approx(0.5, abs=0.03)
    assert common_share(((10, 10, 10), (40, 40, 40)), (AFFINE, AFFINE)) == 1.0
    shifted[0, 3] = 100.0
    assert common_share(shapes, (AFFINE, shifted)) == 0.0


def test_air_and_slices_without_tissue_are_not_scored() -> None:
    outside = np.zeros((3, 4, 5), bool)
    outside[0, 0] = True
    scored = scored_voxels((3, 4, 5), np.array([3, 1]), 1, outside)
    assert scored[:, [1, 3]].all()
    assert scored.sum() == 3 * 2 * 5
    assert not scored_voxels((3, 4, 5), np.array([0]), 1, outside)[0, 0].any()
