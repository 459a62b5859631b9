"""Which voxels are air outside of the body, judged by the volume and not by the slice.

Air is what is as dark as air *and* connected in 3-D to the border of the volume. Dark places inside, such as
ventricles, bone, cysts and lesions, are not connected to it and stay. Two kinds of evidence are joined:

* A background of one exact value, as skull stripping, masking and padding leave it: it has no noise, so a passage of
  two voxels counts as a connection.
* Values at the level of air. They are noisy, so they are judged in blocks of about 2 mm, and only passages that a ball
  of 3 mm radius fits through count: a thin or broken scalp does not open the way into dark bone.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medzsad.context.grid import (
    block_means,
    block_sides,
    canonical_spacing_mm,
    canonical_view,
    faces,
    spread_blocks,
)
from medzsad.scan.records import Scan
from medzsad.slices.window import Window

# Modalities whose air is known by its values. "" stands for volumes of unknown modality, most of which are MR.
_WITH_AIR = ("", "MR", "CT")
_CONSTANT_SHARE = 0.05
_BLOCK_MM = 2.0
_PASSAGE_RADIUS_MM = 3.0
# Islands smaller than this are noise in the air, not a part of the body.
_ISLAND_MM3 = 500.0
# Of the distance from background to the median of tissue: what the fringe of a masked background may reach,
# what the noise of air may reach in the middle, and at most.
_FRINGE, _AIR_MIDDLE, _AIR_MOST = 0.08, 0.15, 0.25
_EVERY_NEIGHBOR = np.ones((3, 3, 3), bool)


def outside_air(scan: Scan, window: Window) -> NDArray[np.bool_] | None:
    """The voxels (i, j, k) of air outside of the body; None where none is found or air cannot be told by its values.

    Args:
        scan: A scan in gray levels; pictures, color, ultrasound and OCT have no air that is known by its values.
        window: Of the scan, whose tissue level bounds that of air.
    """
    if scan.voxels.ndim != 3 or scan.modality.upper() not in _WITH_AIR or not scan.has_physical_space:
        return None
    voxels = canonical_view(scan.voxels, scan)
    outside = np.zeros(scan.shape, bool)
    view = canonical_view(outside, scan)
    background = constant_background(voxels)
    if background is not None:
        view |= _connected_constant(voxels == np.float32(background))
    level = _air_level(voxels, scan.modality.upper(), window, background)
    if level is not None:
        view |= _connected_air(voxels, level, canonical_spacing_mm(scan))
    return outside if outside.any() else None


def constant_background(voxels: NDArray[np.float32]) -> float | None:
    """The value that more than 5 % of the voxels (i, j, k) have exactly, in one piece and on the border.

    None where there is none. Values of few steps, as of 8-bit files, repeat as often in noise, but not in one piece.
    """
    values, counts = np.unique(np.concatenate([face.ravel() for face in faces(voxels)]), return_counts=True)
    value = values[counts.argmax()]
    same = voxels == value
    count = int(np.count_nonzero(same))
    if count < _CONSTANT_SHARE * same.size or count == same.size:
        return None
    if np.count_nonzero(_cubes(same)) < 0.5 * count or value >= np.median(voxels[~same]):
        return None
    return float(value)


def _cubes(same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The first corners of all cubes of 2 voxels a side that are set whole; one less than `same` along each axis."""
    cubes = same
    for axis in _long_axes(same):
        rest = (slice(None),) * axis
        cubes = cubes[(*rest, slice(None, -1))] & cubes[(*rest, slice(1, None))]
    return cubes


def _filled(cubes: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The voxels of the cubes whose first corners are given."""
    filled = cubes
    for axis in _long_axes(np.empty(shape, bool)):
        edge = np.zeros_like(np.take(filled, [0], axis))
        filled = np.concatenate([filled, edge], axis) | np.concatenate([edge, filled], axis)
    return filled


def _long_axes(volume: NDArray[np.bool_]) -> list[int]:
    return [axis for axis in range(3) if volume.shape[axis] > 1]


def _connected_constant(same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    wide = _filled(_joined_to_border(_cubes(same)), same.shape)
    # Back into the corners that no cube reaches.
    return np.asarray(ndimage.binary_dilation(wide, _EVERY_NEIGHBOR, iterations=2, mask=same))


def _air_level(voxels: NDArray[np.float32], modality: str, window: Window, background: float | None) -> float | None:
    """The value below which a voxel is as dark as air; None where no air is seen."""
    if modality == "CT":
        return window.tissue_level
    bright = voxels[voxels > window.tissue_level]
    if not bright.size:
        return None
    tissue = float(np.median(bright))
    if background is not None:
        return min(background + _FRINGE * (tissue - background), window.tissue_level)
    border = np.concatenate([face.ravel() for face in faces(voxels)])
    dark = border[border <= window.tissue_level]
    if dark.size < _CONSTANT_SHARE * border.size:
        return None
    lowest, middle = float(voxels.min()), float(np.median(dark))
    if middle - lowest > _AIR_MIDDLE * (tissue - lowest):
        return None  # The border of the volume lies within the body.
    noise = 1.4826 * float(np.median(np.abs(dark - middle)))
    return min(middle + 5.0 * noise, lowest + _AIR_MOST * (tissue - lowest), window.tissue_level)


def _connected_air(
    voxels: NDArray[np.float32], level: float, spacing_mm: tuple[float, float, float]
) -> NDArray[np.bool_]:
    sides = block_sides(spacing_mm, _BLOCK_MM)
    size_mm = [side * mm for side, mm in zip(sides, spacing_mm, strict=True)]
    dark = _without_islands(block_means(voxels, sides) < level, float(np.prod(size_mm)))
    if dark.all() or not dark.any():
        return np.zeros(voxels.shape, bool)
    wide = np.asarray(ndimage.distance_transform_edt(dark, sampling=size_mm)) > _PASSAGE_RADIUS_MM
    core = _joined_to_border(wide)
    if not core.any():
        return np.zeros(voxels.shape, bool)
    air = np.asarray(ndimage.distance_transform_edt(~core, sampling=size_mm)) <= _PASSAGE_RADIUS_MM
    # At the surface of the body every voxel is judged by its own value, deeper in the air by its block.
    deep = ndimage.binary_erosion(air, _EVERY_NEIGHBOR, border_value=1)
    near = ndimage.binary_dilation(air, _EVERY_NEIGHBOR)
    found = spread_blocks(near, sides, voxels.shape) & (voxels < level)
    return found | spread_blocks(deep, sides, voxels.shape)


def _without_islands(dark: NDArray[np.bool_], block_mm3: float) -> NDArray[np.bool_]:
    pieces, _ = ndimage.label(~dark, _EVERY_NEIGHBOR)
    small = np.bincount(pieces.ravel()) * block_mm3 < _ISLAND_MM3
    small[0] = False
    return np.asarray(dark | small[pieces])


def _joined_to_border(core: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pieces of `core` that reach the border of the volume as air does.

    A face of the volume may cut through the body and show its dark bone or airways, ringed by tissue. So a piece must
    reach an edge of a face, within that face.
    """
    pieces, count = ndimage.label(core)
    joined = np.zeros(count + 1, bool)
    for face, numbers in zip(faces(core), faces(pieces), strict=True):
        parts, _ = ndimage.label(face)
        at_edge = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
        joined[np.unique(numbers[np.isin(parts, at_edge[at_edge > 0])])] = True
    joined[0] = False
    return np.asarray(joined[pieces])
