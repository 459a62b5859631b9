"""The rows of volumes: with lesions drawn by hand, and healthy ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from yardstick_columns import Answer, Column
from yardstick_data import Volume
from yardstick_measures import Measure, Rows, count_scores, dice, ranking_measures
from yardstick_pictures import largest_part
from yardstick_trivial import foreground

from medzsad.volume.lesions import label_lesions

LARGE_ML = 1.0


@dataclass(frozen=True, slots=True)
class Healthy:
    """What a run says of a healthy volume; whatever it marks is false.

    Attributes:
        outcome: "lesion" or "no_lesion".
        lesions: Their number.
        marked_ml: All that is marked.
        tissue_ml: Of that, inside the foreground.
        air_ml: The rest.
        largest_ml: The largest lesion; 0 without any.
    """

    outcome: str
    lesions: int
    marked_ml: float
    tissue_ml: float
    air_ml: float
    largest_ml: float


def healthy_record(volume: Volume, answer: Answer) -> Healthy:
    """The answer for a healthy volume in figures."""
    tissue_ml, air_ml = _parted_ml(volume, answer.mask)
    largest_ml = max(answer.lesions_ml, default=0.0)
    return Healthy(answer.outcome, len(answer.lesions_ml), tissue_ml + air_ml, tissue_ml, air_ml, largest_ml)


def volume_rows(volume: Volume, column: Column) -> Rows:
    """The answer of a run, its overlap with the lesions, and the ranking of their voxels."""
    score = column.volume(volume)
    auroc, precision = ranking_measures(count_scores([score.map], [volume.truth]), None)
    return answer_rows(volume, score.answer) | {"voxel AUROC": auroc, "voxel AP": precision}


def answer_rows(volume: Volume, answer: Answer | None) -> Rows:
    """How the answer and its mask fit the lesions; None in each row without an answer."""
    names = (
        "outcome",
        "lesions",
        "marked ml",
        "Dice at the threshold",
        "Dice of the largest lesion",
        "share of the lesion inside the mask",
        "false ml in tissue",
        "false ml in air",
        "lesions touched",
        f"lesions of at least {LARGE_ML:g} ml touched",
        "false components",
    )
    if answer is None:
        return dict.fromkeys(names)
    mask, truth = answer.mask, volume.truth
    components, box = label_lesions(mask)
    hits = np.unique(components[truth[box] & (components > 0)])
    numbers, sizes_ml = drawn_lesions(volume)
    touched = np.unique(numbers[mask & truth])
    figures = (
        len(answer.lesions_ml),
        mask.sum() * volume.voxel_ml,
        dice(mask, truth),
        dice(largest_part(mask), truth),
        (mask & truth).sum() / max(1, truth.sum()),
        *_parted_ml(volume, mask & ~truth),
        len(touched),
        np.count_nonzero(sizes_ml[touched - 1] >= LARGE_ML),
        components.max(initial=0) - len(hits),
    )
    values = (answer.outcome, *(Measure(float(figure)) for figure in figures))
    return dict(zip(names, values, strict=True))


def drawn_lesions(volume: Volume) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The number of the lesion at each voxel (i, j, k), 0 outside, and the size of each, (lesions,), in ml.

    Voxels that share a face belong together.
    """
    numbers, count = label(volume.truth)
    return numbers, np.bincount(numbers.ravel(), minlength=count + 1)[1:] * volume.voxel_ml


def _parted_ml(volume: Volume, mask: NDArray[np.bool_]) -> tuple[float, float]:
    """How much of a mask lies in the foreground and how much outside, in ml."""
    inside = foreground(volume.voxels())
    return float((mask & inside).sum()) * volume.voxel_ml, float((mask & ~inside).sum()) * volume.voxel_ml
