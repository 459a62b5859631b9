"""AUROC, average precision and the best F1 over all distinct thresholds, each exact."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from medzsad.evaluation.counts import Tally


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well scores tell positives from negatives. NaN where a figure is not defined.

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
    """The ranking figures of counted scores, in one pass and in the memory of one part.

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
