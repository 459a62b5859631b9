"""Lesions found, missed and made up, counted as connected components."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medzsad.metrics.metric import LESION_METRICS, Metric, metric_of, resample_weights


@dataclass(frozen=True, slots=True)
class LesionCounts:
    """Lesions of one scan.

    Attributes:
        lesions: Components of the reference.
        found: Those of which at least one voxel is marked.
        false_positives: Marked components without any voxel of the reference.
    """

    lesions: int
    found: int
    false_positives: int


def count_lesions(marked: NDArray[np.bool_], truth: NDArray[np.bool_]) -> LesionCounts:
    """The lesions of a scan by any overlap; voxels that touch by a face, an edge or a corner belong together.

    Args:
        marked: (i, j, k) where the score reaches the threshold.
        truth: (i, j, k) the reference.
    """
    structure = np.ones((3,) * truth.ndim)
    lesions, count = ndimage.label(truth, structure=structure)
    components, marks = ndimage.label(marked, structure=structure)
    both = marked & truth
    return LesionCounts(int(count), len(np.unique(lesions[both])), int(marks) - len(np.unique(components[both])))


def lesion_metrics(counts: Sequence[LesionCounts], subjects: Sequence[str], seed: int) -> dict[str, Metric]:
    """Share of lesions found in all scans, and false positives per scan, with intervals by subject.

    Args:
        counts: Of each scan.
        subjects: Of each scan, unique units of the resamples.
        seed: Of the resamples.
    """
    times = resample_weights(subjects, seed)
    lesions, found, false = (
        np.array([getattr(one, name) for one in counts], np.float64) for name in ("lesions", "found", "false_positives")
    )
    drawn = times @ lesions
    recall = times @ found / np.where(drawn > 0, drawn, np.nan)
    value = float(found.sum() / lesions.sum()) if lesions.sum() else float("nan")
    return {
        "lesion_recall": metric_of(value, recall, "the references hold no lesion"),
        "false_positives_per_scan": metric_of(float(false.mean()), times @ false / times.sum(axis=1), ""),
    }


def undefined_lesion_metrics(reason: str) -> Mapping[str, Metric]:
    """Both metrics without a value.

    Args:
        reason: Why.
    """
    return {name: Metric(None, reason=reason) for name in LESION_METRICS}
