"""A stack of slices to a stack of scores, in batches that fit the memory."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from medzsad.config import Precision
from medzsad.errors import ScoringError
from medzsad.methods.base import Detector
from medzsad.methods.noise import NoiseSource
from medzsad.scoring.device import autocast
from medzsad.slices.stack import SliceStack

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScoreVolume:
    """The scores of a stack, in the model's square pixels.

    Attributes:
        score: (S, size, size) float32 in [0, 1]; 0 where a slice was not scored.
        spread: (S, size, size) float32, standard deviation over prompt samples; None where the model gives none.
        image_score: (S,) float32 in [0, 1]; 0 where a slice was not scored.
        scored: (S,) bool.
    """

    score: NDArray[np.float32]
    spread: NDArray[np.float32] | None
    image_score: NDArray[np.float32]
    scored: NDArray[np.bool_]


def score_stack(
    detector: Detector,
    stack: SliceStack,
    *,
    class_name: str,
    noise: NoiseSource,
    device: torch.device,
    precision: Precision = "float32",
    batch_size: int = 8,
) -> ScoreVolume:
    """The scores of all slices with tissue; a slice's score depends on nothing but that slice."""
    shape = (len(stack), stack.size, stack.size)
    score, spread = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    image_score = np.zeros(len(stack), np.float32)
    has_spread = True
    for positions, images in stack.batches(batch_size):
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
    return ScoreVolume(score, spread if has_spread else None, image_score, stack.tissue.copy())


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
            prediction = detector.predict(images.to(device), [class_name] * len(images), noise)
    except torch.OutOfMemoryError:
        if len(images) == 1:
            raise
        half = len(images) // 2
        _log.warning("Out of memory with %d slices at once; going on with %d.", len(images), half)
        torch.cuda.empty_cache()
        return score_batch(detector, images[:half], class_name, noise, device, precision) + score_batch(
            detector, images[half:], class_name, noise, device, precision
        )
    if not (prediction.score_map.isfinite().all() and prediction.image_score.isfinite().all()):
        raise ScoringError(
            f"The model {detector.info.name} gave scores that are no numbers. Verify its weights "
            "(`medzsad weights verify`), or use --precision float32."
        )
    spread = None if prediction.spread is None else prediction.spread.float().cpu().numpy()
    return [(prediction.score_map.float().cpu().numpy(), spread, prediction.image_score.float().cpu().numpy())]


def smooth(stack: SliceStack, scores: NDArray[np.float32], sigma_mm: float) -> NDArray[np.float32]:
    """The scores after a Gaussian of `sigma_mm` millimetres along all three axes; unscored slices stay 0."""
    if sigma_mm <= 0:
        return scores
    sigma = [sigma_mm / step for step in stack.pixel_mm]
    smoothed = gaussian_filter(scores, sigma, mode="nearest", truncate=3.0)
    smoothed[~stack.tissue] = 0.0
    return np.asarray(smoothed, dtype=np.float32)
