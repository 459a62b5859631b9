"""AUROC, average precision, the best F1 and thinned curves of counted scores; every number is exact."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medzsad.metrics.counts import Tally, array_tallies


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well scores tell positives from negatives. NaN where a metric is not defined.

    Attributes:
        auroc: Chance that a positive scores above a negative, ties counted half; needs both.
        average_precision: Mean precision over the recalled positives, equal scores counted together; needs positives.
        f1_max: Best F1 over all thresholds; of pixels this is the best Dice of all of them pooled. Needs positives.
        f1_threshold: The score from which pixels count as positive there; of equally good ones the highest.
    """

    auroc: float
    average_precision: float
    f1_max: float
    f1_threshold: float


def ranking(tallies: Iterable[Tally], positives: float) -> Ranking:
    """The ranking metrics of counted scores, in one pass and in the memory of one part.

    They equal scikit-learn's `roc_auc_score` and `average_precision_score`, and the maximum of F1 over the points of
    its `precision_recall_curve`.

    Args:
        tallies: From the highest score down.
        positives: Number of positives in all of them.
    """
    hits = false = pairs = precision = 0.0
    best, best_threshold = -1.0, float("nan")
    for tally in tallies:
        true_sum = hits + np.cumsum(tally.positives)
        false_sum = false + np.cumsum(tally.negatives)
        # Negatives below each positive are counted as those not above it, half of the equal ones.
        pairs += float(np.sum(tally.positives * (false_sum - tally.negatives / 2)))
        precision += float(np.sum(tally.positives * true_sum / (true_sum + false_sum)))
        if positives and len(true_sum):
            f1 = 2 * true_sum / (true_sum + false_sum + positives)
            place = int(np.argmax(f1))
            if f1[place] > best:
                best, best_threshold = float(f1[place]), float(tally.scores[place])
        if len(true_sum):
            hits, false = float(true_sum[-1]), float(false_sum[-1])
    nan = float("nan")
    if not hits:
        return Ranking(nan, nan, nan, nan)
    return Ranking(
        auroc=1 - pairs / (hits * false) if false else nan,
        average_precision=precision / hits,
        f1_max=best,
        f1_threshold=best_threshold,
    )


def array_ranking(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> Ranking:
    """The ranking metrics of scores in memory.

    Args:
        scores: Finite, of any shape.
        labels: The same shape; True for positives.
    """
    truth = labels.ravel()
    return ranking(array_tallies(scores.ravel(), truth), float(truth.sum()))


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
