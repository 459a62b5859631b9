import nibabel as nib
import numpy as np
import pytest

from medzsad.errors import ReasonCode
from medzsad.scan.geometry import Stack, affine_ras_from_lps, diagnose, lps_from_ras, ras_from_lps

AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
TILTED = [1.0, 0.0, 0.0, 0.0, np.cos(0.25), -np.sin(0.25)]


def stack_at(offsets: list[float], orientation: list[float] = AXIAL, shift_mm: float = 0.0) -> Stack:
    positions = [[-10.0 + shift_mm * z, -20.0, 5.0 + z] for z in offsets]
    names = [f"{n:04d}.dcm" for n in range(1, len(offsets) + 1)]
    return diagnose(positions, [orientation] * len(offsets), names, pixel_mm=0.5)


def test_sign_change_is_its_own_inverse_and_keeps_superior() -> None:
    position = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(ras_from_lps(position), [[-1.0, -2.0, 3.0]])
    np.testing.assert_array_equal(lps_from_ras(ras_from_lps(position)), position)


def test_affine_into_ras_agrees_with_positions() -> None:
    affine_lps = nib.affines.from_matvec([[0.7, 0.1, 0.0], [0.0, 0.5, 0.3], [0.0, 0.2, 2.5]], [3.0, -4.0, 5.0])
    index = np.array([4.0, 5.0, 6.0])
    in_lps = affine_lps[:3, :3] @ index + affine_lps[:3, 3]
    affine_ras = affine_ras_from_lps(affine_lps)
    np.testing.assert_allclose(affine_ras[:3, :3] @ index + affine_ras[:3, 3], ras_from_lps(in_lps))


def test_regular_stack_in_any_order_is_sorted_along_the_normal() -> None:
    stack = stack_at([5.0, 0.0, 7.5, 2.5])
    assert stack.code is None
    assert stack.order == (1, 3, 0, 2)
    assert stack.spacing_mm == pytest.approx(2.5)


def test_gap_is_told_with_numbers_and_file_names() -> None:
    stack = stack_at([0.0, 2.5, 5.0, 10.0, 12.5])
    assert stack.code == ReasonCode.GEOMETRY_GAP
    assert "expected 2.50 mm between slices, found 5.00 mm between 0003.dcm and 0004.dcm" in stack.message
    assert "A slice is probably missing. Use --allow-irregular" in stack.message


def test_uneven_steps_around_a_gap_do_not_add_up_to_a_drift() -> None:
    steps = np.array([*[5.0, 5.02, 4.95] * 10, 10.0, *[5.0, 5.02, 4.95] * 10])
    stack = stack_at([0.0, *np.cumsum(steps)])
    assert stack.code == ReasonCode.GEOMETRY_GAP
    counted = np.array([0, *np.cumsum(np.rint(steps / 5))])
    np.testing.assert_allclose(stack.spacing_mm * counted, stack.offsets_mm, atol=0.1)


def test_one_grid_is_not_laid_over_two_spacings_that_differ_for_long() -> None:
    stack = stack_at([0.0, *np.cumsum([5.0] * 50 + [5.2] * 50)])
    assert stack.code == ReasonCode.GEOMETRY_IRREGULAR
    assert stack.spacing_mm == pytest.approx(5.0)


def test_spacings_that_are_no_multiples_are_irregular() -> None:
    stack = stack_at([0.0, 2.5, 5.0, 8.9])
    assert stack.code == ReasonCode.GEOMETRY_IRREGULAR
    assert "3.90 mm between 0003.dcm and 0004.dcm" in stack.message


def test_jitter_below_one_percent_is_regular() -> None:
    assert stack_at([0.0, 2.51, 5.0, 7.49, 10.0]).code is None


def test_repeated_position_names_both_files() -> None:
    stack = stack_at([0.0, 2.5, 2.5, 5.0])
    assert stack.code == ReasonCode.GEOMETRY_DUPLICATE_POSITION
    assert "0002.dcm and 0003.dcm" in stack.message


def test_tilt_angle_is_measured() -> None:
    stack = stack_at([0.0, 5.0, 10.0, 15.0], orientation=TILTED)
    assert stack.code == ReasonCode.GEOMETRY_TILTED
    assert stack.tilt_degrees == pytest.approx(np.degrees(0.25))
    assert f"{np.degrees(0.25):.1f} degrees" in stack.message


def test_a_drift_of_less_than_half_a_pixel_is_no_tilt() -> None:
    assert stack_at([0.0, 5.0, 10.0, 15.0], shift_mm=0.015).code is None


def test_mixed_orientation_counts_each_group() -> None:
    positions = [[0.0, 0.0, z] for z in (0.0, 1.0, 2.0)]
    stack = diagnose(positions, [AXIAL, AXIAL, [0, 1, 0, 0, 0, -1]], ["a", "b", "c"], pixel_mm=1.0)
    assert stack.code == ReasonCode.GEOMETRY_MIXED_ORIENTATION
    assert stack.groups == ((0, 1), (2,))
    assert "2 like a, 1 like c" in stack.message


@pytest.mark.parametrize("orientation", [[0.0] * 6, [1, 0, 0, 1, 0, 0], [2, 0, 0, 0, 1, 0]], ids=str)
def test_impossible_orientation_is_missing_geometry(orientation: list[float]) -> None:
    assert stack_at([0.0, 1.0], orientation=orientation).code == ReasonCode.GEOMETRY_MISSING


def test_one_slice_gets_the_given_spacing() -> None:
    stack = diagnose([[0.0, 0.0, 0.0]], [AXIAL], ["a"], pixel_mm=1.0, default_spacing_mm=7.0)
    assert stack.code is None
    assert stack.spacing_mm == 7.0
