"""A benchmark of volumes: scored whole as `medzsad run` does, then metrics, curves and examples of its one class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medzsad.datasets.records import Problem, relative_name
from medzsad.datasets.volumes import VolumeRecord
from medzsad.drawing.examples import Example, choose_examples
from medzsad.drawing.panels import View, display_view, oriented_slice, panel_size
from medzsad.errors import ConfigError, RefusedError
from medzsad.evaluation.measurement import Measured, MeasuredClass, MeasureOrder, assemble, flagged_counts
from medzsad.evaluation.protocol import RawScore, raw_score
from medzsad.evaluation.results import ClassRecord, metric_records
from medzsad.evaluation.score_cache import KeptScores
from medzsad.evaluation.scorer import BenchmarkScorer
from medzsad.metrics.images import image_metrics
from medzsad.metrics.lesions import LesionCounts, count_lesions, lesion_metrics, undefined_lesion_metrics
from medzsad.metrics.metric import Metric
from medzsad.metrics.pixels import PixelScores, bin_edges
from medzsad.metrics.ranking import curve_points
from medzsad.progress import Observer
from medzsad.run.detect import detect

_EDGES_FROM = 8  # volumes of which the bins of the resamples are taken
_STRIDE = 7  # voxels of these, one in so many
_LONGEST = 320  # side of an example in pixels
NO_THRESHOLD = "no threshold is fixed: the weights hold none and none was given"


def score_volumes(
    root: Path,
    records: Sequence[VolumeRecord],
    scorer: BenchmarkScorer,
    modality: str | None,
    kept: KeptScores,
    observer: Observer,
) -> list[Problem]:
    """Scores every volume that has no kept score yet, and says which were refused.

    Args:
        root: Of the data.
        records: Checked.
        scorer: The model.
        modality: Of all volumes, such as "CT"; None as the files say.
        kept: Where scores go.
        observer: Receives the progress events.

    Raises:
        ScoringError: The model returned a score that is not finite.
        OutputError: A score cannot be kept.
    """
    problems = []
    observer.started("scoring", len(records), "volumes")
    for number, record in enumerate(records):
        name = relative_name(root, record.image)
        if kept.find(name, record.image) is None:
            options: dict[str, Any] = {"class_name": scorer.word or None, "modality": modality, "frame": record.frame}
            try:
                result = detect(
                    record.image,
                    detector=scorer.detector,
                    # A mask is made on the way, but not used: the threshold belongs to the measuring.
                    threshold=0.5,
                    seed=scorer.seed,
                    precision=scorer.precision,
                    batch_size=scorer.batch_size,
                    **{key: value for key, value in options.items() if value is not None},
                )
            except RefusedError as refusal:
                problems.append(Problem("refused", "error", name, f"{refusal.code}: {refusal}"))
                continue
            assert result.score is not None
            probability = max((one.image_score for one in result.slices), default=0.0)
            kept.add(name, record.image, raw_score(probability, result.score), result.score)
        observer.step("scoring", number + 1)
    return problems


@dataclass(frozen=True, slots=True)
class ScoredVolumes:
    """Volumes of a set with their kept scores.

    Attributes:
        root: Of the data.
        records: That were scored.
        kept: Their scores.
    """

    root: Path
    records: tuple[VolumeRecord, ...]
    kept: KeptScores

    def name(self, record: VolumeRecord) -> str:
        """The name under which a record's score is kept."""
        return relative_name(self.root, record.image)

    def raw(self, record: VolumeRecord) -> RawScore:
        """The raw score of a volume.

        Raises:
            ConfigError: It is missing.
        """
        found = self.kept.find(self.name(record), record.image)
        if found is None:
            raise ConfigError(
                f"{self.kept.folder} has no score of {self.name(record)}, or the file changed since. Evaluate again "
                "with the model."
            )
        return found

    def voxels(self, record: VolumeRecord) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Score and reference (i, j, k) of a volume.

        Raises:
            ConfigError: They differ in shape.
        """
        scores, truth = self.kept.read_map(self.name(record)), read_reference(record)
        if scores.shape != truth.shape:
            raise ConfigError(
                f"The label {record.label} has shape {truth.shape}, the image {scores.shape}. Put both on one grid."
            )
        return scores, truth


def read_reference(record: VolumeRecord) -> NDArray[np.bool_]:
    """The lesions of a volume (i, j, k).

    Raises:
        ConfigError: The label cannot be read.
    """
    try:
        values = np.asarray(nib.load(record.label).dataobj)
    except (OSError, nib.filebasedimages.ImageFileError, ValueError, EOFError) as error:
        raise ConfigError(f"Cannot read the label {record.label} ({error.__class__.__name__}).") from None
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == 2:
        values = values[..., None]  # one slice, as the scan is read
    if record.lesion_values is None:
        return np.asarray(values > 0)
    return np.isin(np.rint(values), record.lesion_values)


@dataclass(frozen=True, slots=True)
class VolumeMetrics:
    """What the volumes of a set gave.

    Attributes:
        metrics: By name: volume scores as `image_*`, voxels as `pixel_*`, and lesions.
        voxels: For curves.
        scores: Highest voxel of each volume, which is what decides whether `run` finds a lesion.
        labels: 1 where the reference holds a lesion.
        overlaps: Dice of each volume with a lesion, at the threshold or, without one, at the best for all.
    """

    metrics: dict[str, Metric]
    voxels: PixelScores
    scores: tuple[float, ...]
    labels: tuple[int, ...]
    overlaps: dict[VolumeRecord, float]


def volume_metrics(scores: ScoredVolumes, threshold: float | None, seed: int, observer: Observer) -> VolumeMetrics:
    """All metrics of a set of volumes, one volume in memory after the other.

    Args:
        scores: Of the set.
        threshold: For Dice and lesions; None where none is known.
        seed: Of the resamples.
        observer: Receives the progress events.
    """
    records = scores.records
    units = [record.subject or record.case for record in records]
    voxels = PixelScores(_edges(scores), threshold)
    labels: list[int] = []
    lesions: list[LesionCounts] = []
    overlaps: dict[VolumeRecord, float] = {}
    observer.started("measuring", len(records), "volumes")
    for place, record in enumerate(records):
        values, truth = scores.voxels(record)
        voxels.add(values, truth, units[place])
        labels.append(int(truth.any()))
        if threshold is not None:
            marked = values >= np.float32(threshold)
            lesions.append(count_lesions(marked, truth))
            if truth.any():
                overlaps[record] = float(2 * (marked & truth).sum() / (marked.sum() + truth.sum()))
        observer.step("measuring", place + 1)
    highest = tuple(scores.raw(record).maximum for record in records)
    metrics = image_metrics(highest, labels, units, seed) | voxels.metrics(seed)
    metrics |= lesion_metrics(lesions, units, seed) if lesions else undefined_lesion_metrics(NO_THRESHOLD)
    return VolumeMetrics(metrics, voxels, highest, tuple(labels), overlaps)


def _edges(scores: ScoredVolumes) -> NDArray[np.float32]:
    places = np.linspace(0, len(scores.records) - 1, min(_EDGES_FROM, len(scores.records)))
    parts = [scores.voxels(scores.records[int(place)]) for place in places]
    thinned = [(values.ravel(), truth.ravel()) for values, truth in parts]
    # Of the lesions all voxels, for they are few.
    chosen = [truth | (np.arange(truth.size) % _STRIDE == 0) for _, truth in thinned]
    return bin_edges(
        [values[keep] for (values, _), keep in zip(thinned, chosen, strict=True)],
        [truth[keep] for (_, truth), keep in zip(thinned, chosen, strict=True)],
    )


def measure_volumes(name: str, scores: ScoredVolumes, order: MeasureOrder, observer: Observer) -> Measured:
    """All metrics of a set of volumes from its kept scores.

    Args:
        name: Of the class.
        scores: Of the set.
        order: How it is measured.
        observer: Receives the progress events.

    Raises:
        ConfigError: A score is missing, a file can no longer be read, or image and label differ in shape.
    """
    found = volume_metrics(scores, order.threshold, order.seed, observer)
    voxels = found.voxels
    limit = order.threshold
    flagged = None if limit is None else [bool(np.float32(score) >= np.float32(limit)) for score in found.scores]
    measured = MeasuredClass(
        record=ClassRecord(
            name=name,
            images=len(scores.records),
            abnormal=sum(found.labels),
            masks=sum(found.labels),
            subjects=len({record.subject or record.case for record in scores.records}),
            metrics=metric_records(found.metrics),
            **flagged_counts(flagged, found.labels),
        ),
        metrics=found.metrics,
        scores=found.scores,
        labels=found.labels,
        pixel=curve_points(voxels.tallies(), voxels.positives, voxels.negatives)
        if voxels.positives and voxels.negatives
        else None,
        examples=_examples(scores, order, found.overlaps),
    )
    return assemble([measured], [scores.name(record) for record in scores.records])


def _examples(
    scores: ScoredVolumes, order: MeasureOrder, overlaps: dict[VolumeRecord, float]
) -> dict[str, list[Example]]:
    """Volumes by Dice at the threshold, the slice with most of the lesion of each."""
    records = list(overlaps)
    if not records:
        return {}
    return {
        group: [_example(scores, order, records[place], overlaps[records[place]]) for place in places]
        for group, places in choose_examples([overlaps[record] for record in records]).items()
    }


def _example(scores: ScoredVolumes, order: MeasureOrder, record: VolumeRecord, dice: float) -> Example:
    values, truth = scores.voxels(record)
    volume = nib.load(record.image)
    axis = _slice_axis(volume)
    view = display_view(np.asarray(volume.affine, np.float64), axis)
    others = tuple(a for a in range(3) if a != axis)
    index = int(truth.sum(axis=others).argmax())
    voxels = np.asarray(volume.dataobj[..., record.frame or 0] if len(volume.shape) > 3 else volume.dataobj)
    voxels = voxels.reshape(truth.shape)  # a file of one slice may have two axes
    plane = _in_proportion(oriented_slice(voxels, index, view), view).astype(np.float64)
    low, high = np.percentile(plane, [0.5, 99.5])
    gray = np.clip((plane - low) / max(high - low, 1e-12), 0, 1) * 255
    return Example(
        f"{record.case}, {'ijk'[axis]} = {index}: Dice of the volume {dice:.3f}",
        gray.astype(np.uint8),
        _in_proportion(oriented_slice(values, index, view), view),
        _in_proportion(oriented_slice(truth, index, view), view),
        order.threshold,
    )


def _slice_axis(volume: "nib.spatialimages.SpatialImage") -> int:
    """The axis of the thickest slices; of equally thick ones the axial one; the third of a single slice in two axes."""
    if len(volume.shape) == 2:
        return 2
    spacing = np.asarray(volume.header.get_zooms()[:3], np.float64)
    coarsest = int(np.argmax(spacing))
    if spacing[coarsest] > 1.05 * np.median(spacing):
        return coarsest
    codes = nib.aff2axcodes(volume.affine)
    return next(axis for axis in range(3) if codes[axis] in "SI")


def _in_proportion(plane: NDArray[Any], view: View) -> NDArray[Any]:
    """The plane in true proportions, by the nearest pixel."""
    width, height = panel_size(plane.shape, view, _LONGEST)
    rows = (np.arange(height) * plane.shape[0]) // height
    columns = (np.arange(width) * plane.shape[1]) // width
    return np.asarray(plane[rows[:, None], columns[None, :]])
