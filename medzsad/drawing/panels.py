"""Single slices as pictures: turned the way radiologists hold them, true in millimeters, under window and colors."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Plane = Literal["sagittal", "coronal", "axial"]
PLANES: tuple[Plane, Plane, Plane] = ("sagittal", "coronal", "axial")  # slices along x, y, z of RAS

# Toward where rows, columns and slices count: the patient's right on the left of the screen, head or face up.
DISPLAY_AXES: dict[Plane, str] = {"axial": "PLS", "coronal": "ILP", "sagittal": "IPL"}
OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))

_COLORS = 11  # of the scale; straight lines in between
OUTLINE_COLOR = (64, 224, 255)
_FINE = 3  # outlines are drawn this many times larger and scaled down, so that they have no steps


@dataclass(frozen=True, slots=True)
class View:
    """How the slices of one scan are shown.

    Attributes:
        slice_axis: Array axis (0, 1, 2) of the slicing.
        plane: Anatomical name of the slices.
        turn: nibabel orientation transform from array axes to rows, columns, slices.
        letters: What lies at the left, right, top and bottom border, such as ("R", "L", "A", "P").
        pixel_mm: Height and width of a pixel as shown.
    """

    slice_axis: int
    plane: Plane
    turn: NDArray[np.float64]
    letters: tuple[str, str, str, str]
    pixel_mm: tuple[float, float]


def plane_name(affine_ras: NDArray[np.float64], slice_axis: int) -> Plane:
    """The anatomical plane that slices along this array axis come closest to."""
    return PLANES[int(io_orientation(affine_ras)[slice_axis, 0])]


def display_view(affine_ras: NDArray[np.float64], slice_axis: int) -> View:
    """How slices along this array axis are turned for display.

    Axial slices show anterior at the top and the patient's right on the left; coronal slices superior at the top and
    the patient's right on the left; sagittal slices superior at the top and anterior on the left.
    """
    plane = plane_name(affine_ras, slice_axis)
    codes = DISPLAY_AXES[plane]
    have = io_orientation(affine_ras)
    turn = ornt_transform(have, axcodes2ornt(tuple(codes)))
    spacing_mm = np.linalg.norm(affine_ras[:3, :3], axis=0)
    shown_mm = np.empty(3)
    shown_mm[turn[:, 0].astype(int)] = spacing_mm
    return View(
        slice_axis=slice_axis,
        plane=plane,
        turn=turn,
        letters=(OPPOSITE[codes[1]], codes[1], OPPOSITE[codes[0]], codes[0]),
        pixel_mm=(float(shown_mm[0]), float(shown_mm[1])),
    )


def oriented_slice(volume: NDArray[Any], index: int, view: View) -> NDArray[Any]:
    """One slice as shown: (rows, columns), or (rows, columns, 3) of a color volume."""
    part = [slice(None)] * 3
    part[view.slice_axis] = slice(index, index + 1)
    return np.asarray(apply_orientation(volume[tuple(part)], view.turn)[:, :, 0])


def panel_size(shape: tuple[int, ...], view: View, longest: int) -> tuple[int, int]:
    """Width and height in screen pixels of a slice of (rows, columns, ...), its longer side `longest`."""
    height_mm, width_mm = shape[0] * view.pixel_mm[0], shape[1] * view.pixel_mm[1]
    scale = longest / max(height_mm, width_mm)
    return max(1, round(width_mm * scale)), max(1, round(height_mm * scale))


def windowed_picture(plane: NDArray[Any], low: float, high: float, size: tuple[int, int]) -> Image.Image:
    """The slice in gray or color, `low` black and `high` white, scaled to (width, height)."""
    span = max(high - low, 1e-12)
    levels = np.clip((plane.astype(np.float32) - low) / span, 0, 1)
    pixels = np.rint(np.nan_to_num(levels) * 255).astype(np.uint8)
    return Image.fromarray(pixels).convert("RGB").resize(size, Image.Resampling.BICUBIC)


def color_of_score(score: NDArray[Any], threshold: float) -> NDArray[np.float64]:
    """RGB (..., 3) in 0 to 255 of scores in [0, 1].

    The threshold always has the middle color. The scale depends on the model alone, never on the image, so a healthy
    scan stays dark.
    """
    middle = position_of_score(score, threshold)
    places, colors = np.linspace(0, 1, _COLORS), _scale_colors()
    return np.stack([np.interp(middle, places, colors[:, channel]) for channel in range(3)], axis=-1)


@cache
def _scale_colors() -> NDArray[np.float64]:
    """(11, 3) RGB in 0 to 255 of the color scale: inferno, black over violet and orange to pale yellow."""
    # Imported here: it takes 60 ms, and `inspect` and the readers of reports never draw.
    from matplotlib import colormaps

    return np.asarray(np.rint(colormaps["inferno"](np.linspace(0, 1, _COLORS))[:, :3] * 255), np.float64)


def position_of_score(score: NDArray[Any] | float, threshold: float) -> NDArray[np.float64]:
    """Place on the color scale, 0 to 1, of scores in [0, 1]; the threshold lies at 0.5."""
    bend = min(max(threshold, 1e-6), 1 - 1e-6)
    return np.asarray(np.interp(score, [0.0, bend, 1.0], [0.0, 0.5, 1.0]), dtype=np.float64)


def heat_picture(picture: Image.Image, score: NDArray[Any], threshold: float) -> Image.Image:
    """The picture under its score colors, which are the more opaque the higher the score."""
    levels = Image.fromarray(np.ascontiguousarray(score, dtype=np.float32))
    smooth = np.clip(np.asarray(levels.resize(picture.size, Image.Resampling.BILINEAR)), 0, 1)
    alpha = 0.8 * np.clip((position_of_score(smooth, threshold) - 0.12) / 0.48, 0, 1)[..., None]
    pixels = np.asarray(picture, dtype=np.float64) * (1 - alpha) + color_of_score(smooth, threshold) * alpha
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def outlined_picture(
    picture: Image.Image, mask: NDArray[Any], width: int = 2, color: tuple[int, int, int] = OUTLINE_COLOR
) -> Image.Image:
    """The picture with a line around the mask; the line lies outside, so that even a single voxel stays visible."""
    if not mask.any():
        return picture.copy()
    fine_size = (picture.width * _FINE, picture.height * _FINE)
    inside = scaled_mask(mask, fine_size)
    shown = picture.copy()
    if inside.any():
        line = Image.fromarray(_line_around(inside, width * _FINE))
        shown.paste(color, mask=line.resize(picture.size, Image.Resampling.BOX))
    return shown


def _line_around(inside: NDArray[np.bool_], width: int) -> NDArray[np.uint8]:
    """255 outside but within `width` pixels; distances are only measured where they can be that short."""
    line = np.zeros(inside.shape, dtype=np.uint8)
    edges = []
    for axis in (1, 0):
        places = np.flatnonzero(inside.any(axis=axis))
        edges.append(slice(max(0, int(places[0]) - width), int(places[-1]) + width + 1))
    part = inside[edges[0], edges[1]]
    near = ndimage.distance_transform_edt(~part) <= width
    line[edges[0], edges[1]] = np.where(near & ~part, 255, 0)
    return line


def scaled_mask(mask: NDArray[Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask at (width, height) screen pixels, voxel edges kept."""
    picture = Image.fromarray(np.ascontiguousarray(mask).astype(bool).astype(np.uint8) * 255)
    return np.asarray(picture.resize(size, Image.Resampling.NEAREST)) > 127
