"""The threshold of a finished model, chosen on held-out generated and auxiliary images only."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from medzsad.methods.base import Detector
from medzsad.methods.noise import SharedNoise
from medzsad.training.embedded.auxiliary import AuxiliarySet
from medzsad.training.embedded.batches import Batch, auxiliary_batch, draw_batch
from medzsad.training.validation import auroc, average_precision

_REDUCTION = 2
# Far from the seeds of training and of validation during training.
_SEED = 2**41

# Share of the pixels of healthy images that the threshold lets through.
FALSE_PIXELS = 0.005


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a set of images at half their size.

    Attributes:
        maps: (n, h, w) float32.
        masks: (n, h, w) bool.
        images: (n,) float32 image scores.
        labels: (n,) bool.
    """

    maps: NDArray[np.float32]
    masks: NDArray[np.bool_]
    images: NDArray[np.float32]
    labels: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Calibration:
    """A threshold and what it does on held-out images.

    Attributes:
        threshold: The chosen score.
        provenance: A sentence that says how.
        figures: Named measures.
    """

    threshold: float
    provenance: str
    figures: dict[str, float]


def calibrate(detector: Detector, held_out: AuxiliarySet, class_name: str, images: int = 400) -> Calibration:
    """The threshold that a stated share of the pixels of held-out healthy generated images reaches."""
    side = detector.spec.image_size
    made = collect(detector, _generated(held_out, images, side), class_name)
    kept = collect(detector, _auxiliary(held_out, side), None)
    healthy = ~made.labels
    threshold = float(np.quantile(made.maps[healthy], 1 - FALSE_PIXELS))
    marked = made.maps >= threshold
    dice = float(2 * (marked & made.masks).sum() / (marked.sum() + made.masks.sum()))
    figures = {
        "generated_pixel_ap": average_precision(made.maps, made.masks),
        "generated_image_auroc": auroc(made.images, made.labels),
        "generated_dice": dice,
        "generated_healthy_flagged": float(marked[healthy].any(axis=(1, 2)).mean()),
        "auxiliary_pixel_ap": average_precision(kept.maps, kept.masks),
        "auxiliary_image_auroc": auroc(kept.images, kept.labels),
    }
    provenance = (
        f"{100 * FALSE_PIXELS:g} % of the pixels of {int(healthy.sum())} generated images without lesion, not trained "
        f"on, reach it; on {images} generated images, {int(made.labels.sum())} of them with lesions, it gives a Dice "
        f"of {dice:.2f}. No medical image was used."
    )
    return Calibration(threshold, provenance, figures)


def _generated(held_out: AuxiliarySet, images: int, side: int) -> Iterator[Batch]:
    source = torch.Generator().manual_seed(_SEED)
    for _ in range(images // 8):
        yield draw_batch(source, held_out, generated=8, industrial=0, size=side)


def _auxiliary(held_out: AuxiliarySet, side: int) -> Iterator[Batch]:
    for first in range(0, len(held_out.names), 8):
        yield auxiliary_batch(held_out, first, 8, side)


def collect(detector: Detector, batches: Iterator[Batch], class_name: str | None) -> Scores:
    """The detector's scores of all batches; `class_name` None takes each image's own."""
    maps, masks, scores, labels = [], [], [], []
    for batch in batches:
        names = batch.names if class_name is None else [class_name] * len(batch.names)
        prediction = detector.predict(batch.images, names, SharedNoise(0))
        size = batch.images.shape[-1] // _REDUCTION
        maps.append(interpolate(prediction.score_map[:, None], size=(size, size), mode="area")[:, 0].numpy())
        masks.append(interpolate(batch.masks[:, None], size=(size, size), mode="area")[:, 0].numpy() > 0.5)
        scores.append(prediction.image_score.numpy())
        labels.append(batch.labels.numpy() > 0)
    return Scores(*(np.concatenate(parts) for parts in (maps, masks, scores, labels)))
