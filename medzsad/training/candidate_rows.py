"""What a labeled volume says about candidates: their features at several voxel thresholds, and which are lesions.

A row is small, holds no voxel, and can be kept as a line of JSON.
"""

from collections.abc import Sequence
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict

from medzsad.config import RunConfig
from medzsad.errors import ConfigError
from medzsad.methods.detector import Detector
from medzsad.run.pipeline import detect_scan
from medzsad.run.rule import kind_of
from medzsad.run.site_file import Kind
from medzsad.scan.records import Scan
from medzsad.volume.candidates import Candidates, Gray, candidates_of, local_contrast
from medzsad.volume.lesions import label_lesions
from medzsad.volume.records import CaseResult

# Scores from which a voxel belongs to a candidate; the best of them is chosen.
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
# A candidate is a lesion if this share of it lies in one; or if it covers this share of one and is not so large that
# less than the last share of it lies there, for a candidate of half a head covers whatever is in it.
TRUE_OVERLAP, TRUE_COVER, LEAST_OVERLAP = 0.10, 0.20, 0.02
# Of each threshold the candidates with the highest scores are kept, and all that touch a lesion.
MOST_CANDIDATES = 300

Rounded = Annotated[float, AfterValidator(lambda value: round(value, 5))]


class LabeledVolume(Protocol):
    """A scan whose lesions are known."""

    @property
    def scan(self) -> Scan:
        """The scan."""
        ...

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(i, j, k), True inside lesions; all False for a healthy scan."""
        ...


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrueLesion(_Record):
    """A lesion: its size in cubic millimeters (a picture: share of all pixels), and its contrast as for candidates."""

    size: Rounded
    contrast: Rounded


class CandidateRows(_Record):
    """The candidates of a volume at one voxel threshold.

    Attributes:
        features: (n, features), see `medzsad.volume.candidates.FEATURES`.
        voxels: (n,) size.
        inside: (n,) voxels of it that lie in lesions.
        finds: (n,) indices of the lesions that it counts for; () for a false one.
    """

    features: tuple[tuple[Rounded, ...], ...]
    voxels: tuple[int, ...]
    inside: tuple[int, ...]
    finds: tuple[tuple[int, ...], ...]


class VolumeRow(_Record):
    """A labeled volume, without its voxels.

    Attributes:
        name: Of the scan.
        kind: Whether it is decided as a volume or as a picture.
        mask_voxels: Voxels in lesions; 0 for a healthy scan.
        lesions: Components of the mask.
        candidates: By voxel threshold.
    """

    name: str
    kind: Kind
    mask_voxels: int
    lesions: tuple[TrueLesion, ...]
    candidates: dict[float, CandidateRows]


def measure_volume(
    detector: Detector, volume: LabeledVolume, config: RunConfig, thresholds: Sequence[float] = THRESHOLDS
) -> VolumeRow:
    """The row of a labeled volume, scored as a run with `config` would.

    Raises:
        ConfigError: The mask has another grid than the scan.
        RefusedError: Nothing of the scan can be scored.
    """
    scan, mask = volume.scan, np.asarray(volume.mask, dtype=bool)
    if mask.shape != scan.shape:
        raise ConfigError(f"The mask of {scan.name} has the shape {mask.shape}, the scan {scan.shape}.")
    no_mask = {"threshold": 1.0, "sensitivity": None, "calibration": None}
    result = detect_scan(scan, detector, config.model_copy(update=no_mask))
    numbers, box = label_lesions(mask)
    lesion_of = np.zeros(mask.shape, np.int32)
    lesion_of[box] = numbers
    sizes = np.bincount(lesion_of.ravel())[1:]
    kind = kind_of(scan)
    spacing = scan.spacing_mm if kind == "volumes" else None
    unit = float(np.prod(spacing)) if spacing else 1.0 / mask.size
    contrasts = local_contrast(numbers, box, Gray.of(scan, result.window), spacing) if len(sizes) else np.zeros(0)
    return VolumeRow(
        name=scan.name,
        kind=kind,
        mask_voxels=int(mask.sum()),
        lesions=tuple(
            TrueLesion(size=float(size * unit), contrast=float(contrast))
            for size, contrast in zip(sizes, contrasts, strict=True)
        ),
        candidates={threshold: _rows(result, threshold, lesion_of, sizes) for threshold in thresholds},
    )


def _rows(
    result: CaseResult, threshold: float, lesion_of: NDArray[np.int32], sizes: NDArray[np.int64]
) -> CandidateRows:
    found = candidates_of(result, threshold)
    overlap = _overlap(found, lesion_of, len(sizes))
    inside = overlap.sum(axis=1)
    strongest = np.argsort(-found.max_score, kind="stable")[:MOST_CANDIDATES]
    kept = np.union1d(strongest, np.flatnonzero(inside))
    share, cover = overlap / found.voxel_count[:, None], overlap / sizes[None, :]
    counts = (share >= TRUE_OVERLAP) | ((cover >= TRUE_COVER) & (share >= LEAST_OVERLAP))
    return CandidateRows(
        features=tuple(tuple(map(float, row)) for row in found.features[kept]),
        voxels=tuple(map(int, found.voxel_count[kept])),
        inside=tuple(map(int, inside[kept])),
        finds=tuple(tuple(map(int, np.flatnonzero(row))) for row in counts[kept]),
    )


def _overlap(found: Candidates, lesion_of: NDArray[np.int32], lesions: int) -> NDArray[np.int64]:
    """(candidates, lesions) voxels that they share."""
    ours, theirs = found.labels.ravel(), lesion_of[found.box].ravel()
    both = (ours > 0) & (theirs > 0)
    pairs = (ours[both].astype(np.int64) - 1) * lesions + (theirs[both] - 1)
    counts = np.bincount(pairs, minlength=len(found) * lesions)
    return counts.reshape(len(found), lesions)
