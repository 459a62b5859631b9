"""Slices on the way in and back."""

import numpy as np
import pytest
import torch

from medzsad.config import Axis, ResizeRule
from medzsad.scan.records import Scan, Source
from medzsad.slices.stack import stack_slices
from medzsad.slices.transforms import plan_slices
from tests.phantoms import all_axcodes, phantom_scan


def _scan(voxels: np.ndarray, affine: np.ndarray | None = None, **fields: object) -> Scan:
    affine = np.diag([1.0, 1.2, 3.0, 1.0]) if affine is None else affine
    values: dict[str, object] = {"modality": "MR", "acquisition_axis": None, "source": Source("array")}
    return Scan("case", voxels.astype(np.float32), affine, **(values | fields))  # type: ignore[arg-type]


def _mean_index(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(axis=0)


@pytest.mark.parametrize("axcodes", all_axcodes())
@pytest.mark.parametrize("resize", ["fit", "stretch"])
def test_a_stack_restores_the_lesion_to_its_voxels(axcodes: str, resize: ResizeRule) -> None:
    phantom = phantom_scan(shape=(40, 46, 11), axcodes=axcodes)
    for axis in ("acquisition", "axial", "coronal", "sagittal"):
        stack = stack_slices(phantom.scan, size=80, axis=axis, resize=resize)  # type: ignore[arg-type]
        lesion = stack_slices(_as_scan(phantom), size=80, axis=axis, resize=resize, window="0,1")  # type: ignore[arg-type]
        planes = np.stack([lesion.gray(s).numpy() for s in range(len(lesion))])
        restored = lesion.restore(planes)
        assert restored.shape == phantom.scan.shape
        assert len(stack) == phantom.scan.shape[stack.plan.axis]
        shift = _mean_index(restored > 0.5) - _mean_index(phantom.lesion_mask)
        assert np.abs(shift).max() < 0.5


def _as_scan(phantom: object) -> Scan:
    scan = phantom.scan  # type: ignore[attr-defined]
    return Scan("lesion", phantom.lesion_mask.astype(np.float32), scan.affine_ras, "MR", None, scan.source)  # type: ignore[attr-defined]


@pytest.mark.parametrize("axcodes", ["LPS", "RAS", "SRP", "AIL", "IPR"])
def test_axial_slices_show_anterior_on_top_and_the_patients_right_on_the_left(axcodes: str) -> None:
    phantom = phantom_scan(axcodes=axcodes)
    stack = stack_slices(_as_scan(phantom), size=96, axis="axial", window="0,1")
    planes = np.stack([stack.gray(s).numpy() for s in range(len(stack))])
    _, row, column = _mean_index(planes > 0.5)
    # The phantom's lesion lies left of and anterior to the center of the body.
    assert row < 96 / 2
    assert column > 96 / 2


def test_fit_keeps_millimeters_true_and_stretch_fills_the_square() -> None:
    scan = _scan(np.random.default_rng(0).random((30, 60, 4)) + 1)
    fit = stack_slices(scan, size=64, resize="fit")
    stretch = stack_slices(scan, size=64, resize="stretch")
    _, row_mm, column_mm = fit.pixel_mm
    assert row_mm == pytest.approx(column_mm, rel=0.05)
    assert (stack_column_sums(fit) == 0).sum() > 20
    assert (stack_column_sums(stretch) == 0).sum() == 0


def stack_column_sums(stack: object) -> np.ndarray:
    return np.asarray(stack.gray(1).numpy().sum(axis=0))  # type: ignore[attr-defined]


def test_an_isotropic_slab_is_cut_along_its_thin_side() -> None:
    assert plan_slices(_scan(np.ones((40, 2, 36)), np.eye(4)), "acquisition").axis == 1


@pytest.mark.parametrize(
    ("spacing", "acquisition_axis", "expected"),
    [
        ((1.0, 1.0, 3.0), None, 2),
        ((4.0, 1.0, 1.0), None, 0),
        ((1.0, 1.0, 1.0), None, 2),
        ((1.0, 1.0, 1.0), 1, 1),
        ((1.0, 5.0, 1.0), 2, 1),
    ],
)
def test_acquisition_takes_the_axis_with_the_best_in_plane_resolution(
    spacing: tuple[float, float, float], acquisition_axis: int | None, expected: int
) -> None:
    scan = _scan(np.ones((8, 9, 10)), np.diag([*spacing, 1.0]), acquisition_axis=acquisition_axis)
    assert plan_slices(scan, "acquisition").axis == expected


@pytest.mark.parametrize(("axis", "plane"), [("axial", "axial"), ("coronal", "coronal"), ("sagittal", "sagittal")])
def test_a_named_plane_is_cut_whatever_the_axis_order(axis: Axis, plane: str) -> None:
    for axcodes in all_axcodes():
        plan = plan_slices(phantom_scan(axcodes=axcodes).scan, axis)
        letter = {"axial": "SI", "coronal": "AP", "sagittal": "LR"}[plane]
        assert plan.plane == plane
        assert axcodes[plan.axis] in letter


def test_slices_without_tissue_are_known_and_not_handed_out() -> None:
    voxels = np.zeros((20, 22, 6))
    voxels[4:16, 5:17, 2:5] = np.random.default_rng(1).uniform(90, 110, (12, 12, 3))
    stack = stack_slices(_scan(voxels), size=32)
    handed = np.concatenate([positions for positions, _ in stack.batches(2)])
    assert sorted(stack.indices[handed]) == [2, 3, 4]


def test_every_so_many_slices_are_chosen_and_the_last_of_each_run() -> None:
    voxels = np.random.default_rng(1).uniform(90, 110, (12, 12, 14))
    stack = stack_slices(_scan(voxels, acquisition_axis=2, missing_slices=(9,)), size=32)
    assert stack.indices.tolist() == list(range(14))
    assert stack.chosen(1).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13]
    assert stack.chosen(3).tolist() == [0, 3, 6, 8, 10, 13]
    assert stack.chosen(50).tolist() == [0, 8, 10, 13]
    handed = np.concatenate([positions for positions, _ in stack.batches(4, step=3)])
    assert handed.tolist() == stack.chosen(3).tolist()


def test_slices_that_were_not_acquired_are_not_handed_out() -> None:
    voxels = np.random.default_rng(1).uniform(90, 110, (12, 12, 6))
    stack = stack_slices(_scan(voxels, acquisition_axis=2, missing_slices=(1, 4)), size=32)
    assert sorted(stack.indices[stack.tissue]) == [0, 2, 3, 5]


def test_images_are_normalized_with_clips_mean_and_standard_deviation() -> None:
    voxels = np.full((10, 10, 3), 7.0)
    voxels[:, 8:] = 0.0
    stack = stack_slices(_scan(voxels), size=14, window="0,7", resize="stretch")
    _, images = next(stack.batches(8))
    assert images.shape == (3, 3, 14, 14)
    expected = [(1 - 0.48145466) / 0.26862954, (1 - 0.4578275) / 0.26130258, (1 - 0.40821073) / 0.27577711]
    assert torch.allclose(images[0, :, 3, 3], torch.tensor(expected))


def test_color_keeps_its_three_channels() -> None:
    voxels = np.zeros((10, 12, 1, 3))
    voxels[..., 0] = 255.0
    scan = _scan(voxels, np.diag([-1.0, -1.0, 1.0, 1.0]), modality="PICTURE")
    stack = stack_slices(scan, size=24)
    gray = stack.gray(0)
    assert gray.shape == (3, 24, 24)
    assert gray[0].max() == 1.0
    assert gray[1:].max() == 0.0
