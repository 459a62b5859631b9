"""Geometry of slice stacks, and the only LPS <-> RAS sign change of the project.

DICOM and ITK count toward left and posterior (LPS+, PS3.3 C.7.6.2.1.1), NIfTI and medzsad toward right and
anterior.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medzsad.errors import ReasonCode

FloatArray = NDArray[np.float64]

_FLIP = np.array([-1.0, -1.0, 1.0])
_SAME_PLACE_MM = 1e-3
_ORIENTATION_TOLERANCE = 1e-3
_SPACING_TOLERANCE = 0.01  # relative; the default of highdicom
_TILT_TOLERANCE_DEGREES = 0.1  # direction cosines are often rounded to three decimals
_MULTIPLE_TOLERANCE = 0.05  # of the smallest spacing
_HINT = "Use --allow-irregular to score it slice by slice."


def ras_from_lps(positions_lps: ArrayLike) -> FloatArray:
    """Positions (..., 3) in RAS+ for positions in LPS+."""
    positions: FloatArray = np.asarray(positions_lps, np.float64) * _FLIP
    return positions


def lps_from_ras(positions_ras: ArrayLike) -> FloatArray:
    """Positions (..., 3) in LPS+ for positions in RAS+."""
    positions: FloatArray = np.asarray(positions_ras, np.float64) * _FLIP
    return positions


def affine_ras_from_lps(affine_lps: ArrayLike) -> FloatArray:
    """The (4, 4) affine into RAS+ for one into LPS+."""
    return np.diag([*_FLIP, 1.0]) @ np.asarray(affine_lps, np.float64)


@dataclass(frozen=True, slots=True)
class Stack:
    """What the headers of a slice set say about its geometry.

    Attributes:
        order: Indices of the slices, sorted along the normal.
        offsets_mm: Distance of each sorted slice from the first, along the normal.
        axes_lps: (3, 3) unit vectors in columns: along a row (i), along a column (j), normal (k).
        origin_lps_mm: Position of the first voxel of the first sorted slice.
        spacing_mm: Spacing of the grid along the normal: of irregular stacks the mean over counted steps where these
            are near whole multiples of the smallest, else the smallest.
        drift_mm: In-plane shift (along i, along j) per millimeter along the normal; 0 unless tilted.
        tilt_degrees: Angle between the stacking direction and the normal.
        groups: Indices of slices by common orientation; one group in a stack.
        code: Reason code, or None for a regular stack.
        message: The sentence that goes with `code`.
    """

    order: tuple[int, ...]
    offsets_mm: FloatArray
    axes_lps: FloatArray
    origin_lps_mm: FloatArray
    spacing_mm: float
    drift_mm: tuple[float, float] = (0.0, 0.0)
    tilt_degrees: float = 0.0
    groups: tuple[tuple[int, ...], ...] = ()
    code: ReasonCode | None = None
    message: str = ""


def diagnose(
    positions_lps_mm: ArrayLike,
    orientations: ArrayLike,
    names: Sequence[str],
    *,
    pixel_mm: float,
    default_spacing_mm: float = 1.0,
) -> Stack:
    """The geometry of a slice set, with a verdict.

    Args:
        positions_lps_mm: (n, 3) ImagePositionPatient.
        orientations: (n, 6) ImageOrientationPatient.
        names: What messages call each slice.
        pixel_mm: Smallest in-plane spacing; a drift of half of it over the stack counts as tilt.
        default_spacing_mm: Spacing that a single slice gets.
    """
    positions = np.asarray(positions_lps_mm, np.float64)
    directions = np.asarray(orientations, np.float64)
    axes = _axes(directions[0])
    if axes is None or not (np.isfinite(positions).all() and np.isfinite(directions).all()):
        message = f"{names[0]} has an impossible position or orientation. Fix these tags and try again."
        return _verdict(positions, np.eye(3), (), ReasonCode.GEOMETRY_MISSING, message)
    groups = _orientation_groups(directions)
    if len(groups) > 1:
        return _verdict(positions, axes, groups, ReasonCode.GEOMETRY_MIXED_ORIENTATION, _mixed(groups, names))
    offsets = positions @ axes[:, 2]
    order = np.argsort(offsets, kind="stable")
    positions, offsets = positions[order], offsets[order] - offsets[order[0]]
    sorted_names = [names[index] for index in order]
    steps = np.diff(offsets)
    spacing = float(steps.mean()) if len(steps) else default_spacing_mm
    drift, drift_total, residual = _drift(positions, offsets, axes)
    tilt = float(np.degrees(np.arctan(np.linalg.norm(drift))))
    tilted = drift_total > 0.5 * pixel_mm and tilt > _TILT_TOLERANCE_DEGREES
    tilt = tilt if tilted else 0.0
    code, message = _judge(steps, sorted_names, tilt, residual, pixel_mm)
    if code in (ReasonCode.GEOMETRY_GAP, ReasonCode.GEOMETRY_IRREGULAR):
        spacing = _grid_spacing(steps)
    return Stack(
        order=tuple(int(index) for index in order),
        offsets_mm=offsets,
        axes_lps=axes,
        origin_lps_mm=positions[0],
        spacing_mm=spacing,
        drift_mm=(float(drift[0]), float(drift[1])) if tilted else (0.0, 0.0),
        tilt_degrees=tilt,
        groups=groups,
        code=code,
        message=message,
    )


def _judge(
    steps: FloatArray, names: Sequence[str], tilt_degrees: float, residual_mm: float, pixel_mm: float
) -> tuple[ReasonCode | None, str]:
    if not len(steps):
        return None, ""
    if steps.min() < _SAME_PLACE_MM:
        count = int((steps < _SAME_PLACE_MM).sum())
        first = int(np.argmin(steps))
        share, (one, other) = "shares" if count == 1 else "share", names[first : first + 2]
        both = f"{one} and {other}" if one != other else f"two files called {one}"
        return ReasonCode.GEOMETRY_DUPLICATE_POSITION, (
            f"{count} of {len(names)} slices {share} the position of another, for instance {both}"
            f" ({steps[first]:.2f} mm apart). They may be phases or echoes. {_HINT}"
        )
    also_tilted = f" The slices are also tilted by {tilt_degrees:.1f} degrees." if tilt_degrees else ""
    if np.abs(steps - steps.mean()).max() > _SPACING_TOLERANCE * steps.mean():
        return _judge_spacing(steps, names, also_tilted)
    if tilt_degrees:
        return ReasonCode.GEOMETRY_TILTED, (
            f"Series is tilted: its slices are stacked {tilt_degrees:.1f} degrees off their normal, as with gantry"
            f" tilt, {steps.mean():.2f} mm apart, from {names[0]} to {names[-1]}."
            " Use --allow-irregular to shear it back."
        )
    if residual_mm > max(pixel_mm, 0.01 * float(steps.mean())):
        return ReasonCode.GEOMETRY_IRREGULAR, (
            "Series is not a regular stack: slices are shifted within their plane by up to"
            f" {residual_mm:.2f} mm between {names[0]} and {names[-1]}. {_HINT}"
        )
    return None, ""


def _whole_steps(steps: FloatArray) -> tuple[FloatArray, bool]:
    """How many times the smallest step goes into each, and whether all are near whole multiples of it."""
    smallest = float(steps.min())
    multiples: FloatArray = np.rint(steps / smallest)
    return multiples, bool(np.abs(steps - multiples * smallest).max() <= _MULTIPLE_TOLERANCE * smallest)


def _grid_spacing(steps: FloatArray) -> float:
    """The spacing of the grid that uneven steps fit best: no error adds up from slice to slice."""
    multiples, whole = _whole_steps(steps)
    mean = float(steps.sum() / multiples.sum())
    away = np.abs(np.cumsum(steps) - mean * np.cumsum(multiples)).max()
    # A slice that lies nearer to another place than to its own shows that no common spacing holds.
    return mean if whole and away < 0.5 * mean else float(steps.min())


def _judge_spacing(steps: FloatArray, names: Sequence[str], remark: str) -> tuple[ReasonCode, str]:
    smallest = float(steps.min())
    multiples, whole = _whole_steps(steps)
    widest = int(np.argmax(steps))
    between = f"{steps[widest]:.2f} mm between {names[widest]} and {names[widest + 1]}"
    if whole and multiples.max() > 1:
        missing = int(multiples.sum()) - len(steps)
        which = "A slice is probably missing." if missing == 1 else f"{missing} slices are probably missing."
        return ReasonCode.GEOMETRY_GAP, (
            f"Series is not a regular stack: expected {smallest:.2f} mm between slices, found {between}."
            f" {which}{remark} {_HINT}"
        )
    return ReasonCode.GEOMETRY_IRREGULAR, (
        f"Series is not a regular stack: spacings run from {smallest:.2f} mm to {between}.{remark} {_HINT}"
    )


def _axes(orientation: FloatArray) -> FloatArray | None:
    row, column = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not all(abs(length - 1) < 0.01 for length in lengths) or abs(float(row @ column)) > 0.01:
        return None
    row = row / lengths[0]
    column = column - row * (column @ row)
    column = column / np.linalg.norm(column)
    return np.stack([row, column, np.cross(row, column)], axis=1)


def _orientation_groups(orientations: FloatArray) -> tuple[tuple[int, ...], ...]:
    groups: list[list[int]] = []
    for index, orientation in enumerate(orientations):
        for group in groups:
            if np.abs(orientation - orientations[group[0]]).max() <= _ORIENTATION_TOLERANCE:
                group.append(index)
                break
        else:
            groups.append([index])
    return tuple(tuple(group) for group in groups)


def _drift(positions: FloatArray, offsets: FloatArray, axes: FloatArray) -> tuple[FloatArray, float, float]:
    """In-plane shift per millimeter, its total, and the largest departure from that line, in mm."""
    if len(offsets) < 2 or offsets[-1] < _SAME_PLACE_MM:
        return np.zeros(2), 0.0, 0.0
    in_plane = (positions - positions[0]) @ axes[:, :2]
    slope = in_plane[-1] / offsets[-1]
    residual = np.linalg.norm(in_plane - offsets[:, None] * slope, axis=1).max()
    return slope, float(np.linalg.norm(in_plane[-1])), float(residual)


def _mixed(groups: tuple[tuple[int, ...], ...], names: Sequence[str]) -> str:
    counts = ", ".join(f"{len(group)} like {names[group[0]]}" for group in groups[:4])
    return (
        f"Series mixes {len(groups)} orientations: {counts}. These are several stacks in one series."
        " Use --allow-irregular to score each on its own."
    )


def _verdict(
    positions: FloatArray,
    axes: FloatArray,
    groups: tuple[tuple[int, ...], ...],
    code: ReasonCode,
    message: str,
) -> Stack:
    return Stack(
        order=tuple(range(len(positions))),
        offsets_mm=np.zeros(len(positions)),
        axes_lps=axes,
        origin_lps_mm=positions[0],
        spacing_mm=1.0,
        groups=groups,
        code=code,
        message=message,
    )


def spans_volume(affine: FloatArray) -> bool:
    """Whether an affine is finite and its three columns span a volume."""
    with np.errstate(all="ignore"):
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        if not (np.isfinite(affine).all() and np.isfinite(sizes).all()) or sizes.min() < 1e-6:
            return False
        return bool(abs(np.linalg.det(affine[:3, :3] / sizes)) >= 1e-3)
