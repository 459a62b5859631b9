"""The columns of the table that learned nothing: brightness, darkness of the foreground, nearness to its center."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, gaussian_filter
from skimage.filters import threshold_otsu
from yardstick_columns import Column, PictureScore, VolumeScore
from yardstick_data import Picture, Volume

_PICTURE_SIGMA, _VOLUME_SIGMA = 2.0, 1.0  # pixels and voxels


def trivial_columns() -> tuple[Column, ...]:
    """Smoothed brightness, smoothed darkness of the foreground, and nearness to the center of the foreground."""
    return (
        _trivial_column("brightness", _brightness),
        _trivial_column("darkness", _darkness),
        _trivial_column("nearness to center", _nearness, peaks=False),
    )


def foreground(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """What is brighter than half of Otsu's cut, holes filled slice by slice.

    Args:
        image: (rows, columns) or (i, j, k).
    """
    low = float(image.min())
    if low == float(image.max()):
        return np.ones(image.shape, bool)
    bright = image > low + 0.5 * (threshold_otsu(image.ravel()) - low)
    if image.ndim == 2:
        return np.asarray(binary_fill_holes(bright))
    return np.stack([binary_fill_holes(bright[..., k]) for k in range(image.shape[2])], axis=2)


def picture_brightness(picture: Picture) -> NDArray[np.float32]:
    """(rows, columns) smoothed brightness of a picture, as the column of brightness has it."""
    return _brightness(picture.gray(), _PICTURE_SIGMA, (1.0, 1.0))


_Rule = Callable[[NDArray[np.float32], float, tuple[float, ...]], NDArray[np.float32]]


def _trivial_column(name: str, rule: _Rule, *, peaks: bool = True) -> Column:
    def picture(given: Picture) -> PictureScore:
        scores = rule(given.gray(), _PICTURE_SIGMA, (1.0, 1.0))
        return PictureScore(scores, float(scores.mean()), float(scores.max()) if peaks else None, None)

    def volume(given: Volume) -> VolumeScore:
        return VolumeScore(rule(given.voxels(), _VOLUME_SIGMA, given.spacing_mm), None)

    return Column(name, "trivial", "", None, "", picture, volume)


def _brightness(image: NDArray[np.float32], sigma: float, spacing: tuple[float, ...]) -> NDArray[np.float32]:
    return np.asarray(gaussian_filter(image, sigma))


def _darkness(image: NDArray[np.float32], sigma: float, spacing: tuple[float, ...]) -> NDArray[np.float32]:
    smooth = gaussian_filter(image, sigma)
    return np.where(foreground(image), smooth.max() - smooth, 0).astype(np.float32)


def _nearness(image: NDArray[np.float32], sigma: float, spacing: tuple[float, ...]) -> NDArray[np.float32]:
    """1 at the center of mass of the foreground, falling to 0 at its farthest point, 0 outside; in millimeters."""
    inside = foreground(image)
    places = [axis * step for axis, step in zip(np.indices(image.shape, np.float32), spacing, strict=True)]
    distance = np.sqrt(sum((axis - axis[inside].mean()) ** 2 for axis in places))
    return np.where(inside, 1 - distance / max(float(distance[inside].max()), 1e-6), 0).astype(np.float32)
