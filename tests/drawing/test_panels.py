"""Single slices as pictures: which side is where, proportions, colors."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from medzsad.drawing.panels import (
    OUTLINE_COLOR,
    color_of_score,
    display_view,
    heat_picture,
    oriented_slice,
    outlined_picture,
    panel_size,
    plane_name,
    windowed_picture,
)
from tests.phantoms import all_axcodes, phantom_scan

PLANE_AXIS = {"sagittal": 0, "coronal": 1, "axial": 2}
# World axis (RAS) and its sign toward the right and toward the bottom of the screen.
SCREEN = {"axial": ((0, -1), (1, -1)), "coronal": ((0, -1), (2, -1)), "sagittal": ((1, -1), (2, -1))}


@pytest.mark.parametrize("oblique", [(0.0, 0.0, 0.0), (9.0, -14.0, 21.0)], ids=["straight", "oblique"])
@pytest.mark.parametrize("axcodes", all_axcodes())
@pytest.mark.parametrize("plane", PLANE_AXIS)
def test_every_slice_stands_as_radiologists_hold_it(
    axcodes: str, plane: str, oblique: tuple[float, float, float]
) -> None:
    affine = phantom_scan((8, 10, 6), axcodes=axcodes, oblique_degrees=oblique).scan.affine_ras
    axis = next(n for n, letter in enumerate(axcodes) if letter in ("LR", "AP", "SI")[PLANE_AXIS[plane]])
    shape = phantom_scan((8, 10, 6), axcodes=axcodes).scan.shape
    positions = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T  # (i, j, k, 3)
    view = display_view(affine, axis)
    assert view.plane == plane == plane_name(affine, axis)
    shown = [oriented_slice(positions[..., world], 2, view) for world in range(3)]
    (right, right_sign), (down, down_sign) = SCREEN[plane]
    assert (np.sign(np.diff(shown[right], axis=1)) == right_sign).all()
    assert (np.sign(np.diff(shown[down], axis=0)) == down_sign).all()
    step = np.linalg.norm([np.diff(part, axis=1)[0, 0] for part in shown])
    assert view.pixel_mm[1] == pytest.approx(step)


@pytest.mark.parametrize(
    ("axis", "letters"), [(0, ("A", "P", "S", "I")), (1, ("R", "L", "S", "I")), (2, ("R", "L", "A", "P"))]
)
def test_letters_name_the_side_they_stand_at(axis: int, letters: tuple[str, ...]) -> None:
    assert display_view(np.diag([1.0, 2.0, 3.0, 1.0]), axis).letters == letters


def test_pictures_are_true_in_millimeters() -> None:
    view = display_view(np.diag([-2.0, -1.0, 5.0, 1.0]), 2)  # rows along y (1 mm), columns along x (2 mm)
    assert panel_size((100, 50), view, longest=200) == (200, 200)
    assert panel_size((100, 25), view, longest=200) == (100, 200)


def test_color_slices_keep_their_colors() -> None:
    voxels = np.zeros((4, 3, 1, 3), dtype=np.float32)
    voxels[0, 0, 0] = (255, 0, 0)
    view = display_view(np.diag([-1.0, -1.0, 1.0, 1.0]), 2)
    picture = windowed_picture(oriented_slice(voxels, 0, view), 0, 255, (4, 3))
    assert picture.getpixel((0, 0)) == (255, 0, 0)
    assert picture.getpixel((3, 2)) == (0, 0, 0)


def test_the_window_ends_are_black_and_white() -> None:
    picture = windowed_picture(np.array([[-500.0, 40.0, 900.0, np.nan]]), -160, 240, (4, 1))
    assert [picture.getpixel((x, 0))[0] for x in range(4)] == [0, 128, 255, 0]


@pytest.mark.parametrize("threshold", [0.0, 0.03, 0.5, 0.97, 1.0])
def test_the_threshold_has_the_middle_color_and_brightness_rises_with_the_score(threshold: float) -> None:
    colors = color_of_score(np.linspace(0, 1, 101), threshold)
    assert (np.diff(colors @ [0.2126, 0.7152, 0.0722]) >= -1e-9).all()
    if 0 < threshold < 1:
        assert color_of_score(np.array(threshold), threshold) == pytest.approx(color_of_score(np.array(0.5), 0.5))


def test_the_colors_are_those_of_inferno_as_they_always_were() -> None:
    before = [
        (0, 0, 4), (22, 11, 57), (66, 10, 104), (106, 23, 110), (147, 38, 103), (188, 55, 84),
        (221, 81, 58), (243, 120, 25), (252, 165, 10), (246, 215, 70), (252, 255, 164),
    ]  # fmt: skip
    assert color_of_score(np.linspace(0, 1, 11), 0.5) == pytest.approx(np.array(before, np.float64), abs=1e-9)


def test_reading_and_listing_load_no_color_table() -> None:
    code = "import sys, medzsad.drawing.panels; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_slice_of_low_scores_stays_gray() -> None:
    picture = Image.new("RGB", (8, 6), (90, 90, 90))
    assert np.array_equal(heat_picture(picture, np.full((6, 8), 0.04), 0.5), picture)
    assert not np.array_equal(heat_picture(picture, np.full((6, 8), 0.9), 0.5), picture)


def test_the_outline_runs_around_the_mask_and_leaves_the_inside_free() -> None:
    picture = Image.new("RGB", (80, 60), (10, 10, 10))
    mask = np.zeros((6, 8))
    mask[2, 5] = 1  # pixels 50..59 x 20..29
    pixels = np.asarray(outlined_picture(picture, mask))
    assert tuple(pixels[25, 48]) == OUTLINE_COLOR
    assert tuple(pixels[18, 55]) == OUTLINE_COLOR
    assert (pixels[21:29, 51:59] == 10).all()
    assert (pixels[:, :40] == 10).all()
