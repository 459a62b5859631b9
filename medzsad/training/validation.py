"""How well defects are told from the rest, on held-out generated and auxiliary images only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of one set of images.

    Attributes:
        pixel_ap: Average precision of the pixels' scores.
        image_auroc: Area under the ROC curve of the images' scores; NaN if all have the same label.
    """

    pixel_ap: float
    image_auroc: float


def average_precision(scores: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    """Mean precision over the recalled positives, equal scores counted together; NaN without positives."""
    order = np.argsort(-scores.ravel(), kind="stable")
    ranked, hits = scores.ravel()[order], np.cumsum(labels.ravel()[order])
    if not hits[-1]:
        return float("nan")
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    recall = np.diff(hits[last], prepend=0) / hits[-1]
    return float(np.sum(recall * hits[last] / (last + 1)))


def auroc(scores: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    """Chance that a positive scores above a negative, ties counted half; NaN if either is missing."""
    flat, truth = scores.ravel(), labels.ravel().astype(bool)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    _, rank_of, counts = np.unique(flat, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    total = float(middle[rank_of][truth].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)
