"""How papers turn scores into metrics: what is resized, smoothed and combined before anything is measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from medzsad.config import ResizeRule
from medzsad.errors import ConfigError
from medzsad.slices.transforms import SquarePlane, clip_normalize

# Side in pixels at which the papers' constants are stated.
PUBLISHED_SIDE = 518
_TOP_PIXELS = 2000

ImageRule = Literal["probability", "fused", "with_maximum", "own"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """One way to take metrics.

    Attributes:
        name: As on the command line.
        resize: `fit` keeps the aspect ratio and pads, as `medzsad run` does; `stretch` fills the square.
        on_image_grid: Pixels are compared on the image's own grid; else on the model's square, masks resized to it.
        sigma_px: Gaussian over the maps before pixels are compared, in pixels of a square of 518.
        image_rule: How an image gets one score.
        source: Whose protocol it is.
    """

    name: str
    resize: ResizeRule
    on_image_grid: bool
    sigma_px: float
    image_rule: ImageRule
    source: str

    def measuring(self, methods_own: bool) -> "Protocol":
        """The protocol as it measures a model; `methods_own` says whether it is that of the model's own method.

        Such a model scores images as its authors do, so a rule that is not transductive would be applied twice.
        """
        return replace(self, image_rule="own") if methods_own and self.image_rule != "fused" else self

    def on_own_grid(self) -> "Protocol":
        """The same protocol with maps on the image's own grid, for pictures."""
        return replace(self, on_image_grid=True)

    def describe(self) -> str:
        """The protocol in one sentence, to stand over every table."""
        square = f"squares of the model's size, {PUBLISHED_SIDE} for published weights"
        grid = "pixels on the image's own grid" if self.on_image_grid else f"pixels on {square}"
        smoothing = (
            f"maps smoothed with sigma {self.sigma_px:g} px of {PUBLISHED_SIDE}" if self.sigma_px else "no smoothing"
        )
        rule = {
            "probability": "image score: the image head's probability",
            "fused": (
                f"image score: half the probability and half the mean of the {_TOP_PIXELS} highest pixels, both scaled "
                "by their range over all test images of the class (transductive); BrainMRI, Br35H and HeadCT: the "
                "probability alone"
            ),
            "with_maximum": "image score: 0.9 of the probability and 0.1 of the highest pixel",
            "own": "image score: that of the method itself",
        }[self.image_rule]
        return f"{self.name}: {self.source}; {self.resize}, {grid}, {smoothing}; {rule}."


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("plain", "fit", True, 0.0, "probability", "as `medzsad run` scores"),
        Protocol("bayes-pfl", "stretch", False, 8.0, "fused", "Bayes-PFL's test program"),
        Protocol("cops", "stretch", False, 4.0, "with_maximum", "CoPS' test program"),
        Protocol("anomalyclip", "stretch", False, 4.0, "probability", "AnomalyCLIP's and Crane's test program"),
        Protocol("faprompt", "stretch", False, 10.0, "probability", "FAPrompt's test program"),
        Protocol("april-gan", "stretch", False, 0.0, "probability", "APRIL-GAN's zero-shot test"),
    )
}


def find_protocol(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        ConfigError: There is none.
    """
    try:
        return PROTOCOLS[name]
    except KeyError:
        raise ConfigError(f"Unknown protocol {name!r}. Use one of {', '.join(PROTOCOLS)}.") from None


@dataclass(frozen=True, slots=True)
class RawScore:
    """What the model says about one image, before a protocol makes a score of it; all in [0, 1].

    Attributes:
        probability: Of the image head.
        top_mean: Mean of the highest 0.75 % of the pixels of the unsmoothed map: 2000 at 518 x 518.
        maximum: Highest pixel of the unsmoothed map.
    """

    probability: float
    top_mean: float
    maximum: float


def raw_score(probability: float, score_map: NDArray[np.float32]) -> RawScore:
    """The raw score of an image from its map (size, size) on the model's square."""
    count = max(1, round(_TOP_PIXELS * score_map.size / PUBLISHED_SIDE**2))
    flat = score_map.ravel()
    top = np.partition(flat, len(flat) - count)[-count:]
    return RawScore(probability, float(top.mean(dtype=np.float64)), float(top.max()))


def image_scores(protocol: Protocol, raw: Sequence[RawScore], *, classification: bool) -> list[float]:
    """One score per image of a class.

    Args:
        protocol: Its rule is used.
        raw: Of all test images of the class; the fused rule scales by their range.
        classification: The set is one of those for which Bayes-PFL takes the probability alone (METHODS A.6).
    """
    if protocol.image_rule == "with_maximum":
        return [0.9 * one.probability + 0.1 * one.maximum for one in raw]
    probabilities = [one.probability for one in raw]
    if protocol.image_rule in {"probability", "own"} or classification:
        return probabilities
    scaled = zip(_scaled(probabilities), _scaled([one.top_mean for one in raw]), strict=True)
    return [0.5 * probability + 0.5 * top for probability, top in scaled]


def _scaled(values: Sequence[float]) -> list[float]:
    low, high = min(values, default=0.0), max(values, default=0.0)
    return [(value - low) / (high - low) if high > low else 0.0 for value in values]


def model_input(protocol: Protocol, image: Image.Image, side: int) -> Tensor:
    """The image (3, side, side), CLIP-normalized.

    Args:
        protocol: Its resize rule is used.
        image: RGB.
        side: Of the model's square, in pixels.
    """
    if protocol.resize == "stretch":
        # On 8-bit pixels, as CLIP's own preprocessing and all the papers do.
        square = np.array(image.resize((side, side), Image.Resampling.BICUBIC))
        return clip_normalize(torch.from_numpy(square).permute(2, 0, 1).float() / 255)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    return clip_normalize(SquarePlane(side, "fit", (1.0, 1.0))(pixels))


def compared_map(protocol: Protocol, score_map: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """The map on the grid where pixels are compared, smoothed.

    Args:
        protocol: Decides on grid and smoothing.
        score_map: (size, size) on the model's square.
        shape: Rows and columns of the image.
    """
    smoothed = score_map
    if protocol.sigma_px:
        smoothed = gaussian_filter(score_map, protocol.sigma_px * len(score_map) / PUBLISHED_SIDE)
    if not protocol.on_image_grid:
        return np.asarray(smoothed, np.float32)
    square = SquarePlane(len(score_map), protocol.resize, (1.0, 1.0))
    plane = torch.from_numpy(np.ascontiguousarray(smoothed)[None])
    return np.asarray(square.inverse(plane, shape)[0].numpy(), np.float32)


def compared_mask(protocol: Protocol, mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """The mask (rows, columns) on the grid where pixels are compared (METHODS 0: bilinear, then above one half)."""
    if protocol.on_image_grid:
        return mask
    source = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(source.resize((side, side), Image.Resampling.BILINEAR)) > 127
