"""Per-region overlap (PRO): how much of each lesion is found, every lesion counted alike whatever its size.

PRO(t) is the mean over regions of the share of the region's pixels that score at least t. A pixel of a region with n
pixels thus weighs 1/n, and PRO is the weighted recall: one pass over counted scores gives it exactly, for every
threshold, without looking for regions twice. FPR(t) is the share of all pixels without a lesion that score at
least t. Bergmann et al., "MVTec AD", IJCV 2021, section 4.2.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medzsad.metrics.counts import Tally

FPR_LIMIT = 0.3
STEPS = 200


def region_weights(mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], int]:
    """Weights of the pixels of the mask in the order of `mask.ravel()`, and the number of its regions.

    Args:
        mask: (H, W) or (i, j, k). Pixels that touch by a side, an edge or a corner belong to one region.

    Returns:
        (pixels inside,) with 1/n for a pixel of a region of n, so the weights of one region sum to 1.
    """
    labels, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    inside = np.asarray(labels)[mask]
    sizes = np.bincount(inside, minlength=int(count) + 1)
    return 1.0 / sizes[inside], int(count)


@dataclass(frozen=True, slots=True)
class ProAreas:
    """Both published variants of the area under the PRO curve, in [0, 1]; NaN without regions or without negatives.

    Attributes:
        integrated: The exact curve, integrated over FPR from 0 to 0.3 and divided by 0.3 (MVTec AD; anomalib).
        rescaled: As in the code that most zero-shot papers share: 200 thresholds evenly from the least score on, those
            with FPR below 0.3 kept, their FPR stretched to [0, 1], trapezoids in between. NaN also where all kept
            points have the same FPR.
    """

    integrated: float
    rescaled: float


def pro_areas(tallies: Iterable[Tally], negatives: float, weight: float, low: float, high: float) -> ProAreas:
    """Areas under the PRO curve of counted scores, in one pass.

    Args:
        tallies: From the highest score down, weighted by `region_weights`.
        negatives: Number of pixels without a lesion.
        weight: Number of regions, which is the sum of all weights.
        low: Least of all scores.
        high: Highest of all scores.
    """
    if not negatives or not weight:
        return ProAreas(float("nan"), float("nan"))
    area = 0.0
    rate = found = 0.0
    sampled = _SampledCurve(low, high)
    for tally in tallies:
        rates = np.append(rate, rate + np.cumsum(tally.negatives) / negatives)
        recalls = np.append(found, found + np.cumsum(tally.weights) / weight)
        area += area_up_to(rates, recalls, FPR_LIMIT)
        sampled.add(tally.scores, rates, recalls)
        rate, found = float(rates[-1]), float(recalls[-1])
    return ProAreas(min(area / FPR_LIMIT, 1.0), sampled.rescaled_area())


def area_up_to(rates: NDArray[np.float64], recalls: NDArray[np.float64], limit: float) -> Any:
    """The area under straight lines between points of (..., n), where the rate is at most the limit.

    Args:
        rates: Rising along the last axis.
        recalls: The same shape.
        limit: In (0, 1].
    """
    left, right = rates[..., :-1], rates[..., 1:]
    width = np.clip(limit - left, 0, right - left)
    step = np.where(right > left, right - left, 1)
    # Of the piece that crosses the limit only the part before it counts, its end interpolated.
    end = recalls[..., :-1] + (recalls[..., 1:] - recalls[..., :-1]) * (width / step)
    return np.sum(width * (recalls[..., :-1] + end) / 2, axis=-1)


class _SampledCurve:
    """The points of the curve at evenly spaced thresholds; a pixel counts if it scores above the threshold."""

    def __init__(self, low: float, high: float) -> None:
        self._thresholds = (low + (high - low) / STEPS * np.arange(STEPS))[::-1]  # falling
        self._next = 0
        self._rates: list[float] = []
        self._recalls: list[float] = []

    def add(self, scores: NDArray[np.floating], rates: NDArray[np.float64], recalls: NDArray[np.float64]) -> None:
        """Takes in falling scores with the curve before (one point more) and after each of them."""
        if not len(scores):
            return
        # A threshold below the least score seen so far has to wait: scores above it may follow.
        ready = self._thresholds[self._next :]
        ready = ready[ready >= scores[-1]]
        above = np.searchsorted(-scores.astype(np.float64), -ready, side="left")
        self._rates += rates[above].tolist()
        self._recalls += recalls[above].tolist()
        self._next += len(ready)

    def rescaled_area(self) -> float:
        rates, recalls = np.array(self._rates), np.array(self._recalls)
        rates, recalls = rates[rates < FPR_LIMIT], recalls[rates < FPR_LIMIT]
        if not len(rates) or rates[-1] <= rates[0]:
            return float("nan")
        area = np.sum(np.diff(rates) * (recalls[1:] + recalls[:-1]) / 2)
        return float(area / (rates[-1] - rates[0]))
