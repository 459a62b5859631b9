"""A benchmark of pictures: metrics, curves and examples of each class from kept scores."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medzsad.datasets.pictures import UNREADABLE, decode_image, record_mask, strict_pillow
from medzsad.datasets.records import DataSet, Record, relative_name
from medzsad.drawing.examples import Example, choose_examples
from medzsad.errors import ConfigError
from medzsad.evaluation.measurement import Measured, MeasuredClass, MeasureOrder, assemble, flagged_counts
from medzsad.evaluation.protocol import Protocol, RawScore, compared_map, compared_mask, image_scores
from medzsad.evaluation.results import ClassRecord, metric_records
from medzsad.evaluation.score_cache import KeptScores
from medzsad.metrics.images import grouped, image_metrics
from medzsad.metrics.metric import PIXEL_METRICS, Metric
from medzsad.metrics.pixels import PixelScores, bin_edges
from medzsad.metrics.ranking import array_ranking, curve_points
from medzsad.progress import Observer

_THREADS = 2
_AT_ONCE = 16  # maps in memory
_EDGES_FROM = 32  # maps of which the bins of the resamples are taken
_JUDGED_PIXELS = 20_000  # of an image, to tell good from bad examples

Pixels = tuple[NDArray[np.float32], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class ScoredPictures:
    """One class of a set of pictures with its kept scores.

    Attributes:
        root: Of the data.
        records: Of the class.
        kept: Their scores.
        protocol: How metrics are taken.
        classification: Whether Bayes-PFL's rule takes the probability alone for this set.
    """

    root: Path
    records: tuple[Record, ...]
    kept: KeptScores
    protocol: Protocol
    classification: bool

    def name(self, record: Record) -> str:
        """The name under which a record's score is kept."""
        return relative_name(self.root, record.image)

    def raw(self) -> list[RawScore]:
        """The raw score of each record.

        Raises:
            ConfigError: One is missing.
        """
        found = [self.kept.find(self.name(record), record.image) for record in self.records]
        missing = [self.name(record) for record, one in zip(self.records, found, strict=True) if one is None]
        if missing:
            raise ConfigError(
                f"{self.kept.folder} has no score of {len(missing)} images, first {missing[0]}, or they changed since. "
                "Evaluate again with the model."
            )
        return [one for one in found if one is not None]

    def image_scores(self) -> list[float]:
        """The score of each image under the protocol."""
        return image_scores(self.protocol, self.raw(), classification=self.classification)

    def flagged(self, threshold: float | None) -> list[bool] | None:
        """Whether the highest pixel on each image's own grid, unsmoothed, reaches the threshold; None without one.

        Raises:
            ConfigError: A score is missing or an image can no longer be decoded.
        """
        if threshold is None:
            return None
        unsmoothed = replace(self.protocol.on_own_grid(), sigma_px=0.0)
        limit = np.float32(threshold)
        # Interpolation never exceeds the highest pixel of the model's square: most maps need not be read.
        return [
            raw.maximum >= threshold and bool(self._map_of(record, unsmoothed).max() >= limit)
            for record, raw in zip(self.records, self.raw(), strict=True)
        ]

    def _map_of(self, record: Record, protocol: Protocol) -> NDArray[np.float32]:
        try:
            with Image.open(record.image) as image:
                width, height = image.size
        except UNREADABLE as error:
            raise ConfigError(f"Cannot decode {record.image} ({error.__class__.__name__}).") from None
        return compared_map(protocol, self.kept.read_map(self.name(record)), (height, width))

    def with_pixels(self) -> tuple[Record, ...]:
        """Records that say of each pixel what it is; none if the class has no mask at all."""
        if not any(record.mask is not None for record in self.records if record.label):
            return ()
        return tuple(record for record in self.records if not record.label or record.mask is not None)

    def pixels(self, record: Record) -> Pixels:
        """Map and mask of a record on the grid where they are compared.

        Raises:
            ConfigError: Its files can no longer be decoded.
        """
        score_map = self.kept.read_map(self.name(record))
        try:
            if record.label and record.mask is not None:
                mask = record_mask(record)
            else:
                mask = np.zeros(decode_image(record.image).size[::-1], bool)
        except UNREADABLE as error:
            raise ConfigError(f"Cannot decode {record.mask or record.image} ({error.__class__.__name__}).") from None
        scores = compared_map(self.protocol, score_map, (mask.shape[0], mask.shape[1]))
        return scores, compared_mask(self.protocol, mask, len(score_map))


def class_image_metrics(scores: ScoredPictures, seed: int) -> dict[str, Metric]:
    """Image AUROC, AP and F1-max of a class.

    Args:
        scores: Of the class.
        seed: Of the resamples.
    """
    labels = [record.label for record in scores.records]
    return image_metrics(scores.image_scores(), labels, [record.subject for record in scores.records], seed)


@dataclass(frozen=True, slots=True)
class ClassPixels:
    """What the pixels of a class gave.

    Attributes:
        metrics: All `PIXEL_METRICS`.
        scores: For curves; None if there are no pixel labels.
        judged: Abnormal records with a mask by how well their lesion is told apart (AUROC of the image's pixels).
    """

    metrics: dict[str, Metric]
    scores: PixelScores | None
    judged: dict[Record, float]


def class_pixel_metrics(scores: ScoredPictures, threshold: float | None, seed: int, observer: Observer) -> ClassPixels:
    """Pixel metrics of a class, one map in memory after the other.

    Args:
        scores: Of the class.
        threshold: For Dice; None where none is known.
        seed: Of the resamples.
        observer: Receives the progress events.
    """
    records = scores.with_pixels()
    if not records:
        reason = "the class has no pixel labels"
        return ClassPixels({name: Metric(None, reason=reason) for name in PIXEL_METRICS}, None, {})
    units = grouped([record.subject for record in records])
    judged: dict[Record, float] = {}
    observer.started("measuring", len(records), "images")
    with strict_pillow(), ThreadPoolExecutor(_THREADS) as pool:
        sample = list(pool.map(scores.pixels, _spread(records)))
        pixels = PixelScores(bin_edges([one[0] for one in sample], [one[1] for one in sample]), threshold)
        del sample
        for place, (score_map, mask) in enumerate(_in_turn(scores, records, pool)):
            pixels.add(score_map, mask, units[place])
            if mask.any() and not mask.all():
                judged[records[place]] = _told_apart(score_map, mask)
            observer.step("measuring", place + 1)
    return ClassPixels(pixels.metrics(seed), pixels, judged)


def _in_turn(scores: ScoredPictures, records: Sequence[Record], pool: ThreadPoolExecutor) -> Iterator[Pixels]:
    for start in range(0, len(records), _AT_ONCE):
        yield from pool.map(scores.pixels, records[start : start + _AT_ONCE])


def _spread(records: Sequence[Record]) -> list[Record]:
    """A few records, evenly spread, half of them with a lesion where there are enough."""
    chosen = []
    for label in (0, 1):
        part = [record for record in records if record.label == label]
        count = min(len(part), _EDGES_FROM // 2)
        chosen += [part[int(place)] for place in np.linspace(0, len(part) - 1, count)]
    return chosen


def _told_apart(scores: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    inside, outside = (np.flatnonzero(part.ravel()) for part in (mask, ~mask))
    places = np.concatenate([part[:: max(1, len(part) // _JUDGED_PIXELS)] for part in (inside, outside)])
    return array_ranking(scores.ravel()[places], mask.ravel()[places]).auroc


def measure_pictures(data: DataSet, kept: KeptScores, order: MeasureOrder, observer: Observer) -> Measured:
    """All metrics of a set of pictures from its kept scores.

    Args:
        data: Checked, without bad records.
        kept: Scores of all of its records.
        order: How it is measured.
        observer: Receives the progress events.

    Raises:
        ConfigError: A score is missing or a file can no longer be read.
    """
    classes = []
    for name in sorted({record.class_name for record in data.records}):
        records = tuple(record for record in data.records if record.class_name == name)
        scores = ScoredPictures(data.root, records, kept, order.protocol, order.classification)
        classes.append(_measure_class(name, scores, order, observer))
    units = [f"{r.class_name}/{relative_name(data.root, r.image)} {r.label}" for r in data.records]
    return assemble(classes, units)


def _measure_class(name: str, scores: ScoredPictures, order: MeasureOrder, observer: Observer) -> MeasuredClass:
    records = scores.records
    pixels = class_pixel_metrics(scores, order.threshold, order.seed, observer)
    metrics = class_image_metrics(scores, order.seed) | pixels.metrics
    abnormal = [record for record in records if record.label]
    known = [record for record in abnormal if record.mask is not None]
    values = scores.image_scores()
    counts = pixels.scores
    labels = tuple(record.label for record in records)
    with strict_pillow():
        flagged = scores.flagged(order.threshold)
    return MeasuredClass(
        record=ClassRecord(
            name=name,
            images=len(records),
            abnormal=len(abnormal),
            masks=len(known),
            subjects=len({record.subject or str(place) for place, record in enumerate(records)}),
            metrics=metric_records(metrics),
            **flagged_counts(flagged, labels),
        ),
        metrics=metrics,
        scores=tuple(values),
        labels=labels,
        pixel=None
        if counts is None or not counts.positives or not counts.negatives
        else curve_points(counts.tallies(), counts.positives, counts.negatives),
        examples=_examples(scores, order, values, pixels.judged),
    )


def _examples(
    scores: ScoredPictures, order: MeasureOrder, values: Sequence[float], judged: Mapping[Record, float]
) -> dict[str, list[Example]]:
    """Cases by how well lesions are told apart; without masks, by the image score."""
    groups: dict[str, list[Example]] = {}
    if judged:
        records = list(judged)
        for group, places in choose_examples([judged[record] for record in records]).items():
            told = "lesion told apart from the rest of its image, AUROC"
            groups[group] = [_example(scores, order, records[p], f"{told} {judged[records[p]]:.3f}") for p in places]
        return groups
    for label, kind in ((1, "abnormal"), (0, "normal")):
        pairs = zip(scores.records, values, strict=True)
        members = [(record, value) for record, value in pairs if record.label == label]
        # The best abnormal images score high, the best normal ones low.
        goodness = [value if label else -value for _, value in members]
        for group, places in choose_examples(goodness, count=2).items() if members else ():
            groups[f"{kind}, {group}"] = [
                _example(scores, order, members[p][0], f"image score {members[p][1]:.3f}") for p in places
            ]
    return groups


def _example(scores: ScoredPictures, order: MeasureOrder, record: Record, words: str) -> Example:
    image = np.asarray(decode_image(record.image))
    stored = scores.kept.read_map(scores.name(record))
    # Shown on the image's own grid whatever the protocol compares.
    shown = compared_map(order.protocol.on_own_grid(), stored, (image.shape[0], image.shape[1]))
    mask = record_mask(record) if record.label and record.mask is not None else None
    return Example(f"{scores.name(record)}: {words}", image, shown, mask, order.threshold)
