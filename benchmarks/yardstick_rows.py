"""The rows of the table: which figures are taken of which data."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from yardstick_columns import Column, VolumeScore
from yardstick_data import Pictures, Volume, read_brain_mri, read_lgg, read_volume
from yardstick_measures import (
    Measure,
    count_scores,
    dice,
    ranking_measures,
    share_measure,
)

from medzsad.metrics.metric import resample_weights
from medzsad.volume.lesions import label_lesions

Rows = dict[str, Measure | None]


@dataclass(frozen=True, slots=True)
class Data:
    """All development data, in memory but for the volumes' voxels."""

    brainix: Volume
    lgg: Pictures
    brain_mri: Pictures
    ms: Volume


def read_all(folder: Path, limit: int | None, temporary: Path) -> Data:
    """The development data of a folder; with a limit, so many pictures of each set and slices of each volume."""
    brainix, ms = folder / "volumes" / "brainix", folder / "volumes" / "ms_patient07"
    return Data(
        read_volume(brainix / "FLAIR.nii.gz", brainix / "ROI.nii.gz", limit, temporary),
        read_lgg(folder / "medical" / "brain_mri_lgg", limit),
        read_brain_mri(folder / "medical" / "brain_mri", limit),
        read_volume(ms / "FLAIR.nii.gz", ms / "lesions.nii.gz", limit, temporary),
    )


def headings(data: Data) -> dict[str, str]:
    """What each group of rows is measured on, in words."""
    lgg, brain = data.lgg, data.brain_mri
    lesions = label(data.ms.truth)[1]
    return {
        "brainix": "BRAINIX FLAIR, tumor (one scan, no interval)",
        "lgg": f"TCGA-LGG, FLAIR channel: {len(lgg.pixels)} slices of {len(set(lgg.groups))} patients, all with tumor "
        "(intervals by patient)",
        "brain_mri": f"BrainMRI: {int((~brain.labels).sum())} normal, {int(brain.labels.sum())} tumor images "
        "(intervals by image; 28 near-duplicates among all 253 make them a little too narrow)",
        "ms": f"MS patient 07 FLAIR, {lesions} lesions (one scan, no interval)",
    }


def measure(data: Data, column: Column) -> dict[str, Rows]:
    """All figures of one column, by group and row; None where a figure has no meaning for it."""
    return {
        "brainix": brainix_rows(data.brainix, column.volume(data.brainix)),
        "lgg": lgg_rows(data.lgg, column),
        "brain_mri": brain_mri_rows(data.brain_mri, column),
        "ms": ms_rows(data.ms, column.volume(data.ms)),
    }


def brainix_rows(volume: Volume, score: VolumeScore) -> Rows:
    """Overlap and ranking of the tumor's voxels."""
    auroc, precision = ranking_measures(count_scores([score.map], [volume.truth]), None)
    overlap = largest = None
    if score.mask is not None:
        overlap = Measure(dice(score.mask, volume.truth))
        labels, box = label_lesions(score.mask)
        first = np.zeros_like(score.mask)
        first[box] = labels == 1
        largest = Measure(dice(first, volume.truth))
    return {
        "Dice at the threshold": overlap,
        "Dice of the largest lesion": largest,
        "voxel AUROC": auroc,
        "voxel AP": precision,
    }


def lgg_rows(pictures: Pictures, column: Column) -> Rows:
    """Ranking of the tumor's pixels over all slices, and how many slices are flagged."""
    scores = column.pictures(pictures.pixels)
    weights = resample_weights(pictures.groups, seed=0)
    counted = count_scores([score.map for score in scores], pictures.truths)
    auroc, precision = ranking_measures(counted, weights)
    everything = np.ones(len(scores), bool)
    return {
        "pixel AUROC": auroc,
        "pixel AP": precision,
        "share of slices flagged": share_measure(flags, everything, weights)
        if (flags := _flags([score.flagged for score in scores])) is not None
        else None,
    }


def brain_mri_rows(pictures: Pictures, column: Column) -> Rows:
    """Ranking of the images by the image head and by the largest pixel score, and how many are flagged."""
    scores = column.pictures(pictures.pixels)
    weights = resample_weights(pictures.groups, seed=0)
    rows: Rows = {}
    peaks = [score.peak for score in scores]
    for name, values in (("image score", [score.image for score in scores]), ("largest pixel", peaks)):
        known = [value for value in values if value is not None]
        auroc = precision = None
        if len(known) == len(scores):
            counted = count_scores([np.array([value]) for value in known], [np.array([t]) for t in pictures.labels])
            auroc, precision = ranking_measures(counted, weights)
        rows |= {f"image AUROC, {name}": auroc, f"image AP, {name}": precision}
    flags = _flags([score.flagged for score in scores])
    for name, among in (("normal", ~pictures.labels), ("tumor", pictures.labels)):
        rows[f"share of {name} images flagged"] = None if flags is None else share_measure(flags, among, weights)
    return rows


def ms_rows(volume: Volume, score: VolumeScore) -> Rows:
    """Ranking of the lesions' voxels, and which lesions are found."""
    auroc, precision = ranking_measures(count_scores([score.map], [volume.truth]), None)
    rows: Rows = {"voxel AUROC": auroc, "voxel AP": precision}
    overlap = touched = false = None
    if score.mask is not None:
        overlap = Measure(dice(score.mask, volume.truth))
        lesions, _ = label(volume.truth)
        touched = Measure(float(len(np.unique(lesions[score.mask & volume.truth]))))
        components, box = label_lesions(score.mask)
        hits = np.unique(components[volume.truth[box] & (components > 0)])
        false = Measure(float(components.max(initial=0) - len(hits)))
    return rows | {"Dice at the threshold": overlap, "lesions touched": touched, "false components": false}


def _flags(flags: list[bool | None]) -> NDArray[np.bool_] | None:
    known = [flag for flag in flags if flag is not None]
    return np.array(known, bool) if len(known) == len(flags) else None
