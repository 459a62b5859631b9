"""A benchmark of pictures: figures, curves and examples of each class."""

from collections.abc import Mapping, Sequence

import numpy as np

from medzsad.datasets.pictures import decode_image, decode_mask
from medzsad.datasets.records import DataSet, Record, relative_name
from medzsad.evaluation.curves import curve_points
from medzsad.evaluation.examples import Example, choose_examples
from medzsad.evaluation.kept import KeptScores
from medzsad.evaluation.measured import Measured, MeasuredClass, MeasureOrder, assemble
from medzsad.evaluation.observer import EvaluationObserver
from medzsad.evaluation.pictures import ClassScores, class_image_figures, class_pixel_figures
from medzsad.evaluation.protocol import compared_map
from medzsad.evaluation.results import ClassRecord, figure_records


def measure_pictures(data: DataSet, kept: KeptScores, order: MeasureOrder, observer: EvaluationObserver) -> Measured:
    """All figures of a set of pictures from its kept scores.

    Args:
        data: Checked, without bad records.
        kept: Scores of all of its records.
        order: How it is measured.
        observer: Is told how it goes on.

    Raises:
        ConfigError: A score is missing or a file can no longer be read.
    """
    classes = []
    for name in sorted({record.class_name for record in data.records}):
        records = tuple(record for record in data.records if record.class_name == name)
        scores = ClassScores(data.root, records, kept, order.protocol, order.classification)
        classes.append(_measure_class(name, scores, order, observer))
    units = [f"{r.class_name}/{relative_name(data.root, r.image)} {r.label}" for r in data.records]
    return assemble(classes, units)


def _measure_class(name: str, scores: ClassScores, order: MeasureOrder, observer: EvaluationObserver) -> MeasuredClass:
    records = scores.records
    pixels = class_pixel_figures(scores, order.threshold, order.seed, observer)
    figures = class_image_figures(scores, order.seed) | pixels.figures
    abnormal = [record for record in records if record.label]
    known = [record for record in abnormal if record.mask is not None]
    values = scores.image_scores()
    counts = pixels.scores
    return MeasuredClass(
        record=ClassRecord(
            name=name,
            images=len(records),
            abnormal=len(abnormal),
            masks=len(known),
            subjects=len({record.subject or str(place) for place, record in enumerate(records)}),
            figures=figure_records(figures),
        ),
        figures=figures,
        scores=tuple(values),
        labels=tuple(record.label for record in records),
        pixel=None
        if counts is None or not counts.positives or not counts.negatives
        else curve_points(counts.tallies(), counts.positives, counts.negatives),
        examples=_examples(scores, order, values, pixels.judged),
    )


def _examples(
    scores: ClassScores, order: MeasureOrder, values: Sequence[float], judged: Mapping[Record, float]
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


def _example(scores: ClassScores, order: MeasureOrder, record: Record, words: str) -> Example:
    image = np.asarray(decode_image(record.image))
    stored = scores.kept.read_map(scores.name(record))
    # Shown on the image's own grid whatever the protocol compares.
    shown = compared_map(order.protocol.on_own_grid(), stored, (image.shape[0], image.shape[1]))
    mask = decode_mask(record.mask) if record.label and record.mask is not None else None
    return Example(f"{scores.name(record)}: {words}", image, shown, mask, order.threshold)
