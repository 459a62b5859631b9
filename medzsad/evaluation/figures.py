"""A figure with its interval, or the reason why there is none."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medzsad.evaluation.bootstrap import interval

IMAGE_FIGURES = ("image_auroc", "image_ap", "image_f1max")
PIXEL_FIGURES = (
    "pixel_auroc",
    "pixel_ap",
    "pixel_f1max",
    "aupro",
    "aupro_rescaled",
    "dice",
    "best_dice",
)
LESION_FIGURES = ("lesion_recall", "false_positives_per_scan")
FIGURES = IMAGE_FIGURES + PIXEL_FIGURES + LESION_FIGURES

Resamples = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes:
        value: As a share in [0, 1], or a count for false positives per scan; None where it is not defined.
        low: Lower end of the 95 % bootstrap interval; None where there is none.
        high: Upper end.
        reason: Why there is no value; empty if there is one.
        resamples: The figure in each resample, for means over classes and comparisons of models; may be empty.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""
    resamples: Resamples = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)


def figure(value: float, resamples: Resamples | None, reason: str) -> Figure:
    """The figure of a value; the reason is kept only if the value is not a number.

    Args:
        value: NaN where it is not defined.
        resamples: One per resample; None without intervals.
        reason: Why the value is not defined, if it is not.
    """
    if math.isnan(value):
        return Figure(None, reason=reason)
    ends = None if resamples is None else interval(resamples)
    low, high = ends or (None, None)
    return Figure(value, low, high, resamples=np.zeros(0) if resamples is None else resamples)


def mean_figures(by_class: Mapping[str, Mapping[str, Figure]]) -> dict[str, Figure]:
    """The mean of each figure over the classes that define it; classes are resampled independently of each other.

    Args:
        by_class: Figures of each class by name.
    """
    means: dict[str, Figure] = {}
    for name in dict.fromkeys(name for figures in by_class.values() for name in figures):
        parts = [figures[name] for figures in by_class.values() if name in figures]
        known = [part for part in parts if part.value is not None]
        if not known:
            means[name] = Figure(None, reason=parts[0].reason)
            continue
        drawn = [part.resamples for part in known]
        resamples = np.mean(drawn, axis=0) if all(part.size for part in drawn) else None
        means[name] = figure(float(np.mean([part.value for part in known if part.value is not None])), resamples, "")
    return means
