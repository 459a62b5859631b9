"""Color for generated slices: what cameras see on skin, mucosa and surfaces."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from medzsad.generator.fields import Dice, smooth_noise

# Share of the images that get color; scanners make the rest, in gray.
COLORED = 0.25


def colored(dice: Dice, images: Tensor, masks: Tensor) -> Tensor:
    """RGB images (n, 3, h, w) in [0, 1] of gray ones (n, h, w), most of them gray still.

    A colored one runs between a dark and a bright hue that drift over the picture; half of its lesions have a tint.
    """
    count, size = len(images), images.shape[-1]
    gray = images[:, None].expand(-1, 3, -1, -1)
    dark = dice.uniform(count, 3, 1, 1, low=0, high=0.3) * dice.chance(count, 0.5)[:, None]
    bright = dice.uniform(count, 3, 1, 1, low=0.35, high=1.0)
    drift = dice.uniform(count, 1, 1, 1, low=0, high=0.08) * smooth_noise(dice, count, 3, 3, size)
    tint = dice.uniform(count, 3, 1, 1, low=-0.25, high=0.25) * dice.chance(count, 0.5)[:, None]
    soft = avg_pool2d(masks[:, None], 5, stride=1, padding=2)
    painted = dark + (bright - dark) * gray + (drift + tint * soft) * (0.3 + gray).clamp(max=1)
    chosen = dice.chance(count, COLORED)[:, None]
    return torch.where(chosen > 0, painted, gray).clamp(0, 1)
