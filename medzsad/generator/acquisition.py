"""What a scanner and a viewer do to a generated slice: shading, blur, noise, window, padding, burned-in letters."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

from medzsad.generator.fields import Dice, lerp, pixel_grid, smooth_noise


def acquire(dice: Dice, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Images (n, h, w) in [0, 1] as the product would window them, and masks cut like them."""
    count, size = len(images), images.shape[-1]
    shading = torch.exp(dice.uniform(count, 1, 1, low=0, high=0.3) * smooth_noise(dice, count, 1, 2, size)[:, 0])
    images = (images * shading).clamp(min=0)
    images = images ** dice.logarithmic(count, 1, 1, low=0.7, high=1.5)
    images = _blurred(dice, images)
    images = _noisy(dice, images)
    images = _windowed(dice, images)
    # Many files hold exact zeros around what was scanned.
    floor = dice.uniform(count, 1, 1, low=0, high=0.07) * dice.chance(count, 0.5)
    images = images * (images > floor)
    x, y = pixel_grid(size)
    # Sides that are not equal leave black bars at the rim of the square.
    barred = dice.chance(count, 0.35) * dice.uniform(count, 1, 1, low=0, high=0.3)
    along = dice.chance(count, 0.5)
    away = lerp(x.abs(), y.abs(), along) - (1 - barred)
    inside = (away <= 0).float()
    frame = inside * (away > -0.02) * dice.chance(count, 0.1)
    images = lerp(images, dice.uniform(count, 1, 1, low=0.4, high=1.0), frame * (1 - masks))
    return _lettered(dice, images * inside, masks, x, y), masks * inside


def photographed(dice: Dice, images: Tensor) -> Tensor:
    """Color images (n, 3, h, w) in [0, 1] as a camera hands them on: gamma, contrast, blur, noise, blocks of a JPEG."""
    count, size = len(images), images.shape[-1]
    images = images ** dice.logarithmic(count, 1, 1, 1, low=0.7, high=1.4)
    coarse = interpolate(avg_pool2d(images, 2), size=(size, size), mode="bilinear")
    images = torch.where(dice.chance(count, 0.5)[:, None] > 0, coarse, images)
    blocks = interpolate(avg_pool2d(images, 8, ceil_mode=True), scale_factor=8.0)[..., :size, :size]
    images = lerp(images, blocks, dice.uniform(count, 1, 1, 1, low=0, high=0.25) * dice.chance(count, 0.3)[:, None])
    noise = dice.logarithmic(count, 1, 1, 1, low=0.002, high=0.03) * dice.normal(*images.shape)
    gain = dice.uniform(count, 1, 1, 1, low=0.75, high=1.2)
    return (images * gain + noise).clamp(0, 1)


def _blurred(dice: Dice, images: Tensor) -> Tensor:
    # Fixed blurs, one of them per image: coarse originals that were enlarged, down to 64 pixels.
    size, pick = images.shape[-1], dice.uniform(len(images), 1, 1)
    for share, factor in ((0.6, 2), (0.35, 3), (0.15, max(3, size // 64))):
        coarse = interpolate(avg_pool2d(images[:, None], factor), size=(size, size), mode="bilinear")[:, 0]
        images = torch.where(pick < share, coarse, images)
    return images


def _noisy(dice: Dice, images: Tensor) -> Tensor:
    count = len(images)
    level = dice.logarithmic(count, 1, 1, low=0.001, high=0.045)
    noise = dice.normal(*images.shape)
    # Speckle grows with the signal (ultrasound, OCT); Rician noise folds at zero (MR).
    speckled = images * (1 + 4 * level * noise)
    plain = images + level * noise
    return torch.where(dice.uniform(count, 1, 1) < 0.2, speckled, plain).abs()


def _windowed(dice: Dice, images: Tensor) -> Tensor:
    count = len(images)
    values = images[:, ::3, ::3].reshape(count, -1)
    low = torch.quantile(values, 0.005, dim=1)[:, None, None]
    high = torch.quantile(values, 0.995, dim=1)[:, None, None]
    # The window belongs to the whole volume: a single slice need not fill it, or may exceed it.
    high = low + (high - low).clamp(min=0.05) * dice.uniform(count, 1, 1, low=0.8, high=1.35)
    return ((images - low) / (high - low)).clamp(0, 1)


def _lettered(dice: Dice, images: Tensor, masks: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Some of the images with a line of random glyphs near a corner, never on a lesion: healthy, though bright."""
    count = len(images)
    glyphs = (dice.uniform(count, 1, 5, 14) < 0.5).float()
    center_x, center_y = (dice.sign(count) * dice.uniform(count, 1, 1, low=0.6, high=0.85) for _ in range(2))
    width = dice.uniform(count, 1, 1, low=0.08, high=0.2)
    where = torch.stack(((x - center_x) / width, (y - center_y) / (0.4 * width)), dim=-1)
    line = grid_sample(glyphs, where, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0]
    shown = line * (1 - masks) * dice.chance(count, 0.15)
    return lerp(images, dice.uniform(count, 1, 1, low=0.6, high=1.0), shown)
