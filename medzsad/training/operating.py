"""The operating curve of a decision: how many lesions are found, against how many are marked in healthy scans."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medzsad.config import Sensitivity
from medzsad.training.candidate_rows import VolumeRow
from medzsad.weights.card import OperatingCurve, OperatingPoint

# Where bins of size (cubic millimeters; pictures: share of all pixels) and of contrast begin; the last has no end.
SIZE_FROM = {"volumes": (0.0, 100.0, 1000.0, 10000.0), "pictures": (0.0, 0.001, 0.01, 0.1)}
CONTRAST_FROM = (0.0, 0.5, 1.0, 2.0)
_POINTS = 24
_TABLE_ROWS = 40


@dataclass(frozen=True, slots=True)
class Judged:
    """A volume at the chosen threshold: (n,) evidence of its candidates, and which of them are true."""

    row: VolumeRow
    evidence: NDArray[np.float64]
    finds: tuple[tuple[int, ...], ...]

    @property
    def healthy(self) -> bool:
        """Whether it holds no lesion."""
        return self.row.mask_voxels == 0

    @property
    def true(self) -> NDArray[np.bool_]:
        """(n,) whether each candidate is a lesion."""
        return np.array([bool(found) for found in self.finds], dtype=bool)

    @property
    def highest(self) -> float | None:
        """The highest evidence; None without candidates."""
        return float(self.evidence.max()) if len(self.evidence) else None

    def lesion_evidence(self) -> NDArray[np.float64]:
        """(lesions,) highest evidence of the candidates that find each; minus infinity where none does."""
        best = np.full(len(self.row.lesions), -np.inf)
        for value, finds in zip(self.evidence, self.finds, strict=True):
            for lesion in finds:
                best[lesion] = max(best[lesion], value)
        return best


def operating_curve(judged: Sequence[Judged], levels: dict[Sensitivity, float | None]) -> OperatingCurve:
    """The curve of volumes with and without lesions.

    Args:
        judged: All of one kind; at least one of them healthy.
        levels: Cut-off of each level; None where every candidate is a lesion.
    """
    healthy = [one for one in judged if one.healthy]
    false = np.concatenate([np.zeros(0), *(one.evidence for one in healthy)])
    lesions = [lesion for one in judged for lesion in one.row.lesions]
    best = np.concatenate([np.zeros(0), *(one.lesion_evidence() for one in judged)])
    kind = judged[0].row.kind
    by_size = _bins([lesion.size for lesion in lesions], SIZE_FROM[kind])
    by_contrast = _bins([lesion.contrast for lesion in lesions], CONTRAST_FROM)

    def point(cutoff: float, level: Sensitivity | None) -> OperatingPoint:
        found = best >= cutoff
        return OperatingPoint(
            evidence=cutoff,
            level=level,
            false_lesions_per_scan=round(float((false >= cutoff).sum()) / len(healthy), 4),
            found_by_size=_counts(by_size[found], len(SIZE_FROM[kind])),
            found_by_contrast=_counts(by_contrast[found], len(CONTRAST_FROM)),
        )

    known = np.concatenate([false, best[np.isfinite(best)]])
    lowest = float(known.min()) if len(known) else 0.0
    points = [point(lowest if cutoff is None else cutoff, level) for level, cutoff in levels.items()]
    points += [point(cutoff, None) for cutoff in _spread_out(known)]
    return OperatingCurve(
        size_unit="mm3" if kind == "volumes" else "share",
        size_from=SIZE_FROM[kind],
        contrast_from=CONTRAST_FROM,
        lesions_by_size=_counts(by_size, len(SIZE_FROM[kind])),
        lesions_by_contrast=_counts(by_contrast, len(CONTRAST_FROM)),
        points=tuple(sorted(points, key=lambda one: (one.evidence, one.level or ""))),
    )


def false_per_volume(highest: Sequence[float | None]) -> tuple[tuple[float, float], ...]:
    """(evidence, share of healthy scans whose highest evidence is at least this), by rising evidence.

    All of the strongest are there, further down ever fewer: the rare ones are those that are asked for.
    """
    falling = np.sort(np.array([value for value in highest if value is not None]))[::-1]
    if not len(falling):
        return ()
    ranks = np.unique(np.geomspace(1, len(falling), _TABLE_ROWS).round().astype(int))
    # Of equal values the last rank counts, so that no share is too small.
    table = {float(falling[rank - 1]): float(np.count_nonzero(falling >= falling[rank - 1])) for rank in ranks}
    return tuple((value, round(table[value] / len(highest), 6)) for value in sorted(table))


def _spread_out(values: NDArray[np.float64]) -> list[float]:
    different = np.unique(values)
    places = np.unique(np.linspace(0, len(different) - 1, min(_POINTS, len(different))).round().astype(int))
    return [float(value) for value in different[places]]


def _bins(values: Sequence[float], starts: Sequence[float]) -> NDArray[np.int64]:
    return np.asarray(np.searchsorted(np.asarray(starts), np.asarray(values, dtype=float), side="right") - 1)


def _counts(bins: NDArray[np.int64], count: int) -> tuple[int, ...]:
    return tuple(int(n) for n in np.bincount(bins, minlength=count))
