"""Slices of any stack on a rectangular grid: gaps are left open, tilted slices are sheared back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from medzsad.errors import ReasonCode, RefusedError
from medzsad.scan.dicom.pixels import FloatImage
from medzsad.scan.geometry import FloatArray, Stack, affine_ras_from_lps
from medzsad.scan.guard import check_size, refusing

_MOST_EMPTY_PER_SLICE = 20


@dataclass(frozen=True, slots=True)
class Grid:
    """Slices on a rectangular grid.

    Attributes:
        voxels: (i, j, k) or (i, j, k, 3) float32.
        affine_ras: (4, 4), orthogonal.
        sources: For each k the index of the slice that lies there, or None.
        notes: What was done.
        has_physical_space: See `Scan`.
    """

    voxels: NDArray[np.float32]
    affine_ras: FloatArray
    sources: tuple[int | None, ...]
    notes: tuple[str, ...] = ()
    has_physical_space: bool = True


def slice_places(stack: Stack, place: str) -> tuple[list[int], float]:
    """For each sorted slice its index k on the regular grid, and the largest departure from it in mm.

    Raises:
        RefusedError: GEOMETRY_IRREGULAR, the spacings are too unequal for one grid.
    """
    exact = stack.offsets_mm / stack.spacing_mm
    # Always upward from half way: np.rint would send 1.5 and 2.5 to the same place, and so would noise without 1e-6.
    places = np.floor(exact + 0.5 + 1e-6)
    if places[-1] >= _MOST_EMPTY_PER_SLICE * len(places):
        raise RefusedError(
            ReasonCode.GEOMETRY_IRREGULAR,
            f"{place} has {len(places)} slices over {stack.offsets_mm[-1]:.1f} mm, two of them only"
            f" {stack.spacing_mm:.3f} mm apart: no grid fits. Split the series.",
        )
    shared = np.flatnonzero(np.diff(places) == 0)
    if len(shared):
        one, other = stack.offsets_mm[shared[0]], stack.offsets_mm[shared[0] + 1]
        raise RefusedError(
            ReasonCode.GEOMETRY_IRREGULAR,
            f"{place} has slices at {one:.2f} and {other:.2f} mm from its first, too close for two places of a grid of"
            f" {stack.spacing_mm:.3f} mm. Split the series.",
        )
    return [int(index) for index in places], float(np.abs(exact - places).max() * stack.spacing_mm)


def place_slices(
    images: Sequence[FloatImage],
    stack: Stack,
    pixel_spacing_mm: tuple[float, float],
    *,
    place: str,
    max_voxels: int,
) -> Grid:
    """The slices on a rectangular grid whose axes are those of the stack.

    Args:
        images: (rows, columns) or (rows, columns, 3) each, in the order before sorting.
        stack: Their geometry.
        pixel_spacing_mm: (i, j) spacing, i.e. between columns and between rows.
        place: What messages call the series.
        max_voxels: Size limit.

    Raises:
        RefusedError: SIZE_LIMIT or GEOMETRY_IRREGULAR.
    """
    places, departure_mm = slice_places(stack, place)
    count = places[-1] + 1
    check_size(place, count * images[0].shape[0] * images[0].shape[1], max_voxels)
    lowest = min(float(image.min()) for image in images)
    voxels = np.full((count, *images[0].shape), lowest, np.float32)
    sources: list[int | None] = [None] * count
    for index, k in zip(stack.order, places, strict=True):
        voxels[k] = images[index]
        sources[k] = index
    grid = Grid(
        voxels=np.swapaxes(voxels, 0, 2),  # (k, j, i) -> (i, j, k)
        affine_ras=stack_affine_ras(stack, pixel_spacing_mm),
        sources=tuple(sources),
        notes=_notes(stack, sources.count(None), departure_mm),
    )
    return _sheared_back(grid, stack, pixel_spacing_mm, lowest, place, max_voxels) if stack.tilt_degrees else grid


def stack_affine_ras(stack: Stack, pixel_spacing_mm: tuple[float, float]) -> FloatArray:
    """The (4, 4) affine of the regular, untilted grid of a stack."""
    affine_lps = np.eye(4)
    affine_lps[:3, :3] = stack.axes_lps * [*pixel_spacing_mm, stack.spacing_mm]
    affine_lps[:3, 3] = stack.origin_lps_mm
    return affine_ras_from_lps(affine_lps)


def _notes(stack: Stack, missing: int, departure_mm: float) -> tuple[str, ...]:
    notes = []
    if missing:
        what = "1 slice position was" if missing == 1 else f"{missing} slice positions were"
        notes.append(f"{what} not acquired and left empty.")
    if stack.code is not None and departure_mm > 0.01 * stack.spacing_mm:
        notes.append(f"Slices were moved by up to {departure_mm:.2f} mm onto a grid of {stack.spacing_mm:.2f} mm.")
    if stack.tilt_degrees:
        notes.append(f"Slices tilted by {stack.tilt_degrees:.1f} degrees were sheared back; voxels were resampled.")
    elif stack.code == ReasonCode.GEOMETRY_IRREGULAR and departure_mm < 1e-3:
        notes.append("Shifts of slices within their plane were ignored.")
    return tuple(notes)


def _sheared_back(
    grid: Grid,
    stack: Stack,
    pixel_spacing_mm: tuple[float, float],
    lowest: float,
    place: str,
    max_voxels: int,
) -> Grid:
    """The stack resampled in index space: (i, j, k) of the new grid lies at (i - k a, j - k b, k) of the old one."""
    size = np.array(grid.voxels.shape[:3])
    per_slice = np.asarray(stack.drift_mm) * stack.spacing_mm / np.asarray(pixel_spacing_mm)  # (a, b) in voxels
    total = per_slice * (size[2] - 1)
    low = np.floor(np.minimum(total, 0.0))
    high = np.ceil(np.maximum(total, 0.0))
    new_size = [int(n) for n in [*(size[:2] + (high - low)), size[2]]]
    check_size(place, int(np.prod(new_size)), max_voxels)
    shear = SimpleITK.AffineTransform(3)
    shear.SetMatrix([1.0, 0.0, -per_slice[0], 0.0, 1.0, -per_slice[1], 0.0, 0.0, 1.0])
    stored = np.ascontiguousarray(np.swapaxes(grid.voxels, 0, 2))
    with refusing(place, problem="cannot be sheared back to a straight stack"):
        image = SimpleITK.GetImageFromArray(stored, isVector=grid.voxels.ndim == 4)
        resampled = SimpleITK.Resample(
            image,
            new_size,
            shear,
            SimpleITK.sitkLinear,
            [float(low[0]), float(low[1]), 0.0],
            [1.0, 1.0, 1.0],
            [float(n) for n in np.eye(3).ravel()],
            lowest,
            image.GetPixelID(),
        )
    affine = grid.affine_ras.copy()
    affine[:3, 3] += affine[:3, :2] @ low
    return replace(grid, voxels=np.swapaxes(SimpleITK.GetArrayFromImage(resampled), 0, 2), affine_ras=affine)
