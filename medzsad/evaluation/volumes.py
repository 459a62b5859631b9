"""Volumes with masks: scored whole as `medzsad run` does, kept, then measured voxel by voxel and lesion by lesion."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medzsad.datasets.records import Problem, relative_name
from medzsad.datasets.volumes import VolumeRecord
from medzsad.errors import ConfigError, RefusedError
from medzsad.evaluation.figures import Figure
from medzsad.evaluation.images import image_figures
from medzsad.evaluation.kept import KeptScores
from medzsad.evaluation.lesions import LesionCounts, count_lesions, lesion_figures, undefined_lesion_figures
from medzsad.evaluation.observer import EvaluationObserver
from medzsad.evaluation.pixels import PixelScores, bin_edges
from medzsad.evaluation.protocol import RawScore, raw_score
from medzsad.evaluation.scorer import Scorer
from medzsad.run.detect import detect

_EDGES_FROM = 8  # volumes of which the bins of the resamples are taken
_STRIDE = 7  # voxels of these, one in so many
NO_THRESHOLD = "no threshold is fixed: the weights hold none and none was given"


def score_volumes(
    root: Path,
    records: Sequence[VolumeRecord],
    scorer: Scorer,
    modality: str | None,
    kept: KeptScores,
    observer: EvaluationObserver,
) -> list[Problem]:
    """Scores every volume that has no kept score yet, and says which were refused.

    Args:
        root: Of the data.
        records: Checked.
        scorer: The model.
        modality: Of all volumes, such as "CT"; None as the files say.
        kept: Where scores go.
        observer: Is told how it goes on.

    Raises:
        ScoringError: The model gave a score that is no number.
        OutputError: A score cannot be kept.
    """
    problems = []
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
        observer.step("scoring", number + 1, len(records))
    return problems


@dataclass(frozen=True, slots=True)
class SetScores:
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
    if record.lesion_values is None:
        return np.asarray(values > 0)
    return np.isin(np.rint(values), record.lesion_values)


@dataclass(frozen=True, slots=True)
class SetFigures:
    """What the volumes of a set gave.

    Attributes:
        figures: By name: volume scores as `image_*`, voxels as `pixel_*`, and lesions.
        voxels: For curves.
        scores: Highest voxel of each volume, which is what decides whether `run` finds a lesion.
        labels: 1 where the reference holds a lesion.
        overlaps: Dice of each volume with a lesion, at the threshold or, without one, at the best for all.
    """

    figures: dict[str, Figure]
    voxels: PixelScores
    scores: tuple[float, ...]
    labels: tuple[int, ...]
    overlaps: dict[VolumeRecord, float]


def volume_figures(scores: SetScores, threshold: float | None, seed: int, observer: EvaluationObserver) -> SetFigures:
    """All figures of a set of volumes, one volume in memory after the other.

    Args:
        scores: Of the set.
        threshold: For Dice and lesions; None where none is known.
        seed: Of the resamples.
        observer: Is told how it goes on.
    """
    records = scores.records
    units = [record.subject or record.case for record in records]
    voxels = PixelScores(_edges(scores), threshold)
    labels: list[int] = []
    lesions: list[LesionCounts] = []
    overlaps: dict[VolumeRecord, float] = {}
    for place, record in enumerate(records):
        values, truth = scores.voxels(record)
        voxels.add(values, truth, units[place])
        labels.append(int(truth.any()))
        if threshold is not None:
            marked = values >= np.float32(threshold)
            lesions.append(count_lesions(marked, truth))
            if truth.any():
                overlaps[record] = float(2 * (marked & truth).sum() / (marked.sum() + truth.sum()))
        observer.step("measuring", place + 1, len(records))
    highest = tuple(scores.raw(record).maximum for record in records)
    figures = image_figures(highest, labels, units, seed) | voxels.figures(seed)
    figures |= lesion_figures(lesions, units, seed) if lesions else undefined_lesion_figures(NO_THRESHOLD)
    return SetFigures(figures, voxels, highest, tuple(labels), overlaps)


def _edges(scores: SetScores) -> NDArray[np.float32]:
    places = np.linspace(0, len(scores.records) - 1, min(_EDGES_FROM, len(scores.records)))
    parts = [scores.voxels(scores.records[int(place)]) for place in places]
    thinned = [(values.ravel(), truth.ravel()) for values, truth in parts]
    # Of the lesions all voxels, for they are few.
    chosen = [truth | (np.arange(truth.size) % _STRIDE == 0) for _, truth in thinned]
    return bin_edges(
        [values[keep] for (values, _), keep in zip(thinned, chosen, strict=True)],
        [truth[keep] for (_, truth), keep in zip(thinned, chosen, strict=True)],
    )
