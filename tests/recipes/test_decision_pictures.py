"""Pictures that a decision is fitted on: how slices lie on the screen, and that masks go with them."""

import numpy as np
import pytest

from medzsad.phantoms import make_phantom
from medzsad.scan.records import Scan, Source
from medzsad.volume.candidates import is_picture
from recipes.medzsad_mini.decision_pictures import LabeledScan, organ_picture, slice_pictures


def _labeled(axis: int) -> LabeledScan:
    """A volume (40, 50, 60) in RAS+ that is brightest at the right anterior upper corner, where its lesion is."""
    ramps = np.meshgrid(*(np.linspace(0.2, 1.0, n) for n in (40, 50, 60)), indexing="ij")
    voxels = (ramps[0] * ramps[1] * ramps[2]).astype(np.float32)
    mask = np.zeros(voxels.shape, bool)
    mask[34:, 42:, 50:] = True
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    return LabeledScan(Scan("ramp", voxels, affine, "MR", axis, Source(kind="array")), mask)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_right_is_left_and_anterior_or_superior_is_up(axis: int) -> None:
    pictures = list(slice_pictures(_labeled(axis), seed=1))
    assert len(pictures) == 2
    for one in pictures:
        rows, truth = one.scan.voxels[:, :, 0].T, one.mask[:, :, 0].T
        height, width = (side // 2 for side in rows.shape)
        assert rows[:height, :width].mean() == max(
            part.mean() for half in (rows[:height], rows[height:]) for part in (half[:, :width], half[:, width:])
        )
        assert truth[:height, :width].sum() == truth.sum() > 0


def test_pixels_are_square_where_voxels_are_not() -> None:
    labeled = _labeled(axis=2)
    scan = labeled.scan
    flat = Scan("flat", scan.voxels, np.diag([1.0, 4.0, 3.0, 1.0]), "MR", 2, scan.source)
    width, height = next(slice_pictures(LabeledScan(flat, labeled.mask), seed=3)).scan.shape[:2]
    assert height / width == pytest.approx(50 * 4 / 40, rel=0.05)


def test_healthy_heads_give_slices_with_tissue_and_empty_masks() -> None:
    phantom = make_phantom(2, lesion=False)
    pictures = list(slice_pictures(LabeledScan(phantom.scan(), phantom.mask), seed=2))
    assert len(pictures) == 2
    for one in pictures:
        assert is_picture(one.scan)
        assert not one.mask.any()
        assert one.scan.voxels.max() <= 255.0
        assert (one.scan.voxels > 25).mean() > 0.1


@pytest.mark.parametrize("lesion", [False, True])
def test_organs_have_lesions_as_asked_and_are_the_same_every_time(lesion: bool) -> None:
    first, second = (organ_picture(11, lesion) for _ in range(2))
    assert first.mask.any() == lesion
    assert first.mask.shape == first.scan.shape
    assert np.array_equal(first.scan.voxels, second.scan.voxels)
