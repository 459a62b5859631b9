"""A stack of slices to a stack of scores, in batches that fit the memory."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from medzsad.config import Precision
from medzsad.errors import ScoringError
from medzsad.methods.base import Prediction
from medzsad.methods.detector import Detector
from medzsad.methods.noise import NoiseSource
from medzsad.scoring.device import autocast
from medzsad.slices.stack import SliceStack

_log = logging.getLogger(__name__)
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class ScoreVolume:
    """The scores of a stack, in the model's square pixels; 0 where a slice holds no tissue.

    Attributes:
        score: (S, size, size) float32 in [0, 1].
        spread: (S, size, size) float32, standard deviation over prompt samples; None where the model gives none.
        image_score: (S,) float32 in [0, 1].
        scored: (S,) bool; slices with tissue that are not scored are interpolated between their neighbors.
        adapted: How many slices the model learned from while it scored them; None for one that does not adapt.
    """

    score: NDArray[np.float32]
    spread: NDArray[np.float32] | None
    image_score: NDArray[np.float32]
    scored: NDArray[np.bool_]
    adapted: int | None = None


def score_stack(
    detector: Detector,
    stack: SliceStack,
    *,
    class_name: str,
    noise: NoiseSource,
    device: torch.device,
    precision: Precision = "float32",
    batch_size: int = 8,
    step: int = 1,
) -> ScoreVolume:
    """The scores of all slices with tissue.

    A scored slice's score depends on nothing but that slice, unless the detector adapts: then on those before it in the
    stack as well, and on nothing that was scored before this stack.
    """
    if detector.adapts:
        detector.model.reset()
        batch_size = 1  # a batch that has to be repeated in halves would teach twice
    shape = (len(stack), stack.size, stack.size)
    score, spread = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    image_score = np.zeros(len(stack), np.float32)
    has_spread = True
    batches = stack.batches(batch_size, step)
    # On a CPU both would want all cores, whose threads then wait for each other.
    for positions, images in batches if device.type == "cpu" else one_ahead(batches):
        parts = score_batch(detector, images, class_name, noise, device, precision)
        done = 0
        for maps, spreads, probabilities in parts:
            at = positions[done : done + len(maps)]
            score[at], image_score[at] = maps, probabilities
            if spreads is None:
                has_spread = False
            else:
                spread[at] = spreads
            done += len(maps)
    scored = np.zeros(len(stack), bool)
    scored[stack.chosen(step)] = True
    for values in (score, spread, image_score):
        _fill_between(values, scored, stack.tissue)
    adapted = detector.model.reset() if detector.adapts else None
    return ScoreVolume(score, spread if has_spread else None, image_score, scored, adapted)


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items in their order, each begun in a thread as soon as the one before it is handed out.

    An exception of the iterator is raised where its item would have come.
    """
    end = object()
    with ThreadPoolExecutor(1, "ahead") as thread:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item  # type: ignore[misc]


def _fill_between(values: NDArray[np.float32], scored: NDArray[np.bool_], tissue: NDArray[np.bool_]) -> None:
    """Interpolates linearly, in place, the slices with tissue that were not scored; scored ones lie on both sides."""
    places = np.flatnonzero(scored)
    for position in np.flatnonzero(tissue & ~scored):
        after = int(np.searchsorted(places, position))
        low, high = places[after - 1], places[after]
        share = np.float32((position - low) / (high - low))
        values[position] = (1 - share) * values[low] + share * values[high]


BatchScores = tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.float32]]


def score_batch(
    detector: Detector,
    images: Tensor,
    class_name: str,
    noise: NoiseSource,
    device: torch.device,
    precision: Precision,
) -> list[BatchScores]:
    """Maps (b, size, size), their spreads if the model gives any, and image scores (b,), in consecutive parts.

    Raises:
        ScoringError: A score is no number.
    """
    # Halving on "out of memory" gives the same numbers, since slices do not depend on their batch.
    try:
        with torch.inference_mode(), autocast(device, precision):
            prediction = detector.predict(_moved(images, device), [class_name] * len(images), noise)
            scores = _on_host(prediction)
    except torch.OutOfMemoryError:
        if len(images) == 1:
            raise
        half = len(images) // 2
        _log.warning("Out of memory with %d slices at once; going on with %d.", len(images), half)
        torch.cuda.empty_cache()
        return score_batch(detector, images[:half], class_name, noise, device, precision) + score_batch(
            detector, images[half:], class_name, noise, device, precision
        )
    if not (np.isfinite(scores[0]).all() and np.isfinite(scores[2]).all()):
        raise ScoringError(
            f"The model {detector.card.name} returned non-finite scores (NaN or infinity). Verify its weights "
            "(`medzsad weights verify`), or use --precision float32."
        )
    return [scores]


def _moved(images: Tensor, device: torch.device) -> Tensor:
    if device.type != "cuda":
        return images.to(device)
    return images.pin_memory().to(device, non_blocking=True)


def _on_host(prediction: Prediction) -> BatchScores:
    """The prediction as arrays, brought over in one copy."""
    images, shape = len(prediction.image_score), prediction.score_map.shape
    parts = [prediction.score_map, prediction.image_score]
    if prediction.spread is not None:
        parts.append(prediction.spread)
    flat = torch.cat([part.reshape(images, -1).float() for part in parts], dim=1).cpu().numpy()
    pixels = shape[1] * shape[2]
    spread = flat[:, pixels + 1 :].reshape(shape) if prediction.spread is not None else None
    return flat[:, :pixels].reshape(shape), spread, flat[:, pixels]


def smooth(stack: SliceStack, scores: NDArray[np.float32], sigma_mm: float) -> NDArray[np.float32]:
    """The scores after a Gaussian of `sigma_mm` millimeters along all three axes; unscored slices stay 0."""
    if sigma_mm <= 0:
        return scores
    sigma = [sigma_mm / step for step in stack.pixel_mm]
    smoothed = gaussian_filter(scores, sigma, mode="nearest", truncate=3.0)
    smoothed[~stack.tissue] = 0.0
    return np.asarray(smoothed, dtype=np.float32)
