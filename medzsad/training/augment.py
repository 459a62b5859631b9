"""Augmentation of auxiliary images and their masks (METHODS A.5).

The authors pin albumentations 1.3.1 and take its defaults but for the angle and the 3-pixel blur; the limits below are
those defaults. They augment files at their own size and in BGR order; here images already have the tower's size and are
RGB, so blur and noise are a little stronger relative to a large file. A label never changes, even where a turn moves a
defect out of the picture.
"""

from collections.abc import Sequence
from math import ceil, cos, radians, sin, sqrt

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torchvision.transforms import InterpolationMode  # type: ignore[import-untyped]
from torchvision.transforms.v2 import functional  # type: ignore[import-untyped]

ANGLE = 30.0  # degrees, either way
BRIGHTNESS = CONTRAST = 0.2
NOISE_VARIANCE = (10.0, 50.0)  # of gray levels 0 to 255, one value per image, draws per channel
JITTER = 0.2  # of brightness, contrast, saturation; of the whole turn for the hue
BLUR_SIDE = 3
GAUSSIAN_SIDES = (3, 5, 7)

Pair = tuple[Tensor, Tensor | None]


def augment(image: Tensor, mask: Tensor | None, generator: torch.Generator) -> Pair:
    """An augmented image (3, S, S) uint8 and its mask (S, S) uint8, 0 or 1.

    Each of five steps happens with probability 1/2: a turn by up to 30 degrees either way, with the border reflected
    in image and mask; a turn by 0 to 3 right angles; brightness and contrast; Gaussian noise; one of 3-pixel mean,
    color jitter and Gaussian blur.

    Args:
        image: (3, S, S) uint8, RGB.
        mask: (S, S) uint8, 1 in a defect, or None where there is no pixel label.
        generator: All draws come from it.
    """
    if _chance(generator):
        image, mask = _rotate(image, mask, _uniform(generator, -ANGLE, ANGLE))
    if _chance(generator):
        turns = _pick(generator, 4)
        image = torch.rot90(image, turns, (-2, -1))
        mask = None if mask is None else torch.rot90(mask, turns, (-2, -1))
    if _chance(generator):
        image = _brightness_contrast(image, generator)
    if _chance(generator):
        image = _noise(image, generator)
    if _chance(generator):
        image = (_mean_blur, _jitter, _gaussian_blur)[_pick(generator, 3)](image, generator)
    return image.contiguous(), None if mask is None else mask.contiguous()


def mosaic(images: Sequence[Pair]) -> Pair:
    """Four images of equal size, halved and put together row by row; without a mask if one of them has none.

    Masks are resized bilinearly and cut above 1/2, as METHODS section 0 resizes them. An odd size gives the right and
    lower images the smaller half.

    Args:
        images: Four pairs of image (3, S, S) uint8 and mask (S, S) uint8 or None.

    Raises:
        ValueError: They are not four, or of different sizes.
    """
    sizes = {tuple(image.shape) for image, _ in images}
    if len(images) != 4 or len(sizes) != 1:
        raise ValueError(f"A mosaic takes four images of one size; got {len(images)} of sizes {sorted(sizes)}.")
    side = images[0][0].shape[-1]
    picture = torch.empty_like(images[0][0])
    truth = torch.zeros(side, side, dtype=torch.uint8)
    halves = (slice(0, ceil(side / 2)), slice(ceil(side / 2), side))
    for i, (image, mask) in enumerate(images):
        rows, columns = halves[i // 2], halves[i % 2]
        size = [rows.stop - rows.start, columns.stop - columns.start]
        picture[:, rows, columns] = functional.resize(image, size, InterpolationMode.BICUBIC, antialias=True)
        if mask is not None:
            small = functional.resize(mask[None].float(), size, InterpolationMode.BILINEAR, antialias=True)[0]
            truth[rows, columns] = (small > 0.5).to(torch.uint8)
    return picture, None if any(mask is None for _, mask in images) else truth


def _chance(generator: torch.Generator) -> bool:
    return _uniform(generator, 0, 1) < 0.5


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _pick(generator: torch.Generator, count: int) -> int:
    return int(torch.randint(count, (), generator=generator))


def _rotate(image: Tensor, mask: Tensor | None, degrees: float) -> Pair:
    side = image.shape[-1]
    turned = radians(abs(degrees))
    # What a turn brings in from outside of the square; one pixel more for the interpolation.
    margin = min(side - 1, ceil(side * (cos(turned) + sin(turned) - 1) / 2) + 1)
    image = _turned(image, degrees, margin, InterpolationMode.BILINEAR)
    if mask is not None:
        mask = _turned(mask[None], degrees, margin, InterpolationMode.NEAREST)[0]
    return image, mask


def _turned(image: Tensor, degrees: float, margin: int, interpolation: InterpolationMode) -> Tensor:
    side = image.shape[-1]
    padded = functional.pad(image, [margin], padding_mode="reflect")
    turned: Tensor = functional.rotate(padded, degrees, interpolation=interpolation)
    return turned[:, margin : margin + side, margin : margin + side]


def _brightness_contrast(image: Tensor, generator: torch.Generator) -> Tensor:
    """Contrast about black, and brightness as a share of white."""
    factor = 1 + _uniform(generator, -CONTRAST, CONTRAST)
    shift = 255 * _uniform(generator, -BRIGHTNESS, BRIGHTNESS)
    return _levels(image.float() * factor + shift)


def _noise(image: Tensor, generator: torch.Generator) -> Tensor:
    deviation = sqrt(_uniform(generator, *NOISE_VARIANCE))
    return _levels(image.float() + deviation * torch.randn(image.shape, generator=generator))


def _levels(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


def _mean_blur(image: Tensor, _: torch.Generator) -> Tensor:
    padded = functional.pad(image, [BLUR_SIDE // 2], padding_mode="reflect")
    return _levels(avg_pool2d(padded.float(), BLUR_SIDE, stride=1))


def _jitter(image: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue, in a random order."""
    factors = [1 + _uniform(generator, -JITTER, JITTER) for _ in range(3)]
    hue = _uniform(generator, -JITTER, JITTER)
    for step in torch.randperm(4, generator=generator).tolist():
        if step == 0:
            image = functional.adjust_brightness(image, factors[0])
        elif step == 1:
            image = functional.adjust_contrast(image, factors[1])
        elif step == 2:
            image = functional.adjust_saturation(image, factors[2])
        else:
            image = functional.adjust_hue(image, hue)
    return image


def _gaussian_blur(image: Tensor, generator: torch.Generator) -> Tensor:
    side = GAUSSIAN_SIDES[_pick(generator, len(GAUSSIAN_SIDES))]
    # OpenCV's deviation for a kernel of which only the side is given.
    sigma = 0.3 * ((side - 1) * 0.5 - 1) + 0.8
    blurred: Tensor = functional.gaussian_blur(image, [side, side], [sigma, sigma])
    return blurred
