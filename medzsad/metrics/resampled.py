"""The metrics of many resamples at once, from scores counted in common bins.

Every function takes counts of shape (..., bins), bins in the order of rising score, and gives one metric per row; NaN
where it is not defined. The metric itself is exact for scores of which each bin holds one value.
"""

import numpy as np
from numpy.typing import NDArray

from medzsad.metrics.regions import FPR_LIMIT, STEPS, area_up_to

Rows = NDArray[np.float64]


def auroc(positives: Rows, negatives: Rows) -> Rows:
    """Chance that a positive scores above a negative, those of one bin counted as equal."""
    below = np.cumsum(negatives, axis=-1) - negatives / 2
    pairs = positives.sum(axis=-1) * negatives.sum(axis=-1)
    return _ratio((positives * below).sum(axis=-1), pairs)


def average_precision(positives: Rows, negatives: Rows) -> Rows:
    """Mean precision over the recalled positives; needs both, since precision is 1 where all are positive."""
    hits, seen = _from_above(positives), _from_above(positives + negatives)
    precision = hits / np.where(seen > 0, seen, 1)
    return _ratio((positives[..., ::-1] * precision).sum(axis=-1), hits[..., -1])


def f1_max(positives: Rows, negatives: Rows) -> Rows:
    """Best F1 over thresholds between bins."""
    hits, false = _from_above(positives), _from_above(negatives)
    total = hits[..., -1:]
    best = np.max(2 * hits / np.where(hits + false + total > 0, hits + false + total, 1), axis=-1)
    return np.where(total[..., 0] > 0, best, np.nan)


def pro_integrated(weights: Rows, negatives: Rows) -> Rows:
    """Area under the PRO curve up to FPR 0.3, divided by 0.3; see `regions.ProAreas`."""
    recalls, rates = _curve(weights), _curve(negatives)
    return np.asarray(area_up_to(rates, recalls, FPR_LIMIT) / FPR_LIMIT)


def pro_rescaled(weights: Rows, negatives: Rows, edges: NDArray[np.float32], low: float, high: float) -> Rows:
    """Area under the PRO curve at 200 evenly spaced thresholds; see `regions.ProAreas`.

    Args:
        weights: (rows, bins) of lesion pixels.
        negatives: (rows, bins).
        edges: (bins - 1,) rising; bin b holds scores from edges[b - 1] on, below edges[b].
        low: Least of all scores.
        high: Highest of all scores.
    """
    thresholds = (low + (high - low) / STEPS * np.arange(STEPS))[::-1]
    # A threshold within a bin is taken as the next edge above it.
    places = len(edges) - np.searchsorted(edges, thresholds, side="right")
    recalls, rates = _curve(weights)[..., places], _curve(negatives)[..., places]
    kept = rates < FPR_LIMIT
    pieces = kept[..., 1:] & kept[..., :-1]
    widths = np.where(pieces, np.diff(rates, axis=-1), 0)
    area = np.sum(widths * (recalls[..., 1:] + recalls[..., :-1]) / 2, axis=-1)
    return _ratio(area, widths.sum(axis=-1))


def best_mean(curves: Rows) -> Rows:
    """The highest value of each row: the best threshold for a mean over subjects, chosen for each row separately."""
    return np.asarray(np.max(curves, axis=-1))


def dice_curves(positives: Rows, negatives: Rows) -> Rows:
    """(rows, bins) Dice of each row for the thresholds at the lower ends of the bins; NaN rows without positives."""
    hits, false = _from_above(positives)[..., ::-1], _from_above(negatives)[..., ::-1]
    total = positives.sum(axis=-1, keepdims=True)
    return np.where(total > 0, 2 * hits / np.where(total > 0, hits + false + total, 1), np.nan)


def _from_above(counts: Rows) -> Rows:
    return np.cumsum(counts[..., ::-1], axis=-1)


def _curve(counts: Rows) -> Rows:
    """(..., bins + 1) shares of all counts that lie in the highest 0, 1, 2, ... bins."""
    total = counts.sum(axis=-1, keepdims=True)
    rising = _ratio(_from_above(counts), total)
    return np.concatenate([np.where(total > 0, 0.0, np.nan), rising], axis=-1)


def _ratio(numerator: Rows, denominator: Rows) -> Rows:
    known = denominator > 0
    return np.where(known, numerator / np.where(known, denominator, 1), np.nan)
