"""The rows of sets of pictures: which figures are taken of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from yardstick_columns import Column, PictureScore
from yardstick_data import Picture
from yardstick_measures import (
    Rows,
    count_scores,
    dice,
    mean_measure,
    ranking_measures,
    share_measure,
)
from yardstick_trivial import picture_brightness

from medzsad.metrics.metric import resample_weights
from medzsad.volume.lesions import label_lesions


def pixel_rows(pictures: Sequence[Picture], column: Column) -> Rows:
    """Ranking of the lesions' pixels over all pictures, and how well and how often the pictures are marked."""
    return _pixel_rows(pictures, [column.picture(one) for one in pictures], "picture")


def slice_rows(pictures: Sequence[Picture], column: Column) -> Rows:
    """The rows of pixels, whether the largest mark lies on the lesion, and the comparison with brightness by slice."""
    scores = [column.picture(one) for one in pictures]
    weights = resample_weights([one.subject for one in pictures], seed=0)
    above = np.array(
        [
            average_precision(score.map, truth) > average_precision(picture_brightness(one), truth)
            for one, score, truth in zip(pictures, scores, _truths(pictures), strict=True)
        ]
    )
    masks = _masks(scores)
    touching = None
    if masks is not None:
        hits = [(largest_part(mask) & truth).any() for mask, truth in zip(masks, _truths(pictures), strict=True)]
        touching = mean_measure(np.array(hits, float), weights)
    return _pixel_rows(pictures, scores, "slice") | {
        "share of slices whose largest mark touches the tumor": touching,
        "share of slices with AP above brightness's": mean_measure(above.astype(float), weights),
    }


def _pixel_rows(pictures: Sequence[Picture], scores: Sequence[PictureScore], unit: str) -> Rows:
    truths = _truths(pictures)
    weights = resample_weights([one.subject for one in pictures], seed=0)
    auroc, precision = ranking_measures(count_scores([score.map for score in scores], truths), weights)
    flagged = overlap = None
    masks = _masks(scores)
    if masks is not None:
        flagged = mean_measure(np.array([mask.any() for mask in masks], float), weights)
        overlaps = [dice(mask, truth) for mask, truth in zip(masks, truths, strict=True)]
        overlap = mean_measure(np.array(overlaps), weights)
    return {
        "pixel AUROC": auroc,
        "pixel AP": precision,
        f"share of {unit}s flagged": flagged,
        f"mean Dice per {unit}": overlap,
    }


def image_rows(pictures: Sequence[Picture], column: Column) -> Rows:
    """Ranking of the images by the image head and by the largest pixel score, and how many are flagged."""
    labels = np.array([one.abnormal for one in pictures])
    images, peaks, flags = [], [], []
    for one in pictures:  # no map is kept: the images are large
        score = column.picture(one)
        images.append(score.image)
        peaks.append(score.peak)
        flags.append(None if score.mask is None else bool(score.mask.any()))
    weights = resample_weights([one.subject for one in pictures], seed=0)
    rows: Rows = {}
    for name, values in (("image score", images), ("largest pixel", peaks)):
        known = [value for value in values if value is not None]
        auroc = precision = None
        if len(known) == len(pictures):
            counted = count_scores([np.array([value]) for value in known], [np.array([label]) for label in labels])
            auroc, precision = ranking_measures(counted, weights)
        rows |= {f"image AUROC, {name}": auroc, f"image AP, {name}": precision}
    marked = None if None in flags else np.array(flags, bool)
    for name, among in (("normal", ~labels), ("tumor", labels)):
        rows[f"share of {name} images flagged"] = None if marked is None else share_measure(marked, among, weights)
    return rows


def average_precision(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Average precision of the pixels of one picture."""
    return ranking_measures(count_scores([scores], [truth]), None)[1].value


def largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected component of a mask of two or three axes; nothing of an empty one."""
    cube = mask if mask.ndim == 3 else mask[:, :, None]
    labels, box = label_lesions(cube)
    largest = np.zeros(cube.shape, bool)
    largest[box] = labels == 1
    return largest.reshape(mask.shape)


def _truths(pictures: Sequence[Picture]) -> list[NDArray[np.bool_]]:
    return [one.truth for one in pictures if one.truth is not None]


def _masks(scores: Sequence[PictureScore]) -> list[NDArray[np.bool_]] | None:
    known = [score.mask for score in scores if score.mask is not None]
    return known if len(known) == len(scores) else None
