"""Measures of ranking on counted scores, with bootstrap intervals that take seconds.

Scores are counted once per unit (picture or scan) into bins; a resample is then a weighted sum of these counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medzsad.metrics.metric import interval
from medzsad.metrics.pixels import bin_edges
from medzsad.metrics.resampled import auroc, average_precision


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure with its 95 % bootstrap interval; `low` and `high` are None where there is nothing to resample."""

    value: float
    low: float | None = None
    high: float | None = None


# A figure, a word such as an outcome, or None where the row has no meaning for the detector.
Rows = dict[str, Measure | str | None]


@dataclass(frozen=True, slots=True)
class Counted:
    """Scores of several units, counted in common bins of rising score.

    Attributes:
        positives: (units, bins) number of scores of lesion pixels, or of images with lesions.
        negatives: (units, bins) of all others.
    """

    positives: NDArray[np.float64]
    negatives: NDArray[np.float64]


def count_scores(scores: Sequence[NDArray[np.floating]], truths: Sequence[NDArray[np.bool_]]) -> Counted:
    """The scores of each unit, counted.

    Each side's average precision and AUROC lose no more than about 1 / 4096; few different scores get a bin each, which
    is exact.

    Args:
        scores: One array per unit, of any shape and range.
        truths: Where they are positive; the same shapes.
    """
    flat = [np.asarray(part, np.float32).ravel() for part in scores]
    truth = [np.asarray(part, bool).ravel() for part in truths]
    edges = bin_edges(flat, truth)
    positives, negatives = (np.zeros((len(flat), len(edges) + 1)) for _ in range(2))
    for unit, (values, positive) in enumerate(zip(flat, truth, strict=True)):
        places = np.searchsorted(edges, values, side="right")
        positives[unit] = np.bincount(places[positive], minlength=len(edges) + 1)
        negatives[unit] = np.bincount(places[~positive], minlength=len(edges) + 1)
    return Counted(positives, negatives)


def ranking_measures(counted: Counted, weights: NDArray[np.float64] | None) -> tuple[Measure, Measure]:
    """AUROC and average precision over all units, with intervals if `weights` of resamples are given."""
    total = counted.positives.sum(axis=0), counted.negatives.sum(axis=0)
    values = auroc(*total), average_precision(*total)
    if weights is None:
        return Measure(float(values[0])), Measure(float(values[1]))
    drawn = weights @ counted.positives, weights @ counted.negatives
    return _measure(values[0], auroc(*drawn)), _measure(values[1], average_precision(*drawn))


def share_measure(flags: NDArray[np.bool_], among: NDArray[np.bool_], weights: NDArray[np.float64]) -> Measure:
    """The share of the units `among` that are flagged, with its interval."""
    return mean_measure(flags[among].astype(float), weights[:, among])


def mean_measure(values: NDArray[np.float64], weights: NDArray[np.float64]) -> Measure:
    """The mean over the units, with its interval; not a number without any unit."""
    totals = weights.sum(axis=1)
    drawn = weights @ values / np.where(totals > 0, totals, np.nan)
    return _measure(values.mean() if values.size else np.nan, drawn)


def _measure(value: NDArray[np.float64] | float, drawn: NDArray[np.float64]) -> Measure:
    return Measure(float(value), *(interval(drawn) or (None, None)))


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Dice coefficient of two masks; 0 if both are empty."""
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))
