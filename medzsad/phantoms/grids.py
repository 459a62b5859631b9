"""Where a scanner puts its voxels: plane, matrix, slices, obliquity, crop, and the way there from the working grid."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medzsad.phantoms.space import LOW_MM, WORKING_MM, Field

_NORMAL = {"axial": 2, "coronal": 1, "sagittal": 0}
# About the middle of the brain in head coordinates.
_MIDDLE_MM = np.array([0.0, -14.0, 10.0])
_BRAIN_MM = np.array([150.0, 190.0, 155.0])


@dataclass(frozen=True, slots=True)
class Grid:
    """The voxels of an acquisition.

    Attributes:
        plane: "axial", "coronal" or "sagittal".
        shape: Voxel counts (i, j, k).
        affine: (4, 4), voxel index to head coordinates in millimeters.
        thickness_mm: Thickness of a slice.
        in_plane_mm: Resolution in the plane, which may be coarser than the pixels.
        slice_axis: Array axis along which the slices follow each other.
        averaged: Whether it stands for the average of many heads, which is blurred and has no noise.
    """

    plane: str
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    thickness_mm: float
    in_plane_mm: float
    slice_axis: int
    averaged: bool = False

    @property
    def spacing_mm(self) -> NDArray[np.float64]:
        """Distance between voxel centers along (i, j, k)."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    def sample(self, picture: Field, order: int = 3, background: float = 0.0) -> Field:
        """The picture of the working grid as the slices show it: averaged over their thickness, then interpolated."""
        sigmas = np.full(3, max(0.0, self.in_plane_mm**2 - WORKING_MM**2) ** 0.5 * 0.36 / WORKING_MM)
        sigmas[_NORMAL[self.plane]] = max(0.0, self.thickness_mm**2 - WORKING_MM**2) ** 0.5 * 0.30 / WORKING_MM
        if sigmas.max() > 0.05:
            picture = ndimage.gaussian_filter(picture, sigmas, mode="nearest", truncate=3.0)
        matrix, offset = self.to_working()
        if self.in_plane_mm > 2 * WORKING_MM:
            order = min(order, 1)
        taken = ndimage.affine_transform(
            picture, matrix, offset, output_shape=self.shape, order=order, mode="constant", cval=background
        )
        return np.asarray(taken, np.float32)

    def to_working(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Matrix and offset from a voxel index of this grid to one of the working grid."""
        return self.affine[:3, :3] / WORKING_MM, (self.affine[:3, 3] - LOW_MM) / WORKING_MM

    def positions(self) -> tuple[Field, Field, Field]:
        """Head coordinates x, y, z of every voxel, in millimeters."""
        i, j, k = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in self.shape), indexing="ij", sparse=True)
        a = self.affine.astype(np.float32)
        x, y, z = (a[r, 0] * i + a[r, 1] * j + a[r, 2] * k + a[r, 3] for r in range(3))
        return x, y, z


def average_grid(rng: np.random.Generator) -> Grid:
    """The grid of an average of many heads: 2 mm, as templates have it, and blurred over 4 to 9 mm."""
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (90, -126, rng.uniform(-90, -66))
    blur = float(rng.uniform(4, 9))
    return Grid("axial", (91, 109, 91), affine, blur, blur, 2, averaged=True)


def draw_grid(rng: np.random.Generator, family: str) -> Grid:
    """The grid of one acquisition of a family.

    Args:
        rng: Where every number comes from.
        family: As in `contrasts.FAMILIES`.
    """
    odds = {"ct": (0.85, 0.08, 0.07), "dwi": (0.97, 0.03, 0.0)}.get(family, (0.62, 0.19, 0.19))
    plane = str(rng.choice(["axial", "coronal", "sagittal"], p=odds))
    if family != "dwi" and rng.random() < 0.22:
        spacing = np.full(3, rng.uniform(1.0, 2.0)) * rng.choice([1.0, 1.0, 1.1], 3)
        cover = (_BRAIN_MM + rng.uniform(4, 50)) * rng.uniform(0.9, 1.1)
        counts = np.minimum(np.round(cover / spacing), (170, 200, 190))
        slice_mm, in_plane = spacing[_NORMAL[plane]], float(spacing.mean())
    else:
        slice_mm = rng.uniform(3.0, 7.0)
        side = int(rng.choice([128, 160, 192, 224, 256], p=[0.15, 0.15, 0.2, 0.15, 0.35]))
        if family == "dwi":
            side = int(rng.choice([96, 128, 160]))
        pixel = rng.uniform(205, 250) / side
        spacing, counts = np.full(3, pixel), np.full(3, side)
        axis = _NORMAL[plane]
        spacing[axis] = slice_mm
        counts[axis] = int(np.clip(_BRAIN_MM[axis] * rng.uniform(0.85, 1.15) / slice_mm, 18, 40))
        others = [a for a in range(3) if a != axis]
        if rng.random() < 0.35:
            short = others[0]
            counts[short] = int(side * rng.uniform(0.72, 0.95))
        in_plane = max(pixel, rng.uniform(0.9, 1.4), rng.uniform(1.8, 2.8) if family == "dwi" else 0.0)
    thickness = slice_mm * (rng.uniform(0.75, 1.0) if rng.random() < 0.5 else 1.0)
    return _placed(rng, plane, counts.astype(int), spacing, float(thickness), float(in_plane))


def _placed(
    rng: np.random.Generator, plane: str, counts: NDArray[np.int_], spacing: NDArray[np.float64], thickness: float,
    in_plane: float,
) -> Grid:  # fmt: skip
    """The grid with axes in a random order of storage, turned and shifted a little."""
    axis = _NORMAL[plane]
    others = [a for a in range(3) if a != axis]
    order = [*others, axis] if rng.random() < 0.75 else [0, 1, 2]
    signs = np.where(rng.random(3) < 0.5, -1.0, 1.0)
    directions = np.zeros((3, 3))
    for column, world in enumerate(order):
        directions[world, column] = signs[column]
    angles = rng.normal(0, 4, 3) if rng.random() < 0.6 else np.zeros(3)
    if plane == "axial" and rng.random() < 0.5:
        angles[0] += rng.uniform(-16, 10)
    directions = Rotation.from_euler("xyz", np.clip(angles, -20, 20), degrees=True).as_matrix() @ directions
    shape = counts[order]
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing[order]
    middle = _MIDDLE_MM + rng.normal(0, (4, 6, 6))
    lift = (counts * spacing)[2] - _BRAIN_MM[2]
    middle[2] -= max(0.0, lift) * 0.35
    affine[:3, 3] = middle - affine[:3, :3] @ ((shape - 1) / 2)
    return Grid(plane, (int(shape[0]), int(shape[1]), int(shape[2])), affine, thickness, in_plane, order.index(axis))
