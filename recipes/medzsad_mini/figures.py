"""What finished weights reach on held-out generated and industrial images: nothing here is medical."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from medzsad.methods.detector import Detector
from medzsad.methods.noise import SharedNoise
from medzsad.training.randomness import generator_for
from medzsad.training.validation import METRICS, ValidationScores
from recipes.medzsad_mini.auxiliary import AuxiliarySet
from recipes.medzsad_mini.batches import Batch, auxiliary_batch, draw_batch

_GENERATED = 5  # first number of this random stream; those of training are 1 to 4
_BATCH = 8
_IMAGES = 400
_ANATOMIES = 8


def sound_images(held_out: AuxiliarySet, side: int) -> Iterator[tuple[Tensor, Sequence[str]]]:
    """Batches of the held-out industrial images without defect."""
    for batch in _industrial(held_out, side):
        sound = batch.labels == 0
        if sound.any():
            names = [name for name, keep in zip(batch.names, sound.tolist(), strict=True) if keep]
            yield batch.images[sound], names


def held_out_figures(detector: Detector, held_out: AuxiliarySet, threshold: float) -> dict[str, float | None]:
    """Figures by name for both sets; "touched" is the share of sound images with a pixel over the threshold."""
    figures: dict[str, float | None] = {}
    side = detector.spec.image_size
    sets = {"generated": _generated(held_out, side), "industrial": _industrial(held_out, side)}
    for name, batches in sets.items():
        scores, touched, sound = ValidationScores(), 0, 0
        for batch in batches:
            prediction = detector.predict(batch.images, list(batch.names), SharedNoise(0))
            scores.pixels.add(prediction.score_map, batch.masks)
            scores.images += prediction.image_score.tolist()
            scores.labels += batch.labels.tolist()
            healthy = batch.labels == 0
            sound += int(healthy.sum())
            touched += int((prediction.score_map[healthy].amax(dim=(1, 2)) >= threshold).sum())
        found = scores.metrics()
        figures |= {f"{name}_{figure}": found[figure] for figure in METRICS}
        figures[f"{name}_sound_images_touched"] = touched / sound if sound else None
    return figures


def _generated(held_out: AuxiliarySet, side: int) -> Iterator[Batch]:
    for index in range(_IMAGES // _BATCH):
        with torch.no_grad():
            source = generator_for(0, _GENERATED, index)
            yield draw_batch(source, held_out, generated=_BATCH, industrial=0, size=side, anatomies=_ANATOMIES)


def _industrial(held_out: AuxiliarySet, side: int) -> Iterator[Batch]:
    for first in range(0, len(held_out.names), _BATCH):
        yield auxiliary_batch(held_out, first, _BATCH, side)
