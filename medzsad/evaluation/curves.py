"""ROC and precision-recall curves of counted scores, thinned while they stream by."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medzsad.evaluation.counts import Tally


@dataclass(frozen=True, slots=True)
class Curves:
    """Points of two curves, from the highest threshold down; every point is exact.

    Attributes:
        roc: (n, 2) false positive rate and true positive rate, from (0, 0) to (1, 1).
        pr: (m, 2) recall and precision, to recall 1.
        base_rate: Share of the positives: the precision of a detector that knows nothing.
        auroc: Area under all points, not only the kept ones.
        average_precision: Mean precision over the positives, of all points likewise.
    """

    roc: NDArray[np.float64]
    pr: NDArray[np.float64]
    base_rate: float
    auroc: float
    average_precision: float


def curve_points(tallies: Iterable[Tally], positives: float, negatives: float, most: int = 400) -> Curves:
    """The curves of counted scores, with points about evenly spaced along both rates.

    Args:
        tallies: From the highest score down.
        positives: Number of positives in all of them, at least 1.
        negatives: Number of negatives, at least 1.
        most: About how many points each rate is divided into.
    """
    false = hits = area = precision_sum = 0.0
    kept = [np.zeros((1, 2))]
    for tally in tallies:
        false_sum, true_sum = false + np.cumsum(tally.negatives), hits + np.cumsum(tally.positives)
        if not len(false_sum):
            continue
        # Under a step of equal scores the ROC curve is a straight line.
        area += float(np.sum(tally.negatives * (true_sum - tally.positives / 2)))
        precision_sum += float(np.sum(tally.positives * true_sum / (true_sum + false_sum)))
        rates = np.stack([false_sum / negatives, true_sum / positives], axis=1)
        steps = np.floor(rates * most).sum(axis=1)
        # The last point of each step along either rate, and the part's own last point.
        kept.append(rates[np.append(steps[1:] != steps[:-1], True)])
        false, hits = float(false_sum[-1]), float(true_sum[-1])
    roc = np.concatenate(kept)
    marked = roc[1:] * (negatives, positives)
    precision = marked[:, 1] / marked.sum(axis=1)
    pr = np.stack([roc[1:, 1], precision], axis=1)
    return Curves(
        roc=roc,
        pr=pr,
        base_rate=float(positives / (positives + negatives)),
        auroc=float(area / (positives * negatives)),
        average_precision=float(precision_sum / positives),
    )
