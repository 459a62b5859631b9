"""What is measured: weights files on the product's own path, an untrained tower, and detectors that learn nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, gaussian_filter
from skimage.filters import threshold_otsu
from yardstick_data import Volume

from medzsad.clip.tower import Tower, build_tower
from medzsad.config import make_config
from medzsad.errors import ScoringError
from medzsad.methods.detector import Detector
from medzsad.run.detect import detect
from medzsad.run.pipeline import detect_scan, load_detector
from medzsad.scan.records import Scan, Source

_STACK = 16
_SEED = 0
_PICTURE_SIGMA, _VOLUME_SIGMA = 2.0, 1.0  # pixels and voxels

Kind = Literal["weights", "untrained", "trivial"]
Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PictureScore:
    """What a detector says about a picture.

    Attributes:
        map: (rows, columns) scores.
        image: Score of the whole picture.
        peak: Largest pixel score; None where it means nothing.
        flagged: Whether a pixel reaches the fixed threshold; None without one.
    """

    map: Plane
    image: float
    peak: float | None
    flagged: bool | None


@dataclass(frozen=True, slots=True)
class VolumeScore:
    """Scores (i, j, k) of a volume, and its mask at the fixed threshold, None without one."""

    map: NDArray[np.float32]
    mask: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table.

    Attributes:
        name: As printed.
        kind: What it is.
        sha256: Of the weights file; "" for others.
        threshold: The fixed threshold; None without one.
        provenance: How the threshold was chosen.
        pictures: Scores of pictures (rows, columns) in 0..255.
        volume: Scores of a volume.
    """

    name: str
    kind: Kind
    sha256: str
    threshold: float | None
    provenance: str
    pictures: Callable[[Sequence[Plane]], list[PictureScore]]
    volume: Callable[[Volume], VolumeScore]


def weights_column(weights: str) -> Column:
    """The column of a weights file, at its own fixed threshold."""
    return _model_column(load_detector(weights, device="cpu"), "weights")


def untrained_column(weights: str) -> Column | None:
    """The column of a tower and prompts as those of the weights, fresh and random; None if the tower is not inside."""
    known = load_detector(weights, device="cpu")
    card = known.card
    if not card.clip_config:
        return None
    torch.manual_seed(_SEED)
    clip = build_tower(card.clip_config, card.spec)
    model = known.method.model(**card.sizes)
    blank = card.model_copy(update={"name": "untrained tower", "sha256": "", "threshold": 0.5})
    detector = Detector(Tower(clip, card.spec), model, known.method, blank).frozen()
    return _model_column(detector, "untrained")


def _model_column(detector: Detector, kind: Kind) -> Column:
    fixed = kind == "weights" and detector.card.threshold is not None
    name = f"{detector.card.name} {detector.card.sha256[:8]}" if kind == "weights" else detector.card.name

    def pictures(planes: Sequence[Plane]) -> list[PictureScore]:
        return [score for stack in _stacks(planes) for score in _score_stack(detector, stack, fixed)]

    def volume(given: Volume) -> VolumeScore:
        result = detect(given.path, detector=detector, **({} if fixed else {"threshold": 0.5}))
        if result.score is None or result.mask is None:
            raise ScoringError(f"{given.path.name} was not scored: {result.message}")
        return VolumeScore(result.score, result.mask > 0 if fixed else None)

    return Column(
        name,
        kind,
        detector.card.sha256 if kind == "weights" else "",
        detector.card.threshold if fixed else None,
        detector.card.threshold_provenance if fixed else "",
        pictures,
        volume,
    )


def _stacks(planes: Sequence[Plane]) -> Iterator[list[Plane]]:
    """Runs of neighbors of one size; a score does not depend on what else is in the stack."""
    stack: list[Plane] = []
    for plane in planes:
        if stack and (plane.shape != stack[0].shape or len(stack) == _STACK):
            yield stack
            stack = []
        stack.append(plane)
    if stack:
        yield stack


def _score_stack(detector: Detector, planes: Sequence[Plane], fixed: bool) -> Iterator[PictureScore]:
    voxels = np.stack([plane.T for plane in planes], axis=2)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    scan = Scan("pictures", np.ascontiguousarray(voxels), affine, "PICTURE", 2, Source("picture"))
    config = make_config({} if fixed else {"threshold": 0.5})
    result = detect_scan(scan, detector, config)
    if result.score is None or result.mask is None:
        raise ScoringError(f"Pictures were not scored: {result.message}")
    for slice_score in result.slices:
        k = slice_score.index
        flagged = bool(result.mask[:, :, k].any()) if fixed else None
        yield PictureScore(result.score[:, :, k].T, slice_score.image_score, slice_score.max_score, flagged)


def trivial_columns() -> tuple[Column, ...]:
    """Smoothed brightness, smoothed darkness of the foreground, and nearness to the center of the foreground."""
    return (
        _trivial_column("brightness", _brightness),
        _trivial_column("darkness", _darkness),
        _trivial_column("nearness to center", _nearness, peaks=False),
    )


_Rule = Callable[[NDArray[np.float32], float, tuple[float, ...]], NDArray[np.float32]]


def _trivial_column(name: str, rule: _Rule, *, peaks: bool = True) -> Column:
    def pictures(planes: Sequence[Plane]) -> list[PictureScore]:
        maps = [rule(plane, _PICTURE_SIGMA, (1.0, 1.0)) for plane in planes]
        return [PictureScore(m, float(m.mean()), float(m.max()) if peaks else None, None) for m in maps]

    def volume(given: Volume) -> VolumeScore:
        image = nib.load(given.path)
        spacing = tuple(float(side) for side in image.header.get_zooms()[:3])
        return VolumeScore(rule(np.asarray(image.get_fdata(dtype=np.float32)), _VOLUME_SIGMA, spacing), None)

    return Column(name, "trivial", "", None, "", pictures, volume)


def _foreground(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """What is brighter than half of Otsu's cut, holes filled slice by slice."""
    low = float(image.min())
    if low == float(image.max()):
        return np.ones(image.shape, bool)
    bright = image > low + 0.5 * (threshold_otsu(image.ravel()) - low)
    if image.ndim == 2:
        return np.asarray(binary_fill_holes(bright))
    return np.stack([binary_fill_holes(bright[..., k]) for k in range(image.shape[2])], axis=2)


def _brightness(image: NDArray[np.float32], sigma: float, spacing: tuple[float, ...]) -> NDArray[np.float32]:
    return np.asarray(gaussian_filter(image, sigma))


def _darkness(image: NDArray[np.float32], sigma: float, spacing: tuple[float, ...]) -> NDArray[np.float32]:
    smooth = gaussian_filter(image, sigma)
    return np.where(_foreground(image), smooth.max() - smooth, 0).astype(np.float32)


def _nearness(image: NDArray[np.float32], sigma: float, spacing: tuple[float, ...]) -> NDArray[np.float32]:
    """1 at the center of mass of the foreground, falling to 0 at its farthest point, 0 outside; in millimeters."""
    inside = _foreground(image)
    places = [axis * step for axis, step in zip(np.indices(image.shape, np.float32), spacing, strict=True)]
    distance = np.sqrt(sum((axis - axis[inside].mean()) ** 2 for axis in places))
    return np.where(inside, 1 - distance / max(float(distance[inside].max()), 1e-6), 0).astype(np.float32)
