"""Measures of ranking on counted scores, with bootstrap intervals that take seconds.

Scores are counted once per unit (picture or scan) into bins; a resample is then a weighted sum of these counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 4096
RESAMPLES = 1000
SEED = 0
_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure with its 95 % bootstrap interval; `low` and `high` are None where there is nothing to resample."""

    value: float
    low: float | None = None
    high: float | None = None


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

    The edges of the bins are quantiles of the scores, half of them of the positives and half of the negatives, so that
    neither measure loses more than about 1 / BINS. Up to BINS different scores get a bin each, which is exact.

    Args:
        scores: One array per unit, of any shape and range.
        truths: Where they are positive; the same shapes.
    """
    flat = [np.asarray(part, np.float32).ravel() for part in scores]
    truth = [np.asarray(part, bool).ravel() for part in truths]
    edges = _edges(np.concatenate(flat), np.concatenate(truth))
    positives, negatives = (np.zeros((len(flat), len(edges) + 1)) for _ in range(2))
    for unit, (values, positive) in enumerate(zip(flat, truth, strict=True)):
        places = np.searchsorted(edges, values, side="right")
        positives[unit] = np.bincount(places[positive], minlength=len(edges) + 1)
        negatives[unit] = np.bincount(places[~positive], minlength=len(edges) + 1)
    return Counted(positives, negatives)


def _edges(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> NDArray[np.float32]:
    if scores.size <= BINS:
        return np.unique(scores)[1:]
    sides = [side for side in (scores[truth], scores[~truth]) if side.size]
    levels = np.linspace(0, 1, BINS // len(sides) + 1)
    # "higher" takes edges from the scores themselves, so that equal scores never part.
    return np.unique(np.concatenate([np.quantile(side, levels, method="higher") for side in sides]))


def auroc(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area under the ROC curve, ties counted half, for each row of (..., bins) counts; NaN where a side is empty."""
    below = np.cumsum(negatives, axis=-1) - negatives / 2
    pairs = positives.sum(axis=-1) * negatives.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray((positives * below).sum(axis=-1) / pairs)


def average_precision(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean precision over the recalled positives for each row of (..., bins) counts; NaN without positives."""
    hits = np.cumsum(positives[..., ::-1], axis=-1)
    seen = hits + np.cumsum(negatives[..., ::-1], axis=-1)
    precision = hits / np.maximum(seen, 1)
    with np.errstate(invalid="ignore"):
        return np.asarray((positives[..., ::-1] * precision).sum(axis=-1) / hits[..., -1])


def resample_weights(groups: Sequence[str]) -> NDArray[np.float64]:
    """(RESAMPLES, units) how often each unit is drawn when groups (patients) are drawn with replacement."""
    names, owner = np.unique(np.asarray(groups), return_inverse=True)
    drawn = np.random.default_rng(SEED).integers(0, len(names), (RESAMPLES, len(names)))
    times = np.stack([np.bincount(row, minlength=len(names)) for row in drawn])
    return times[:, owner].astype(np.float64)


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
    hits, all_of_them = weights @ (flags & among), weights @ among
    drawn = hits / np.where(all_of_them > 0, all_of_them, np.nan)
    return _measure(flags[among].mean() if among.any() else np.nan, drawn)


def _measure(value: NDArray[np.float64] | float, drawn: NDArray[np.float64]) -> Measure:
    known = drawn[np.isfinite(drawn)]
    if not known.size:
        return Measure(float(value))
    low, high = np.quantile(known, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Measure(float(value), float(low), float(high))


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Dice coefficient of two masks; 0 if both are empty."""
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))
