"""A metric with its bootstrap interval over subjects, or the reason why there is none."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
_LEVEL = 0.95

IMAGE_METRICS = ("image_auroc", "image_ap", "image_f1max")
PIXEL_METRICS = (
    "pixel_auroc",
    "pixel_ap",
    "pixel_f1max",
    "aupro",
    "aupro_rescaled",
    "dice",
    "best_dice",
)
LESION_METRICS = ("lesion_recall", "false_positives_per_scan")
METRICS = IMAGE_METRICS + PIXEL_METRICS + LESION_METRICS

Resamples = NDArray[np.float64]


def resample_weights(groups: Sequence[str], seed: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """(resamples, units) how often each unit is drawn when groups are drawn with replacement, as many as there are.

    No rows if there is one group only: its resamples are all the same, which is no interval. Two sets of scores of the
    same units get the same draws, so their differences are paired.

    Args:
        groups: Subject of each unit; all units of a subject are drawn together.
        seed: Of the draws.
        resamples: Number of rows.
    """
    names, owner = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return np.empty((0, len(owner)))
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return drawn[:, owner].astype(np.float64)


def interval(samples: NDArray[np.float64]) -> tuple[float, float] | None:
    """The 95 % percentile interval of a metric's resamples, those left out in which it is not defined.

    Returns:
        None where fewer than half of the resamples define the metric.
    """
    known = samples[np.isfinite(samples)]
    if len(known) * 2 < len(samples) or not len(known):
        return None
    low, high = np.quantile(known, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        value: As a share in [0, 1], or a count for false positives per scan; None where it is not defined.
        low: Lower end of the 95 % bootstrap interval; None where there is none.
        high: Upper end.
        reason: Why there is no value; empty if there is one.
        resamples: The metric in each resample, for means over classes and comparisons of models; may be empty.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""
    resamples: Resamples = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)


def metric_of(value: float, resamples: Resamples | None, reason: str) -> Metric:
    """The metric of a value; the reason is kept only if the value is not a number.

    Args:
        value: NaN where it is not defined.
        resamples: One per resample; None without intervals.
        reason: Why the value is not defined, if it is not.
    """
    if math.isnan(value):
        return Metric(None, reason=reason)
    ends = None if resamples is None else interval(resamples)
    low, high = ends or (None, None)
    return Metric(value, low, high, resamples=np.zeros(0) if resamples is None else resamples)


def mean_metrics(by_class: Mapping[str, Mapping[str, Metric]]) -> dict[str, Metric]:
    """The mean of each metric over the classes that define it; classes are resampled independently of each other.

    Args:
        by_class: Metrics of each class by name.
    """
    means: dict[str, Metric] = {}
    for name in dict.fromkeys(name for metrics in by_class.values() for name in metrics):
        parts = [metrics[name] for metrics in by_class.values() if name in metrics]
        known = [part for part in parts if part.value is not None]
        if not known:
            means[name] = Metric(None, reason=parts[0].reason)
            continue
        drawn = [part.resamples for part in known]
        resamples = np.mean(drawn, axis=0) if all(part.size for part in drawn) else None
        means[name] = metric_of(float(np.mean([part.value for part in known if part.value is not None])), resamples, "")
    return means
