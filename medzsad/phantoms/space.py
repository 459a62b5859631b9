"""The working grid in millimeters, smooth noise on it, and distances to simple solids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Field: TypeAlias = NDArray[np.floating[Any]]
Point: TypeAlias = tuple[float, float, float]
Box: TypeAlias = tuple[slice, slice, slice]

WORKING_MM = 1.5
LOW_MM = np.array([-93.0, -123.0, -126.0])
HIGH_MM = np.array([93.0, 114.0, 99.0])
# How far the warp may move a point; boxes are widened by it.
_REACH_MM = 13.0


@dataclass(frozen=True, slots=True)
class Space:
    """Points of (a box of) the working grid in the coordinates of the unwarped head: RAS+, origin between the
    thalami, millimeters.

    Attributes:
        x: Toward the right side of the patient.
        y: Toward the front.
        z: Toward the vertex.
        box: Where in the working grid this box lies.
    """

    x: Field
    y: Field
    z: Field
    box: Box

    def near(self, low: ArrayLike, high: ArrayLike) -> Space:
        """The part of the space around an axis-parallel cuboid of unwarped coordinates. Only for the whole space."""
        shape = self.x.shape
        starts = np.floor((np.asarray(low) - _REACH_MM - LOW_MM) / WORKING_MM).astype(int)
        stops = np.ceil((np.asarray(high) + _REACH_MM - LOW_MM) / WORKING_MM).astype(int) + 1
        first = [slice(max(0, int(a)), min(n, max(1, int(b)))) for a, b, n in zip(starts, stops, shape, strict=True)]
        box = (first[0], first[1], first[2])
        return Space(self.x[box], self.y[box], self.z[box], box)

    def around(self, center: Point, reach_mm: float) -> Space:
        """The part of the space around a point."""
        c = np.asarray(center)
        return self.near(c - reach_mm, c + reach_mm)


def grid_shape() -> tuple[int, int, int]:
    """Voxel counts of the working grid."""
    i, j, k = np.round((HIGH_MM - LOW_MM) / WORKING_MM).astype(int) + 1
    return (int(i), int(j), int(k))


def straight_axes() -> tuple[Field, Field, Field]:
    """Coordinates along the three axes of the working grid, shaped to be broadcast."""
    axes = [LOW_MM[a] + WORKING_MM * np.arange(n) for a, n in enumerate(grid_shape())]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    return x.astype(np.float32), y.astype(np.float32), z.astype(np.float32)


def noise(rng: np.random.Generator, wavelength_mm: float, shape: tuple[int, ...] | None = None) -> Field:
    """Smooth noise on the working grid, mean 0 and standard deviation about 1, from cubic splines on random knots."""
    shape = shape or grid_shape()
    step = max(1.0, wavelength_mm / WORKING_MM / 2.0)
    knots = tuple(int(n / step) + 4 for n in shape)
    field = rng.standard_normal(knots).astype(np.float32)
    for axis, n in enumerate(shape):
        field = _spline_along(field, axis, n, step, float(rng.uniform(0, 1)))
    return field / max(float(field.std()), 1e-6)


def _spline_along(field: Field, axis: int, count: int, step: float, shift: float) -> Field:
    """The uniform cubic B-spline of the knots along one axis, at `count` places that are 1/step knots apart."""
    at = np.arange(count) / step + shift
    whole = np.floor(at).astype(int)
    t = at - whole
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    basis = np.zeros((count, field.shape[axis]), np.float32)
    rows = np.arange(count)
    for offset, weight in enumerate(weights):
        basis[rows, np.minimum(whole + offset, field.shape[axis] - 1)] += weight / 6
    return np.moveaxis(np.tensordot(basis, field, axes=(1, axis)), 0, axis).astype(np.float32, copy=False)


def warped_space(rng: np.random.Generator, scale: Sequence[float], asymmetry: float, push: Field | None) -> Space:
    """The space of one head: scaled, bent by smooth noise, a few percent unequal between left and right.

    Args:
        rng: Where every number comes from.
        scale: Size of the head along x, y, z over that of the mean head.
        asymmetry: Standard deviation of the bending, in millimeters.
        push: (3, ...) displacement by a mass, in millimeters, or None.
    """
    parts = []
    for axis, coordinate in enumerate(straight_axes()):
        bend = noise(rng, 75.0) * np.float32(asymmetry) + coordinate
        if push is not None:
            bend = bend - push[axis]
        parts.append(bend / np.float32(scale[axis]))
    full = (slice(None), slice(None), slice(None))
    return Space(parts[0], parts[1], parts[2], full)


def ellipsoid(space: Space, center: Point, radii: Point) -> Field:
    """About the distance to an ellipsoid in millimeters, negative inside."""
    a, b, c = ((v - np.float32(m)) for v, m in zip((space.x, space.y, space.z), center, strict=True))
    ra, rb, rc = (np.float32(1 / r) for r in radii)
    a, b, c = a * ra, b * rb, c * rc
    k0 = np.sqrt(a * a + b * b + c * c)
    a, b, c = a * ra, b * rb, c * rc
    k1 = np.sqrt(a * a + b * b + c * c) + np.float32(1e-6)
    return np.asarray(k0 * (k0 - 1) / k1, np.float32)


def tube(space: Space, path: Sequence[Point], radii: Sequence[float]) -> Field:
    """Distance to a tube of changing radius along a polyline, negative inside."""
    nearest: Field | None = None
    for (p, q), (r0, r1) in zip(pairwise(path), pairwise(radii), strict=True):
        d = np.subtract(q, p).astype(np.float32)
        px, py, pz = space.x - np.float32(p[0]), space.y - np.float32(p[1]), space.z - np.float32(p[2])
        t = np.clip((px * d[0] + py * d[1] + pz * d[2]) / np.float32(d @ d), 0, 1)
        gap = np.sqrt((px - t * d[0]) ** 2 + (py - t * d[1]) ** 2 + (pz - t * d[2]) ** 2)
        gap = gap - (np.float32(r0) + t * np.float32(r1 - r0))
        nearest = gap if nearest is None else np.minimum(nearest, gap)
    if nearest is None:
        raise ValueError(f"A tube needs at least two points, not {len(path)}.")
    return nearest


def joined(first: Field, second: Field, radius_mm: float) -> Field:
    """Distance to the union of two solids whose seam is rounded."""
    h = np.maximum(np.float32(radius_mm) - np.abs(first - second), 0) / np.float32(radius_mm)
    return np.asarray(np.minimum(first, second) - h * h * np.float32(radius_mm / 4))


def cut(first: Field, second: Field, radius_mm: float) -> Field:
    """Distance to the intersection of two solids whose edge is rounded."""
    return -joined(-first, -second, radius_mm)


def coverage(distance: Field) -> Field:
    """Share of each voxel that lies inside, from the distance to the surface."""
    return np.asarray(np.clip(np.float32(0.5) - distance * np.float32(1 / WORKING_MM), 0, 1))


def blurred(field: Field, sigma_mm: float) -> Field:
    """The field after a Gaussian blur."""
    return np.asarray(ndimage.gaussian_filter(field, sigma_mm / WORKING_MM, mode="nearest"), np.float32)
