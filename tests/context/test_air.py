"""Air is what the volume shows around the body; dark places inside stay."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from medzsad.context.air import constant_background, outside_air
from medzsad.scan.records import Scan, Source
from medzsad.slices.window import resolve_window
from tests.phantoms import all_axcodes, phantom_scan

SHAPE, SPACING_MM = (80, 90, 40), (2.0, 2.0, 3.0)


def _radius(center: tuple[float, float, float], half_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    middle = (np.asarray(SHAPE) - 1) / 2 * SPACING_MM
    return np.asarray(np.linalg.norm((index * SPACING_MM - middle - np.asarray(center)) / np.asarray(half_mm), axis=-1))


def _scan(voxels: NDArray[np.float64], modality: str = "MR") -> Scan:
    affine = np.diag([*SPACING_MM, 1.0])
    return Scan("case", voxels.astype(np.float32), affine, modality, 2, Source("array"))


def _head(noise: float, *, air: float = 0.0, bone: float = 4.0, below_mm: float = 0.0) -> NDArray[np.float64]:
    """Scalp, dark bone, brain with dark ventricles; `below_mm` lets the end of the volume cut through the head."""
    random = np.random.default_rng(3)
    center = (0.0, 0.0, -below_mm)
    voxels = np.full(SHAPE, air)
    voxels[_radius(center, (66.0, 76.0, 56.0)) < 1] = 500.0
    voxels[_radius(center, (58.0, 68.0, 49.0)) < 1] = air + bone
    voxels[_radius(center, (52.0, 62.0, 44.0)) < 1] = 300.0
    voxels[_ventricle(below_mm)] = air + bone
    return np.asarray(np.hypot(voxels + noise * random.normal(size=SHAPE), noise * random.normal(size=SHAPE)))


def _ventricle(below_mm: float = 0.0) -> NDArray[np.bool_]:
    return _radius((14.0, 0.0, -below_mm), (8.0, 26.0, 14.0)) < 1


def _outside(scan: Scan) -> NDArray[np.bool_]:
    found = outside_air(scan, resolve_window(scan))
    assert found is not None
    return found


def _stripped() -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Two parts of a brain in an empty background, four millimeters apart, and the gap between them."""
    one, other = _radius((-28.0, 0.0, 0.0), (28.0, 50.0, 40.0)) < 1, _radius((32.0, 0.0, 0.0), (28.0, 50.0, 40.0)) < 1
    texture = np.random.default_rng(5).normal(300.0, 20.0, SHAPE)
    gap = ~one & ~other & (_radius((2.0, 0.0, 0.0), (10.0, 20.0, 16.0)) < 1)
    return np.where(one | other, texture, 0.0), gap


def test_a_gap_between_two_parts_of_a_stripped_brain_is_air() -> None:
    voxels, gap = _stripped()
    assert gap.sum() > 100
    outside = _outside(_scan(voxels))
    assert outside[gap].all()
    assert not outside[voxels > 0].any()


@pytest.mark.parametrize("dark", [0.0, 60.0])
def test_a_dark_lesion_inside_a_stripped_brain_is_not_air(dark: float) -> None:
    voxels, _ = _stripped()
    lesion = _radius((-28.0, 6.0, 0.0), (9.0, 9.0, 9.0)) < 1
    voxels[lesion] = dark
    assert not _outside(_scan(voxels))[lesion].any()


@pytest.mark.parametrize("noise", [0.0, 6.0, 15.0])
@pytest.mark.parametrize("modality", ["MR", ""])
def test_ventricles_and_bone_as_dark_as_air_are_not_air(noise: float, modality: str) -> None:
    scan = _scan(_head(noise, bone=0.0), modality)
    outside = _outside(scan)
    assert not outside[_radius((0.0, 0.0, 0.0), (60.0, 70.0, 50.0)) < 1].any()
    assert outside[_radius((0.0, 0.0, 0.0), (72.0, 82.0, 62.0)) > 1].mean() > 0.99


def test_a_head_that_the_volume_cuts_through_keeps_its_bone_at_the_cut() -> None:
    scan = _scan(_head(6.0, bone=0.0, below_mm=45.0))
    assert (scan.voxels[:, :, 0] > 200).mean() > 0.2
    outside = _outside(scan)
    assert not outside[_radius((0.0, 0.0, -45.0), (60.0, 70.0, 50.0)) < 1].any()


def test_a_hole_in_the_scalp_does_not_let_the_air_into_the_bone() -> None:
    voxels = _head(0.0, bone=0.0)
    voxels[39:41, :20, 20] = 0.0
    outside = _outside(_scan(voxels))
    inside = _radius((0.0, 0.0, 0.0), (57.0, 67.0, 48.0)) < 1
    assert voxels[39:41, :20, 20].max() == 0.0
    assert outside[inside].sum() <= 8


def test_in_ct_air_is_outside_and_lung_behind_the_chest_wall_is_not() -> None:
    body = _radius((0.0, 0.0, 0.0), (70.0, 80.0, 400.0)) < 1
    lungs = (_radius((-32.0, 0.0, 0.0), (22.0, 50.0, 400.0)) < 1) | (_radius((32.0, 0.0, 0.0), (22.0, 50.0, 400.0)) < 1)
    voxels = np.where(lungs, -850.0, np.where(body, 40.0, -1000.0)) + np.random.default_rng(1).normal(0, 20, SHAPE)
    outside = _outside(_scan(voxels, "CT"))
    assert not outside[body].any()
    assert outside[~body].mean() > 0.97


def test_a_volume_that_lies_within_the_body_has_no_air() -> None:
    voxels = np.random.default_rng(2).normal(300.0, 60.0, SHAPE)
    voxels[20:40, 30:60, 10:20] = 20.0
    scan = _scan(voxels)
    assert outside_air(scan, resolve_window(scan)) is None


def test_pictures_color_ultrasound_and_arrays_without_millimeters_have_no_air() -> None:
    scan = _scan(_head(0.0))
    window = resolve_window(scan)
    for other in (
        replace(scan, modality="PICTURE"),
        replace(scan, modality="US"),
        replace(scan, modality="OPT"),
        replace(scan, voxels=np.repeat(scan.voxels[..., None], 3, axis=3)),
        replace(scan, has_physical_space=False),
    ):
        assert outside_air(other, window) is None


def test_values_of_few_steps_are_noise_and_no_constant_background() -> None:
    noisy = np.rint(np.abs(np.random.default_rng(0).normal(0, 3.0, SHAPE))).astype(np.float32)
    noisy[20:60, 20:60, 10:30] = 200.0
    assert float(np.mean(noisy == 1.0)) > 0.05
    assert constant_background(noisy) is None
    assert constant_background(np.where(noisy == 200.0, noisy, np.float32(-7.0))) == -7.0


@pytest.mark.parametrize("degrees", [(0.0, 0.0, 0.0), (12.0, -9.0, 20.0)])
def test_the_air_of_all_48_axis_orders_is_the_same(degrees: tuple[float, float, float]) -> None:
    def air_in_lps(axcodes: str) -> NDArray[np.bool_]:
        scan = phantom_scan(axcodes=axcodes).scan
        scan = replace(scan, affine_ras=phantom_scan(axcodes=axcodes, oblique_degrees=degrees).scan.affine_ras)
        return _in_lps(_outside(scan), axcodes)

    expected = air_in_lps("LPS")
    assert expected.any()
    for axcodes in all_axcodes():
        assert np.array_equal(air_in_lps(axcodes), expected), axcodes


def _in_lps(volume: NDArray[np.bool_], axcodes: str) -> NDArray[np.bool_]:
    pairs = ("LR", "PA", "SI")
    order = [next(axis for axis, code in enumerate(axcodes) if code in pair) for pair in pairs]
    turned = np.transpose(volume, order)
    backward = [axis for axis, pair in enumerate(pairs) if axcodes[order[axis]] == pair[1]]
    return np.flip(turned, backward)
