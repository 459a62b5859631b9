"""Volumes in one orientation and on coarser grids, so that what is found does not depend on the order of the axes."""

from typing import TypeVar

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray

from medzsad.scan.records import Scan

Value = TypeVar("Value", bound=np.generic)


def canonical_view(volume: NDArray[Value], scan: Scan) -> NDArray[Value]:
    """The volume (i, j, k) of a scan with its axes toward right, anterior and superior: a view of the same memory."""
    return np.asarray(apply_orientation(volume, _turn(scan)))


def canonical_spacing_mm(scan: Scan) -> tuple[float, float, float]:
    """Distance between voxel centers along the axes of `canonical_view`, in millimeters."""
    spacing = dict(zip(_turn(scan)[:, 0].astype(int).tolist(), scan.spacing_mm, strict=True))
    return (spacing[0], spacing[1], spacing[2])


def _turn(scan: Scan) -> NDArray[np.float64]:
    return np.asarray(ornt_transform(io_orientation(scan.affine_ras), axcodes2ornt(tuple("RAS"))))


def block_sides(spacing_mm: tuple[float, float, float], target_mm: float) -> tuple[int, int, int]:
    """How many voxels along each axis make a block of about `target_mm`; 1 where a voxel is that large already."""
    i, j, k = (max(1, int(1.1 * target_mm // spacing)) for spacing in spacing_mm)
    return (i, j, k)


def block_means(volume: NDArray[np.generic], sides: tuple[int, int, int]) -> NDArray[np.float32]:
    """The mean of each block of `sides` voxels, float32; the last blocks of an axis may hold fewer."""
    means = volume
    for axis, side in enumerate(sides):
        if side == 1:
            continue
        starts = np.arange(0, means.shape[axis], side)
        counts = np.diff(np.append(starts, means.shape[axis])).astype(np.float32)
        total = np.add.reduceat(means, starts, axis=axis, dtype=np.float32)
        means = total / counts.reshape([-1 if a == axis else 1 for a in range(3)])
    return np.asarray(means, np.float32)


def spread_blocks(blocks: NDArray[np.bool_], sides: tuple[int, int, int], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The value of its block for every voxel of a volume of `shape`."""
    return blocks[np.ix_(*(np.arange(n) // side for n, side in zip(shape, sides, strict=True)))]


def faces(volume: NDArray[Value]) -> list[NDArray[Value]]:
    """The six outer planes of a volume, as views."""
    return [volume[(slice(None),) * axis + (end,)] for axis in range(3) for end in (0, -1)]
