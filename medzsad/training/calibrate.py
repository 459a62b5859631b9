"""The threshold of finished weights: a stated share of false pixels on normal images, none of them medical."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzsad.errors import ConfigError, ScoringError
from medzsad.generator.images import generate
from medzsad.methods.detector import Detector
from medzsad.methods.noise import SharedNoise
from medzsad.slices.transforms import clip_normalize

# Share of the pixels of normal images that the threshold lets through.
FALSE_PIXELS = 0.005

# Shares of normal pixels whose scores are kept, so that scores of different weights can be compared.
_KEPT_SHARES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)

# A power of two, so that a float32 score reaches the edge of its bin exactly as the bin's number says.
_BINS = 2**16
_BATCH = 8
# Far from the seeds of training and of validation during training.
_SEED = 2**43 + 11


@dataclass(frozen=True, slots=True)
class Calibration:
    """A threshold and what it does on normal images.

    Attributes:
        threshold: The chosen score; at and above it a pixel counts as lesion.
        provenance: A sentence that says how, with counts and rates.
        metrics: Values by name; `auxiliary_*` are left out without normal auxiliary images.
        normal_scores: Rising (score, share) pairs: at most this share of the pixels of each set reaches the score,
            or the score is 1, which a saturated map reaches more often.
    """

    threshold: float
    provenance: str
    metrics: dict[str, float]
    normal_scores: tuple[tuple[float, float], ...]


@dataclass(slots=True)
class _Counts:
    """Scores of normal images, counted.

    Attributes:
        pixels: (_BINS + 1,) number of pixels per bin; the last holds the score 1 alone.
        peaks: (_BINS + 1,) number of images by the bin of their largest score.
    """

    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS + 1, np.int64))
    peaks: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS + 1, np.int64))

    def add(self, maps: NDArray[np.float32]) -> None:
        places = np.clip(maps.reshape(len(maps), -1) * np.float32(_BINS), 0, _BINS).astype(np.int64)
        self.pixels += np.bincount(places.ravel(), minlength=_BINS + 1)
        self.peaks += np.bincount(places.max(axis=1), minlength=_BINS + 1)

    @property
    def images(self) -> int:
        return int(self.peaks.sum())


def calibrate(
    detector: Detector,
    sound: Iterable[tuple[Tensor, Sequence[str]]],
    *,
    false_pixels: float = FALSE_PIXELS,
    phantoms: int = 128,
    class_name: str,
) -> Calibration:
    """The lowest threshold that lets at most the stated share of pixels through in each of two sets of normal images.

    One set is that of normal auxiliary images, the other that of generated healthy phantoms, whose seed no training
    uses. Where one of the two is empty, the other counts alone. The memory does not grow with the images.

    Args:
        detector: As it will be used.
        sound: Batches of images without defect, (b, 3, S, S) CLIP-normalized, with the class name of each image.
        false_pixels: Share of normal pixels that may reach the threshold, between 0 and 1.
        phantoms: Number of generated images.
        class_name: What the phantoms are called in the prompts.

    Raises:
        ConfigError: There is no image at all, or the share is impossible.
        ScoringError: The model returned non-finite scores (NaN or infinity).
    """
    if not 0.0 < false_pixels < 1.0:
        raise ConfigError(f"The share of false pixels must lie between 0 and 1, got {false_pixels}. Usual is 0.005.")
    auxiliary = _count(detector, sound)
    made = _count(detector, _phantoms(phantoms, detector.spec.image_size, class_name))
    sets = {name: counts for name, counts in (("auxiliary", auxiliary), ("phantom", made)) if counts.images}
    if not sets:
        raise ConfigError("A threshold needs normal images: give auxiliary ones, or at least one phantom.")
    rates = [_share_from(counts.pixels) for counts in sets.values()]
    place = _place_in_all(rates, false_pixels)
    metrics: dict[str, float] = {}
    for name, counts in sets.items():
        metrics[f"{name}_images"] = float(counts.images)
        metrics[f"{name}_false_pixels"] = float(_share_from(counts.pixels)[place])
        metrics[f"{name}_images_touched"] = float(_share_from(counts.peaks)[place])
    kept = tuple((_place_in_all(rates, share) / _BINS, share) for share in _KEPT_SHARES)
    return Calibration(place / _BINS, _provenance(metrics, false_pixels), metrics, kept)


def _phantoms(count: int, side: int, class_name: str) -> Iterator[tuple[Tensor, Sequence[str]]]:
    source = torch.Generator().manual_seed(_SEED)
    for first in range(0, count, _BATCH):
        made = generate(min(_BATCH, count - first), side, source, lesion_share=0.0)
        yield torch.stack([clip_normalize(image) for image in made.images]), [class_name] * len(made.images)


def _count(detector: Detector, batches: Iterable[tuple[Tensor, Sequence[str]]]) -> _Counts:
    device = next(detector.parameters()).device
    counts = _Counts()
    for images, names in batches:
        with torch.inference_mode():
            maps = detector.predict(images.to(device), names, SharedNoise(0)).score_map.float().cpu().numpy()
        if not np.isfinite(maps).all():
            raise ScoringError(
                f"The model {detector.card.name} returned non-finite scores (NaN or infinity), so no "
                "threshold can be chosen. Its training has diverged: lower the learning rates, or train in float32."
            )
        counts.add(maps)
    return counts


def _share_from(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of the counted that lies in each bin or above."""
    above = counts[::-1].cumsum()[::-1]
    return np.asarray(above / above[0])


def _place_in_all(rates: Sequence[NDArray[np.float64]], limit: float) -> int:
    return max(_first_place(one, limit) for one in rates)


def _first_place(rates: NDArray[np.float64], limit: float) -> int:
    """The first bin from which on at most `limit` lies; the last bin, the score 1, where more is saturated."""
    return min(int(np.count_nonzero(rates > limit)), _BINS)


def _provenance(metrics: dict[str, float], false_pixels: float) -> str:
    words = {
        "auxiliary": "normal auxiliary (industrial) images",
        "phantom": "generated healthy phantoms",
    }
    parts = [
        f"{metrics[f'{name}_false_pixels']:.2%} of the pixels of {metrics[f'{name}_images']:.0f} {text} "
        f"({metrics[f'{name}_images_touched']:.0%} of these images are touched)"
        for name, text in words.items()
        if f"{name}_images" in metrics
    ]
    chosen = f"Chosen for at most {false_pixels:.2%} false pixels"
    if len(parts) == 2:
        return f"{chosen} in each of two sets; it lets through {parts[0]} and {parts[1]}. No medical image was used."
    only = "no normal auxiliary image was given" if "phantom_images" in metrics else "no phantom was generated"
    return f"{chosen}; it lets through {parts[0]}; {only}. No medical image was used."
