"""What measuring a benchmark gives: metrics with their resamples, curves and examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medzsad.drawing.examples import Example
from medzsad.drawing.plots import BenchmarkDrawing
from medzsad.evaluation.protocol import Protocol
from medzsad.evaluation.results import ClassRecord
from medzsad.metrics.counts import array_tallies
from medzsad.metrics.metric import Metric, mean_metrics
from medzsad.metrics.ranking import Curves, curve_points


@dataclass(frozen=True, slots=True)
class MeasureOrder:
    """How a set is measured.

    Attributes:
        title: Of the set.
        protocol: Of pictures.
        threshold: For Dice and lesions; None where none is known.
        seed: Of the resamples.
        classification: Whether Bayes-PFL takes the image head's probability alone for this set.
    """

    title: str
    protocol: Protocol
    threshold: float | None
    seed: int
    classification: bool = False


@dataclass(frozen=True, slots=True)
class MeasuredClass:
    """One class.

    Attributes:
        record: As it is written.
        metrics: By name, with their resamples.
        scores: One per image or volume.
        labels: 1 with a lesion.
        pixel: Curves of the pixels or voxels; None without pixel labels.
        examples: Groups of good and bad cases.
    """

    record: ClassRecord
    metrics: Mapping[str, Metric]
    scores: tuple[float, ...]
    labels: tuple[int, ...]
    pixel: Curves | None
    examples: Mapping[str, Sequence[Example]]


@dataclass(frozen=True, slots=True)
class Measured:
    """One benchmark.

    Attributes:
        classes: In the order of their names.
        mean: Of each metric over the classes that define it, with its resamples.
        units: What was measured, in order; two models can be compared only if these are the same.
    """

    classes: tuple[MeasuredClass, ...]
    mean: Mapping[str, Metric]
    units: tuple[str, ...]

    def drawing(self, title: str, unit: str) -> BenchmarkDrawing:
        """What `benchmark_plots` draws.

        Args:
            title: Of the benchmark.
            unit: "image" or "volume".
        """
        named = [(one.record.name, one) for one in self.classes]
        return BenchmarkDrawing(
            title=title,
            unit=unit,
            image_scores={name: (np.array(one.scores), np.array(one.labels)) for name, one in named},
            pixel={name: one.pixel for name, one in named if one.pixel is not None},
            image={name: curves for name, one in named if (curves := _image_curves(one)) is not None},
        )


def assemble(classes: Sequence[MeasuredClass], units: Sequence[str]) -> Measured:
    """The benchmark of its classes.

    Args:
        classes: At least one.
        units: Names of what was measured.
    """
    mean = mean_metrics({one.record.name: one.metrics for one in classes})
    return Measured(tuple(classes), mean, tuple(units))


def flagged_counts(flagged: Sequence[bool] | None, labels: Sequence[int]) -> dict[str, int | None]:
    """How many normal and abnormal ones reach the threshold, as `ClassRecord` calls them; None without a threshold.

    Args:
        flagged: Whether each does.
        labels: 1 with a lesion.
    """
    if flagged is None:
        return {"flagged_normal": None, "flagged_abnormal": None}
    pairs = list(zip(flagged, labels, strict=True))
    return {
        "flagged_normal": sum(reached and not label for reached, label in pairs),
        "flagged_abnormal": sum(bool(reached and label) for reached, label in pairs),
    }


def _image_curves(one: MeasuredClass) -> Curves | None:
    labels = np.array(one.labels) > 0
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        return None
    return curve_points(array_tallies(np.array(one.scores), labels), positives, negatives)
