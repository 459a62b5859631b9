"""Metrics of the pixels or voxels of one class, added image by image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medzsad.metrics import resampled
from medzsad.metrics.counts import ScoreCounts, Tally
from medzsad.metrics.metric import PIXEL_METRICS, Metric, metric_of, resample_weights
from medzsad.metrics.ranking import ranking
from medzsad.metrics.regions import pro_areas, region_weights

BINS = 4096


def bin_edges(scores: Sequence[NDArray[np.float32]], truths: Sequence[NDArray[np.bool_]]) -> NDArray[np.float32]:
    """(up to 4095,) rising edges of the bins in which resamples are counted.

    They are quantiles of the given scores, half of them of the positives and half of the negatives, so that neither
    side loses more than about 1/4096. Only intervals and the best Dice depend on them, other metrics are exact.

    Args:
        scores: Maps of some of the images.
        truths: Their masks.
    """
    flat = np.concatenate([part.ravel() for part in scores])
    truth = np.concatenate([part.ravel() for part in truths])
    if flat.size <= BINS:
        return np.unique(flat)[1:]
    sides = [side for side in (flat[truth], flat[~truth]) if side.size]
    levels = np.linspace(0, 1, BINS // len(sides))
    # "higher" takes edges from the scores themselves, so equal scores never part.
    edges = np.unique(np.concatenate([np.quantile(side, levels, method="higher") for side in sides]))
    return edges[:BINS].astype(np.float32)


@dataclass(slots=True)
class _Subject:
    negatives: NDArray[np.float32]
    positives: NDArray[np.float32]
    weights: NDArray[np.float32]
    hits: int = 0
    false: int = 0


class PixelScores:
    """Scores of pixels with a mask, kept as exact counts of all and as binned counts of each subject.

    Memory grows with the number of subjects by 48 KiB each, not with the number of pixels.

    Args:
        edges: From `bin_edges`.
        threshold: Score from which a pixel is marked; None where none is fixed.
    """

    def __init__(self, edges: NDArray[np.float32], threshold: float | None) -> None:
        self._edges, self._threshold = edges, threshold
        self._counts = ScoreCounts()
        self._regions = 0
        self._range = (float("inf"), float("-inf"))
        self._subjects: dict[str, _Subject] = {}

    @property
    def positives(self) -> int:
        """Pixels with a lesion so far."""
        return self._counts.positives

    @property
    def negatives(self) -> int:
        """Pixels without one so far."""
        return self._counts.negatives

    def tallies(self) -> Iterator[Tally]:
        """All scores so far, counted, from the highest down."""
        return self._counts.tallies()

    def add(self, scores: NDArray[np.float32], truth: NDArray[np.bool_], subject: str) -> None:
        """Adds an image or volume with its mask.

        Args:
            scores: (H, W) or (i, j, k).
            truth: The same shape.
            subject: Unit of the resamples, unique in the class.

        Raises:
            ScoringError: A score is not a finite number.
        """
        weights, regions = region_weights(truth)
        inside = scores[truth]
        order = np.argsort(inside, kind="stable")
        positives, weights = inside[order], weights[order]
        negatives = np.sort(scores[~truth])
        self._counts.add(negatives, positives, weights)
        self._regions += regions
        ends = [float(part[place]) for part in (negatives, positives) if part.size for place in (0, -1)]
        self._range = (min(self._range[0], *ends), max(self._range[1], *ends))
        self._add_subject(negatives, positives, weights, subject)

    def _add_subject(
        self,
        negatives: NDArray[np.float32],
        positives: NDArray[np.float32],
        weights: NDArray[np.float64],
        subject: str,
    ) -> None:
        bins = len(self._edges) + 1
        one = self._subjects.get(subject)
        if one is None:
            empty = np.zeros(bins, np.float32)
            one = self._subjects[subject] = _Subject(empty, empty.copy(), empty.copy())
        one.negatives += _histogram(negatives, self._edges)
        one.positives += _histogram(positives, self._edges)
        summed = np.append(0.0, np.cumsum(weights))
        ends = np.concatenate([[0], np.searchsorted(positives, self._edges, side="left"), [len(positives)]])
        one.weights += np.diff(summed[ends]).astype(np.float32)
        if self._threshold is not None:
            limit = np.float32(self._threshold)
            one.hits += int(positives.size - np.searchsorted(positives, limit, side="left"))
            one.false += int(negatives.size - np.searchsorted(negatives, limit, side="left"))

    def metrics(self, seed: int) -> dict[str, Metric]:
        """All `PIXEL_METRICS` with intervals by subject.

        AUROC, AP, F1-max and both AUPROs are of all pixels pooled. Dice is the mean over subjects with a lesion at the
        fixed threshold; the best Dice is the highest such mean that one threshold for all reaches.

        Args:
            seed: Of the resamples.
        """
        counts = self._counts
        if not counts.positives or not counts.negatives:
            missing = "lesion" if not counts.positives else "normal"
            reason = f"there are no {missing} pixels in images with a mask"
            return {name: Metric(None, reason=reason) for name in PIXEL_METRICS}
        low, high = self._range
        exact = ranking(counts.tallies(), counts.positives)
        areas = pro_areas(counts.tallies(), counts.negatives, self._regions, low, high)
        drawn = self._resampled(seed)
        overlap = self._dice()
        best = np.nanmean(self._dice_curves(), axis=0).max()
        return {
            "pixel_auroc": metric_of(exact.auroc, drawn["pixel_auroc"], ""),
            "pixel_ap": metric_of(exact.average_precision, drawn["pixel_ap"], ""),
            "pixel_f1max": metric_of(exact.f1_max, drawn["pixel_f1max"], ""),
            "aupro": metric_of(areas.integrated, drawn["aupro"], ""),
            "aupro_rescaled": metric_of(
                areas.rescaled, drawn["aupro_rescaled"], "all thresholds below FPR 0.3 have the same FPR"
            ),
            "dice": metric_of(float(np.nanmean(overlap)), drawn["dice"], "")
            if self._threshold is not None
            else Metric(None, reason="no threshold is fixed: the weights hold none and none was given"),
            "best_dice": metric_of(float(best), drawn["best_dice"], ""),
        }

    def _resampled(self, seed: int) -> dict[str, NDArray[np.float64]]:
        names = sorted(self._subjects)
        times = resample_weights(names, seed)
        subjects = [self._subjects[name] for name in names]
        negatives = times @ np.stack([one.negatives for one in subjects])
        positives = times @ np.stack([one.positives for one in subjects])
        weights = times @ np.stack([one.weights for one in subjects])
        overlap = self._dice()
        known = np.isfinite(overlap)
        drawn = times[:, known].sum(axis=1)
        drawn = np.where(drawn > 0, drawn, np.nan)
        curves = times[:, known] @ self._dice_curves()[known] / drawn[:, None]
        return {
            "pixel_auroc": resampled.auroc(positives, negatives),
            "pixel_ap": resampled.average_precision(positives, negatives),
            "pixel_f1max": resampled.f1_max(positives, negatives),
            "aupro": resampled.pro_integrated(weights, negatives),
            "aupro_rescaled": resampled.pro_rescaled(weights, negatives, self._edges, *self._range),
            "dice": times[:, known] @ overlap[known] / drawn,
            "best_dice": resampled.best_mean(curves),
        }

    def _dice(self) -> NDArray[np.float64]:
        """(subjects,) at the fixed threshold, NaN for subjects without a lesion."""
        subjects = [self._subjects[name] for name in sorted(self._subjects)]
        totals = np.array([float(one.positives.sum(dtype=np.float64)) for one in subjects])
        marked = np.array([one.hits + one.false for one in subjects])
        hits = np.array([one.hits for one in subjects])
        return np.where(totals > 0, 2 * hits / np.where(totals > 0, totals + marked, 1), np.nan)

    def _dice_curves(self) -> NDArray[np.float64]:
        subjects = [self._subjects[name] for name in sorted(self._subjects)]
        positives, negatives = (
            np.stack(part).astype(np.float64)
            for part in zip(*((one.positives, one.negatives) for one in subjects), strict=True)
        )
        return resampled.dice_curves(positives, negatives)


def _histogram(rising: NDArray[np.float32], edges: NDArray[np.float32]) -> NDArray[np.intp]:
    places = np.searchsorted(rising, edges, side="left")
    return np.diff(np.concatenate([[0], places, [len(rising)]]))
