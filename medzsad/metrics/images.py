"""Metrics of one score per image or per volume."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medzsad.errors import ScoringError
from medzsad.metrics import resampled
from medzsad.metrics.counts import NOT_FINITE
from medzsad.metrics.metric import Metric, metric_of, resample_weights
from medzsad.metrics.ranking import array_ranking

_AT_ONCE = 100  # resamples; memory is this times the number of images


def image_metrics(
    scores: Sequence[float], labels: Sequence[int], subjects: Sequence[str], seed: int
) -> dict[str, Metric]:
    """Image AUROC, AP and F1-max, with intervals by subject.

    Args:
        scores: Of the images.
        labels: 1 with a lesion.
        subjects: Patient of each; "" stands alone.
        seed: Of the resamples.

    Raises:
        ScoringError: A score is not a finite number.
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(labels) > 0
    if not np.isfinite(values).all():
        raise ScoringError(NOT_FINITE)
    missing = "" if not len(truth) else "normal" if truth.all() else "abnormal" if not truth.any() else None
    if missing is not None:
        reason = f"there are no {missing} images" if missing else "there are no images"
        return {name: Metric(None, reason=reason) for name in ("image_auroc", "image_ap", "image_f1max")}
    exact = array_ranking(values, truth)
    drawn = _resampled(values, truth, resample_weights(grouped(subjects), seed))
    return {
        "image_auroc": metric_of(exact.auroc, drawn[0], ""),
        "image_ap": metric_of(exact.average_precision, drawn[1], ""),
        "image_f1max": metric_of(exact.f1_max, drawn[2], ""),
    }


def grouped(subjects: Sequence[str]) -> list[str]:
    """Names of resampling units: the subject, or one of its own for an image of unknown subject."""
    return [subject or f"\0{place}" for place, subject in enumerate(subjects)]


def _resampled(
    values: NDArray[np.float64], truth: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    order = np.argsort(values, kind="stable")
    ranked, truth = values[order], truth[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    parts = []
    for first in range(0, len(weights), _AT_ONCE):
        drawn = weights[first : first + _AT_ONCE, order]
        positives = np.add.reduceat(drawn * truth, starts, axis=-1)
        negatives = np.add.reduceat(drawn * ~truth, starts, axis=-1)
        defined = (positives.sum(axis=-1) > 0) & (negatives.sum(axis=-1) > 0)
        measures = (resampled.auroc, resampled.average_precision, resampled.f1_max)
        metrics = np.stack([measure(positives, negatives) for measure in measures])
        parts.append(np.where(defined, metrics, np.nan))
    return np.concatenate(parts, axis=1)
