"""The scores of several scans of one head as one score, in the grid of one of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from medzsad.context.logits import LogitMean, logit_of

_SAME_MM = 1e-3  # affines that differ by less are equal
_POINTS = 24  # along each side of a volume, to see how much of it another one covers
_COVERED = 0.5  # share of scored voxels around a point from which it counts as scored


@dataclass(frozen=True, slots=True)
class SequenceScore:
    """The score of one scan.

    Attributes:
        score: (i, j, k) float32 in [0, 1].
        scored: (i, j, k) bool, where the model has scored tissue; what it says elsewhere is not used.
        affine_ras: (4, 4), voxel index to position in millimeters.
    """

    score: NDArray[np.float32] = field(repr=False)
    scored: NDArray[np.bool_] = field(repr=False)
    affine_ras: NDArray[np.float64]


def fuse_sequences(
    sequences: Iterable[SequenceScore], shape: tuple[int, int, int], affine_ras: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(i, j, k) the mean of the logits of those sequences that scored a place; 0 where none did.

    Scores are interpolated linearly between the places that their scan has scored. Nothing is registered.

    Args:
        sequences: One at a time is held.
        shape: Of the grid that is wanted.
        affine_ras: Of that grid.
    """
    mean = LogitMean()
    for one in sequences:
        mean.add(*_on_grid(one, shape, affine_ras))
    return mean.score()


def _on_grid(
    one: SequenceScore, shape: tuple[int, int, int], affine_ras: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Logits in another grid, a new array, and where the scan has scored."""
    logits = np.where(one.scored, logit_of(one.score), np.float32(0.0))
    if one.score.shape == shape and np.allclose(one.affine_ras, affine_ras, atol=_SAME_MM):
        return logits, one.scored
    step = np.linalg.inv(one.affine_ras) @ affine_ras
    weight = _resampled(one.scored.astype(np.float32), step, shape)
    scored = (weight >= _COVERED) & _inside(one.score.shape, step, shape)
    found = _resampled(logits, step, shape)
    return np.where(scored, found / np.maximum(weight, _COVERED), np.float32(0.0)), scored


def _resampled(
    volume: NDArray[np.float32], step: NDArray[np.float64], shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    # Half a voxel around the outermost centers belongs to the volume, too: their values go on to there.
    found = affine_transform(volume, step[:3, :3], step[:3, 3], shape, order=1, mode="nearest", output=np.float32)
    return np.asarray(found, np.float32)


def _inside(within: tuple[int, ...], step: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """(i, j, k) bool: the voxels of a grid whose centers lie in the field of view of another one of shape `within`."""
    axes = [np.arange(count, dtype=np.float64) for count in shape]
    inside = np.ones(shape, np.bool_)
    for axis, count in enumerate(within):
        parts = [along * step[axis, n] for n, along in enumerate(axes)]
        index = parts[0][:, None, None] + parts[1][:, None] + parts[2] + step[axis, 3]
        inside &= (index >= -0.5) & (index <= count - 0.5)
    return inside


def common_share(
    shapes: tuple[tuple[int, int, int], tuple[int, int, int]],
    affines_ras: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> float:
    """How much of the smaller of two fields of view the other one covers, from 0 to 1, seen at 24 points a side."""
    volumes = [
        abs(np.linalg.det(affine[:3, :3])) * np.prod(shape) for shape, affine in zip(shapes, affines_ras, strict=True)
    ]
    small = int(np.argmin(volumes))
    lattice = np.diag([*(np.array(shapes[small]) / _POINTS), 1.0])
    lattice[:3, 3] = np.array(shapes[small]) / _POINTS / 2 - 0.5
    step = np.linalg.inv(affines_ras[1 - small]) @ affines_ras[small] @ lattice
    return float(_inside(shapes[1 - small], step, (_POINTS, _POINTS, _POINTS)).mean())


def scored_voxels(
    shape: tuple[int, int, int], slices: NDArray[np.intp], axis: int, outside: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """(i, j, k) bool: the voxels of the slices along an axis that were scored, without the air around the body."""
    along = np.zeros(shape[axis], np.bool_)
    along[slices] = True
    scored = np.broadcast_to(along.reshape([-1 if n == axis else 1 for n in range(3)]), shape)
    return scored if outside is None else scored & ~outside
