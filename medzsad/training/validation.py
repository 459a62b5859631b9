"""How well defects are told from the rest, on held-out generated and auxiliary images only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medzsad.errors import ScoringError
from medzsad.metrics import resampled
from medzsad.metrics.ranking import array_ranking

BINS = 2**14
_ADVICE = "Lower the learning rate, or train with precision: float32."
METRICS = ("pixel_ap", "pixel_auroc", "image_ap", "image_auroc")


class BinnedScores:
    """Scores in [0, 1] counted in equal bins, so that any number of pixels takes the same memory.

    Scores of one bin count as equal; one that rounding has put outside of [0, 1] counts at its end.

    Args:
        bins: Number of bins.
    """

    def __init__(self, bins: int = BINS) -> None:
        self.counts: NDArray[np.int64] = np.zeros((2, bins), np.int64)  # normal, defect

    def add(
        self,
        scores: Tensor | NDArray[np.floating],
        labels: Tensor | NDArray[np.generic],
        valid: Tensor | NDArray[np.generic] | None = None,
    ) -> None:
        """Counts more scores.

        Args:
            scores: Any shape.
            labels: Same shape; positive above 1/2.
            valid: Which of them count; anything that broadcasts to their shape. None counts all.

        Raises:
            ScoringError: A score that counts is not a number.
        """
        values, truth = _array(scores), _array(labels) > 0.5
        if values.shape != truth.shape:
            raise ValueError(f"Scores of shape {values.shape} came with labels of shape {truth.shape}.")
        if valid is not None:
            counted = np.broadcast_to(_array(valid) > 0.5, values.shape)
            values, truth = values[counted], truth[counted]
        if np.isnan(values).any():
            raise ScoringError(
                "The model returned non-finite scores (NaN) for pixels of a validation image. " + _ADVICE
            )
        bins = self.counts.shape[1]
        places = np.clip(values.ravel().astype(np.float64) * bins, 0, bins - 1).astype(np.int64)
        self.counts += np.bincount(places + bins * truth.ravel(), minlength=2 * bins).reshape(2, bins)

    def merge(self, other: "BinnedScores") -> None:
        """Adds the counts of another set of scores."""
        self.counts += other.counts

    def average_precision(self) -> float | None:
        """Mean precision over the recalled positives; None without positives."""
        return _known(resampled.average_precision(*self._sides()))

    def auroc(self) -> float | None:
        """Chance that a positive scores above a negative, ties counted half; None if either is missing."""
        return _known(resampled.auroc(*self._sides()))

    def _sides(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Counts of the defects and of the rest."""
        sound, defect = self.counts.astype(np.float64)
        return defect, sound


def _known(value: NDArray[np.float64]) -> float | None:
    return None if np.isnan(value) else float(value)


def _array(values: Tensor | NDArray[np.generic]) -> NDArray[np.float32]:
    if isinstance(values, Tensor):
        values = values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=np.float32)


@dataclass(slots=True)
class ValidationScores:
    """What was scored of one class.

    Attributes:
        pixels: Scores of the pixels of images with a pixel label.
        images: Scores of the images.
        labels: Their labels, 1 with a defect.
    """

    pixels: BinnedScores = field(default_factory=BinnedScores)
    images: list[float] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def merge(self, other: "ValidationScores") -> None:
        """Adds the scores of other images of the class."""
        self.pixels.merge(other.pixels)
        self.images += other.images
        self.labels += other.labels

    def metrics(self) -> dict[str, float | None]:
        """The four `METRICS`; None where one is not defined, as for images that all have the same label.

        Raises:
            ScoringError: An image's score is not a number.
        """
        scores, labels = np.array(self.images, np.float32), np.array(self.labels, np.int64) > 0
        if np.isnan(scores).any():
            raise ScoringError("The model returned a non-finite score (NaN) for a validation image. " + _ADVICE)
        both = bool(labels.any() and not labels.all())
        images = array_ranking(scores, labels)
        return {
            "pixel_ap": self.pixels.average_precision(),
            "pixel_auroc": self.pixels.auroc(),
            "image_ap": images.average_precision if both else None,
            "image_auroc": images.auroc if both else None,
        }


def validation_metrics(
    scores: Mapping[str, ValidationScores],
) -> tuple[dict[str, float | None], dict[str, dict[str, float | None]]]:
    """The four `METRICS` as means over classes, and class by class.

    A metric that a class does not define is None and leaves the mean; a mean over no class is None, never 0.

    Args:
        scores: By class.
    """
    by_class = {name: one.metrics() for name, one in scores.items()}
    mean: dict[str, float | None] = {}
    for metric in METRICS:
        values = [value for one in by_class.values() if (value := one[metric]) is not None]
        mean[metric] = sum(values) / len(values) if values else None
    return mean, by_class
