"""Bodies of generated images: which family they are of, where they lie, and whether they are symmetric."""

from dataclasses import dataclass

import torch
from torch import Tensor

from medzsad.generator.fields import Dice, lerp, pixel_grid, smooth_noise

FAMILIES = ("head", "body", "surface", "layers", "object")


@dataclass(frozen=True, slots=True)
class Frame:
    """Coordinates of a body: image axes x, y, its own axes u, v (mirrored where the body is symmetric), radius."""

    x: Tensor
    y: Tensor
    mirrored: Tensor
    u: Tensor
    v: Tensor
    radius: Tensor
    symmetric: Tensor


def is_family(family: Tensor, *names: str) -> Tensor:
    """(n, 1, 1) float: 1 where the family is one of the names."""
    indices = torch.tensor([FAMILIES.index(name) for name in names])
    return torch.isin(family, indices).float()[:, None, None]


def body_frame(dice: Dice, count: int, size: int, family: Tensor) -> Frame:
    """Random frames of bodies of the given families."""
    x, y = pixel_grid(size)
    x, y = x.expand(count, -1, -1), y.expand(count, -1, -1)
    tilted = dice.chance(count, 0.3) * dice.uniform(count, 1, 1, low=-0.45, high=0.45)
    angle = torch.where(is_family(family, "object") > 0, dice.uniform(count, 1, 1, low=-3.1, high=3.1), tilted)
    shift_x, shift_y = (dice.uniform(count, 1, 1, low=-0.12, high=0.12) for _ in range(2))
    a, b = dice.uniform(count, 1, 1, low=0.55, high=0.98), dice.uniform(count, 1, 1, low=0.6, high=0.99)
    # Upper slices of a head and thin organs are small in the picture.
    small = lerp(torch.ones(count, 1, 1), dice.uniform(count, 1, 1, low=0.4, high=0.9), dice.chance(count, 0.25))
    # Some pictures show a part of a body only.
    small = small * lerp(
        torch.ones(count, 1, 1), dice.uniform(count, 1, 1, low=1.1, high=2.0), dice.chance(count, 0.12)
    )
    cos, sin = torch.cos(angle), torch.sin(angle)
    u = ((x - shift_x) * cos + (y - shift_y) * sin) / (a * small)
    v = ((y - shift_y) * cos - (x - shift_x) * sin) / (b * small)
    power = lerp(
        dice.uniform(count, 1, 1, low=1.8, high=2.6),
        dice.uniform(count, 1, 1, low=2, high=8),
        is_family(family, "object"),
    )
    radius = (u.abs() ** power + v.abs() ** power + 1e-6) ** (1 / power)
    wobble = dice.logarithmic(count, 1, 1, low=0.005, high=0.12)
    radius = radius + wobble * smooth_noise(dice, count, 1, 4, size)[:, 0]
    # Full-frame images have no outline: the radius stays that of the middle.
    full = torch.maximum(is_family(family, "surface"), is_family(family, "layers") * dice.chance(count, 0.5))
    radius = lerp(radius, radius.clamp(max=0.6) * 0.9, full)
    symmetric = lerp(dice.chance(count, 0.6), dice.chance(count, 0.9), is_family(family, "head")) * (1 - full)
    jitter = dice.logarithmic(count, 1, 1, low=0.003, high=0.06) * smooth_noise(dice, count, 2, 4, size).unbind(1)[0]
    mirrored = lerp(u, u.abs(), symmetric) + jitter
    return Frame(x, y, mirrored, u, v + jitter.flip(1), radius, symmetric)
