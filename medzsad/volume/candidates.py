"""Candidates: the connected components of a thresholded score, each with the features that evidence is made from.

Everything here takes plain arrays in one grid, however the score was made.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medzsad.scan.records import Scan
from medzsad.volume.lesions import Box, label_lesions
from medzsad.volume.records import CaseResult
from medzsad.volume.threshold import apply_threshold

# The columns of `Candidates.features`; a decision stores the names, so that an order that changes does no harm.
FEATURES = ("max_logit", "mean_logit", "log_size", "contrast", "log_extent_mm", "agreement", "depth")

# Half a millionth from 0 and 1: a score that is saturated has a finite logit.
_SATURATED = 5e-7
_SHELL_MM, _SHELL_PIXELS, _MOST_SHELL_VOXELS = 3.0, 3, 5
_PLANES_AT_ONCE = 32
_SAMPLE_VOXELS = 2_000_000
_DECIMALS = 5  # of a feature
_COARSE_SIDE = 64  # of the grid on which the distance from the surface of the body is measured


@dataclass(frozen=True, slots=True)
class Gray:
    """The values of a scan, and which of them are tissue.

    Attributes:
        voxels: (i, j, k), or (i, j, k, 3) in color, in units of the scan.
        low: Values are clipped here, as the model's are.
        high: And here.
        tissue_level: Values above it count as foreground.
    """

    voxels: NDArray[np.float32]
    low: float
    high: float
    tissue_level: float

    @classmethod
    def of(cls, scan: Scan, window: Mapping[str, Any]) -> Self:
        """The values of a scan under the window that was applied, as `CaseResult.window` tells it."""
        return cls(scan.voxels, *(float(window[key]) for key in ("low", "high", "tissue_level")))

    def part(self, box: tuple[slice, ...]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The clipped gray values of a part of the scan, and where they are foreground."""
        values = self.voxels[box]
        foreground = (values if values.ndim == 3 else values.max(axis=3)) > self.tissue_level
        gray = values if values.ndim == 3 else values.mean(axis=3, dtype=np.float32)
        return np.clip(gray, self.low, self.high), foreground


@dataclass(frozen=True, slots=True)
class Candidates:
    """Connected components by falling size.

    Attributes:
        labels: Numbers of the components inside `box`, from 1; 0 outside of them.
        box: Where `labels` lies in the volume.
        features: (n, len(FEATURES)) float64.
        voxel_count: (n,) int64.
        max_score: (n,) float32.
    """

    labels: NDArray[np.int32]
    box: Box
    features: NDArray[np.float64]
    voxel_count: NDArray[np.int64]
    max_score: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.voxel_count)


def candidates_of(result: CaseResult, threshold: float) -> Candidates:
    """The candidates of a scored scan at a threshold of one's own, whatever the result's threshold was.

    Args:
        result: Of a scan that was neither refused nor failed.
        threshold: Score from which a voxel belongs to a candidate.
    """
    assert result.scan is not None
    assert result.score is not None
    gray = Gray.of(result.scan, result.window)
    reached = apply_threshold(result.score, threshold)
    spacing = None if is_picture(result.scan) else result.scan.spacing_mm
    return measure_candidates(reached, result.score, gray, spacing_mm=spacing, slice_axis=result.slice_axis)


def is_picture(scan: Scan) -> bool:
    """Whether a scan is decided as a picture: it has no millimeters, or a single slice."""
    return not scan.has_physical_space or min(scan.shape) == 1


def measure_candidates(
    reached: NDArray[np.bool_],
    score: NDArray[np.float32],
    gray: Gray,
    *,
    spacing_mm: tuple[float, float, float] | None,
    slice_axis: int,
) -> Candidates:
    """The components of a mask with their features.

    Time grows with the number of voxels inside their common box, not with voxels times components.

    Args:
        reached: (i, j, k), where the score reached the threshold.
        score: (i, j, k) in [0, 1].
        gray: The values that were scored, in the same grid.
        spacing_mm: Along (i, j, k); None for a picture, whose sizes count as shares of its foreground.
        slice_axis: Array axis (0, 1, 2) along which the scan was sliced.
    """
    labels, box = label_lesions(reached)
    count = int(labels.max(initial=0))
    size = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    if count == 0:
        return Candidates(labels, box, np.zeros((0, len(FEATURES))), size, np.zeros(0, np.float32))
    inside = _inside_slices(labels, score[box], slice_axis, score.shape[slice_axis])
    spread, foreground = _foreground(gray)
    if spacing_mm is None:
        log_size = np.log10(size / max(foreground, 1.0))
        log_extent = np.zeros(count)
    else:
        log_size = np.log10(size * math.prod(spacing_mm))
        log_extent = np.log10(inside.slices * spacing_mm[slice_axis])
    columns = {
        "max_logit": _logit(inside.max_score),
        "mean_logit": _logit(inside.mean_score),
        "log_size": log_size,
        "contrast": local_contrast(labels, box, gray, spacing_mm, spread),
        "log_extent_mm": log_extent,
        "agreement": inside.agreement,
        "depth": _depth(labels, box, gray, spacing_mm or (1.0, 1.0, 1.0)),
    }
    features = np.stack([columns[name] for name in FEATURES], axis=1)
    return Candidates(labels, box, np.asarray(np.round(features, _DECIMALS), np.float64), size, inside.max_score)


def _logit(score: NDArray[np.floating]) -> NDArray[np.float64]:
    safe = np.clip(score.astype(np.float64), _SATURATED, 1.0 - _SATURATED)
    return np.asarray(np.log(safe / (1.0 - safe)))


@dataclass(frozen=True, slots=True)
class _Inside:
    """(n,) arrays: number of slices touched, scores, and how far neighboring slices agree."""

    slices: NDArray[np.int64]
    max_score: NDArray[np.float32]
    mean_score: NDArray[np.float64]
    agreement: NDArray[np.float64]


def _inside_slices(labels: NDArray[np.int32], score: NDArray[np.float32], slice_axis: int, slice_count: int) -> _Inside:
    """What is found slice by slice. `agreement` is the mean over a candidate's slices of the share of its pixels there
    that reach the threshold in the slice before or after as well; 1 in a scan of one slice.
    """
    count = int(labels.max())
    planes, scores = np.moveaxis(labels, slice_axis, 0), np.moveaxis(score, slice_axis, 0)
    size, slices = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    score_sum, shares = np.zeros(count + 1), np.zeros(count + 1)
    max_score = np.zeros(count + 1, np.float32)
    for index, plane in enumerate(planes):
        at = np.nonzero(plane)
        owner, values = plane[at], scores[index][at]
        here = np.bincount(owner, minlength=count + 1)
        size += here
        slices += here > 0
        score_sum += np.bincount(owner, weights=values, minlength=count + 1)
        np.maximum.at(max_score, owner, values)
        again = np.zeros(len(owner), bool)
        for other in (index - 1, index + 1):
            if 0 <= other < len(planes):
                again |= planes[other][at] > 0
        shares += np.bincount(owner, weights=again, minlength=count + 1) / np.maximum(here, 1)
    agreement = shares[1:] / slices[1:] if slice_count > 1 else np.ones(count)
    return _Inside(slices[1:], max_score[1:], score_sum[1:] / size[1:], agreement)


def local_contrast(
    labels: NDArray[np.int32],
    box: Box,
    gray: Gray,
    spacing_mm: tuple[float, float, float] | None,
    spread: float | None = None,
) -> NDArray[np.float64]:
    """How each component differs from a shell of about 3 mm around it (3 pixels in a picture).

    Args:
        labels: Numbers of the components inside `box`, from 1.
        box: Where `labels` lies in the volume.
        gray: Of the whole volume.
        spacing_mm: Along (i, j, k); None for a picture.
        spread: Of the foreground, if known.

    Returns:
        (n,) absolute difference between the means of component and shell in units of the robust spread of the
        foreground. The shell is foreground that belongs to no component; 0 where there is none.
    """
    count = int(labels.max(initial=0))
    reach = _shell_reach(spacing_mm)
    sums, sizes = np.zeros((2, count + 1)), np.zeros((2, count + 1))
    for part, owner in _shells(labels, box, gray.voxels.shape[:3], reach):
        values, foreground = gray.part(part)
        own = owner > 0
        around = (owner < 0) & foreground
        for row, chosen in enumerate((own, around)):
            numbers = np.abs(owner[chosen])
            sums[row] += np.bincount(numbers, weights=values[chosen], minlength=count + 1)
            sizes[row] += np.bincount(numbers, minlength=count + 1)
    means = sums / np.maximum(sizes, 1)
    difference = np.where(sizes[1] > 0, np.abs(means[0] - means[1]), 0.0)
    return np.asarray(difference[1:] / (spread if spread is not None else _foreground(gray)[0]))


def _shell_reach(spacing_mm: tuple[float, float, float] | None) -> tuple[int, int, int]:
    if spacing_mm is None:
        return (_SHELL_PIXELS, _SHELL_PIXELS, _SHELL_PIXELS)
    i, j, k = (min(max(round(_SHELL_MM / step), 1), _MOST_SHELL_VOXELS) for step in spacing_mm)
    return (i, j, k)


def _shells(
    labels: NDArray[np.int32], box: Box, shape: tuple[int, ...], reach: tuple[int, int, int]
) -> Iterator[tuple[Box, NDArray[np.int32]]]:
    """Parts of the volume that together hold box and shells, each with n in component n and -n in its shell.

    Where shells overlap, the smaller component has the voxel. Some planes at a time: the memory does not grow with
    the volume.
    """
    wide = [(max(part.start - r, 0), min(part.stop + r, side)) for part, r, side in zip(box, reach, shape, strict=True)]
    for first in range(wide[0][0], wide[0][1], _PLANES_AT_ONCE):
        last = min(first + _PLANES_AT_ONCE, wide[0][1])
        halo = (max(first - reach[0], wide[0][0]), min(last + reach[0], wide[0][1]))
        held = np.zeros((halo[1] - halo[0], *(stop - start for start, stop in wide[1:])), np.int32)
        rows = (max(halo[0], box[0].start), min(halo[1], box[0].stop))
        if rows[0] < rows[1]:
            inner = tuple(slice(b.start - w[0], b.stop - w[0]) for b, w in zip(box[1:], wide[1:], strict=True))
            held[(slice(rows[0] - halo[0], rows[1] - halo[0]), *inner)] = labels[
                rows[0] - box[0].start : rows[1] - box[0].start
            ]
        if not held.any():
            continue
        grown = ndimage.maximum_filter(held, size=tuple(2 * r + 1 for r in reach), mode="constant")
        owner = np.where(held > 0, held, -grown)[first - halo[0] : last - halo[0]]
        yield (slice(first, last), slice(*wide[1]), slice(*wide[2])), owner


def _foreground(gray: Gray) -> tuple[float, float]:
    """Robust standard deviation of the foreground (1 where it has none), and its number of voxels."""
    size = math.prod(gray.voxels.shape[:3])
    step = max(1, round((size / _SAMPLE_VOXELS) ** (1 / 3)))
    steps = tuple(slice(None, None, step if side >= 2 * step else 1) for side in gray.voxels.shape[:3])
    values, foreground = gray.part(steps)
    inside = values[foreground]
    if inside.size == 0:
        return 1.0, 0.0
    low, high = np.percentile(inside, [16.0, 84.0])
    spread = float(high - low) / 2 or float(inside.std()) or 1.0
    return spread, float(foreground.mean()) * size


def _depth(
    labels: NDArray[np.int32], box: Box, gray: Gray, spacing_mm: tuple[float, float, float]
) -> NDArray[np.float64]:
    """(n,) mean distance from the surface of the body, as a share of the largest one; measured on a coarse grid."""
    shape = gray.voxels.shape[:3]
    steps = [max(1, math.ceil(side / _COARSE_SIDE)) for side in shape]
    coarse = gray.part(tuple(slice(step // 2, None, step) for step in steps))[1]
    flat = [side == 1 for side in coarse.shape]
    body = ndimage.binary_fill_holes(coarse.squeeze()) if any(flat) else ndimage.binary_fill_holes(coarse)
    sampling = [step * mm for step, mm, gone in zip(steps, spacing_mm, flat, strict=True) if not gone]
    # A border of air, so that a body that is cut by the edge of the picture has a surface there.
    distance = ndimage.distance_transform_edt(np.pad(body, 1), sampling=sampling)[(slice(1, -1),) * body.ndim]
    distance = distance.reshape(coarse.shape) / max(float(distance.max()), 1e-9)
    count = int(labels.max())
    sums, sizes = np.zeros(count + 1), np.zeros(count + 1)
    places = [
        np.minimum(np.arange(part.start, part.stop) // step, side - 1)
        for part, step, side in zip(box, steps, coarse.shape, strict=True)
    ]
    for row, plane in enumerate(labels):
        j, k = np.nonzero(plane)
        depth = distance[places[0][row], places[1][j], places[2][k]]
        sums += np.bincount(plane[j, k], weights=depth, minlength=count + 1)
        sizes += np.bincount(plane[j, k], minlength=count + 1)
    return np.asarray(sums[1:] / sizes[1:])
