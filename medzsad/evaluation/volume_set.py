"""A benchmark of volumes: figures, curves and examples of its one class."""

from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medzsad.datasets.volumes import VolumeRecord
from medzsad.evaluation.curves import curve_points
from medzsad.evaluation.examples import Example, choose_examples
from medzsad.evaluation.measured import Measured, MeasuredClass, MeasureOrder, assemble
from medzsad.evaluation.observer import EvaluationObserver
from medzsad.evaluation.results import ClassRecord, figure_records
from medzsad.evaluation.volumes import SetScores, volume_figures
from medzsad.output.panels import View, display_view, oriented_slice, panel_size

_LONGEST = 320  # side of an example in pixels


def measure_volumes(name: str, scores: SetScores, order: MeasureOrder, observer: EvaluationObserver) -> Measured:
    """All figures of a set of volumes from its kept scores.

    Args:
        name: Of the class.
        scores: Of the set.
        order: How it is measured.
        observer: Is told how it goes on.

    Raises:
        ConfigError: A score is missing, a file can no longer be read, or image and label differ in shape.
    """
    found = volume_figures(scores, order.threshold, order.seed, observer)
    voxels = found.voxels
    measured = MeasuredClass(
        record=ClassRecord(
            name=name,
            images=len(scores.records),
            abnormal=sum(found.labels),
            masks=sum(found.labels),
            subjects=len({record.subject or record.case for record in scores.records}),
            figures=figure_records(found.figures),
        ),
        figures=found.figures,
        scores=found.scores,
        labels=found.labels,
        pixel=curve_points(voxels.tallies(), voxels.positives, voxels.negatives)
        if voxels.positives and voxels.negatives
        else None,
        examples=_examples(scores, order, found.overlaps),
    )
    return assemble([measured], [scores.name(record) for record in scores.records])


def _examples(scores: SetScores, order: MeasureOrder, overlaps: dict[VolumeRecord, float]) -> dict[str, list[Example]]:
    """Volumes by Dice at the threshold, the slice with most of the lesion of each."""
    records = list(overlaps)
    if not records:
        return {}
    return {
        group: [_example(scores, order, records[place], overlaps[records[place]]) for place in places]
        for group, places in choose_examples([overlaps[record] for record in records]).items()
    }


def _example(scores: SetScores, order: MeasureOrder, record: VolumeRecord, dice: float) -> Example:
    values, truth = scores.voxels(record)
    volume = nib.load(record.image)
    axis = _slice_axis(volume)
    view = display_view(np.asarray(volume.affine, np.float64), axis)
    others = tuple(a for a in range(3) if a != axis)
    index = int(truth.sum(axis=others).argmax())
    voxels = np.asarray(volume.dataobj[..., record.frame or 0] if len(volume.shape) > 3 else volume.dataobj)
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
    """The axis of the thickest slices; of equally thick ones the axial one."""
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
